//! TCP over IPv6: a smoltcp guest, and what differs by family.

use crate::support::frames::{GUEST6, HOST6, Options, Packet, Seg, udp_frame};
use crate::support::link::Quality;
use crate::support::rng::Stream;
use crate::support::sim::{End, Sim, guest_app, guest_is_closed, host_app};
use crate::support::world::{World, dual};
use std::net::SocketAddr;
use std::time::Duration;
use wirebay_engine::Time;
use wirebay_wire::tcp::flags::{ACK, RST, SYN};

const BYTES: usize = 5 << 20;
const BAD: Quality = Quality { loss: 10, duplication: 10, reordering: 10 };

fn syn(to: &str) -> Seg {
    Seg {
        at: Time(0),
        src: SocketAddr::new(GUEST6.into(), 40_000),
        dst: to.parse().unwrap(),
        seq: 1000,
        ack: 0,
        flags: SYN,
        window: 0xffff,
        mss: Some(1440),
        scale: Some(7),
        options: Options::default(),
        payload: Vec::new(),
    }
}

#[test]
fn a_connection_offers_the_segment_size_of_its_family() {
    let mut world = World::new(dual());
    let answer = world.put(&[syn("[2001:db8::1]:80").frame()]).remove(0).seg().unwrap();
    assert!(answer.is(SYN | ACK));
    assert_eq!((answer.mss, world.host.peer(0).conn().to), (Some(1440), "[2001:db8::1]:80".parse().unwrap()));
}

#[test]
fn what_is_not_allowed_is_reset() {
    let mut config = dual();
    config.host_loopback = false;
    let mut world = World::new(config);
    let answer = world.put(&[syn("[fec0::2]:80").frame()]).remove(0).seg().unwrap();
    assert!(answer.is(RST | ACK));
}

fn transfer(quality: Quality, forwarded: bool) {
    let mut sim = Sim::new(dual(), quality, 3);
    let handle = if forwarded {
        // So that the guest is known already.
        sim.world.put(&[udp_frame(SocketAddr::new(GUEST6.into(), 9), SocketAddr::new(HOST6.into(), 9), b"")]);
        let slot = sim.world.net.add_forward(SocketAddr::new(GUEST6.into(), 22), None);
        let handle = sim.guest.listen(22, 128 << 10);
        sim.world.accept(slot, "[2001:db8::9]:50000");
        handle
    } else {
        sim.guest.connect("[2001:db8::1]:80".parse().unwrap(), 49_152, 128 << 10)
    };
    let (from_guest, from_host) = (Stream(7), Stream(8));
    let mut guest = End::new(from_guest, from_host, BYTES);
    let mut host = End::new(from_host, from_guest, BYTES);
    sim.run(Duration::from_mins(1), |sim| {
        if sim.world.host.connections() > 0 {
            host_app(&mut host, &sim.world.host.peer(0));
        }
        guest_app(&mut guest, sim, handle);
        let moved = guest.received == BYTES && host.received == BYTES;
        moved && guest.closed && host.closed && guest_is_closed(sim, handle)
    });
}

#[test]
fn megabytes_move_both_ways_over_a_good_and_a_bad_cable() {
    transfer(Quality { loss: 0, duplication: 0, reordering: 0 }, false);
    transfer(BAD, false);
}

#[test]
fn a_forwarded_connection_moves_its_megabytes() {
    transfer(BAD, true);
}

#[test]
fn the_guest_sees_the_client_as_it_is() {
    let mut world = World::new(dual());
    world.put(&[udp_frame(SocketAddr::new(GUEST6.into(), 9), SocketAddr::new(HOST6.into(), 9), b"")]);
    let slot = world.net.add_forward(SocketAddr::new(GUEST6.into(), 22), None);
    world.accept(slot, "[2001:db8::9]:50000");
    let packets = world.take();
    let [Packet::Tcp { seg, .. }] = &packets[..] else { panic!("{packets:?}") };
    assert!(seg.is(SYN) && seg.src == "[2001:db8::9]:50000".parse().unwrap(), "{seg:?}");
}
