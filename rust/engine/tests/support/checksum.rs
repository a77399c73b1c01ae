//! Checksums the slow way, knowing nothing of the code that is tested.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The one's complement sum of all bytes in a row (RFC 1071); `0xffff` over data whose checksum is right.
pub fn ones_sum<'a>(bytes: impl IntoIterator<Item = &'a u8>) -> u16 {
    let mut sum = 0_u64;
    for (at, byte) in bytes.into_iter().enumerate() {
        sum += if at % 2 == 0 { u64::from(*byte) << 8 } else { u64::from(*byte) };
    }
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

/// The sum of a TCP or UDP segment with its pseudo header.
pub fn transport_sum(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, segment: &[u8]) -> u16 {
    let len = (segment.len() as u16).to_be_bytes();
    let mut pseudo = Vec::with_capacity(12);
    pseudo.extend(src.octets());
    pseudo.extend(dst.octets());
    pseudo.extend([0, protocol, len[0], len[1]]);
    ones_sum(pseudo.iter().chain(segment))
}

/// The sum of a TCP, UDP or ICMP message over IPv6 with its pseudo header (RFC 8200 section 8.1).
pub fn transport_sum_v6(src: Ipv6Addr, dst: Ipv6Addr, protocol: u8, segment: &[u8]) -> u16 {
    let mut pseudo = Vec::with_capacity(40);
    pseudo.extend(src.octets());
    pseudo.extend(dst.octets());
    pseudo.extend((segment.len() as u32).to_be_bytes());
    pseudo.extend([0, 0, 0, protocol]);
    ones_sum(pseudo.iter().chain(segment))
}
