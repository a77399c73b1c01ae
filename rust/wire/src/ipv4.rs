//! IPv4 headers (RFC 791 section 3.1).

use core::net::Ipv4Addr;

use crate::bytes::{get, get16, header, put};
use crate::{DropReason, checksum};

/// Length in bytes of a header without options, the only one that is emitted.
pub const HEADER_LEN: usize = 20;

/// Where the protocol lies in the header, in bytes.
pub const PROTOCOL_OFFSET: usize = 9;

/// Protocol numbers (IANA), shared with IPv6's next header.
pub mod protocol {
    /// ICMP (RFC 792).
    pub const ICMP: u8 = 1;
    /// TCP (RFC 9293).
    pub const TCP: u8 = 6;
    /// UDP (RFC 768).
    pub const UDP: u8 = 17;
}

const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET_MASK: u16 = 0x1fff;

/// A packet, taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ipv4<'a> {
    /// The source.
    pub src: Ipv4Addr,
    /// The destination.
    pub dst: Ipv4Addr,
    /// The protocol of the payload, one of [`protocol`] or another.
    pub protocol: u8,
    /// Time to live, in hops.
    pub ttl: u8,
    /// Identification, which the fragments of one packet share.
    pub ident: u16,
    /// Whether routers must not fragment the packet.
    pub dont_fragment: bool,
    /// Whether fragments follow this one.
    pub more_fragments: bool,
    /// Where this fragment lies in its packet, in bytes.
    pub fragment_offset: u16,
    /// The header with its options.
    pub header: &'a [u8],
    /// What follows the header, without the padding behind the total length.
    pub payload: &'a [u8],
}

impl<'a> Ipv4<'a> {
    /// Takes a packet apart. Checks version, header length, total length (padding behind it is cut off) and
    /// the header checksum; options are not looked at.
    #[inline]
    pub fn parse(packet: &'a [u8]) -> Result<Self, DropReason> {
        let fixed = packet.first_chunk::<HEADER_LEN>().ok_or(DropReason::Ipv4Truncated)?;
        let (header, payload) = split(packet, fixed)?;
        if checksum::add(0, header) != 0xffff {
            return Err(DropReason::Ipv4BadChecksum);
        }
        let fragment = get16(fixed, 6);
        Ok(Self {
            src: Ipv4Addr::from(get::<4>(fixed, 12)),
            dst: Ipv4Addr::from(get::<4>(fixed, 16)),
            protocol: fixed[9],
            ttl: fixed[8],
            ident: get16(fixed, 4),
            dont_fragment: fragment & DONT_FRAGMENT != 0,
            more_fragments: fragment & MORE_FRAGMENTS != 0,
            fragment_offset: (fragment & OFFSET_MASK) << 3,
            header,
            payload,
        })
    }

    /// Whether the packet is a part of a larger one.
    #[inline]
    pub fn is_fragment(&self) -> bool {
        self.more_fragments || self.fragment_offset != 0
    }
}

/// Header with options, and payload up to the total length.
#[inline]
fn split<'a>(packet: &'a [u8], fixed: &[u8; HEADER_LEN]) -> Result<(&'a [u8], &'a [u8]), DropReason> {
    if fixed[0] >> 4 != 4 {
        return Err(DropReason::Ipv4BadVersion);
    }
    let header_len = usize::from(fixed[0] & 0x0f) * 4;
    if header_len < HEADER_LEN {
        return Err(DropReason::Ipv4BadHeaderLength);
    }
    let packet = packet.get(..usize::from(get16(fixed, 2))).ok_or(DropReason::Ipv4BadTotalLength)?;
    packet.split_at_checked(header_len).ok_or(DropReason::Ipv4BadTotalLength)
}

/// What a header without options says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ipv4Repr {
    /// The source.
    pub src: Ipv4Addr,
    /// The destination.
    pub dst: Ipv4Addr,
    /// The protocol of the payload.
    pub protocol: u8,
    /// Time to live, in hops.
    pub ttl: u8,
    /// Identification.
    pub ident: u16,
    /// Whether routers must not fragment the packet.
    pub dont_fragment: bool,
    /// Length of what follows the header, in bytes, at most 65,515.
    pub payload_len: usize,
}

impl Ipv4Repr {
    /// Writes the header with its checksum into the first [`HEADER_LEN`] bytes of `buf`, which must be that
    /// long.
    #[inline]
    pub fn emit(&self, buf: &mut [u8]) {
        debug_assert!(
            self.payload_len <= usize::from(u16::MAX) - HEADER_LEN,
            "an IPv4 packet over 65,535 bytes"
        );
        let header = header::<HEADER_LEN>(buf);
        let flags = if self.dont_fragment { DONT_FRAGMENT } else { 0 };
        put(header, 0, [0x45, 0]);
        put(header, 2, ((HEADER_LEN + self.payload_len) as u16).to_be_bytes());
        put(header, 4, self.ident.to_be_bytes());
        put(header, 6, flags.to_be_bytes());
        put(header, 8, [self.ttl, self.protocol, 0, 0]);
        put(header, 12, self.src.octets());
        put(header, 16, self.dst.octets());
        fill_checksum(header);
    }
}

/// Makes the checksum of the header at the start of `packet` right; its length field must fit `packet`.
#[inline]
pub fn fill_checksum(packet: &mut [u8]) {
    let len = usize::from(packet[0] & 0x0f) * 4;
    put(packet, 10, [0; 2]);
    let sum = checksum::finish(checksum::add(0, &packet[..len]));
    put(packet, 10, sum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header from a capture of a DNS query, with two bytes of payload and two of padding.
    const PACKET: [u8; 24] = [
        0x45, 0x00, 0x00, 0x16, 0x1c, 0x46, 0x40, 0x00, 0x40, 0x11, 0x06, 0x5f, 10, 0, 2, 15, 10, 0, 2, 3,
        0xaa, 0xbb, 0, 0,
    ];

    fn with(at: usize, value: u8) -> [u8; 24] {
        let mut packet = PACKET;
        packet[at] = value;
        packet[10..12].fill(0);
        let sum = checksum::finish(checksum::add(0, &packet[..20]));
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet
    }

    #[test]
    fn a_packet_is_read_and_its_padding_cut() {
        let packet = with(0, 0x45);
        let ip = Ipv4::parse(&packet).unwrap();
        assert_eq!((ip.src, ip.dst), (Ipv4Addr::new(10, 0, 2, 15), Ipv4Addr::new(10, 0, 2, 3)));
        assert_eq!((ip.protocol, ip.ttl, ip.ident), (protocol::UDP, 64, 0x1c46));
        assert!(ip.dont_fragment && !ip.is_fragment());
        assert_eq!((ip.header.len(), ip.payload), (20, &[0xaa, 0xbb][..]));
    }

    #[test]
    fn each_bad_field_has_its_own_reason() {
        assert_eq!(Ipv4::parse(&PACKET[..19]), Err(DropReason::Ipv4Truncated));
        assert_eq!(Ipv4::parse(&with(0, 0x65)), Err(DropReason::Ipv4BadVersion));
        assert_eq!(Ipv4::parse(&with(0, 0x44)), Err(DropReason::Ipv4BadHeaderLength));
        assert_eq!(Ipv4::parse(&with(0, 0x46)), Err(DropReason::Ipv4BadTotalLength));
        assert_eq!(Ipv4::parse(&with(3, 19)), Err(DropReason::Ipv4BadTotalLength));
        assert_eq!(Ipv4::parse(&with(3, 25)), Err(DropReason::Ipv4BadTotalLength));
        let mut wrong = with(0, 0x45);
        wrong[8] -= 1;
        assert_eq!(Ipv4::parse(&wrong), Err(DropReason::Ipv4BadChecksum));
    }

    #[test]
    fn fragments_are_recognised_by_flag_and_by_offset() {
        let (first, last) = (with(6, 0x20), with(7, 0x02));
        let (first, last) = (Ipv4::parse(&first).unwrap(), Ipv4::parse(&last).unwrap());
        assert!(first.is_fragment() && first.more_fragments);
        assert!(last.is_fragment() && last.fragment_offset == 16);
    }
}
