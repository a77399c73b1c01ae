//! Ethernet II frames (IEEE 802.3 clause 3; RFC 894 for IPv4 on top), without preamble and frame check
//! sequence.

use core::fmt;
use core::str::FromStr;

use crate::DropReason;
use crate::bytes::{get, get16, header, put};

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 14;

/// Ethernet types (IANA, IEEE 802 numbers).
pub mod ethertype {
    /// IPv4 (RFC 894).
    pub const IPV4: u16 = 0x0800;
    /// ARP (RFC 826).
    pub const ARP: u16 = 0x0806;
    /// IPv6 (RFC 2464 section 3).
    pub const IPV6: u16 = 0x86dd;
    /// A VLAN tag (IEEE 802.1Q section 9.4).
    pub const VLAN: u16 = 0x8100;
    /// The outer one of two VLAN tags (IEEE 802.1Q section 9.4, service tag).
    pub const SERVICE_VLAN: u16 = 0x88a8;
}

/// A hardware address (EUI-48).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The address of every station.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Whether this is a group address, the broadcast address included (IEEE 802 section 8.2).
    pub fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, octet) in self.0.iter().enumerate() {
            let colon = if place == 0 { "" } else { ":" };
            write!(f, "{colon}{octet:02x}")?;
        }
        Ok(())
    }
}

/// The text is not a hardware address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MacError;

impl fmt::Display for MacError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a hardware address is six pairs of hexadecimal digits, such as 52:54:00:12:34:56")
    }
}

impl core::error::Error for MacError {}

impl FromStr for Mac {
    type Err = MacError;

    /// Reads six groups of one or two hexadecimal digits, joined by `:` or `-` (what QEMU's `mac=` takes).
    fn from_str(text: &str) -> Result<Self, MacError> {
        let mut groups = text.split([':', '-']);
        let mut octets = [0; 6];
        for octet in &mut octets {
            *octet = groups.next().and_then(parse_octet).ok_or(MacError)?;
        }
        if groups.next().is_some() { Err(MacError) } else { Ok(Self(octets)) }
    }
}

fn parse_octet(group: &str) -> Option<u8> {
    // from_str_radix alone would take a sign.
    let digits = group.len() <= 2 && group.bytes().all(|b| b.is_ascii_hexdigit());
    if digits { u8::from_str_radix(group, 16).ok() } else { None }
}

/// A frame, taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ethernet<'a> {
    /// The destination.
    pub dst: Mac,
    /// The source.
    pub src: Mac,
    /// The type of the payload, one of [`ethertype`] or another; [`ethertype::VLAN`] where the frame is
    /// tagged.
    pub ethertype: u16,
    /// What follows the header, trailing padding included.
    pub payload: &'a [u8],
}

impl<'a> Ethernet<'a> {
    /// Takes a frame apart; [`DropReason::EthernetTruncated`] when it is shorter than a header.
    #[inline]
    pub fn parse(frame: &'a [u8]) -> Result<Self, DropReason> {
        let (header, payload) =
            frame.split_first_chunk::<HEADER_LEN>().ok_or(DropReason::EthernetTruncated)?;
        Ok(Self { dst: Mac(get(header, 0)), src: Mac(get(header, 6)), ethertype: get16(header, 12), payload })
    }
}

/// Writes the header into the first [`HEADER_LEN`] bytes of `buf`, which must be that long.
#[inline]
pub fn emit(buf: &mut [u8], dst: Mac, src: Mac, ethertype: u16) {
    let header = header::<HEADER_LEN>(buf);
    put(header, 0, dst.0);
    put(header, 6, src.0);
    put(header, 12, ethertype.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_what_they_print() {
        let mac = Mac([0x52, 0x54, 0, 0x12, 0x34, 0xff]);
        assert_eq!(mac.to_string(), "52:54:00:12:34:ff");
        assert_eq!("52:54:00:12:34:ff".parse(), Ok(mac));
        assert_eq!("52-54-0-12-34-FF".parse(), Ok(mac));
    }

    #[test]
    fn other_texts_are_no_addresses() {
        for text in [
            "",
            "52:54:00:12:34",
            "52:54:00:12:34:56:78",
            "52:54:00:12:34:",
            "+1:2:3:4:5:6",
            "152:1:2:3:4:5",
            "012:1:2:3:4:5",
            "g:1:2:3:4:5",
        ] {
            assert_eq!(text.parse::<Mac>(), Err(MacError), "{text}");
        }
    }

    #[test]
    fn the_group_bit_makes_an_address_multicast() {
        assert!(Mac::BROADCAST.is_multicast());
        assert!(Mac([0x33, 0x33, 0, 0, 0, 1]).is_multicast());
        assert!(!Mac([0x52, 0x54, 0, 0, 0, 1]).is_multicast());
    }

    #[test]
    fn thirteen_bytes_are_no_frame() {
        assert_eq!(Ethernet::parse(&[0; 13]), Err(DropReason::EthernetTruncated));
        assert!(Ethernet::parse(&[0; 14]).is_ok_and(|e| e.payload.is_empty()));
    }
}
