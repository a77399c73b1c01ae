//! IPv6 headers (RFC 8200 section 3) and the extension headers in front of a transport header (section 4).

use core::net::Ipv6Addr;

use crate::DropReason;
use crate::bytes::{get, get16, header, put};

/// Length in bytes of the fixed header.
pub const HEADER_LEN: usize = 40;

/// Where the number of the first header behind the fixed one lies, in bytes.
pub const NEXT_HEADER_OFFSET: usize = 6;

/// Next header numbers of the extension headers (RFC 8200 section 4).
pub mod extension {
    /// Hop-by-hop options (section 4.3).
    pub const HOP_BY_HOP: u8 = 0;
    /// Routing (section 4.4).
    pub const ROUTING: u8 = 43;
    /// Fragment (section 4.5).
    pub const FRAGMENT: u8 = 44;
    /// Destination options (section 4.6).
    pub const DESTINATION: u8 = 60;
}

/// How many extension headers are followed. A sensible packet has each of three kinds once, and destination
/// options twice; the bound keeps a packet of nothing but headers from costing time.
pub(crate) const MAX_EXTENSIONS: usize = 8;

/// A packet, taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ipv6<'a> {
    /// The source.
    pub src: Ipv6Addr,
    /// The destination.
    pub dst: Ipv6Addr,
    /// The protocol of the payload, behind all extension headers.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// What follows the last extension header, without the padding behind the payload length.
    pub payload: &'a [u8],
    /// Where `payload` starts, in bytes from the start of the packet.
    pub transport_offset: usize,
}

impl<'a> Ipv6<'a> {
    /// Takes a packet apart. Checks version and payload length (padding behind it is cut off), and steps over
    /// hop-by-hop, routing and destination options; a fragment header is [`DropReason::Ipv6Fragment`].
    #[inline]
    pub fn parse(packet: &'a [u8]) -> Result<Self, DropReason> {
        let fixed = packet.first_chunk::<HEADER_LEN>().ok_or(DropReason::Ipv6Truncated)?;
        if fixed[0] >> 4 != 6 {
            return Err(DropReason::Ipv6BadVersion);
        }
        let end = HEADER_LEN + usize::from(get16(fixed, 4));
        let body = packet.get(HEADER_LEN..end).ok_or(DropReason::Ipv6BadPayloadLength)?;
        let (next_header, payload) = skip_extensions(fixed[NEXT_HEADER_OFFSET], body)?;
        Ok(Self {
            src: Ipv6Addr::from(get::<16>(fixed, 8)),
            dst: Ipv6Addr::from(get::<16>(fixed, 24)),
            next_header,
            hop_limit: fixed[7],
            payload,
            transport_offset: end - payload.len(),
        })
    }
}

/// Steps over the extension headers at the start of `body`: the transport protocol, and what is left of
/// `body`.
#[inline]
pub(crate) fn skip_extensions(mut next: u8, mut body: &[u8]) -> Result<(u8, &[u8]), DropReason> {
    for _ in 0..=MAX_EXTENSIONS {
        match next {
            extension::HOP_BY_HOP | extension::ROUTING | extension::DESTINATION => {
                (next, body) = skip_one(body)?;
            }
            extension::FRAGMENT => return Err(DropReason::Ipv6Fragment),
            _ => return Ok((next, body)),
        }
    }
    Err(DropReason::Ipv6TooManyExtensions)
}

/// The next header number and the rest behind one extension header.
fn skip_one(body: &[u8]) -> Result<(u8, &[u8]), DropReason> {
    let [next, units, ..] = *body else {
        return Err(DropReason::Ipv6ExtensionTruncated);
    };
    let rest = body.get((usize::from(units) + 1) * 8..).ok_or(DropReason::Ipv6ExtensionTruncated)?;
    Ok((next, rest))
}

/// What a header without extensions says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ipv6Repr {
    /// The source.
    pub src: Ipv6Addr,
    /// The destination.
    pub dst: Ipv6Addr,
    /// The protocol of the payload.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Length of what follows the header, in bytes, at most 65,535.
    pub payload_len: usize,
}

impl Ipv6Repr {
    /// Writes the header into the first [`HEADER_LEN`] bytes of `buf`, which must be that long.
    #[inline]
    pub fn emit(&self, buf: &mut [u8]) {
        debug_assert!(u16::try_from(self.payload_len).is_ok(), "an IPv6 payload over 65,535 bytes");
        let header = header::<HEADER_LEN>(buf);
        put(header, 0, [0x60, 0, 0, 0]);
        put(header, 4, (self.payload_len as u16).to_be_bytes());
        put(header, 6, [self.next_header, self.hop_limit]);
        put(header, 8, self.src.octets());
        put(header, 24, self.dst.octets());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipv4::protocol;

    fn packet(first: u8, body: &[u8]) -> Vec<u8> {
        let repr = Ipv6Repr {
            src: Ipv6Addr::LOCALHOST,
            dst: Ipv6Addr::UNSPECIFIED,
            next_header: first,
            hop_limit: 64,
            payload_len: body.len(),
        };
        let mut packet = vec![0; HEADER_LEN];
        repr.emit(&mut packet);
        packet.extend(body);
        packet
    }

    #[test]
    fn extension_headers_are_stepped_over() {
        let mut body = vec![extension::DESTINATION, 0, 1, 4, 0, 0, 0, 0];
        body.extend([protocol::UDP, 1]);
        body.extend([0; 14]);
        body.extend([1, 2, 3]);
        let packet = packet(extension::HOP_BY_HOP, &body);
        let ip = Ipv6::parse(&packet).unwrap();
        assert_eq!((ip.next_header, ip.payload, ip.transport_offset), (protocol::UDP, &[1, 2, 3][..], 64));
    }

    #[test]
    fn a_cut_extension_header_is_refused() {
        for body in [&[][..], &[6], &[6, 0, 0, 0, 0, 0, 0], &[6, 1, 0, 0, 0, 0, 0, 0]] {
            assert_eq!(
                Ipv6::parse(&packet(extension::ROUTING, body)),
                Err(DropReason::Ipv6ExtensionTruncated)
            );
        }
    }

    #[test]
    fn eight_extension_headers_are_followed_and_no_more() {
        let chain = |count: usize| {
            let mut body = [extension::DESTINATION, 0, 0, 0, 0, 0, 0, 0].repeat(count);
            body[(count - 1) * 8] = protocol::TCP;
            packet(extension::DESTINATION, &body)
        };
        assert_eq!(Ipv6::parse(&chain(8)).map(|ip| ip.next_header), Ok(protocol::TCP));
        assert_eq!(Ipv6::parse(&chain(9)), Err(DropReason::Ipv6TooManyExtensions));
    }

    #[test]
    fn a_fragment_is_refused_as_such() {
        assert_eq!(Ipv6::parse(&packet(extension::FRAGMENT, &[0; 8])), Err(DropReason::Ipv6Fragment));
    }

    #[test]
    fn each_bad_field_has_its_own_reason() {
        let mut packet = packet(protocol::UDP, &[0; 8]);
        assert_eq!(Ipv6::parse(&packet[..39]), Err(DropReason::Ipv6Truncated));
        assert_eq!(Ipv6::parse(&packet[..47]), Err(DropReason::Ipv6BadPayloadLength));
        packet[0] = 0x45;
        assert_eq!(Ipv6::parse(&packet), Err(DropReason::Ipv6BadVersion));
    }

    #[test]
    fn padding_behind_the_payload_length_is_cut() {
        let mut packet = packet(protocol::UDP, &[7; 8]);
        packet.extend([0; 5]);
        assert_eq!(Ipv6::parse(&packet).unwrap().payload, [7; 8]);
    }
}
