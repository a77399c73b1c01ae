//! Neighbour discovery and router advertisements (RFC 4861, RFC 8106): what stands behind the ICMPv6 header.

use core::net::Ipv6Addr;

use crate::bytes::{get, put};
use crate::icmpv6::{self, Icmpv6, kind};
use crate::{DropReason, Mac};

/// Hop limit of every message: a router in between would have lowered it (RFC 4861 section 7.1).
pub const HOP_LIMIT: u8 = 255;
/// All nodes of the link.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// All routers of the link.
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// Length of a solicitation or advertisement of a neighbour with its one option, ICMPv6 header included.
pub const NEIGHBOR_LEN: usize = icmpv6::HEADER_LEN + 16 + 8;

/// Option types (RFC 4861 section 4.6, RFC 8106 section 5).
mod option {
    pub const SOURCE_LINK: u8 = 1;
    pub const TARGET_LINK: u8 = 2;
    pub const PREFIX: u8 = 3;
    pub const MTU: u8 = 5;
    pub const RDNSS: u8 = 25;
    pub const DNSSL: u8 = 31;
}

/// A message of a guest that matters to a router.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ndp {
    /// Router solicitation; the sender's hardware address where it tells.
    RouterSolicitation(Option<Mac>),
    /// Neighbour solicitation: who has the address? The sender's hardware address where it tells.
    Solicitation(Ipv6Addr, Option<Mac>),
    /// Neighbour advertisement: the address is there.
    Advertisement(Ipv6Addr, Option<Mac>),
}

impl Ndp {
    /// Reads a message of a kind that this module knows. Every option must have a length (RFC 4861 section 4.6).
    pub fn parse(icmp: &Icmpv6<'_>) -> Result<Ndp, DropReason> {
        let (target, options) = match icmp.kind {
            kind::ROUTER_SOLICITATION => (Ipv6Addr::UNSPECIFIED, icmp.payload),
            kind::NEIGHBOR_SOLICITATION | kind::NEIGHBOR_ADVERTISEMENT => {
                let (target, options) = icmp.payload.split_first_chunk().ok_or(DropReason::NdpMalformed)?;
                (Ipv6Addr::from(*target), options)
            }
            _ => return Err(DropReason::UnknownService),
        };
        if icmp.code != 0 || target.is_multicast() {
            return Err(DropReason::NdpMalformed);
        }
        Ok(match icmp.kind {
            kind::ROUTER_SOLICITATION => Ndp::RouterSolicitation(link_address(options, option::SOURCE_LINK)?),
            kind::NEIGHBOR_SOLICITATION => {
                Ndp::Solicitation(target, link_address(options, option::SOURCE_LINK)?)
            }
            _ => Ndp::Advertisement(target, link_address(options, option::TARGET_LINK)?),
        })
    }
}

/// The hardware address in the option of type `wanted`.
fn link_address(mut options: &[u8], wanted: u8) -> Result<Option<Mac>, DropReason> {
    let mut found = None;
    while let [kind, units, ..] = *options {
        let len = usize::from(units) * 8;
        let body = options.get(..len).filter(|body| !body.is_empty()).ok_or(DropReason::NdpMalformed)?;
        if kind == wanted && found.is_none() {
            found = Some(Mac(get(body, 2)));
        }
        options = &options[len..];
    }
    if options.is_empty() { Ok(found) } else { Err(DropReason::NdpMalformed) }
}

/// The group of all nodes that might have `addr` (RFC 4291 section 2.7.1).
pub fn solicited_node(addr: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = addr.octets();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]))
}

/// The Ethernet address of a group (RFC 2464 section 7).
pub fn multicast_mac(group: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = group.octets();
    Mac([0x33, 0x33, a, b, c, d])
}

/// Writes a neighbour solicitation for `target` from `mac` behind the room for the ICMPv6 header, and that header.
pub fn emit_solicitation(message: &mut [u8], ends: (Ipv6Addr, Ipv6Addr), target: Ipv6Addr, mac: Mac) {
    emit_neighbor(message, ends, kind::NEIGHBOR_SOLICITATION, [0; 4], target, mac);
}

/// Writes an advertisement of `target` at `mac`: a router's, overriding, `solicited` where somebody has asked.
pub fn emit_advertisement(
    message: &mut [u8],
    ends: (Ipv6Addr, Ipv6Addr),
    target: Ipv6Addr,
    mac: Mac,
    solicited: bool,
) {
    let flags = 0xa0 | if solicited { 0x40 } else { 0 };
    emit_neighbor(message, ends, kind::NEIGHBOR_ADVERTISEMENT, [flags, 0, 0, 0], target, mac);
}

fn emit_neighbor(
    message: &mut [u8],
    (src, dst): (Ipv6Addr, Ipv6Addr),
    kind: u8,
    flags: [u8; 4],
    target: Ipv6Addr,
    mac: Mac,
) {
    let link = if kind == kind::NEIGHBOR_SOLICITATION { option::SOURCE_LINK } else { option::TARGET_LINK };
    put(message, 8, target.octets());
    put(message, 24, [link, 1]);
    put(message, 26, mac.0);
    icmpv6::emit(&mut message[..NEIGHBOR_LEN], src, dst, kind, 0, flags);
}

/// What a router advertises (RFC 4861 section 4.2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Advertisement<'a> {
    /// The router's hardware address.
    pub mac: Mac,
    /// How long it is a default router, in seconds.
    pub router_lifetime: u16,
    /// There is more to learn by DHCPv6 (the O flag).
    pub other: bool,
    /// The prefix of the link, from which addresses may be made when it is 64 bits long.
    pub prefix: (Ipv6Addr, u8),
    /// Lifetimes of the prefix in seconds: valid, preferred.
    pub lifetimes: (u32, u32),
    /// The link's MTU.
    pub mtu: u32,
    /// The name server, and how long it may be used, in seconds.
    pub dns: Option<Ipv6Addr>,
    /// Domains to search (RFC 8106 section 5.2), each in wire format without compression.
    pub search: &'a [u8],
    /// How long name server and domains may be used, in seconds.
    pub dns_lifetime: u32,
}

impl Advertisement<'_> {
    /// Length of the message in bytes, ICMPv6 header included.
    pub fn len(&self) -> usize {
        let dns = if self.dns.is_some() { 24 } else { 0 };
        icmpv6::HEADER_LEN + 8 + 8 + 32 + 8 + dns + self.search_len()
    }

    /// Never: an advertisement has a header at least.
    pub fn is_empty(&self) -> bool {
        false
    }

    fn search_len(&self) -> usize {
        if self.search.is_empty() { 0 } else { 8 + self.search.len().next_multiple_of(8) }
    }

    /// Writes the message into the first [`len`](Self::len) bytes of `buf`.
    pub fn emit(&self, buf: &mut [u8], (src, dst): (Ipv6Addr, Ipv6Addr)) {
        let message = &mut buf[..self.len()];
        message.fill(0);
        put(message, 16, [option::SOURCE_LINK, 1]);
        put(message, 18, self.mac.0);
        self.emit_prefix(&mut message[24..56]);
        put(message, 56, [option::MTU, 1, 0, 0]);
        put(message, 60, self.mtu.to_be_bytes());
        self.emit_dns(&mut message[64..]);
        let [high, low] = self.router_lifetime.to_be_bytes();
        let flags = if self.other { 0x40 } else { 0 };
        icmpv6::emit(message, src, dst, kind::ROUTER_ADVERTISEMENT, 0, [64, flags, high, low]);
    }

    fn emit_prefix(&self, option: &mut [u8]) {
        let autonomous = if self.prefix.1 == 64 { 0x40 } else { 0 };
        put(option, 0, [option::PREFIX, 4, self.prefix.1, 0x80 | autonomous]);
        put(option, 4, self.lifetimes.0.to_be_bytes());
        put(option, 8, self.lifetimes.1.to_be_bytes());
        put(option, 16, self.prefix.0.octets());
    }

    fn emit_dns(&self, options: &mut [u8]) {
        let mut at = 0;
        if let Some(server) = self.dns {
            put(options, 0, [option::RDNSS, 3]);
            put(options, 4, self.dns_lifetime.to_be_bytes());
            put(options, 8, server.octets());
            at = 24;
        }
        if !self.search.is_empty() {
            put(options, at, [option::DNSSL, (self.search_len() / 8) as u8]);
            put(options, at + 4, self.dns_lifetime.to_be_bytes());
            options[at + 8..at + 8 + self.search.len()].copy_from_slice(self.search);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
    const GUEST: Ipv6Addr = Ipv6Addr::new(0xfec0, 0, 0, 0, 0x5054, 0xff, 0xfe12, 0x3456);
    const MAC: Mac = Mac([0x52, 0x56, 0, 0, 0, 2]);

    fn parse(message: &[u8]) -> Result<Ndp, DropReason> {
        Ndp::parse(&Icmpv6::parse(US, GUEST, message).unwrap())
    }

    #[test]
    fn neighbour_messages_survive() {
        let mut message = [0xee; NEIGHBOR_LEN];
        emit_solicitation(&mut message, (US, GUEST), GUEST, MAC);
        assert_eq!(parse(&message), Ok(Ndp::Solicitation(GUEST, Some(MAC))));
        emit_advertisement(&mut message, (US, GUEST), US, MAC, true);
        assert_eq!(parse(&message), Ok(Ndp::Advertisement(US, Some(MAC))));
        assert_eq!(message[4], 0xe0);
    }

    #[test]
    fn an_option_without_a_length_or_cut_off_is_refused() {
        for tail in [&[1_u8, 0, 0, 0, 0, 0, 0, 0][..], &[1, 2, 0, 0, 0, 0, 0, 0], &[1]] {
            let mut message = vec![0; 24];
            message.extend(tail);
            icmpv6::emit(&mut message, US, GUEST, kind::NEIGHBOR_SOLICITATION, 0, [0; 4]);
            assert_eq!(parse(&message), Err(DropReason::NdpMalformed), "{tail:?}");
        }
    }

    #[test]
    fn the_groups_of_an_address_are_those_of_its_last_bytes() {
        let group: Ipv6Addr = "ff02::1:ff12:3456".parse().unwrap();
        assert_eq!(solicited_node(GUEST), group);
        assert_eq!(multicast_mac(group), Mac([0x33, 0x33, 0xff, 0x12, 0x34, 0x56]));
    }

    #[test]
    fn an_advertisement_says_all_that_a_guest_needs() {
        let prefix = Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0);
        let router = Advertisement {
            mac: MAC,
            router_lifetime: 1800,
            other: true,
            prefix: (prefix, 64),
            lifetimes: (86_400, 14_400),
            mtu: 1500,
            dns: Some(Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 3)),
            search: b"\x03lab\x00",
            dns_lifetime: 1800,
        };
        let mut message = vec![0xee; 200];
        router.emit(&mut message, (US, ALL_NODES));
        let message = &message[..router.len()];
        let icmp = Icmpv6::parse(US, ALL_NODES, message).unwrap();
        assert_eq!((icmp.kind, icmp.rest), (134, [64, 0x40, 7, 8]));
        let mut options = &icmp.payload[8..];
        let mut seen = Vec::new();
        while let [kind, units, ..] = *options {
            seen.push((kind, &options[2..usize::from(units) * 8]));
            options = &options[usize::from(units) * 8..];
        }
        let kinds: Vec<u8> = seen.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [1, 3, 5, 25, 31]);
        assert_eq!(seen[0].1, MAC.0);
        assert_eq!((seen[1].1[0], seen[1].1[1]), (64, 0xc0));
        assert_eq!(seen[1].1[14..], prefix.octets());
        assert_eq!(seen[2].1[2..], 1500_u32.to_be_bytes());
        assert_eq!(seen[4].1[6..], *b"\x03lab\x00\0\0\0");
    }
}
