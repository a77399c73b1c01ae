//! Which datagrams towards a guest travel as one super-segment, and where such a train ends.

use crate::support::fake_host::Event;
use crate::support::frames::{GUEST_MAC, Packet, udp_frame, v4};
use crate::support::rng::Stream;
use crate::support::world::World;
use wirebay_engine::Outbox;

const GUEST_PORT: &str = "10.0.2.15:5000";
const SERVER: &str = "192.0.2.1:9000";
const HEAD: usize = 14 + 20 + 8;

/// Everything that waits for socket 0 goes to the guest in one batch; payload bytes and segment size of each frame.
fn frames(world: &mut World) -> Vec<(usize, Option<u16>)> {
    let mut out = Outbox::default();
    while let Some(Event::Flow(token, ready)) = world.host.next_event() {
        world.net.host_event(world.now, token, ready, &mut out);
    }
    while world.net.run(world.now, &mut out, &|_| usize::MAX) {}
    let frame = |frame: wirebay_wire::Frame<'_>| {
        assert_eq!(frame.checked(), Ok(frame));
        (frame.bytes.len() - HEAD, frame.offload.gso.map(|gso| gso.size))
    };
    out.frames().map(frame).collect()
}

fn mapped() -> World {
    let mut world = World::default();
    world.put(&[udp_frame(v4(GUEST_PORT), v4(SERVER), b"hello")]);
    world
}

fn arrive(world: &World, sizes: &[usize]) {
    for &size in sizes {
        world.host.arrives(0, SERVER, &vec![1; size]);
    }
}

#[test]
fn datagrams_of_one_size_become_one_super_segment_and_a_shorter_one_ends_it() {
    let mut world = mapped();
    arrive(&world, &[100, 100, 100, 100, 100, 100, 30, 100, 100]);
    assert_eq!(frames(&mut world), [(630, Some(100)), (200, Some(100))]);
}

#[test]
fn a_longer_datagram_begins_another() {
    let mut world = mapped();
    arrive(&world, &[100, 100, 101, 101]);
    assert_eq!(frames(&mut world), [(200, Some(100)), (202, Some(101))]);
}

#[test]
fn one_datagram_is_no_train_and_an_empty_one_travels_alone() {
    let mut world = mapped();
    arrive(&world, &[100, 0, 0, 100]);
    assert_eq!(frames(&mut world), [(100, None), (0, None), (0, None), (100, None)]);
}

#[test]
fn no_train_is_longer_than_kernels_take() {
    let mut world = mapped();
    arrive(&world, &[100; 70]);
    assert_eq!(frames(&mut world), [(6400, Some(100)), (600, Some(100))]);
    arrive(&world, &[1472; 50]);
    assert_eq!(frames(&mut world), [(44 * 1472, Some(1472)), (6 * 1472, Some(1472))]);
}

#[test]
fn a_train_that_is_cut_for_a_plain_port_is_the_datagrams_that_arrived() {
    let mut world = mapped();
    let sizes = [700, 700, 700, 1, 1472, 1472, 0, 33, 33, 33, 700];
    let pieces: Vec<_> = sizes.iter().enumerate().map(|(i, &size)| Stream(i as u64).bytes(0, size)).collect();
    for piece in &pieces {
        world.host.arrives(0, SERVER, piece);
    }
    world.settle();
    let (src, dst) = (v4(SERVER), v4(GUEST_PORT));
    let whole = |payload: &Vec<u8>| Packet::Udp { to: GUEST_MAC, src, dst, payload: payload.clone() };
    let expected: Vec<_> = pieces.iter().map(whole).collect();
    assert_eq!(world.take(), expected);
}
