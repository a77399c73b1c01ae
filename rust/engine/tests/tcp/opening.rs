//! Connections that a guest opens.

use crate::support::dialog::{Dialog, GUEST_END, Opening, SERVER};
use crate::support::fake_host::Connect;
use crate::support::fake_sockets::{Fate, errno};
use crate::support::frames::{HOST, Packet, Seg, v4};
use std::time::Duration;
use wirebay_engine::Time;
use wirebay_wire::DropReason;
use wirebay_wire::tcp::flags::{ACK, FIN, PSH, RST, SYN};

fn syn_sent() -> Dialog {
    Dialog::syn(&Opening::default())
}

/// A guest's SYN that is answered by whatever `connect` does.
fn syn_met_by(connect: Connect) -> (Dialog, Vec<Packet>) {
    let mut dialog = Dialog::open(&Opening::default());
    dialog.world.host.kernel().connect = connect;
    let syn = Seg { src: v4("10.0.2.15:40001"), flags: SYN, ack: 0, seq: 77, ..dialog.seg() };
    let answers = dialog.world.put(&[syn.frame()]);
    (dialog, answers)
}

fn only_reset(answers: Vec<Packet>) -> Seg {
    let [Packet::Tcp { seg, .. }] = &answers[..] else { panic!("{answers:?}") };
    assert!(seg.is(RST | ACK), "{seg:?}");
    seg.clone()
}

#[test]
fn the_guest_hears_nothing_until_the_host_has_connected() {
    let mut dialog = syn_sent();
    assert_eq!(dialog.peer().conn().to, SERVER.parse().unwrap());
    assert_eq!(dialog.advance(Duration::from_mins(2)), []);
    dialog.peer().connects();
    let answers = dialog.hear();
    assert_eq!(answers.len(), 1);
    assert!(answers[0].is(SYN | ACK) && answers[0].ack == 1001, "{answers:?}");
}

#[test]
fn a_refused_connect_is_a_reset_that_acknowledges_the_syn() {
    let mut dialog = syn_sent();
    dialog.peer().fails(errno::ECONNREFUSED);
    dialog.world.settle();
    let reset = only_reset(dialog.world.take());
    assert_eq!((reset.seq, reset.ack), (0, 1001));
    assert!(!dialog.lives());
    assert_eq!(dialog.world.drops(DropReason::HostRefused), 1);
}

#[test]
fn an_unreachable_host_is_an_icmp_error_that_quotes_the_syn() {
    let mut dialog = syn_sent();
    dialog.peer().fails(errno::EHOSTUNREACH);
    dialog.world.settle();
    let answers = dialog.world.take();
    let [Packet::Icmp { src, dst, kind: 3, code: 1, payload, .. }] = &answers[..] else {
        panic!("{answers:?}")
    };
    assert_eq!((*src, *dst), (HOST.into(), v4(GUEST_END).ip()));
    assert_eq!(payload[9], 6);
    assert_eq!((&payload[12..16], &payload[16..20]), (&[10, 0, 2, 15][..], &[192, 0, 2, 1][..]));
    assert_eq!(
        (&payload[20..22], &payload[22..24]),
        (&40_000_u16.to_be_bytes()[..], &80_u16.to_be_bytes()[..])
    );
    assert_eq!(payload[24..28], 1000_u32.to_be_bytes());
    assert!(!dialog.lives());
}

#[test]
fn a_connect_that_is_known_to_be_unreachable_at_once_is_an_icmp_error_too() {
    let (_, answers) = syn_met_by(Connect::Fails(errno::EHOSTUNREACH));
    assert!(matches!(answers[..], [Packet::Icmp { kind: 3, code: 1, .. }]), "{answers:?}");
}

#[test]
fn without_descriptors_a_connection_is_reset_and_the_others_go_on() {
    let (mut dialog, answers) = syn_met_by(Connect::Fails(errno::EMFILE));
    assert_eq!(only_reset(answers).ack, 78);
    assert_eq!(dialog.world.drops(DropReason::DescriptorsExhausted), 1);
    assert_eq!(dialog.world.flows(), 1);
    dialog.say(b"still here");
    assert_eq!(dialog.peer().received(), b"still here");
}

#[test]
fn a_connect_that_is_refused_or_forbidden_at_once_is_one_reset_and_no_more() {
    for (number, reason) in
        [(errno::ECONNREFUSED, DropReason::HostRefused), (errno::EPERM, DropReason::Restricted)]
    {
        let (dialog, answers) = syn_met_by(Connect::Fails(number));
        assert_eq!(only_reset(answers).ack, 78);
        assert_eq!(dialog.world.drops(reason), 1);
    }
}

#[test]
fn a_connect_without_an_end_is_given_up_after_three_minutes() {
    let mut dialog = syn_sent();
    assert_eq!(dialog.advance(Duration::from_secs(179)), []);
    let answers = dialog.advance(Duration::from_secs(2));
    assert!(answers.len() == 1 && answers[0].is(RST | ACK) && answers[0].ack == 1001, "{answers:?}");
    assert_eq!(dialog.peer().fate(), Fate::Aborted);
    assert!(!dialog.lives());
}

#[test]
fn a_syn_that_is_sent_again_does_not_connect_again() {
    let mut dialog = syn_sent();
    let syn = Seg { flags: SYN, seq: 1000, ack: 0, ..dialog.seg() };
    assert_eq!(dialog.put(&syn), []);
    dialog.peer().connects();
    let first = dialog.hear();
    let again = dialog.put(&syn);
    assert!(again.len() == 1 && again[0].is(SYN | ACK), "{again:?}");
    assert_eq!((again[0].seq, again[0].ack), (first[0].seq, first[0].ack));
    assert_eq!(dialog.world.host.connections(), 1);
}

#[test]
fn a_guest_that_gives_up_while_the_host_connects_ends_the_connect() {
    let mut dialog = syn_sent();
    let elsewhere = Seg { flags: RST, seq: 5_000_000, ..dialog.seg() };
    dialog.put(&elsewhere);
    assert!(dialog.lives(), "a reset that does not fit ends nothing");
    let reset = Seg { flags: RST, ..dialog.seg() };
    assert_eq!(dialog.put(&reset), []);
    assert!(!dialog.lives());
    assert_eq!(dialog.peer().fate(), Fate::Aborted);
}

#[test]
fn a_lost_syn_ack_is_sent_again_with_doubling_pauses_and_then_given_up() {
    let mut dialog = syn_sent();
    dialog.peer().connects();
    let first = dialog.hear();
    let start = dialog.world.now;
    let mut answers = dialog.advance(Duration::from_mins(2));
    let last = answers.pop().unwrap();
    assert!(
        answers.iter().all(|seg| seg.is(SYN | ACK) && seg.seq == first[0].seq && seg.mss == first[0].mss)
    );
    let seconds: Vec<_> = answers.iter().map(|seg| seg.at.since(start).as_secs()).collect();
    assert_eq!(seconds, [1, 3, 7, 15, 31]);
    assert!(last.is(RST | ACK) && last.at.since(start).as_secs() == 63, "{last:?}");
    assert_eq!(dialog.peer().fate(), Fate::Aborted);
    assert!(!dialog.lives());
}

#[test]
fn a_second_syn_ack_that_arrives_late_completes_the_handshake_all_the_same() {
    let mut dialog = syn_sent();
    dialog.peer().connects();
    dialog.hear();
    let again = dialog.advance(Duration::from_secs(1));
    dialog.accept(&again);
    dialog.acknowledge();
    dialog.say(b"hello");
    assert_eq!(dialog.peer().received(), b"hello");
}

#[test]
fn an_acknowledgement_of_something_else_does_not_complete_the_handshake() {
    let mut dialog = syn_sent();
    dialog.peer().connects();
    let answer = dialog.hear();
    let wrong = Seg { ack: answer[0].seq, payload: b"early".to_vec(), ..dialog.seg() };
    dialog.put(&wrong);
    assert_eq!(dialog.peer().received(), b"");
    assert_eq!(dialog.world.drops(DropReason::TcpOutOfWindow), 1);
    dialog.accept(&answer);
    dialog.say(b"right");
    assert_eq!(dialog.peer().received(), b"right");
}

#[test]
fn a_reset_that_does_not_fit_leaves_a_half_open_connection_alone() {
    let mut dialog = syn_sent();
    dialog.peer().connects();
    let answer = dialog.hear();
    dialog.put(&Seg { flags: RST, seq: 900, ..dialog.seg() });
    assert!(dialog.lives());
    dialog.accept(&answer);
    dialog.acknowledge();
    dialog.say(b"hello");
    assert_eq!(dialog.peer().received(), b"hello");
}

#[test]
fn a_guest_can_refuse_what_it_asked_for() {
    let mut dialog = syn_sent();
    dialog.peer().connects();
    dialog.hear();
    dialog.put(&Seg { flags: RST, ..dialog.seg() });
    assert!(!dialog.lives());
    assert_eq!(dialog.peer().fate(), Fate::Aborted);
}

#[test]
fn data_and_end_may_come_with_the_last_segment_of_the_handshake() {
    let mut dialog = syn_sent();
    dialog.peer().connects();
    let answer = dialog.hear();
    dialog.accept(&answer);
    let all = Seg { flags: ACK | PSH | FIN, payload: b"one shot".to_vec(), ..dialog.seg() };
    let answers = dialog.put(&all);
    assert_eq!(dialog.peer().received(), b"one shot");
    assert!(dialog.peer().conn().shut);
    assert_eq!(answers.last().unwrap().ack, all.end());
}

#[test]
fn what_the_host_said_before_the_guest_answered_is_delivered() {
    let mut dialog = syn_sent();
    dialog.peer().connects();
    let answer = dialog.hear();
    dialog.peer().sends(b"220 ready");
    dialog.peer().ends();
    assert_eq!(dialog.hear(), [], "nobody listens yet");
    dialog.accept(&answer);
    let segs = dialog.acknowledge();
    assert_eq!(dialog.accept(&segs), b"220 ready");
    assert!(segs.iter().any(|seg| seg.has(FIN)), "{segs:?}");
}

#[test]
fn one_event_may_tell_of_connection_greeting_and_end_together() {
    let mut dialog = syn_sent();
    dialog.peer().connects();
    dialog.peer().sends(b"busy");
    dialog.peer().ends();
    let answer = dialog.hear();
    dialog.accept(&answer);
    let segs = dialog.acknowledge();
    assert_eq!(dialog.accept(&segs), b"busy");
    assert!(segs.iter().any(|seg| seg.has(FIN)), "the end of the stream came with the first event: {segs:?}");
}

#[test]
fn a_segment_of_no_connection_is_reset_where_its_acknowledgement_points() {
    let mut dialog = Dialog::open(&Opening::default());
    let stray = Seg { src: v4("10.0.2.15:999"), ack: 4242, payload: b"?".to_vec(), ..dialog.seg() };
    for flags in [ACK, ACK | FIN, SYN | ACK] {
        let answers = dialog.world.put(&[Seg { flags, ..stray.clone() }.frame()]);
        let [Packet::Tcp { seg, .. }] = &answers[..] else { panic!("{answers:?}") };
        assert!(seg.is(RST) && seg.seq == 4242, "{seg:?}");
    }
    assert_eq!(dialog.world.put(&[Seg { flags: RST, ..stray.clone() }.frame()]), []);
    assert_eq!(dialog.world.put(&[Seg { flags: RST | ACK, ..stray }.frame()]), []);
    assert_eq!(dialog.world.drops(DropReason::TcpNoFlow), 5);
    assert_eq!(dialog.world.flows(), 1);
}

#[test]
fn a_segment_to_a_group_is_answered_by_nobody() {
    let mut dialog = Dialog::open(&Opening::default());
    for dst in ["224.0.0.1:80", "239.255.255.250:1900"] {
        for flags in [ACK, ACK | FIN, SYN | ACK, SYN] {
            let stray = Seg { dst: v4(dst), flags, payload: b"?".to_vec(), ..dialog.seg() };
            assert_eq!(dialog.world.put(&[stray.frame()]), []);
        }
    }
    assert_eq!(dialog.world.net.drops.total(), 8);
}

#[test]
fn a_syn_in_an_open_connection_is_challenged_and_the_reset_that_follows_ends_it() {
    let mut dialog = Dialog::open(&Opening::default());
    dialog.say(b"before the crash");
    let syn = Seg { flags: SYN, seq: 99_999, ack: 0, mss: Some(1460), ..dialog.seg() };
    let challenge = dialog.put(&syn);
    assert!(challenge.len() == 1 && challenge[0].is(ACK), "{challenge:?}");
    assert_eq!((challenge[0].seq, challenge[0].ack), (dialog.ack, dialog.seq));
    assert!(dialog.lives(), "the SYN alone proves nothing");
    dialog.put(&Seg { flags: RST, seq: challenge[0].ack, ack: 0, ..dialog.seg() });
    assert!(!dialog.lives());
    assert_eq!(dialog.peer().fate(), Fate::Aborted);
    assert_eq!(dialog.put(&syn), [], "the same SYN now opens a new connection");
    assert_eq!(dialog.world.host.connections(), 2);
}

#[test]
fn initial_sequence_numbers_move_with_time_and_differ_by_connection() {
    let mut dialog = Dialog::open(&Opening::default());
    dialog.world.host.kernel().connect = Connect::AtOnce;
    let mut iss = |port: u16, at: Time| {
        dialog.world.now = at;
        let src = format!("10.0.2.15:{port}");
        let syn = Seg { src: v4(&src), flags: SYN, ack: 0, ..dialog.seg() };
        let answer = dialog.world.put(&[syn.frame()]).into_iter().find_map(Packet::seg).unwrap();
        dialog.world.put(&[Seg { flags: RST, seq: answer.ack, ..syn }.frame()]);
        answer.seq
    };
    let first = iss(1, Time(8_000_000));
    assert_eq!(iss(1, Time(8_400_000)).wrapping_sub(first), 100_000);
    assert!(iss(2, Time(8_400_000)).abs_diff(first) > 1_000_000);
}
