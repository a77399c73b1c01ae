//! What the guest sends: order, windows, acknowledgements.

use crate::support::dialog::{Dialog, Opening};
use crate::support::frames::Seg;
use crate::support::rng::Stream;
use std::time::Duration;
use wirebay_engine::user::tcp::policy;
use wirebay_wire::DropReason;
use wirebay_wire::tcp::flags::{ACK, FIN, PSH};

fn opened() -> Dialog {
    Dialog::open(&Opening::default())
}

fn data(dialog: &Dialog, offset: u32, payload: &[u8]) -> Seg {
    Seg {
        seq: dialog.isn.wrapping_add(1).wrapping_add(offset),
        flags: ACK | PSH,
        payload: payload.to_vec(),
        ..dialog.seg()
    }
}

#[test]
fn a_batch_of_segments_gets_one_acknowledgement() {
    let mut dialog = opened();
    for i in 0..10 {
        let seg = data(&dialog, i * 1000, &[1; 1000]);
        dialog.world.give(&seg.frame());
    }
    let answers = dialog.hear();
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].ack, 1001 + 10_000);
}

#[test]
fn a_lone_small_piece_is_acknowledged_after_a_moment() {
    let mut dialog = opened();
    let start = dialog.world.now;
    assert_eq!(dialog.say(b"?"), []);
    let answers = dialog.advance(Duration::from_secs(1));
    assert_eq!(answers.len(), 1);
    assert_eq!((answers[0].ack, answers[0].at.since(start)), (dialog.seq, policy::DELAY));
    assert_eq!(dialog.advance(Duration::from_mins(1)), []);
}

#[test]
fn the_answer_carries_the_acknowledgement_of_the_question() {
    let mut dialog = opened();
    assert_eq!(dialog.say(b"question"), []);
    dialog.peer().sends(b"answer");
    let answers = dialog.hear();
    assert!(
        answers.len() == 1 && answers[0].payload == b"answer" && answers[0].ack == dialog.seq,
        "{answers:?}"
    );
    dialog.accept(&answers);
    dialog.acknowledge();
    assert_eq!(dialog.advance(Duration::from_secs(1)), [], "nothing is left to say");
}

#[test]
fn what_was_received_before_is_acknowledged_and_not_delivered_again() {
    let mut dialog = opened();
    dialog.say(b"abcdef");
    let again = data(&dialog, 0, b"abc");
    assert_eq!(dialog.put(&again).last().unwrap().ack, 1007);
    let longer = data(&dialog, 3, b"defghi");
    dialog.put(&longer);
    assert_eq!(dialog.peer().received(), b"abcdefghi");
    assert_eq!(dialog.world.drops(DropReason::TcpDuplicate), 1);
}

#[test]
fn a_keepalive_of_the_guest_is_answered() {
    let mut dialog = opened();
    let (probe, with_a_byte) = (Seg { seq: dialog.isn, ..dialog.seg() }, data(&dialog, u32::MAX, b"x"));
    for seg in [probe, with_a_byte] {
        let answers = dialog.put(&seg);
        assert!(answers.len() == 1 && answers[0].is(ACK) && answers[0].ack == 1001, "{answers:?}");
    }
    assert_eq!(dialog.peer().received(), b"");
}

#[test]
fn data_behind_the_window_is_cut_off_and_not_acknowledged() {
    let mut dialog = Dialog::open(&Opening { scale: None, send_limit: Some(10_000), ..Opening::default() });
    // 65,535 bytes were offered in the handshake, whatever room there is.
    for i in 0..65 {
        let seg = data(&dialog, i * 1000, &[1; 1000]);
        dialog.world.give(&seg.frame());
    }
    let beyond = data(&dialog, 65_000, &[2; 1400]);
    let answers = dialog.put(&beyond);
    assert_eq!(dialog.world.drops(DropReason::TcpOutOfWindow), 1);
    assert!(answers.iter().all(|seg| seg.ack == 1001 + 10_000), "the host has taken no more: {answers:?}");
    for _ in 0..20 {
        dialog.peer().reads(10_000);
        dialog.hear();
    }
    assert_eq!(dialog.peer().received().len(), 65_535);
}

#[test]
fn a_segment_with_an_end_behind_the_window_loses_its_end_too() {
    let mut dialog = Dialog::open(&Opening { scale: None, send_limit: Some(10_000), ..Opening::default() });
    let all = Stream(3).bytes(0, 65_700);
    for (i, piece) in all.chunks(1400).enumerate() {
        let fin = if piece.len() < 1400 { FIN } else { 0 };
        let seg = data(&dialog, i as u32 * 1400, piece);
        dialog.world.give(&Seg { flags: seg.flags | fin, ..seg }.frame());
    }
    for _ in 0..20 {
        dialog.peer().reads(10_000);
        dialog.hear();
    }
    assert_eq!(dialog.peer().received().len(), 65_535);
    assert!(!dialog.peer().conn().shut);
    let rest = data(&dialog, 65_535, &all[65_535..]);
    dialog.put(&Seg { flags: ACK | FIN, ..rest });
    Stream(3).check(0, &dialog.peer().received());
    assert!(dialog.peer().conn().shut);
}

#[test]
fn data_after_the_end_of_the_stream_is_ignored() {
    let mut dialog = opened();
    dialog.say(b"all");
    dialog.fin();
    let more = data(&dialog, 4, b"more");
    let answers = dialog.put(&more);
    assert!(answers.iter().all(|seg| seg.ack == dialog.seq), "{answers:?}");
    assert_eq!(dialog.peer().received(), b"all");
}

#[test]
fn urgent_data_is_data() {
    let mut dialog = opened();
    let seg = data(&dialog, 0, b"now!");
    dialog.put(&Seg { flags: seg.flags | wirebay_wire::tcp::flags::URG, ..seg });
    assert_eq!(dialog.peer().received(), b"now!");
}

#[test]
fn a_segment_whose_checksum_is_wrong_does_not_exist() {
    let mut dialog = opened();
    let mut frame = data(&dialog, 0, b"flipped").frame();
    *frame.last_mut().unwrap() ^= 1;
    dialog.world.give(&frame);
    assert_eq!(dialog.advance(Duration::from_secs(1)), []);
    assert_eq!(dialog.peer().received(), b"");
    assert_eq!(dialog.world.drops(DropReason::TcpBadChecksum), 1);
}

#[test]
fn a_super_segment_is_taken_whole() {
    use wirebay_wire::{Gso, GsoKind, Offload, PartialChecksum};
    let mut dialog = opened();
    let payload = Stream(5).bytes(0, 60_000);
    let frame = data(&dialog, 0, &payload).frame();
    let offload = Offload {
        checksum: Some(PartialChecksum { start: 34, offset: 16 }),
        gso: Some(Gso { kind: GsoKind::TcpV4, size: 1460, header_len: 54 }),
        checksum_valid: false,
    };
    dialog.world.give_with(&frame, offload);
    let answers = dialog.hear();
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].ack, 1001 + 60_000);
    Stream(5).check(0, &dialog.peer().received());
}

#[test]
fn the_first_piece_is_acknowledged_though_the_host_has_nothing_to_say() {
    let mut dialog = Dialog::syn(&Opening::default());
    dialog.peer().connects();
    let answers = dialog.hear();
    dialog.accept(&answers);
    // Together with the end of the handshake, as a guest with something to say sends it: the flow looks into the host's
    // queue and decides about the acknowledgement in one round.
    dialog.world.give(&dialog.seg().frame());
    let first = dialog.say(b"hello");
    assert!(
        first.iter().all(|seg| seg.ack != dialog.seq),
        "it may wait for an answer to carry it: {first:?}"
    );
    dialog.world.advance(policy::DELAY * 2);
    assert_eq!(dialog.hear().last().map(|seg| seg.ack), Some(dialog.seq));
}
