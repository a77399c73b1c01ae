//! The channel between guests and services: DHCP.

use crate::support::frames::{GUEST_MAC, Packet, to_mac, udp_frame, v4};
use crate::support::world::{World, qemu};
use wirebay_engine::Config;
use wirebay_engine::user::ServiceMessage;
use wirebay_wire::{DropReason, Mac};

fn discover(payload: &[u8]) -> Vec<u8> {
    to_mac(udp_frame(v4("0.0.0.0:68"), v4("255.255.255.255:67"), payload), Mac::BROADCAST)
}

fn reply(dst: &str, payload: &[u8]) -> ServiceMessage {
    ServiceMessage { mac: GUEST_MAC, src: v4("10.0.2.2:67"), dst: v4(dst), payload: payload.to_vec() }
}

#[test]
fn a_guest_without_an_address_reaches_the_service() {
    let mut world = World::default();
    assert_eq!(world.put(&[discover(b"any offers?")]), []);
    let (src, dst) = (v4("0.0.0.0:68"), v4("255.255.255.255:67"));
    let expected = ServiceMessage { mac: GUEST_MAC, src, dst, payload: b"any offers?".to_vec() };
    assert_eq!(world.net.pop_service(), Some(expected));
    assert_eq!(world.net.pop_service(), None);
    assert_eq!((world.flows(), world.net.drops.total()), (0, 0));
}

#[test]
fn a_guest_with_an_address_reaches_it_too() {
    let mut world = World::default();
    for to in ["10.0.2.2:67", "10.0.2.255:67"] {
        world.put(&[udp_frame(v4("10.0.2.15:68"), v4(to), b"renew")]);
        assert_eq!(world.net.pop_service().unwrap().dst, v4(to));
    }
    world.put(&[udp_frame(v4("10.0.2.15:68"), v4("192.0.2.1:67"), b"elsewhere")]);
    assert_eq!(world.net.pop_service(), None, "another DHCP server is none of ours");
    assert_eq!(world.flows(), 1);
}

#[test]
fn the_services_answer_reaches_a_guest_that_has_no_address_yet() {
    let mut world = World::default();
    for dst in ["10.0.2.15:68", "255.255.255.255:68"] {
        world.service_reply(&reply(dst, b"an offer"));
        let (src, dst, payload) = (v4("10.0.2.2:67"), v4(dst), b"an offer".to_vec());
        assert_eq!(world.take(), [Packet::Udp { to: GUEST_MAC, src, dst, payload }]);
    }
}

#[test]
fn a_guest_that_floods_the_service_loses_its_own_messages() {
    let mut world = World::default();
    for i in 0..100 {
        world.put(&[discover(&[i])]);
    }
    assert_eq!(world.drops(DropReason::ServiceBusy), 36);
    let kept: Vec<_> =
        std::iter::from_fn(|| world.net.pop_service()).map(|message| message.payload[0]).collect();
    assert_eq!(kept, (0..64).collect::<Vec<_>>(), "in order");
    world.put(&[discover(b"now")]);
    assert!(world.net.pop_service().is_some());
}

#[test]
fn a_damaged_message_does_not_reach_the_service() {
    let mut world = World::default();
    let mut frame = discover(b"any offers?");
    *frame.last_mut().unwrap() ^= 1;
    world.put(&[frame]);
    assert_eq!((world.net.pop_service(), world.drops(DropReason::UdpBadChecksum)), (None, 1));
}

#[test]
fn an_answer_that_does_not_fit_the_mtu_comes_in_fragments() {
    let mut world = World::new(Config { mtu: 576, ..qemu() });
    for (len, fragments) in [(548, 0), (549, 2)] {
        world.service_reply(&reply("10.0.2.15:68", &vec![0; len]));
        assert_eq!((world.take().len(), world.fragments()), (1, fragments));
    }
}
