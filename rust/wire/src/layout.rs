//! Where the headers of a TCP or UDP frame lie, for whoever cuts it up.
//!
//! Unlike the views this steps over VLAN tags, checks no checksum and takes a super-segment of any length: it
//! answers where the headers end, which an offload header also claims and which is never taken from there.

use crate::bytes::get16;
use crate::ethernet::{self, ethertype};
use crate::ipv4::{self, protocol};
use crate::{ipv6, tcp, udp};

/// VLAN tags stepped over: a customer's inside a provider's (IEEE 802.1Q section 6.13).
const MAX_TAGS: usize = 2;
const TAG_LEN: usize = 4;

/// The offsets of one TCP or UDP frame, in bytes from its start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// Whether the network header is IPv6; IPv4 otherwise.
    pub is_v6: bool,
    /// [`protocol::TCP`] or [`protocol::UDP`].
    pub protocol: u8,
    /// The IP header.
    pub network: usize,
    /// The TCP or UDP header.
    pub transport: usize,
    /// The payload behind the transport header.
    pub payload: usize,
    /// The end of the payload: what follows is padding.
    pub end: usize,
}

impl Layout {
    /// Finds the headers of `frame`; `None` when it is no TCP or UDP frame, is a fragment, or its headers do
    /// not fit.
    ///
    /// An IP length of 0 stands for the rest of the frame: some senders leave it so on a super-segment, and a
    /// length over 65,535 bytes has no other form (RFC 2675 section 2).
    pub fn of(frame: &[u8]) -> Option<Self> {
        let (ethertype, network) = network(frame)?;
        let packet = frame.get(network..)?;
        let ip = match ethertype {
            ethertype::IPV4 => locate_v4(packet)?,
            ethertype::IPV6 => locate_v6(packet)?,
            _ => return None,
        };
        let header = transport_len(ip.protocol, packet.get(ip.transport..ip.end)?)?;
        Some(Self {
            is_v6: ethertype == ethertype::IPV6,
            protocol: ip.protocol,
            network,
            transport: network + ip.transport,
            payload: network + ip.transport + header,
            end: network + ip.end,
        })
    }

    /// Where the checksum field lies in the transport header.
    pub fn checksum_offset(&self) -> usize {
        if self.protocol == protocol::TCP { tcp::CHECKSUM_OFFSET } else { udp::CHECKSUM_OFFSET }
    }
}

/// What an IP header says; offsets from its start.
struct Ip {
    protocol: u8,
    transport: usize,
    end: usize,
}

/// The Ethernet type behind all VLAN tags, and where that header starts.
fn network(frame: &[u8]) -> Option<(u16, usize)> {
    let mut at = ethernet::HEADER_LEN;
    for _ in 0..=MAX_TAGS {
        let kind = u16::from_be_bytes([*frame.get(at - 2)?, *frame.get(at - 1)?]);
        if kind != ethertype::VLAN && kind != ethertype::SERVICE_VLAN {
            return Some((kind, at));
        }
        at += TAG_LEN;
    }
    None
}

fn locate_v4(packet: &[u8]) -> Option<Ip> {
    let header = packet.first_chunk::<{ ipv4::HEADER_LEN }>()?;
    let transport = usize::from(header[0] & 0x0f) * 4;
    // Offset and more-fragments; the two bits above them do not matter.
    let is_fragment = get16(header, 6) & 0x3fff != 0;
    if header[0] >> 4 != 4 || transport < ipv4::HEADER_LEN || is_fragment {
        return None;
    }
    Some(Ip { protocol: header[9], transport, end: end(packet, 0, get16(header, 2)) })
}

fn locate_v6(packet: &[u8]) -> Option<Ip> {
    let header = packet.first_chunk::<{ ipv6::HEADER_LEN }>()?;
    let end = end(packet, ipv6::HEADER_LEN, get16(header, 4));
    let body = packet.get(ipv6::HEADER_LEN..end)?;
    let (protocol, transport) = ipv6::skip_extensions(header[6], body).ok()?;
    (header[0] >> 4 == 6).then_some(Ip { protocol, transport: end - transport.len(), end })
}

/// Where a packet says it ends, its length field counting from `from`; that may be behind its last byte.
fn end(packet: &[u8], from: usize, len: u16) -> usize {
    if len == 0 { packet.len() } else { from + usize::from(len) }
}

/// The length of the transport header at the start of `segment`.
fn transport_len(protocol: u8, segment: &[u8]) -> Option<usize> {
    let (least, len) = match protocol {
        protocol::TCP => (tcp::HEADER_LEN, usize::from(segment.get(12)? >> 4) * 4),
        protocol::UDP => (udp::HEADER_LEN, udp::HEADER_LEN),
        _ => return None,
    };
    (least <= len && len <= segment.len()).then_some(len)
}
