//! ARP: which addresses are answered for, and what is learned.

use crate::support::frames::{
    DNS, DNS_MAC, GATEWAY_MAC, GUEST, GUEST_MAC, HOST, Packet, arp_frame, from_mac,
};
use crate::support::world::World;
use std::net::Ipv4Addr;
use wirebay_wire::arp::{Arp, REPLY, REQUEST};
use wirebay_wire::{DropReason, Mac};

fn ask(world: &mut World, target: Ipv4Addr) -> Vec<Packet> {
    world.put(&[arp_frame(REQUEST, (GUEST_MAC, GUEST), target)])
}

#[test]
fn host_and_name_server_are_answered_for_with_addresses_of_their_own() {
    let mut world = World::default();
    for (ours, mac) in [(HOST, GATEWAY_MAC), (DNS, DNS_MAC)] {
        let expected = Arp {
            operation: REPLY,
            sender_mac: mac,
            sender_ip: ours,
            target_mac: GUEST_MAC,
            target_ip: GUEST,
        };
        assert_eq!(ask(&mut world, ours), [Packet::Arp { to: GUEST_MAC, message: expected }]);
    }
}

#[test]
fn nobody_else_is_answered_for() {
    let mut world = World::default();
    for last in (0..=255).filter(|last| ![2, 3].contains(last)) {
        assert_eq!(ask(&mut world, Ipv4Addr::new(10, 0, 2, last)), [], "10.0.2.{last}");
    }
    assert_eq!(ask(&mut world, Ipv4Addr::new(192, 0, 2, 1)), []);
    assert_eq!(world.drops(DropReason::NotForUs), 255);
}

#[test]
fn a_guest_that_checks_for_conflicts_is_answered() {
    let mut world = World::default();
    let probe = arp_frame(REQUEST, (GUEST_MAC, Ipv4Addr::UNSPECIFIED), HOST);
    let answers = world.put(&[probe]);
    assert!(matches!(&answers[..], [Packet::Arp { to: GUEST_MAC, message }] if message.sender_ip == HOST));
}

#[test]
fn answers_of_others_need_none() {
    let mut world = World::default();
    assert_eq!(world.put(&[arp_frame(REPLY, (GUEST_MAC, GUEST), HOST)]), []);
    assert_eq!(world.net.drops.total(), 0);
}

#[test]
fn a_sender_that_is_not_who_it_says_teaches_nothing() {
    let mut world = World::default();
    let slot = world.net.add_forward("10.0.2.15:22".parse().unwrap(), None);
    world.put(&[from_mac(arp_frame(REPLY, (GUEST_MAC, GUEST), HOST), Mac([2, 0, 0, 0, 0, 1]))]);
    world.accept(slot, "203.0.113.9:50000");
    let asked = world.take();
    assert!(matches!(&asked[..], [Packet::Arp { to: Mac::BROADCAST, .. }]), "still unknown: {asked:?}");
}

#[test]
fn a_thousand_invented_neighbours_are_not_all_remembered() {
    let mut world = World::default();
    for i in 0..1000_u32 {
        let [_, _, a, b] = i.to_be_bytes();
        let (mac, ip) = (Mac([2, 0, 0, 0, a, b]), Ipv4Addr::new(10, 0, 2, 16 + (i % 200) as u8));
        world.put(&[arp_frame(REQUEST, (mac, ip), HOST)]);
    }
    let slot = world.net.add_forward("10.0.2.215:22".parse().unwrap(), None);
    world.accept(slot, "203.0.113.9:50000");
    let call = world.take();
    assert!(
        matches!(&call[..], [Packet::Tcp { to: Mac([2, 0, 0, 0, 3, 231]), .. }]),
        "the last word counts: {call:?}"
    );
}

#[test]
fn what_is_no_arp_for_ipv4_is_dropped() {
    let mut world = World::default();
    let good = arp_frame(REQUEST, (GUEST_MAC, GUEST), HOST);
    for at in 14..20 {
        let mut bad = good.clone();
        bad[at] ^= 0x55;
        assert_eq!(world.put(&[bad]), []);
    }
    assert_eq!(world.put(&[good[..41].to_vec()]), []);
    assert_eq!(world.drops(DropReason::ArpMalformed), 7);
}
