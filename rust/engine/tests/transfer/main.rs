//! smoltcp as guest moves megabytes through bad cables, in virtual time: what one side sent is what the other got, the
//! connection ends on both sides, and nothing of it stays behind.

#[path = "../support/mod.rs"]
mod support;

use smoltcp::iface::SocketHandle;
use std::time::Duration;
use support::fake_host::TcpPeer;
use support::fake_sockets::Fate;
use support::frames::v4;
use support::link::Quality;
use support::rng::Stream;
use support::sim::{End, Sim, guest_app, guest_is_closed, host_app};
use support::world::qemu;
use wirebay_engine::Config;

const MEGABYTES: usize = 10 << 20;
const BUFFERS: usize = 128 << 10;
/// A slow peer reads a piece this often.
const READING: Duration = Duration::from_millis(1);
const GOOD: Quality = Quality { loss: 0, duplication: 0, reordering: 0 };

/// What is moved over what.
struct Transfer {
    config: Config,
    quality: Quality,
    seed: u64,
    up: usize,
    down: usize,
    /// The host's send queue; the peer reads a piece whenever something happens.
    send_limit: Option<usize>,
    cable: usize,
    /// The guest sends timestamps.
    stamps: bool,
    /// Virtual time it may take.
    patience: Duration,
}

impl Default for Transfer {
    fn default() -> Self {
        Transfer {
            config: qemu(),
            quality: GOOD,
            seed: 1,
            up: 0,
            down: 0,
            send_limit: None,
            cable: 1 << 20,
            stamps: false,
            patience: Duration::from_secs(10),
        }
    }
}

impl Transfer {
    fn sim(&self) -> Sim {
        let mut sim = Sim::new(self.config.clone(), self.quality, self.seed);
        sim.world.host.kernel().send_limit = self.send_limit;
        sim.cable = self.cable;
        sim.guest.stamps = self.stamps;
        sim
    }

    /// The guest connects out.
    fn run(&self) -> Sim {
        let mut sim = self.sim();
        let handle = sim.guest.connect(v4("192.0.2.1:80"), 49_152, BUFFERS);
        self.finish(sim, handle)
    }

    /// A client of the host comes in by a forward.
    fn run_forwarded(&self) -> Sim {
        let mut sim = self.sim();
        let handle = sim.guest.listen(22, BUFFERS);
        let slot = sim.world.net.add_forward(v4("10.0.2.15:22"), None);
        sim.world.accept(slot, "203.0.113.9:50000");
        self.finish(sim, handle)
    }

    fn finish(&self, mut sim: Sim, handle: SocketHandle) -> Sim {
        let (from_guest, from_host) = (Stream(7), Stream(8));
        let mut guest = End::new(from_guest, from_host, self.up);
        let mut host = End::new(from_host, from_guest, self.down);
        sim.run(self.patience, |sim| {
            if let Some(peer) = peer(sim) {
                if peer.reads(20_000) {
                    sim.wake_in(READING);
                }
                host_app(&mut host, &peer);
            }
            guest_app(&mut guest, sim, handle);
            let moved = guest.received == self.down && host.received == self.up;
            moved && guest.closed && host.closed && sim.world.flows() == 0 && guest_is_closed(sim, handle)
        });
        assert_eq!(peer(&sim).unwrap().fate(), Fate::Closed, "the host's end was not aborted");
        sim
    }
}

fn peer(sim: &Sim) -> Option<TcpPeer> {
    (sim.world.host.connections() > 0).then(|| sim.world.host.peer(0))
}

/// smoltcp waits longer and longer for its own time-outs when one frame in ten is lost.
const LONG: Duration = Duration::from_mins(8);
/// With nothing but holes to send again nobody waits long.
const SHORT: Duration = Duration::from_millis(500);

fn losing(per_mille: u32) -> Quality {
    Quality { loss: per_mille, ..GOOD }
}

#[test]
fn ten_megabytes_go_up_a_good_cable() {
    let sim = Transfer { up: MEGABYTES, ..Transfer::default() }.run();
    assert_eq!(sim.up.lost, 0);
    assert_eq!(sim.world.net.drops.total(), 0);
}

#[test]
fn ten_megabytes_come_down_a_good_cable() {
    let sim = Transfer { down: MEGABYTES, ..Transfer::default() }.run();
    assert_eq!(sim.world.net.drops.total(), 0);
}

#[test]
fn ten_megabytes_go_up_a_cable_that_loses_one_frame_in_a_hundred() {
    let sim = Transfer { up: MEGABYTES, quality: losing(10), ..Transfer::default() }.run();
    assert!(sim.up.lost > 50);
}

#[test]
fn ten_megabytes_come_down_a_cable_that_loses_one_frame_in_a_hundred() {
    let sim = Transfer { down: MEGABYTES, quality: losing(10), patience: SHORT, ..Transfer::default() }.run();
    assert!(sim.down.lost > 50);
}

#[test]
fn ten_megabytes_go_up_a_cable_that_loses_one_frame_in_ten() {
    let sim = Transfer { up: MEGABYTES, quality: losing(100), patience: LONG, ..Transfer::default() }.run();
    assert!(sim.up.lost > 700);
}

#[test]
fn ten_megabytes_come_down_a_cable_that_loses_one_frame_in_ten() {
    let sim = Transfer {
        down: MEGABYTES,
        quality: losing(100),
        patience: Duration::from_secs(10),
        ..Transfer::default()
    }
    .run();
    assert!(sim.down.lost > 700);
}

#[test]
fn both_directions_at_once_over_a_cable_with_every_fault() {
    let quality = Quality { loss: 10, duplication: 20, reordering: 20 };
    for seed in 0..3 {
        Transfer { up: MEGABYTES / 4, down: MEGABYTES / 4, quality, seed, ..Transfer::default() }.run();
    }
}

#[test]
fn duplication_and_reordering_alone_harm_nothing() {
    let quality = Quality { loss: 0, duplication: 50, reordering: 50 };
    Transfer { up: MEGABYTES, quality, ..Transfer::default() }.run();
    Transfer { down: MEGABYTES, quality, ..Transfer::default() }.run();
}

#[test]
fn a_forwarded_connection_moves_its_megabytes_over_a_bad_cable() {
    let quality = Quality { loss: 10, duplication: 10, reordering: 10 };
    Transfer { up: MEGABYTES / 2, down: MEGABYTES / 2, quality, ..Transfer::default() }.run_forwarded();
}

#[test]
fn a_forwarded_connection_moves_its_megabytes_over_a_good_cable() {
    let sim = Transfer { up: MEGABYTES, down: MEGABYTES, ..Transfer::default() }.run_forwarded();
    assert_eq!(sim.world.net.drops.total(), 0);
}

#[test]
fn a_peer_that_reads_slowly_slows_the_guest_down_and_loses_nothing() {
    let transfer = Transfer { up: MEGABYTES / 4, send_limit: Some(30_000), ..Transfer::default() };
    transfer.run();
    Transfer { quality: losing(10), ..transfer }.run();
}

#[test]
fn a_cable_that_holds_little_is_never_overrun() {
    let cable = 20_000;
    let sim = Transfer { down: MEGABYTES, cable, ..Transfer::default() }.run();
    assert!(sim.most_load <= cable + 2000, "{} bytes on the cable", sim.most_load);
}

#[test]
fn large_and_small_packets_work_as_well() {
    for mtu in [576, 9000, 65_520] {
        let config = Config { mtu, ..qemu() };
        Transfer {
            up: MEGABYTES / 8,
            down: MEGABYTES / 8,
            config,
            quality: losing(10),
            ..Transfer::default()
        }
        .run();
    }
}

#[test]
fn timestamps_change_nothing_about_what_arrives() {
    let quality = Quality { loss: 20, duplication: 20, reordering: 50 };
    let transfer = Transfer { up: MEGABYTES / 2, down: MEGABYTES / 2, stamps: true, ..Transfer::default() };
    let sim = transfer.run();
    assert_eq!(sim.world.net.drops.total(), 0);
    for seed in 0..3 {
        Transfer { quality, seed, config: qemu(), ..transfer }.run_forwarded();
        Transfer { quality, seed, config: qemu(), ..transfer }.run();
    }
}
