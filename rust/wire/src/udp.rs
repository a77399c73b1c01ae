//! UDP headers (RFC 768).

use crate::DropReason;
use crate::bytes::{get16, header, put};

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 8;

/// Where the checksum lies in the header, in bytes.
pub const CHECKSUM_OFFSET: usize = 6;

/// A datagram, taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Udp<'a> {
    /// The source port.
    pub src_port: u16,
    /// The destination port.
    pub dst_port: u16,
    /// The checksum as the header carries it; 0 over IPv4 where the sender made none.
    pub checksum: u16,
    /// What follows the header, without the padding behind the length.
    pub payload: &'a [u8],
}

impl<'a> Udp<'a> {
    /// Takes a datagram apart. Checks the length (padding behind it is cut off); the checksum is not looked
    /// at.
    #[inline]
    pub fn parse(datagram: &'a [u8]) -> Result<Self, DropReason> {
        let header = datagram.first_chunk::<HEADER_LEN>().ok_or(DropReason::UdpTruncated)?;
        let payload =
            datagram.get(HEADER_LEN..usize::from(get16(header, 4))).ok_or(DropReason::UdpBadLength)?;
        Ok(Self {
            src_port: get16(header, 0),
            dst_port: get16(header, 2),
            checksum: get16(header, CHECKSUM_OFFSET),
            payload,
        })
    }
}

/// What a header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UdpRepr {
    /// The source port.
    pub src_port: u16,
    /// The destination port.
    pub dst_port: u16,
    /// Length of what follows the header, in bytes, at most 65,527.
    pub payload_len: usize,
}

impl UdpRepr {
    /// Writes the header into the first [`HEADER_LEN`] bytes of `buf`, which must be that long. The checksum
    /// field is 0: it covers the payload, which only the caller has.
    #[inline]
    pub fn emit(&self, buf: &mut [u8]) {
        debug_assert!(
            self.payload_len <= usize::from(u16::MAX) - HEADER_LEN,
            "a UDP datagram over 65,535 bytes"
        );
        let header = header::<HEADER_LEN>(buf);
        put(header, 0, self.src_port.to_be_bytes());
        put(header, 2, self.dst_port.to_be_bytes());
        put(header, 4, ((HEADER_LEN + self.payload_len) as u16).to_be_bytes());
        put(header, CHECKSUM_OFFSET, [0; 2]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_must_cover_the_header_and_fit_the_packet() {
        let datagram = |len: u8| [0, 53, 0, 54, 0, len, 0xab, 0xcd, 1, 2];
        assert_eq!(Udp::parse(&datagram(10)[..7]), Err(DropReason::UdpTruncated));
        assert_eq!(Udp::parse(&datagram(7)), Err(DropReason::UdpBadLength));
        assert_eq!(Udp::parse(&datagram(11)), Err(DropReason::UdpBadLength));
        assert_eq!(Udp::parse(&datagram(8)).unwrap().payload, []);
        assert_eq!(Udp::parse(&datagram(9)).unwrap().payload, [1], "padding is cut");
        assert_eq!(Udp::parse(&datagram(10)).unwrap().checksum, 0xabcd);
    }
}
