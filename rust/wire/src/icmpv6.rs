//! ICMP messages for IPv6 (RFC 4443). Their checksum covers a pseudo header, so both ends are arguments.

use core::net::Ipv6Addr;

use crate::bytes::{get, get16, header, put};
use crate::{DropReason, checksum, ipv6};

/// The protocol number in the IPv6 header.
pub const PROTOCOL: u8 = 58;
/// Length of the header in bytes.
pub const HEADER_LEN: usize = 8;

/// Message types (RFC 4443, RFC 4861 section 4).
pub mod kind {
    /// Destination unreachable.
    pub const UNREACHABLE: u8 = 1;
    /// Packet too big; the header carries the next hop's MTU.
    pub const PACKET_TOO_BIG: u8 = 2;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 3;
    /// Echo request.
    pub const ECHO_REQUEST: u8 = 128;
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 129;
    /// Router solicitation.
    pub const ROUTER_SOLICITATION: u8 = 133;
    /// Router advertisement.
    pub const ROUTER_ADVERTISEMENT: u8 = 134;
    /// Neighbour solicitation.
    pub const NEIGHBOR_SOLICITATION: u8 = 135;
    /// Neighbour advertisement.
    pub const NEIGHBOR_ADVERTISEMENT: u8 = 136;
}

/// Codes of [`kind::UNREACHABLE`] (RFC 4443 section 3.1).
pub mod code {
    /// No route to the destination.
    pub const NO_ROUTE: u8 = 0;
    /// Communication is administratively prohibited.
    pub const ADMIN_PROHIBITED: u8 = 1;
    /// The address is unreachable.
    pub const ADDRESS: u8 = 3;
    /// The port is unreachable.
    pub const PORT: u8 = 4;
}

/// How much of the original packet an error quotes: as much as keeps the whole within the least MTU of IPv6
/// (RFC 4443 section 2.4 (c)).
const MAX_QUOTE: usize = 1280 - ipv6::HEADER_LEN - HEADER_LEN;

/// A message, taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Icmpv6<'a> {
    /// The type, one of [`kind`] or another.
    pub kind: u8,
    /// The code within the type.
    pub code: u8,
    /// The identifier of an echo: the first half of `rest`.
    pub ident: u16,
    /// The sequence number of an echo: the second half of `rest`.
    pub seq: u16,
    /// The last four bytes of the header, whose meaning depends on the type.
    pub rest: [u8; 4],
    /// What follows the header.
    pub payload: &'a [u8],
}

impl<'a> Icmpv6<'a> {
    /// Takes a message apart and checks its checksum, which covers the addresses it travelled between.
    #[inline]
    pub fn parse(src: Ipv6Addr, dst: Ipv6Addr, message: &'a [u8]) -> Result<Self, DropReason> {
        let view = Self::parse_unchecked(message)?;
        if checksum::add(checksum::pseudo_v6(src, dst, PROTOCOL, message.len()), message) != 0xffff {
            return Err(DropReason::IcmpBadChecksum);
        }
        Ok(view)
    }

    /// Takes a message apart whose checksum the host's kernel has checked.
    #[inline]
    pub fn parse_unchecked(message: &'a [u8]) -> Result<Self, DropReason> {
        let (header, payload) = message.split_first_chunk::<HEADER_LEN>().ok_or(DropReason::IcmpTruncated)?;
        Ok(Self {
            kind: header[0],
            code: header[1],
            ident: get16(header, 4),
            seq: get16(header, 6),
            rest: get(header, 4),
            payload,
        })
    }
}

/// Writes the header of `message`, whose payload is in place, with the checksum over both and the addresses.
pub fn emit(message: &mut [u8], src: Ipv6Addr, dst: Ipv6Addr, kind: u8, code: u8, rest: [u8; 4]) {
    let fixed = header::<HEADER_LEN>(message);
    put(fixed, 0, [kind, code, 0, 0]);
    put(fixed, 4, rest);
    let sum = checksum::pseudo_v6(src, dst, PROTOCOL, message.len());
    let sum = checksum::finish(checksum::add(sum, message));
    put(message, 2, sum.to_be_bytes());
}

/// Writes an error about `original_ip_packet` and returns its length in bytes. `rest` is the second word of the
/// header, such as the next hop's MTU. The original is quoted as far as RFC 4443 section 2.4 and `buf` allow.
pub fn emit_error(
    buf: &mut [u8],
    (src, dst): (Ipv6Addr, Ipv6Addr),
    (kind, code): (u8, u8),
    rest: u32,
    original_ip_packet: &[u8],
) -> usize {
    let quoted = original_ip_packet.len().min(MAX_QUOTE).min(buf.len() - HEADER_LEN);
    let message = &mut buf[..HEADER_LEN + quoted];
    message[HEADER_LEN..].copy_from_slice(&original_ip_packet[..quoted]);
    emit(message, src, dst, kind, code, rest.to_be_bytes());
    message.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SRC: Ipv6Addr = Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 2);
    const DST: Ipv6Addr = Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0x15);

    #[test]
    fn an_echo_survives_and_a_wrong_checksum_or_address_is_refused() {
        let mut buf = *b"........ping";
        emit(&mut buf, SRC, DST, kind::ECHO_REQUEST, 0, [0x12, 0x34, 0, 7]);
        let icmp = Icmpv6::parse(SRC, DST, &buf).unwrap();
        assert_eq!((icmp.kind, icmp.ident, icmp.seq, icmp.payload), (128, 0x1234, 7, &b"ping"[..]));
        assert_eq!(Icmpv6::parse(DST, DST, &buf), Err(DropReason::IcmpBadChecksum));
        buf[9] ^= 1;
        assert_eq!(Icmpv6::parse(SRC, DST, &buf), Err(DropReason::IcmpBadChecksum));
        assert_eq!(Icmpv6::parse(SRC, DST, &buf[..7]), Err(DropReason::IcmpTruncated));
    }

    #[test]
    fn an_error_quotes_as_much_as_the_least_mtu_takes() {
        let original = vec![5; 1500];
        let mut buf = vec![0; 2000];
        let len = emit_error(&mut buf, (SRC, DST), (kind::PACKET_TOO_BIG, 0), 1400, &original);
        assert_eq!(len, 1240);
        let icmp = Icmpv6::parse(SRC, DST, &buf[..len]).unwrap();
        assert_eq!((icmp.kind, icmp.rest, icmp.payload.len()), (2, [0, 0, 5, 120], 1232));
        assert_eq!(emit_error(&mut buf[..60], (SRC, DST), (1, 4), 0, &original), 60);
    }
}
