//! What is cut, and how.

use super::pieces::{cut, datagram};
use wirebay_engine::Outbox;
use wirebay_engine::user::fragmenting;
use wirebay_wire::DropReason;
use wirebay_wire::fragment::Fragment;

#[test]
fn a_datagram_of_3000_bytes_becomes_the_fragments_linux_makes_of_it() {
    let sizes = |is_v6: bool| {
        let packets = cut(is_v6, &[7; 3000], 1500, 0x1_0002);
        let read = packets.iter().map(|packet| {
            let fragment = Fragment::parse(packet).unwrap().unwrap();
            (packet.len(), fragment.offset, fragment.more, fragment.key.ident)
        });
        read.collect::<Vec<_>>()
    };
    assert_eq!(sizes(false), [(1500, 0, true, 2), (1500, 1480, true, 2), (68, 2960, false, 2)]);
    let ident = 0x1_0002;
    assert_eq!(sizes(true), [(1496, 0, true, ident), (1496, 1448, true, ident), (160, 2896, false, ident)]);
}

#[test]
fn an_mtu_without_room_for_a_fragment_is_refused_before_anything_is_written() {
    for (is_v6, least) in [(false, 28), (true, 56)] {
        let (frame, pending) = datagram(is_v6, &[7; 100]);
        let mut out = Outbox::default();
        let mut write = |mtu: usize| fragmenting::write(&mut out, &mut frame.clone(), Some(pending), mtu, 1);
        assert_eq!(write(least - 1), Err(DropReason::TooBigForGuest));
        assert_eq!(write(least), Ok(108_usize.div_ceil(8)));
        assert_eq!(out.frames().count(), 108_usize.div_ceil(8));
    }
}

#[test]
fn padding_behind_the_packet_is_not_cut_along() {
    let (mut frame, pending) = datagram(false, &[7; 100]);
    fragmenting::write(&mut Outbox::default(), &mut frame, Some(pending), 60, 1).unwrap();
    let finished = frame.clone();
    frame.extend([0xa5; 50]);
    let mut out = Outbox::default();
    assert_eq!(fragmenting::write(&mut out, &mut frame, None, 60, 1), Ok(3));
    let total: usize = out.frames().map(|frame| frame.bytes.len() - 34).sum();
    assert_eq!(total, finished.len() - 34);
}

#[test]
fn what_is_no_whole_packet_is_not_cut() {
    let (mut frame, _) = datagram(false, &[7; 100]);
    let mut out = Outbox::default();
    frame[14] = 0x65;
    assert_eq!(fragmenting::write(&mut out, &mut frame, None, 60, 1), Err(DropReason::Ipv4BadVersion));
    assert_eq!(fragmenting::write(&mut out, &mut frame[..20], None, 60, 1), Err(DropReason::Ipv4Truncated));
    assert!(out.is_empty());
}
