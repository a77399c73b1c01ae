//! Neighbour discovery: who has what.

use crate::support::frames::{GATEWAY6_MAC, GUEST_MAC, GUEST6, HOST6, Packet, ipv6_frame};
use crate::support::world::{World, dual};
use std::net::{IpAddr, Ipv6Addr};
use wirebay_wire::icmpv6::{self, kind};
use wirebay_wire::{DropReason, Mac, ndp};

pub const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x5054, 0xff, 0xfe12, 0x3456);

/// A solicitation for `target`, as a guest sends it to everybody.
pub fn solicitation(src: Ipv6Addr, target: Ipv6Addr, hops: u8) -> Vec<u8> {
    let group = ndp::solicited_node(target);
    let mut message = [0; ndp::NEIGHBOR_LEN];
    ndp::emit_solicitation(&mut message, (src, group), target, GUEST_MAC);
    // A host that only tries an address out must not tell its own (RFC 4861 section 4.3).
    let len = if src.is_unspecified() { 24 } else { ndp::NEIGHBOR_LEN };
    ipv6_frame((src, GUEST_MAC), (group, ndp::multicast_mac(group)), hops, icmpv6::PROTOCOL, &message[..len])
}

/// An advertisement of `target`, which is the guest's.
pub fn advertisement(target: Ipv6Addr) -> Vec<u8> {
    let mut message = [0; ndp::NEIGHBOR_LEN];
    ndp::emit_advertisement(&mut message, (target, HOST6), target, GUEST_MAC, true);
    ipv6_frame((target, GUEST_MAC), (HOST6, GATEWAY6_MAC), 255, icmpv6::PROTOCOL, &message)
}

fn ask(world: &mut World, src: Ipv6Addr, target: &str) -> Vec<Packet> {
    world.put(&[solicitation(src, target.parse().unwrap(), 255)])
}

#[test]
fn our_addresses_are_told_to_who_asks() {
    for (target, last) in [("fec0::2", 2), ("fec0::3", 3), ("fe80::2", 2), ("fe80::3", 3)] {
        let mut world = World::new(dual());
        let target6: Ipv6Addr = target.parse().unwrap();
        let answers = ask(&mut world, GUEST6, target);
        let [
            Packet::Icmp {
                to: GUEST_MAC,
                src,
                dst,
                kind: kind::NEIGHBOR_ADVERTISEMENT,
                code: 0,
                payload,
                ..
            },
        ] = &answers[..]
        else {
            panic!("{answers:?}")
        };
        assert_eq!((*src, *dst), (IpAddr::V6(target6), IpAddr::V6(GUEST6)));
        assert_eq!(payload[..16], target6.octets());
        assert_eq!(payload[16..], [2, 1, 0x52, 0x56, 0, 0, 0, last]);
    }
}

#[test]
fn a_guest_that_tries_out_one_of_our_addresses_hears_that_it_is_taken() {
    let mut world = World::new(dual());
    let answers = ask(&mut world, Ipv6Addr::UNSPECIFIED, "fec0::2");
    let [Packet::Icmp { to, dst, kind: kind::NEIGHBOR_ADVERTISEMENT, .. }] = &answers[..] else {
        panic!("{answers:?}")
    };
    assert_eq!((*to, *dst), (Mac([0x33, 0x33, 0, 0, 0, 1]), ndp::ALL_NODES.into()));
}

#[test]
fn addresses_of_nobody_or_of_guests_are_not_answered_for() {
    let mut world = World::new(dual());
    for target in ["fec0::4", "fec0::99", "2001:db8::1"] {
        assert_eq!(ask(&mut world, GUEST6, target), [], "{target}");
    }
    assert_eq!(world.drops(DropReason::NotForUs), 3);
}

#[test]
fn a_message_that_a_router_has_passed_on_is_no_neighbours() {
    let mut world = World::new(dual());
    assert_eq!(world.put(&[solicitation(GUEST6, HOST6, 254)]), []);
    assert_eq!(world.drops(DropReason::NdpMalformed), 1);
}

#[test]
fn without_ipv6_nothing_of_it_is_answered() {
    let mut world = World::default();
    assert_eq!(ask(&mut world, GUEST6, "fec0::2"), []);
    assert_eq!(world.drops(DropReason::UnknownEthertype), 1);
}
