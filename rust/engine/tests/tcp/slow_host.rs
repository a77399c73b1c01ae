//! Peers on the host that read slowly or not at all: what waits is bounded, and the guest is slowed down.

use crate::support::dialog::{Dialog, Opening, SERVER};
use crate::support::fake_host::Connect;
use crate::support::frames::{Packet, Seg, v4};
use crate::support::rng::Stream;
use crate::support::world::{World, qemu};
use std::time::Duration;
use wirebay_engine::Config;
use wirebay_engine::user::tcp::policy;
use wirebay_wire::DropReason;
use wirebay_wire::tcp::flags::{ACK, SYN};

const QUEUE: usize = 20_000;

fn opened() -> Dialog {
    Dialog::open(&Opening { send_limit: Some(QUEUE), ..Opening::default() })
}

/// The guest sends all that the window allows, `most` bytes at most, and hears the answers. What it has sent in all.
fn fill(dialog: &mut Dialog, edge: &mut u32, most: usize) {
    let mut left = most;
    loop {
        let room = edge.wrapping_sub(dialog.seq).min(1460) as usize;
        let len = room.min(left);
        if len == 0 {
            return;
        }
        left -= len;
        let sent = dialog.seq.wrapping_sub(dialog.isn.wrapping_add(1)) as usize;
        for seg in dialog.say(&Stream(2).bytes(sent, len)) {
            *edge = dialog.edge(&seg);
        }
    }
}

fn sent(dialog: &Dialog) -> usize {
    dialog.seq.wrapping_sub(dialog.isn.wrapping_add(1)) as usize
}

#[test]
fn a_host_that_does_not_read_stops_the_guest_after_a_bounded_backlog() {
    let mut dialog = opened();
    let mut edge = dialog.isn.wrapping_add(1 + 65_535);
    fill(&mut dialog, &mut edge, usize::MAX);
    let backlog = sent(&dialog) - QUEUE;
    assert!(backlog <= 2 * policy::OVERSHOOT as usize, "{backlog} bytes wait");
    assert_eq!(dialog.peer().conn().taken(), QUEUE);
}

#[test]
fn the_window_is_shut_while_something_waits_and_opens_when_it_has_gone() {
    let mut dialog = opened();
    let mut edge = dialog.isn.wrapping_add(1 + 65_535);
    fill(&mut dialog, &mut edge, usize::MAX);
    let answers = dialog.advance(Duration::from_secs(5));
    assert!(answers.iter().all(|seg| dialog.edge(seg) == edge), "{answers:?}");
    let mut opened = Vec::new();
    while dialog.peer().conn().taken() < sent(&dialog) {
        opened = {
            dialog.peer().reads(QUEUE);
            dialog.hear()
        };
        assert!(!opened.is_empty(), "the guest hears of every step");
    }
    let last = opened.last().unwrap();
    assert_eq!(last.ack, dialog.seq);
    assert!(dialog.edge(last).wrapping_sub(last.ack) >= policy::OVERSHOOT);
    Stream(2).check(0, &dialog.peer().received());
}

#[test]
fn reading_and_sending_in_turns_moves_everything() {
    let mut dialog = opened();
    let mut edge = dialog.isn.wrapping_add(1 + 65_535);
    for _ in 0..100 {
        fill(&mut dialog, &mut edge, 30_000);
        dialog.peer().reads(9000);
        for seg in dialog.hear() {
            edge = dialog.edge(&seg);
        }
    }
    while dialog.peer().reads(usize::MAX) {
        dialog.hear();
    }
    dialog.hear();
    dialog.peer().reads(usize::MAX);
    dialog.hear();
    while dialog.peer().conn().taken() < sent(&dialog) {
        dialog.peer().reads(usize::MAX);
        dialog.hear();
    }
    dialog.peer().reads(usize::MAX);
    assert_eq!(dialog.peer().received().len(), sent(&dialog));
    Stream(2).check(0, &dialog.peer().received());
    assert_eq!(dialog.world.drops(DropReason::TcpOutOfWindow), 0);
}

#[test]
fn a_probe_of_the_guest_hears_that_the_window_is_still_shut() {
    let mut dialog = opened();
    let mut edge = dialog.isn.wrapping_add(1 + 65_535);
    fill(&mut dialog, &mut edge, usize::MAX);
    let probe = Seg { payload: vec![9], ..dialog.seg() };
    let answers = dialog.put(&probe);
    assert_eq!(answers.len(), 1);
    assert_eq!((answers[0].ack, dialog.edge(&answers[0])), (dialog.isn.wrapping_add(1 + QUEUE as u32), edge));
}

#[test]
fn the_other_direction_is_not_held_up() {
    let mut dialog = opened();
    let mut edge = dialog.isn.wrapping_add(1 + 65_535);
    fill(&mut dialog, &mut edge, usize::MAX);
    dialog.peer().sends(&Stream(4).bytes(0, 100_000));
    let segs = dialog.hear();
    Stream(4).check(0, &dialog.accept(&segs));
    assert!(segs.len() > 60);
}

/// Opens connection number `i`; its guest port and first free sequence number.
fn open_one(world: &mut World, i: u16) -> Seg {
    let src = v4(&format!("10.0.2.15:{}", 10_000 + i));
    let syn = Seg { src, dst: v4(SERVER), flags: SYN, ..Dialog::open(&Opening::default()).seg() };
    let syn = Seg { seq: 100, ack: 0, mss: Some(1460), ..syn };
    let answer = world.put(&[syn.frame()]).into_iter().find_map(Packet::seg).unwrap();
    let seg = Seg { seq: 101, ack: answer.end(), flags: ACK, mss: None, ..syn };
    world.put(&[seg.frame()]);
    seg
}

#[test]
fn all_backlogs_together_have_a_budget_and_flows_recover_from_its_end() {
    const FLOWS: u16 = 1200;
    const EACH: usize = 60_000;
    let mut world = World::new(Config { mtu: 65_520, ..qemu() });
    world.host.kernel().connect = Connect::AtOnce;
    world.host.kernel().send_limit = Some(1);
    let mut segs: Vec<_> = (0..FLOWS).map(|i| open_one(&mut world, i)).collect();
    for seg in &mut segs {
        seg.payload = Stream(6).bytes(0, EACH);
        world.put(&[seg.frame()]);
    }
    assert!(world.drops(DropReason::TcpBacklogFull) > 0, "72 MB do not fit into 64 MiB");
    assert_eq!(world.flows(), FLOWS.into(), "nobody is thrown out for it");
    // The first flow's peer reads: what was kept of it arrives, and gives its share back.
    world.host.peer(0).limit(1 << 20);
    world.host.peer(0).reads(usize::MAX);
    world.settle();
    assert_eq!(world.host.peer(0).conn().taken(), EACH);
    // The last flow's guest sends again what was not acknowledged; now there is a place for it.
    let (last, peer) = (segs.last().unwrap(), world.host.peer(usize::from(FLOWS) - 1));
    assert!(peer.conn().taken() <= 1);
    world.put(&[last.frame()]);
    peer.limit(1 << 20);
    peer.reads(usize::MAX);
    world.settle();
    assert_eq!(peer.conn().taken(), EACH);
}

#[test]
fn a_flow_that_ends_gives_its_share_of_the_budget_back() {
    const FLOWS: u16 = 1200;
    let mut world = World::new(Config { mtu: 65_520, ..qemu() });
    world.host.kernel().send_limit = Some(1);
    for round in 0..2 {
        let segs: Vec<_> = (0..FLOWS).map(|i| open_one(&mut world, i)).collect();
        for seg in &segs {
            // 54 MB: within the budget once, not twice.
            world.put(&[Seg { payload: vec![0; 45_000], ..seg.clone() }.frame()]);
        }
        assert_eq!(world.drops(DropReason::TcpBacklogFull), 0, "in round {round}");
        for seg in &segs {
            world.put(&[Seg { flags: wirebay_wire::tcp::flags::RST, seq: 102, ..seg.clone() }.frame()]);
        }
        assert_eq!(world.flows(), 0);
    }
}
