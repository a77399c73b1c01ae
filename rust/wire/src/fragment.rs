//! Fragments of IPv4 (RFC 791 section 3.2) and IPv6 packets (RFC 8200 section 4.5), seen alike.

use core::net::{IpAddr, Ipv6Addr};

use crate::DropReason;
use crate::bytes::{get, get16, header, put};
use crate::ipv4::{self, Ipv4};
use crate::ipv6::{self, MAX_EXTENSIONS, extension};

/// Length in bytes of IPv6's fragment header.
pub const HEADER_LEN: usize = 8;

/// Every fragment but the last holds a multiple of this many bytes.
pub const UNIT: usize = 8;

/// The most that a length field of IP can say: of an IPv4 packet all, of an IPv6 packet what follows the header.
const LONGEST: usize = u16::MAX as usize;

const MORE_V4: u16 = 0x2000;
const MORE_V6: u16 = 1;

/// What the fragments of one packet share.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    /// The source.
    pub src: IpAddr,
    /// The destination.
    pub dst: IpAddr,
    /// The protocol over IPv4; over IPv6, where it does not count, always [`extension::FRAGMENT`].
    pub protocol: u8,
    /// The identification.
    pub ident: u32,
}

/// A fragment, taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fragment<'a> {
    /// Which packet it is a part of.
    pub key: Key,
    /// Where its payload lies in that of the packet, in bytes; a multiple of 8.
    pub offset: usize,
    /// Whether more of the packet follows.
    pub more: bool,
    /// The fragment as it came, without padding.
    pub packet: &'a [u8],
    /// How many bytes of `packet` are headers that the whole packet has as well: over IPv4 the header with its options,
    /// over IPv6 everything in front of the fragment header.
    pub head_len: usize,
    /// Where in those the number of the header that follows lies, and what it is in the whole packet.
    pub next_header: (usize, u8),
    /// Its part of the payload, not empty unless it is the whole.
    pub payload: &'a [u8],
}

impl<'a> Fragment<'a> {
    /// Takes a packet apart if it is a fragment; `None` if it is a whole one. An IPv6 packet with a fragment header is a
    /// fragment even when nothing is missing ([`Self::is_whole`]).
    ///
    /// Beyond what the views of both headers check: a fragment that others follow holds a multiple of 8 bytes, none is
    /// empty, none reaches beyond what a length field can say, and the first of an IPv6 packet has all its extension
    /// headers (RFC 7112). Otherwise: [`DropReason::FragmentMalformed`].
    pub fn parse(packet: &'a [u8]) -> Result<Option<Self>, DropReason> {
        let fragment = match packet.first().map(|first| first >> 4) {
            Some(6) => parse_v6(packet)?,
            _ => parse_v4(packet)?,
        };
        match fragment {
            Some(fragment) if !fragment.is_sound() => Err(DropReason::FragmentMalformed),
            fragment => Ok(fragment),
        }
    }

    /// Whether nothing is missing: an "atomic" fragment, which belongs to no others (RFC 6946).
    pub fn is_whole(&self) -> bool {
        self.offset == 0 && !self.more
    }

    /// Where its payload ends in that of the packet, in bytes.
    pub fn end(&self) -> usize {
        self.offset + self.payload.len()
    }

    fn is_sound(&self) -> bool {
        let len = self.payload.len();
        let sized = if self.more { len > 0 && len.is_multiple_of(UNIT) } else { len > 0 || self.offset == 0 };
        sized && whole_fits(self.packet, self.head_len, self.end()) && self.has_extensions()
    }

    fn has_extensions(&self) -> bool {
        if self.key.src.is_ipv4() || self.offset != 0 {
            return true;
        }
        let chain = ipv6::skip_extensions(self.next_header.1, self.payload);
        chain.is_ok_and(|(_, rest)| !self.more || !rest.is_empty())
    }
}

fn parse_v4(packet: &[u8]) -> Result<Option<Fragment<'_>>, DropReason> {
    let ip = Ipv4::parse(packet)?;
    let key =
        Key { src: ip.src.into(), dst: ip.dst.into(), protocol: ip.protocol, ident: u32::from(ip.ident) };
    Ok(ip.is_fragment().then(|| Fragment {
        key,
        offset: usize::from(ip.fragment_offset),
        more: ip.more_fragments,
        packet: &packet[..ip.header.len() + ip.payload.len()],
        head_len: ip.header.len(),
        next_header: (ipv4::PROTOCOL_OFFSET, ip.protocol),
        payload: ip.payload,
    }))
}

fn parse_v6(packet: &[u8]) -> Result<Option<Fragment<'_>>, DropReason> {
    let fixed = packet.first_chunk::<{ ipv6::HEADER_LEN }>().ok_or(DropReason::Ipv6Truncated)?;
    let end = ipv6::HEADER_LEN + usize::from(get16(fixed, 4));
    let packet = packet.get(..end).ok_or(DropReason::Ipv6BadPayloadLength)?;
    let Some((next_at, head_len)) = find_header(packet)? else { return Ok(None) };
    let rest = packet[head_len..].split_first_chunk::<HEADER_LEN>();
    let (header, payload) = rest.ok_or(DropReason::Ipv6ExtensionTruncated)?;
    let place = get16(header, 2);
    let key = Key {
        src: Ipv6Addr::from(get::<16>(fixed, 8)).into(),
        dst: Ipv6Addr::from(get::<16>(fixed, 24)).into(),
        protocol: extension::FRAGMENT,
        ident: u32::from_be_bytes(get(header, 4)),
    };
    Ok(Some(Fragment {
        key,
        offset: usize::from(place & !7),
        more: place & MORE_V6 != 0,
        packet,
        head_len,
        next_header: (next_at, header[0]),
        payload,
    }))
}

/// Where the fragment header of an IPv6 packet is named and where it starts.
fn find_header(packet: &[u8]) -> Result<Option<(usize, usize)>, DropReason> {
    let (mut named, mut at) = (ipv6::NEXT_HEADER_OFFSET, ipv6::HEADER_LEN);
    for _ in 0..=MAX_EXTENSIONS {
        match packet[named] {
            extension::HOP_BY_HOP | extension::ROUTING | extension::DESTINATION => {
                let units = *packet.get(at + 1).ok_or(DropReason::Ipv6ExtensionTruncated)?;
                named = at;
                at += (usize::from(units) + 1) * 8;
            }
            extension::FRAGMENT if at <= packet.len() => return Ok(Some((named, at))),
            extension::FRAGMENT => return Err(DropReason::Ipv6ExtensionTruncated),
            _ => return Ok(None),
        }
    }
    Err(DropReason::Ipv6TooManyExtensions)
}

/// Whether a payload of `len` bytes behind the first `head_len` bytes of `packet` is one that its length field can say.
pub fn whole_fits(packet: &[u8], head_len: usize, len: usize) -> bool {
    let outside = if is_v6(packet) { ipv6::HEADER_LEN } else { 0 };
    head_len + len <= LONGEST + outside
}

fn is_v6(packet: &[u8]) -> bool {
    packet.first().is_some_and(|first| first >> 4 == 6)
}

/// Makes a whole packet of the headers of a first fragment and the whole payload behind them: `next_header` is that of
/// the fragment. Lengths and IPv4's checksum are made right, and what said that it was a fragment is cleared. The
/// length must be one of which [`whole_fits`] is true.
pub fn make_whole(packet: &mut [u8], next_header: (usize, u8)) {
    let len = packet.len();
    if is_v6(packet) {
        packet[next_header.0] = next_header.1;
        put(packet, 4, ((len - ipv6::HEADER_LEN) as u16).to_be_bytes());
    } else {
        put(packet, 2, (len as u16).to_be_bytes());
        put(packet, 6, [0; 2]);
        ipv4::fill_checksum(packet);
    }
}

/// What makes a packet a fragment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FragmentRepr {
    /// The identification; IPv4 has only its lower half.
    pub ident: u32,
    /// Where the payload lies in that of the packet, in bytes; a multiple of 8.
    pub offset: usize,
    /// Whether more of the packet follows.
    pub more: bool,
}

impl FragmentRepr {
    /// Makes the IPv4 header at the start of `packet` that of a fragment which ends with `packet`: total length,
    /// identification, offset, flags (don't-fragment is cleared) and checksum.
    pub fn emit_v4(&self, packet: &mut [u8]) {
        debug_assert!(self.offset.is_multiple_of(UNIT) && packet.len() <= LONGEST);
        let flags = if self.more { MORE_V4 } else { 0 };
        put(packet, 2, (packet.len() as u16).to_be_bytes());
        put(packet, 4, (self.ident as u16).to_be_bytes());
        put(packet, 6, (flags | (self.offset / UNIT) as u16).to_be_bytes());
        ipv4::fill_checksum(packet);
    }

    /// Writes an IPv6 fragment header into the first [`HEADER_LEN`] bytes of `buf`, which must be that long.
    pub fn emit_v6(&self, buf: &mut [u8], next_header: u8) {
        debug_assert!(self.offset.is_multiple_of(UNIT));
        let more = if self.more { MORE_V6 } else { 0 };
        let header = header::<HEADER_LEN>(buf);
        put(header, 0, [next_header, 0]);
        put(header, 2, (self.offset as u16 | more).to_be_bytes());
        put(header, 4, self.ident.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    use crate::ipv4::{Ipv4Repr, protocol};
    use crate::ipv6::Ipv6Repr;

    fn v4(payload: &[u8], repr: FragmentRepr) -> Vec<u8> {
        let (src, dst) = (Ipv4Addr::new(10, 0, 2, 15), Ipv4Addr::new(192, 0, 2, 1));
        let protocol = protocol::UDP;
        let ip = Ipv4Repr {
            src,
            dst,
            protocol,
            ttl: 64,
            ident: 0,
            dont_fragment: true,
            payload_len: payload.len(),
        };
        let mut packet = vec![0; ipv4::HEADER_LEN];
        ip.emit(&mut packet);
        packet.extend(payload);
        repr.emit_v4(&mut packet);
        packet
    }

    fn v6(before: &[u8], next_header: u8, payload: &[u8], repr: FragmentRepr) -> Vec<u8> {
        let first = if before.is_empty() { extension::FRAGMENT } else { extension::HOP_BY_HOP };
        let mut body = before.to_vec();
        let mut header = [0; HEADER_LEN];
        repr.emit_v6(&mut header, next_header);
        body.extend(header);
        body.extend(payload);
        let (src, dst) = (Ipv6Addr::LOCALHOST, Ipv6Addr::UNSPECIFIED);
        let ip = Ipv6Repr { src, dst, next_header: first, hop_limit: 64, payload_len: body.len() };
        let mut packet = vec![0; ipv6::HEADER_LEN];
        ip.emit(&mut packet);
        packet.extend(body);
        packet
    }

    const FIRST: FragmentRepr = FragmentRepr { ident: 0x1234, offset: 0, more: true };
    const LAST: FragmentRepr = FragmentRepr { ident: 0x1234, offset: 8, more: false };
    const HOP_BY_HOP: [u8; 8] = [extension::FRAGMENT, 0, 1, 4, 0, 0, 0, 0];

    fn parse(packet: &[u8]) -> Result<Fragment<'_>, DropReason> {
        Fragment::parse(packet).map(|fragment| fragment.expect("a fragment"))
    }

    #[test]
    fn an_ipv4_fragment_is_read_without_its_padding() {
        let mut packet = v4(&[1, 2, 3], LAST);
        packet.extend([0; 20]);
        let fragment = parse(&packet).unwrap();
        assert_eq!((fragment.offset, fragment.more, fragment.payload), (8, false, &[1, 2, 3][..]));
        assert_eq!((fragment.key.protocol, fragment.key.ident), (protocol::UDP, 0x1234));
        assert_eq!((fragment.packet.len(), fragment.head_len), (23, 20));
    }

    #[test]
    fn an_ipv6_fragment_is_read_behind_other_extension_headers() {
        let packet = v6(&HOP_BY_HOP, protocol::UDP, &[7; 16], FIRST);
        let fragment = parse(&packet).unwrap();
        assert_eq!((fragment.head_len, fragment.next_header), (48, (40, protocol::UDP)));
        assert_eq!((fragment.offset, fragment.more, fragment.payload), (0, true, &[7; 16][..]));
        assert_eq!((fragment.key.protocol, fragment.key.ident), (extension::FRAGMENT, 0x1234));
    }

    #[test]
    fn whole_packets_are_no_fragments_but_atomic_ones_are() {
        let whole = FragmentRepr { more: false, ..FIRST };
        assert_eq!(Fragment::parse(&v4(&[0; 8], whole)), Ok(None));
        let packet = v6(&[], protocol::UDP, &[0; 9], whole);
        assert!(parse(&packet).unwrap().is_whole());
        let mut plain = packet.clone();
        plain[6] = protocol::UDP;
        assert_eq!(Fragment::parse(&plain), Ok(None));
    }

    #[test]
    fn a_fragment_that_cannot_be_placed_is_malformed() {
        let far = FragmentRepr { offset: 65_528, ..LAST };
        let bad = Err(DropReason::FragmentMalformed);
        for (payload, repr) in [(&[0; 9][..], FIRST), (&[], FIRST), (&[], LAST), (&[0; 8], far)] {
            assert_eq!(Fragment::parse(&v4(payload, repr)), bad);
            assert_eq!(Fragment::parse(&v6(&[], protocol::UDP, payload, repr)), bad);
        }
    }

    #[test]
    fn the_longest_packets_can_be_told_from_longer_ones() {
        let end = |len: usize| (vec![0; len % 8], FragmentRepr { offset: len & !7, ..LAST });
        for (len, fits) in [(65_515, true), (65_516, false)] {
            let (payload, repr) = end(len);
            assert_eq!(Fragment::parse(&v4(&payload, repr)).is_ok(), fits, "{len}");
        }
        let (payload, repr) = end(65_535);
        assert!(Fragment::parse(&v6(&[], protocol::UDP, &payload, repr)).is_ok());
        assert!(Fragment::parse(&v6(&HOP_BY_HOP, protocol::UDP, &payload, repr)).is_err());
    }

    #[test]
    fn the_first_fragment_of_an_ipv6_packet_has_all_extension_headers() {
        let chain = [protocol::UDP, 1, 0, 0, 0, 0, 0, 0];
        for (next, payload) in [(extension::DESTINATION, &chain[..]), (extension::FRAGMENT, &[17; 16])] {
            let packet = v6(&[], next, payload, FIRST);
            assert_eq!(Fragment::parse(&packet), Err(DropReason::FragmentMalformed));
            let later = v6(&[], next, payload, LAST);
            assert!(parse(&later).is_ok(), "a later fragment is not looked into");
        }
        let exactly = [protocol::UDP, 0, 0, 0, 0, 0, 0, 0];
        assert!(Fragment::parse(&v6(&[], extension::DESTINATION, &exactly, FIRST)).is_err());
    }

    #[test]
    fn a_cut_fragment_header_is_refused() {
        let mut packet = v6(&[], protocol::UDP, &[], LAST);
        packet.truncate(47);
        packet[5] = 7;
        assert_eq!(Fragment::parse(&packet), Err(DropReason::Ipv6ExtensionTruncated));
        assert_eq!(Fragment::parse(&packet[..39]), Err(DropReason::Ipv6Truncated));
        assert_eq!(Fragment::parse(&packet[..46]), Err(DropReason::Ipv6BadPayloadLength));
        assert_eq!(Fragment::parse(&[]), Err(DropReason::Ipv4Truncated));
    }
}
