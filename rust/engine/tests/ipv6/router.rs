//! Router advertisements.

use super::neighbor::LINK_LOCAL;
use crate::support::frames::{GUEST_MAC, Packet, ipv6_frame};
use crate::support::world::{World, dual};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;
use wirebay_engine::Config;
use wirebay_wire::icmpv6::{self, kind};
use wirebay_wire::{Mac, ndp};

const EVERYBODY: Mac = Mac([0x33, 0x33, 0, 0, 0, 1]);

/// A world whose first advertisement, which nobody asked for, has been heard.
fn quiet(config: Config) -> World {
    let mut world = World::new(config);
    world.advance(Duration::from_secs(10));
    assert_eq!(advertisements(&world.take()).len(), 1);
    world
}

fn solicit(world: &mut World, src: Ipv6Addr) -> Vec<Packet> {
    let mut message = [0; 8];
    icmpv6::emit(&mut message, src, ndp::ALL_ROUTERS, kind::ROUTER_SOLICITATION, 0, [0; 4]);
    let group = (ndp::ALL_ROUTERS, ndp::multicast_mac(ndp::ALL_ROUTERS));
    world.put(&[ipv6_frame((src, GUEST_MAC), group, 255, icmpv6::PROTOCOL, &message)])
}

/// Destination and body of every advertisement.
fn advertisements(packets: &[Packet]) -> Vec<(Mac, Vec<u8>)> {
    let bodies = packets.iter().filter_map(|packet| match packet {
        Packet::Icmp { to, src, kind: kind::ROUTER_ADVERTISEMENT, payload, .. } => {
            assert_eq!(*src, IpAddr::V6("fe80::2".parse().unwrap()));
            Some((*to, payload.clone()))
        }
        _ => None,
    });
    bodies.collect()
}

/// The options of an advertisement by their type.
fn options(body: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let (mut rest, mut found) = (&body[8..], Vec::new());
    while let [kind, units, ..] = *rest {
        let (option, tail) = rest.split_at(usize::from(units) * 8);
        found.push((kind, option[2..].to_vec()));
        rest = tail;
    }
    found
}

#[test]
fn a_guest_that_asks_gets_prefix_mtu_name_server_and_domains() {
    let mut world = quiet(Config { search: b"\x03lab\x00".to_vec(), mtu: 1400, ..dual() });
    let heard = advertisements(&solicit(&mut world, LINK_LOCAL));
    let [(to, body)] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!(*to, GUEST_MAC);
    let options = options(body);
    assert_eq!(options.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [1, 3, 5, 25, 31]);
    assert_eq!(options[1].1[..2], [64, 0xc0]);
    assert_eq!(options[2].1[2..], 1400_u32.to_be_bytes());
    assert_eq!(options[3].1[6..], "fec0::3".parse::<Ipv6Addr>().unwrap().octets());
}

#[test]
fn a_restricted_network_tells_no_name_server() {
    let mut world = quiet(Config { restrict: true, search: b"\x03lab\x00".to_vec(), ..dual() });
    let heard = advertisements(&solicit(&mut world, LINK_LOCAL));
    let kinds: Vec<_> = options(&heard[0].1).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, [1, 3, 5]);
}

#[test]
fn guests_without_an_address_are_answered_together_and_not_too_often() {
    let mut world = quiet(dual());
    let heard: usize =
        (0..50).map(|_| advertisements(&solicit(&mut world, Ipv6Addr::UNSPECIFIED)).len()).sum();
    assert_eq!(heard, 1);
    world.advance(Duration::from_secs(4));
    let heard = advertisements(&world.take());
    assert!(matches!(heard[..], [(EVERYBODY, _)]), "who came later is answered with the next: {heard:?}");
}

#[test]
fn everybody_hears_of_the_router_again_before_it_is_forgotten() {
    let mut world = quiet(dual());
    world.advance(Duration::from_hours(1));
    let heard = advertisements(&world.take()).len();
    assert!((6..=18).contains(&heard), "{heard} in an hour, every 200 to 600 seconds");
}
