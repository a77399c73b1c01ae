//! What a listing of flows says of datagrams.

use crate::support::frames::{udp_frame, v4};
use crate::support::world::World;
use std::collections::HashSet;

fn send(world: &mut World, port: u16, payload: &[u8]) {
    let from = format!("10.0.2.15:{port}");
    world.put(&[udp_frame(v4(&from), v4("192.0.2.1:7"), payload)]);
}

#[test]
fn a_mapping_has_no_certain_peer_and_counts_payload_both_ways() {
    let mut world = World::default();
    send(&mut world, 5000, b"hello");
    world.host.arrives(0, "192.0.2.1:7", b"hello yourself");
    world.settle();
    let (listed, next) = world.net.list(0, 10);
    let flow = listed[0];
    assert_eq!((listed.len(), next, flow.protocol, flow.state, flow.peer), (1, None, 17, "mapped", None));
    assert_eq!((flow.tally.from_guest, flow.tally.to_guest), (5, 14));
}

#[test]
fn pages_together_have_every_flow_once() {
    let mut world = World::default();
    (1..=25).for_each(|port| send(&mut world, port, b"x"));
    let (mut seen, mut from, mut pages) = (Vec::new(), Some(0), 0);
    while let Some(place) = from {
        let (listed, next) = world.net.list(place, 10);
        assert!(listed.len() <= 10);
        seen.extend(listed.iter().map(|flow| flow.guest.port()));
        (from, pages) = (next, pages + 1);
    }
    assert_eq!((seen.len(), seen.iter().collect::<HashSet<_>>().len(), pages), (25, 25, 3));
}

#[test]
fn a_place_beyond_the_table_lists_nothing() {
    let mut world = World::default();
    send(&mut world, 5000, b"hello");
    assert_eq!(world.net.list(u32::MAX, 10), (Vec::new(), None));
}
