//! Urgent data: it is data, and the pointer means nothing (RFC 6093 tells applications to expect no more).

use crate::support::dialog::{Dialog, Opening};
use crate::support::frames::{Seg, TRANSPORT, finish};
use crate::support::rng::Stream;
use wirebay_wire::tcp::flags::{ACK, FIN, PSH, SYN, URG};

/// The frame of `seg` with an urgent pointer.
fn urgent(seg: &Seg, pointer: u16) -> Vec<u8> {
    let mut frame = Seg { flags: seg.flags | URG, ..seg.clone() }.frame();
    frame[TRANSPORT + 18..TRANSPORT + 20].copy_from_slice(&pointer.to_be_bytes());
    finish(&mut frame);
    frame
}

const POINTERS: [u16; 8] = [0, 1, 3, 4, 5, 1460, 0x7fff, u16::MAX];

#[test]
fn the_pointer_moves_nothing_wherever_it_points() {
    for pointer in POINTERS {
        let mut dialog = Dialog::open(&Opening::default());
        let mut sent = 0;
        for _ in 0..5 {
            let seg = Seg { flags: ACK | PSH, payload: Stream(1).bytes(sent, 4), ..dialog.seg() };
            dialog.world.give(&urgent(&seg, pointer));
            dialog.seq = seg.end();
            sent += 4;
        }
        let answers = dialog.hear();
        assert_eq!(answers.last().unwrap().ack, dialog.seq);
        assert_eq!(dialog.peer().received().len(), sent);
        Stream(1).check(0, &dialog.peer().received());
        assert_eq!(dialog.world.net.drops.total(), 0);
    }
}

#[test]
fn an_urgent_segment_behind_a_hole_keeps_its_place() {
    for pointer in POINTERS {
        let mut dialog = Dialog::open(&Opening::default());
        for (at, len) in [(4, 4), (8, 1), (0, 4)] {
            let seq = dialog.seq.wrapping_add(at as u32);
            let seg = Seg { flags: ACK | PSH, seq, payload: Stream(1).bytes(at, len), ..dialog.seg() };
            dialog.world.give(&urgent(&seg, pointer));
        }
        dialog.hear();
        assert_eq!(dialog.peer().received(), Stream(1).bytes(0, 9));
    }
}

#[test]
fn urgent_segments_without_data_and_urgent_ends_are_like_others() {
    let mut dialog = Dialog::open(&Opening::default());
    let bare = dialog.seg();
    dialog.world.give(&urgent(&bare, 9999));
    assert_eq!(dialog.hear(), []);
    let end = Seg { flags: ACK | FIN, ..dialog.seg() };
    dialog.world.give(&urgent(&end, 1));
    assert_eq!(dialog.hear().last().unwrap().ack, end.end());
    assert!(dialog.peer().conn().shut);
}

#[test]
fn an_urgent_syn_opens_a_connection() {
    let mut dialog = Dialog::open(&Opening::default());
    let syn = Seg { src: "10.0.2.15:999".parse().unwrap(), flags: SYN, ack: 0, ..dialog.seg() };
    dialog.world.give(&urgent(&syn, 77));
    dialog.world.settle();
    assert_eq!(dialog.world.flows(), 2);
}

#[test]
fn nothing_urgent_is_ever_sent() {
    let mut dialog = Dialog::open(&Opening::default());
    dialog.peer().sends(&[1; 4000]);
    let segs = dialog.hear();
    assert!(segs.iter().all(|seg| !seg.has(URG)));
}
