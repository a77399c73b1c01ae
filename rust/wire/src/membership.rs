//! Who wants which group: IGMP (RFC 1112 appendix I, RFC 2236, RFC 3376) and MLD (RFC 2710, RFC 3810) as a switch
//! reads them in passing (RFC 4541).
//!
//! A switch sorts by hardware address, so groups are named by theirs; that several groups share one makes a port get
//! more than it asked for, never less. Lists of sources are not looked at for the same reason: a port that wants some
//! sources of a group gets the group.

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::bytes::get;
use crate::ethernet::{HEADER_LEN, Mac, ethertype};
use crate::ipv4::Ipv4;
use crate::ipv6::Ipv6;
use crate::vlan::{TAG_LEN, Tag};
use crate::{checksum, icmpv6};

/// IP protocol number of IGMP.
const IGMP: u8 = 2;
/// Length of an IGMP message of versions 1 and 2, and of the header of a report of version 3.
const IGMP_LEN: usize = 8;
/// Length of an MLD message of version 1, ICMPv6 header included.
const MLD_LEN: usize = 24;

mod igmp {
    pub const QUERY: u8 = 0x11;
    pub const REPORT_V1: u8 = 0x12;
    pub const REPORT_V2: u8 = 0x16;
    pub const LEAVE: u8 = 0x17;
    pub const REPORT_V3: u8 = 0x22;
}

mod mld {
    pub const QUERY: u8 = 130;
    pub const REPORT_V1: u8 = 131;
    pub const DONE: u8 = 132;
    pub const REPORT_V2: u8 = 143;
}

/// Record types of version 3 and MLD version 2 (RFC 3376 section 4.2.12).
mod record {
    pub const CHANGE_TO_INCLUDE: u8 = 3;
    pub const BLOCK_OLD: u8 = 6;
    pub const EXCLUDE: [u8; 2] = [2, 4];
}

/// What a message says about one group or about its sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Notice {
    /// A router asks who is there.
    Query,
    /// The sender wants the group.
    Join(Mac),
    /// The sender wants it no longer.
    Leave(Mac),
}

/// Which kind of message a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// From a router to everybody.
    Query,
    /// From a member: for routers, and for nobody else, or other members keep their reports back.
    Report,
}

/// Reads `frame`, tagged or not, and calls `each` with everything it says; `None` when it is no message of the kind,
/// is damaged, or comes from no place it could come from.
pub fn parse(frame: &[u8], each: &mut dyn FnMut(Notice)) -> Option<Kind> {
    let at = HEADER_LEN + if Tag::of(frame).is_some() { TAG_LEN } else { 0 };
    let packet = frame.get(at..)?;
    match u16::from_be_bytes([*frame.get(at - 2)?, *frame.get(at - 1)?]) {
        ethertype::IPV4 => parse_igmp(packet, each),
        ethertype::IPV6 => parse_mld(packet, each),
        _ => None,
    }
}

fn parse_igmp(packet: &[u8], each: &mut dyn FnMut(Notice)) -> Option<Kind> {
    // The second byte is quicker than a parser, and most frames are something else.
    if *packet.get(9)? != IGMP {
        return None;
    }
    let ip = Ipv4::parse(packet).ok().filter(|ip| ip.ttl == 1 && !ip.is_fragment())?;
    let message = ip.payload.first_chunk::<IGMP_LEN>()?;
    if checksum::add(0, ip.payload) != 0xffff {
        return None;
    }
    let group = Ipv4Addr::from(get::<4>(message, 4));
    match message[0] {
        // A snooping switch asks from 0.0.0.0, and is no router (RFC 4541 section 2.1.1).
        igmp::QUERY if ip.src.is_unspecified() => return None,
        igmp::QUERY => {
            each(Notice::Query);
            return Some(Kind::Query);
        }
        igmp::REPORT_V1 | igmp::REPORT_V2 => each(Notice::Join(mac_v4(group)?)),
        igmp::LEAVE => each(Notice::Leave(mac_v4(group)?)),
        igmp::REPORT_V3 => {
            let group = |record: &[u8]| mac_v4(Ipv4Addr::from(get::<4>(record, 4)));
            records(message[6..8].try_into().ok()?, &ip.payload[IGMP_LEN..], 4, &group, each);
        }
        _ => return None,
    }
    Some(Kind::Report)
}

fn parse_mld(packet: &[u8], each: &mut dyn FnMut(Notice)) -> Option<Kind> {
    // Messages carry a router alert, so the next header is hop-by-hop options (RFC 2710 section 3).
    if *packet.get(6)? != 0 {
        return None;
    }
    let ip = Ipv6::parse(packet).ok()?;
    let message = ip.payload;
    let local = ip.hop_limit == 1 && (ip.src.is_unicast_link_local() || ip.src.is_unspecified());
    if ip.next_header != icmpv6::PROTOCOL || !local || message.len() < IGMP_LEN || !sum_is_right(&ip) {
        return None;
    }
    match message[0] {
        mld::QUERY if ip.src.is_unspecified() => return None,
        mld::QUERY => {
            each(Notice::Query);
            return Some(Kind::Query);
        }
        mld::REPORT_V1 => each(Notice::Join(group_v6(message)?)),
        mld::DONE => each(Notice::Leave(group_v6(message)?)),
        mld::REPORT_V2 => {
            let group = |record: &[u8]| mac_v6(Ipv6Addr::from(get::<16>(record, 4)));
            records(message[6..8].try_into().ok()?, &message[IGMP_LEN..], 16, &group, each);
        }
        _ => return None,
    }
    Some(Kind::Report)
}

fn sum_is_right(ip: &Ipv6<'_>) -> bool {
    let pseudo = checksum::pseudo_v6(ip.src, ip.dst, icmpv6::PROTOCOL, ip.payload.len());
    checksum::fold(checksum::add(pseudo, ip.payload)) == 0xffff
}

fn group_v6(message: &[u8]) -> Option<Mac> {
    let message = message.first_chunk::<MLD_LEN>()?;
    mac_v6(Ipv6Addr::from(get::<16>(message, 8)))
}

/// Go through the records of a report; `address` is the length of an address. A record that is cut off ends it.
fn records(
    count: [u8; 2],
    mut rest: &[u8],
    address: usize,
    group: &dyn Fn(&[u8]) -> Option<Mac>,
    each: &mut dyn FnMut(Notice),
) {
    for _ in 0..u16::from_be_bytes(count) {
        let head = 4 + address;
        let Some(record) = rest.get(..head) else { return };
        let sources = usize::from(u16::from_be_bytes([record[2], record[3]]));
        let len = head + sources * address + usize::from(record[1]) * 4;
        let Some(tail) = rest.get(len..) else { return };
        if let Some(notice) = group(record).and_then(|mac| notice(record[0], sources, mac)) {
            each(notice);
        }
        rest = tail;
    }
}

fn notice(kind: u8, sources: usize, group: Mac) -> Option<Notice> {
    match kind {
        record::CHANGE_TO_INCLUDE if sources == 0 => Some(Notice::Leave(group)),
        kind if record::EXCLUDE.contains(&kind) => Some(Notice::Join(group)),
        1..record::BLOCK_OLD if sources > 0 => Some(Notice::Join(group)),
        _ => None,
    }
}

/// The hardware address of a group (RFC 1112 section 6.4).
pub fn mac_v4(group: Ipv4Addr) -> Option<Mac> {
    let [_, b, c, d] = group.octets();
    group.is_multicast().then_some(Mac([0x01, 0x00, 0x5e, b & 0x7f, c, d]))
}

/// The hardware address of a group (RFC 2464 section 7).
pub fn mac_v6(group: Ipv6Addr) -> Option<Mac> {
    let [.., a, b, c, d] = group.octets();
    group.is_multicast().then_some(Mac([0x33, 0x33, a, b, c, d]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipv4::Ipv4Repr;
    use crate::{ethernet, ipv6};
    use proptest::prelude::*;

    fn read(frame: &[u8]) -> (Option<Kind>, Vec<Notice>) {
        let mut notices = Vec::new();
        let kind = parse(frame, &mut |notice| notices.push(notice));
        (kind, notices)
    }

    fn igmp_frame(src: &str, ttl: u8, mut message: Vec<u8>) -> Vec<u8> {
        message[2..4].fill(0);
        let sum = checksum::finish(checksum::add(0, &message));
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let mut frame = vec![0; 34];
        ethernet::emit(&mut frame, Mac([1, 0, 0x5e, 0, 0, 1]), Mac([2; 6]), ethertype::IPV4);
        let (src, dst) = (src.parse().unwrap(), Ipv4Addr::new(224, 0, 0, 1));
        let payload_len = message.len();
        let repr = Ipv4Repr { src, dst, protocol: IGMP, ttl, ident: 0, dont_fragment: false, payload_len };
        repr.emit(&mut frame[14..]);
        [frame, message].concat()
    }

    fn mld_frame(src: &str, mut message: Vec<u8>) -> Vec<u8> {
        let (src, dst): (Ipv6Addr, Ipv6Addr) = (src.parse().unwrap(), "ff02::16".parse().unwrap());
        message[2..4].fill(0);
        let pseudo = checksum::pseudo_v6(src, dst, 58, message.len());
        let sum = checksum::finish(checksum::add(pseudo, &message));
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let mut frame = vec![0; 54];
        ethernet::emit(&mut frame, Mac([0x33, 0x33, 0, 0, 0, 1]), Mac([2; 6]), ethertype::IPV6);
        let payload_len = message.len() + 8;
        ipv6::Ipv6Repr { src, dst, next_header: 0, hop_limit: 1, payload_len }.emit(&mut frame[14..]);
        [frame, vec![58, 0, 5, 2, 0, 0, 1, 0], message].concat()
    }

    fn v3(records: &[(u8, u16, [u8; 4])]) -> Vec<u8> {
        let mut message = vec![0x22, 0, 0, 0, 0, 0, 0, records.len() as u8];
        for &(kind, sources, group) in records {
            message.extend([kind, 0]);
            message.extend(sources.to_be_bytes());
            message.extend(group);
            message.extend(vec![10; usize::from(sources) * 4]);
        }
        message
    }

    const GROUP: [u8; 4] = [239, 129, 2, 3];
    const MAC: Mac = Mac([1, 0, 0x5e, 1, 2, 3]);

    #[test]
    fn reports_and_leaves_of_the_old_versions_name_their_group() {
        for (kind, notice) in
            [(0x12, Notice::Join(MAC)), (0x16, Notice::Join(MAC)), (0x17, Notice::Leave(MAC))]
        {
            let message = [&[kind, 0, 0, 0][..], &GROUP].concat();
            assert_eq!(read(&igmp_frame("10.0.0.1", 1, message)), (Some(Kind::Report), vec![notice]));
        }
    }

    #[test]
    fn every_record_of_version_3_counts() {
        let other = [239, 0, 0, 9];
        let message = v3(&[(4, 0, GROUP), (3, 0, other), (1, 2, other), (6, 1, GROUP), (1, 0, GROUP)]);
        let mac = Mac([1, 0, 0x5e, 0, 0, 9]);
        let expected = vec![Notice::Join(MAC), Notice::Leave(mac), Notice::Join(mac)];
        assert_eq!(read(&igmp_frame("10.0.0.1", 1, message)), (Some(Kind::Report), expected));
    }

    #[test]
    fn a_query_comes_from_an_address() {
        let query = vec![0x11, 100, 0, 0, 0, 0, 0, 0];
        assert_eq!(read(&igmp_frame("10.0.0.1", 1, query.clone())), (Some(Kind::Query), vec![Notice::Query]));
        assert_eq!(read(&igmp_frame("0.0.0.0", 1, query)), (None, vec![]));
    }

    #[test]
    fn mld_is_read_in_both_versions() {
        let group: Ipv6Addr = "ff05::1:3".parse().unwrap();
        let mac = Mac([0x33, 0x33, 0, 1, 0, 3]);
        let v1 = |kind: u8| [&[kind, 0, 0, 0, 0, 0, 0, 0][..], &group.octets()].concat();
        let v2 = [&[143, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0][..], &group.octets()].concat();
        for (message, notice) in
            [(v1(131), Notice::Join(mac)), (v1(132), Notice::Leave(mac)), (v2, Notice::Join(mac))]
        {
            assert_eq!(read(&mld_frame("fe80::1", message)), (Some(Kind::Report), vec![notice]));
        }
        assert_eq!(read(&mld_frame("fe80::1", v1(130))), (Some(Kind::Query), vec![Notice::Query]));
        assert_eq!(read(&mld_frame("fec0::1", v1(130))), (None, vec![]));
    }

    #[test]
    fn what_is_damaged_or_from_elsewhere_says_nothing() {
        let message = [&[0x16, 0, 0, 0][..], &GROUP].concat();
        let mut damaged = igmp_frame("10.0.0.1", 1, message.clone());
        *damaged.last_mut().unwrap() ^= 1;
        assert_eq!(read(&damaged), (None, vec![]));
        assert_eq!(read(&igmp_frame("10.0.0.1", 64, message)), (None, vec![]));
        let cut = v3(&[(4, 0, GROUP), (4, 500, GROUP)]);
        assert_eq!(read(&igmp_frame("10.0.0.1", 1, cut[..24].to_vec())).1, vec![Notice::Join(MAC)]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..200), v6: bool) {
            let _ = read(&bytes);
            let message = [vec![if v6 { 143 } else { 0x22 }], bytes, vec![0; 8]].concat();
            let frame = if v6 { mld_frame("fe80::1", message) } else { igmp_frame("10.0.0.1", 1, message) };
            let (kind, notices) = read(&frame);
            prop_assert!(kind == Some(Kind::Report) && notices.len() < 60);
        }
    }
}
