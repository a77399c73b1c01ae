//! IP headers of either family behind one view, for whoever does not care which.

use core::net::IpAddr;

use crate::checksum;
use crate::ipv4::{self, Ipv4, Ipv4Repr};
use crate::ipv6::{self, Ipv6, Ipv6Repr};

/// A packet of either family, taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ip<'a> {
    /// The source.
    pub src: IpAddr,
    /// The destination, of the same family.
    pub dst: IpAddr,
    /// The transport protocol, behind all extension headers.
    pub protocol: u8,
    /// TTL or hop limit.
    pub hops: u8,
    /// Whether the packet must not be fragmented on its way; over IPv6 no packet may, except by its sender.
    pub dont_fragment: bool,
    /// What follows the IP headers, without padding.
    pub payload: &'a [u8],
    /// The whole packet from its first header on, without padding.
    pub packet: &'a [u8],
}

impl<'a> From<(Ipv4<'a>, &'a [u8])> for Ip<'a> {
    /// A view and the packet it was made of.
    fn from((ip, packet): (Ipv4<'a>, &'a [u8])) -> Self {
        let end = usize::from(packet[0] & 0x0f) * 4 + ip.payload.len();
        Ip {
            src: ip.src.into(),
            dst: ip.dst.into(),
            protocol: ip.protocol,
            hops: ip.ttl,
            dont_fragment: ip.dont_fragment,
            payload: ip.payload,
            packet: &packet[..end],
        }
    }
}

impl<'a> From<(Ipv6<'a>, &'a [u8])> for Ip<'a> {
    /// A view and the packet it was made of.
    fn from((ip, packet): (Ipv6<'a>, &'a [u8])) -> Self {
        Ip {
            src: ip.src.into(),
            dst: ip.dst.into(),
            protocol: ip.next_header,
            hops: ip.hop_limit,
            dont_fragment: true,
            payload: ip.payload,
            packet: &packet[..ip.transport_offset + ip.payload.len()],
        }
    }
}

impl Ip<'_> {
    /// The partial sum of the pseudo header for the payload.
    #[inline]
    pub fn pseudo(&self) -> u32 {
        pseudo(self.src, self.dst, self.protocol, self.payload.len())
    }
}

/// The length of the header without options or extensions that goes with an address.
#[inline]
pub fn header_len(addr: IpAddr) -> usize {
    if addr.is_ipv4() { ipv4::HEADER_LEN } else { ipv6::HEADER_LEN }
}

/// The partial sum of the pseudo header of TCP, UDP and (IPv6 only) ICMP; both addresses are of one family, or the
/// sum is that of nothing.
#[inline]
pub fn pseudo(src: IpAddr, dst: IpAddr, protocol: u8, len: usize) -> u32 {
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => checksum::pseudo_v4(src, dst, protocol, len),
        (IpAddr::V6(src), IpAddr::V6(dst)) => checksum::pseudo_v6(src, dst, protocol, len),
        _ => 0,
    }
}

/// What a header without options or extensions says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IpRepr {
    /// The source.
    pub src: IpAddr,
    /// The destination, of the same family.
    pub dst: IpAddr,
    /// The protocol of the payload.
    pub protocol: u8,
    /// TTL or hop limit.
    pub hops: u8,
    /// Length of what follows the header, in bytes.
    pub payload_len: usize,
}

impl IpRepr {
    /// Writes the header into the first bytes of `buf` and returns its length. An IPv4 packet may not be fragmented.
    ///
    /// # Panics
    /// When the buffer is shorter, or the addresses are of two families.
    #[inline]
    pub fn emit(&self, buf: &mut [u8]) -> usize {
        match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let header = Ipv4Repr {
                    src,
                    dst,
                    protocol: self.protocol,
                    ttl: self.hops,
                    ident: 0,
                    dont_fragment: true,
                    payload_len: self.payload_len,
                };
                header.emit(buf);
                ipv4::HEADER_LEN
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let (next_header, hop_limit, payload_len) = (self.protocol, self.hops, self.payload_len);
                Ipv6Repr { src, dst, next_header, hop_limit, payload_len }.emit(buf);
                ipv6::HEADER_LEN
            }
            _ => panic!("a packet between two address families"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipv4::protocol;

    fn there_and_back(src: &str, dst: &str) {
        let repr = IpRepr {
            src: src.parse().unwrap(),
            dst: dst.parse().unwrap(),
            protocol: protocol::UDP,
            hops: 7,
            payload_len: 3,
        };
        let mut packet = vec![9; 100];
        let len = repr.emit(&mut packet);
        assert_eq!(len, header_len(repr.src));
        let ip: Ip<'_> = if repr.src.is_ipv4() {
            (Ipv4::parse(&packet).unwrap(), &packet[..]).into()
        } else {
            (Ipv6::parse(&packet).unwrap(), &packet[..]).into()
        };
        assert_eq!((ip.src, ip.dst, ip.protocol, ip.hops), (repr.src, repr.dst, repr.protocol, 7));
        assert_eq!((ip.payload, ip.packet), (&[9; 3][..], &packet[..len + 3]));
    }

    #[test]
    fn a_header_of_either_family_survives_and_padding_is_cut() {
        there_and_back("10.0.2.2", "10.0.2.15");
        there_and_back("fec0::2", "fec0::15");
    }
}
