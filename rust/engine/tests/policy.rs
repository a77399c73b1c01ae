//! The ACK and window policy on what connections have really met: recorded traces, replayed without a network.
//!
//! `cargo test -p wirebay-engine --test policy -- --ignored` records them again.

#[path = "support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::time::Duration;
use support::dialog::{Dialog, Opening};
use support::frames::{Seg, v4};
use support::link::Quality;
use support::recorder::Recorder;
use support::rng::Stream;
use support::sim::{End, Sim, guest_app, guest_is_closed, host_app};
use support::trace::{Advertised, Line, parse, write};
use support::watch::before;
use support::world::{World, qemu};
use wirebay_engine::user::tcp::policy::{self, Ack, Intake, MAX_WINDOW, OVERSHOOT};
use wirebay_wire::tcp::flags::SYN;

const GOOD: Quality = Quality { loss: 0, duplication: 0, reordering: 0 };

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/traces").join(name).with_extension("txt")
}

fn recorded(name: &str) -> Vec<Line> {
    parse(&std::fs::read_to_string(path(name)).unwrap())
}

fn intakes(lines: &[Line]) -> impl Iterator<Item = (&Intake, Ack)> {
    lines
        .iter()
        .filter_map(|line| if let Line::When(intake, ack) = line { Some((intake, *ack)) } else { None })
}

fn told(lines: &[Line]) -> impl Iterator<Item = &Advertised> {
    lines.iter().filter_map(|line| if let Line::Advertise(told) = line { Some(told) } else { None })
}

fn count(lines: &[Line], wanted: Ack) -> usize {
    intakes(lines).filter(|&(_, ack)| ack == wanted).count()
}

/// The policy decides today as it did when the trace was recorded.
fn check_decisions(lines: &[Line]) {
    for (intake, ack) in intakes(lines) {
        assert_eq!(policy::when(intake), ack, "{intake:?}");
    }
    for a in told(lines) {
        let window = policy::window(a.room, a.waiting);
        assert_eq!(policy::advertise(a.ack, a.edge, window, a.scale), (a.field, a.new_edge), "{a:?}");
    }
}

/// What must be true of every trace, whatever the policy decides.
fn check_promises(lines: &[Line]) {
    let mut last: Option<&Advertised> = None;
    for a in told(lines) {
        let moved = a.new_edge.wrapping_sub(a.edge);
        assert!(!before(a.new_edge, a.edge), "the right edge has moved back: {a:?}");
        assert!(a.waiting == 0 || moved < 1 << a.scale, "a window was opened while something waits: {a:?}");
        let offered = a.new_edge.wrapping_sub(a.ack);
        assert!(offered <= MAX_WINDOW + OVERSHOOT, "{a:?}");
        let full = u32::from(u16::MAX) << a.scale;
        assert!(a.waiting > 0 || offered >= OVERSHOOT.min(full), "a window was shut for no reason: {a:?}");
        if let Some(before_this) = last {
            assert_eq!(a.edge, before_this.new_edge, "the edge is what was told last");
            assert!(!before(a.ack, before_this.ack), "an acknowledgement was taken back: {a:?}");
        }
        last = Some(a);
    }
}

/// What "now" and "wanted" announce is the next thing the guest is told, at the end of the same batch or before.
fn check_announcements(lines: &[Line]) {
    for pair in lines.windows(2) {
        let announced = matches!(pair[0], Line::Wanted | Line::When(_, Ack::Now));
        assert!(
            !announced || matches!(pair[1], Line::Advertise(_)),
            "{} was followed by {}",
            pair[0],
            pair[1]
        );
    }
}

fn check(lines: &[Line]) {
    assert!(lines.len() > 20 && lines.len() < 300, "{} lines", lines.len());
    check_decisions(lines);
    check_promises(lines);
    check_announcements(lines);
}

#[test]
fn a_slow_host_shuts_the_window_and_opens_it_again() {
    let lines = recorded("slow_host");
    check(&lines);
    assert!(told(&lines).any(|a| a.waiting > 0), "something has waited for the host");
    let shut = intakes(&lines).filter(|(intake, _)| intake.waiting > 0).count();
    assert!(shut > 0, "and the policy was asked while it did");
    let most = told(&lines).map(|a| a.waiting).max().unwrap();
    assert!(most <= OVERSHOOT + 256, "{most} bytes waited: more than the least window");
}

#[test]
fn a_conversation_needs_few_acknowledgements_of_their_own() {
    let lines = recorded("conversation");
    check(&lines);
    assert!(count(&lines, Ack::Soon) >= 10, "questions wait for their answers");
    assert!(count(&lines, Ack::Now) <= count(&lines, Ack::Soon) / 4);
    assert!(told(&lines).any(|a| a.phase == "timer"), "one answer was too late");
    assert!(told(&lines).filter(|a| a.phase == "run").count() >= 10, "answers carry acknowledgements");
}

#[test]
fn a_bulk_upload_over_a_bad_cable_is_answered_at_once() {
    let lines = recorded("bulk_with_loss");
    check(&lines);
    let (now, soon) = (count(&lines, Ack::Now), count(&lines, Ack::Soon));
    assert!(now > 20 && soon <= 1, "{now} now, {soon} soon");
    let at_once = told(&lines).filter(|a| a.phase == "input").count();
    assert!(at_once >= 3, "a hole is answered before the batch ends: {at_once} times");
}

/// The three connections. Recording checks that the network does what its policy says.
fn scenarios() -> [(&'static str, &'static str, Vec<Line>); 3] {
    let slow = upload(1 << 20, 128 << 10, GOOD, Some(30_000));
    let lossy = upload(1 << 20, 12 << 10, Quality { loss: 10, ..GOOD }, None);
    [
        ("slow_host", "A guest uploads 1 MB to a host that reads slowly.", slow),
        ("conversation", "Twenty questions and answers, then a few small pieces in a row.", conversation()),
        ("bulk_with_loss", "A guest uploads 1 MB; one frame in a hundred is lost.", lossy),
    ]
}

fn upload(len: usize, buffers: usize, quality: Quality, send_limit: Option<usize>) -> Vec<Line> {
    let mut sim = Sim::new(qemu(), quality, 5);
    sim.world.recorder = Some(Recorder::default());
    sim.world.host.kernel().send_limit = send_limit;
    let handle = sim.guest.connect(v4("192.0.2.1:80"), 49_152, buffers);
    let mut guest = End::new(Stream(7), Stream(8), len);
    let mut host = End::new(Stream(8), Stream(7), 0);
    sim.run(Duration::from_hours(1), |sim| {
        if sim.world.host.connections() > 0 {
            let peer = sim.world.host.peer(0);
            if peer.reads(20_000) {
                sim.wake_in(Duration::from_millis(1));
            }
            host_app(&mut host, &peer);
        }
        guest_app(&mut guest, sim, handle);
        host.received == len && guest.closed && host.closed && guest_is_closed(sim, handle)
    });
    lines_of(&mut sim.world)
}

fn lines_of(world: &mut World) -> Vec<Line> {
    world.recorder.take().unwrap().lines
}

fn conversation() -> Vec<Line> {
    let opening = Opening::default();
    let mut dialog = Dialog::open(&opening);
    let mut recorder = Recorder::default();
    recorder.guest_sent(&Seg {
        flags: SYN,
        seq: opening.isn,
        mss: opening.mss,
        scale: opening.scale,
        ..dialog.seg()
    });
    dialog.world.recorder = Some(recorder);
    for i in 0..20 {
        dialog.say(&[b'?'; 300]);
        if i % 7 == 6 {
            dialog.advance(Duration::from_millis(5));
        }
        dialog.peer().sends(&[b'!'; 2000]);
        let segs = dialog.hear();
        dialog.accept(&segs);
        dialog.acknowledge();
    }
    for _ in 0..5 {
        dialog.say(&[b'.'; 100]);
    }
    dialog.fin();
    dialog.peer().ends();
    let segs = dialog.hear();
    dialog.accept(&segs);
    dialog.acknowledge();
    lines_of(&mut dialog.world)
}

#[test]
fn the_network_does_on_live_connections_what_its_policy_says() {
    for (_, _, lines) in scenarios() {
        check(&lines);
    }
}

#[test]
#[ignore = "writes the traces that the other tests read"]
fn record() {
    for (name, title, lines) in scenarios() {
        std::fs::write(path(name), write(title, &lines)).unwrap();
    }
}
