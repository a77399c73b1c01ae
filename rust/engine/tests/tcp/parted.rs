//! What is remembered of connections that have ended: the last acknowledgement, for a while, and nothing that stands in
//! anybody's way.

use crate::support::dialog::{Dialog, Opening};
use crate::support::fake_host::Connect;
use crate::support::fake_sockets::Fate;
use crate::support::frames::{Packet, Seg, v4};
use std::time::Duration;
use wirebay_wire::DropReason;
use wirebay_wire::tcp::flags::{ACK, FIN, RST, SYN};

/// A connection that has ended well, and the guest's last segment.
fn ended(opening: &Opening) -> (Dialog, Seg) {
    let mut dialog = Dialog::open(opening);
    dialog.peer().ends();
    let segs = dialog.hear();
    dialog.accept(&segs);
    let fin = Seg { flags: ACK | FIN, payload: b"bye".to_vec(), ..dialog.seg() };
    dialog.put(&fin);
    dialog.seq = fin.end();
    assert!(!dialog.lives() && dialog.peer().fate() == Fate::Closed);
    (dialog, fin)
}

#[test]
fn a_repeated_end_is_acknowledged_again_and_not_reset() {
    let (mut dialog, fin) = ended(&Opening::default());
    for pause in [0, 1, 3, 10, 30] {
        dialog.world.advance(Duration::from_secs(pause));
        let answers = dialog.put(&fin);
        assert_eq!(answers.len(), 1);
        assert!(answers[0].is(ACK), "{answers:?}");
        assert_eq!((answers[0].seq, answers[0].ack), (dialog.ack, dialog.seq));
    }
    assert_eq!(dialog.world.drops(DropReason::TcpDuplicate), 5);
    assert_eq!(dialog.world.flows(), 0);
}

#[test]
fn a_repeated_end_without_its_data_is_acknowledged_too() {
    let (mut dialog, fin) = ended(&Opening::default());
    let bare = Seg { seq: fin.end().wrapping_sub(1), payload: Vec::new(), ..fin };
    assert_eq!(dialog.put(&bare)[0].ack, dialog.seq);
}

#[test]
fn after_a_minute_there_is_nothing_left_to_acknowledge() {
    let (mut dialog, fin) = ended(&Opening::default());
    dialog.world.advance(Duration::from_secs(61));
    let answers = dialog.put(&fin);
    assert!(answers.len() == 1 && answers[0].is(RST) && answers[0].seq == fin.ack, "{answers:?}");
}

#[test]
fn a_late_acknowledgement_is_met_with_silence() {
    let (mut dialog, _) = ended(&Opening::default());
    assert_eq!(dialog.acknowledge(), []);
    let older = Seg { seq: dialog.isn.wrapping_add(1), ..dialog.seg() };
    assert_eq!(dialog.put(&older), []);
}

#[test]
fn what_the_connection_never_was_is_reset() {
    let (mut dialog, fin) = ended(&Opening::default());
    let new_data = Seg { payload: b"more".to_vec(), ..dialog.seg() };
    let of_the_future = Seg { ack: dialog.ack.wrapping_add(1), ..fin.clone() };
    let of_another = Seg { src: v4("10.0.2.15:41000"), ..fin };
    for seg in [new_data, of_the_future] {
        let answers = dialog.put(&seg);
        assert!(answers.len() == 1 && answers[0].is(RST), "{answers:?}");
    }
    let answers = dialog.world.put(&[of_another.frame()]);
    assert!(matches!(&answers[..], [Packet::Tcp { seg, .. }] if seg.is(RST)), "{answers:?}");
    assert_eq!(dialog.put(&Seg { flags: RST, ..dialog.seg() }), []);
}

#[test]
fn a_guest_that_uses_the_port_again_at_once_connects() {
    let (mut dialog, fin) = ended(&Opening::default());
    dialog.world.host.kernel().connect = Connect::AtOnce;
    let syn = Seg { flags: SYN, seq: dialog.seq, ack: 0, mss: Some(1460), payload: Vec::new(), ..fin };
    let answers = dialog.put(&syn);
    assert!(answers.len() == 1 && answers[0].is(SYN | ACK), "{answers:?}");
    let data = Seg {
        flags: ACK,
        seq: syn.end(),
        ack: answers[0].end(),
        mss: None,
        payload: b"again".to_vec(),
        ..syn
    };
    dialog.world.put(&[data.frame()]);
    assert_eq!(dialog.world.host.peer(1).received(), b"again");
    assert_eq!(dialog.world.flows(), 1);
}

#[test]
fn timestamps_go_on_in_what_is_said_after_the_end() {
    let (mut dialog, fin) = ended(&Opening { clock: Some(9), ..Opening::default() });
    let answers = dialog.put(&fin);
    let (theirs, ours) = (fin.options.timestamps.unwrap(), answers[0].options.timestamps.unwrap());
    assert_eq!(ours.echo, theirs.value);
}

#[test]
fn a_connection_that_was_reset_is_not_remembered() {
    let mut dialog = Dialog::open(&Opening::default());
    dialog.put(&Seg { flags: RST, ..dialog.seg() });
    let fin = Seg { flags: ACK | FIN, ..dialog.seg() };
    assert!(dialog.put(&fin)[0].is(RST));
}

#[test]
fn the_memory_is_bounded() {
    let (mut dialog, first) = ended(&Opening::default());
    dialog.world.host.kernel().connect = Connect::AtOnce;
    let mut last = first.clone();
    for port in 10_000..11_024 {
        let src = std::net::SocketAddr::new(dialog.guest.ip(), port);
        let syn =
            Seg { src, flags: SYN, seq: 1, ack: 0, mss: Some(1460), payload: Vec::new(), ..first.clone() };
        let answer = dialog.world.put(&[syn.frame()]).into_iter().find_map(Packet::seg).unwrap();
        last = Seg { flags: ACK | FIN, seq: 2, ack: answer.end(), mss: None, ..syn };
        dialog.world.put(&[last.frame()]);
        dialog.world.host.peer(dialog.world.host.connections() - 1).ends();
        dialog.world.settle();
        dialog
            .world
            .put(&[Seg { flags: ACK, seq: 3, ack: answer.end().wrapping_add(1), ..last.clone() }.frame()]);
    }
    assert_eq!(dialog.world.flows(), 0);
    let mut answer = |seg: &Seg| dialog.world.put(&[seg.frame()]).into_iter().find_map(Packet::seg).unwrap();
    assert!(answer(&last).is(ACK));
    assert!(answer(&first).is(RST), "the oldest has been forgotten");
}
