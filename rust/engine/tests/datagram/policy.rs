//! Who may talk to whom.

use crate::support::dialog::{Dialog, Opening};
use crate::support::frames::{
    DNS, GUEST, GUEST_MAC, HOST, Packet, Seg, arp_frame, from_mac, ping_frame, to_mac, udp_frame, v4,
};
use crate::support::world::{World, qemu};
use std::net::{IpAddr, Ipv4Addr};
use wirebay_engine::Config;
use wirebay_wire::arp::REQUEST;
use wirebay_wire::tcp::flags::{ACK, RST, SYN};
use wirebay_wire::{DropReason, Mac};

const GUEST_END: &str = "10.0.2.15:5000";

fn syn(to: &str) -> Vec<u8> {
    Seg { dst: v4(to), flags: SYN, ack: 0, ..Dialog::open(&Opening::default()).seg() }.frame()
}

fn udp(to: &str) -> Vec<u8> {
    udp_frame(v4(GUEST_END), v4(to), b"x")
}

fn restricted() -> World {
    let mut world = World::new(Config { restrict: true, ..qemu() });
    world.net.set_resolvers(vec!["192.0.2.53".parse().unwrap()]);
    world
}

fn is_reset(answers: &[Packet]) -> bool {
    matches!(answers, [Packet::Tcp { seg, .. }] if seg.has(RST))
}

fn is_prohibited(answers: &[Packet]) -> bool {
    matches!(answers, [Packet::Icmp { src: IpAddr::V4(HOST), kind: 3, code: 13, .. }])
}

fn nothing_was_opened(world: &World) -> bool {
    world.flows() == 0 && world.host.connections() == 0 && world.host.open_datagrams() == 0
}

#[test]
fn an_error_is_no_longer_than_the_mtu() {
    for mtu in [68, 100, 575, 1500] {
        let mut world = World::new(Config { restrict: true, mtu, ..qemu() });
        // The world checks the length of everything that is sent.
        let answers = world.put(&[udp_frame(v4(GUEST_END), v4("192.0.2.1:80"), &[7; 1400])]);
        let [Packet::Icmp { payload, .. }] = &answers[..] else { panic!("{answers:?}") };
        assert_eq!(payload.len(), usize::from(mtu.min(576)) - 28);
    }
}

#[test]
fn a_restricted_network_lets_nothing_out_and_says_so() {
    let mut world = restricted();
    for to in ["192.0.2.1:80", "10.0.2.2:80", "10.0.2.3:53"] {
        assert!(is_reset(&world.put(&[syn(to)])), "{to}");
        assert!(is_prohibited(&world.put(&[udp(to)])), "{to}");
    }
    assert!(is_prohibited(&world.put(&[ping_frame(Ipv4Addr::new(192, 0, 2, 1), 1, 1, b"")])));
    assert_eq!(world.drops(DropReason::Restricted), 7);
    assert!(nothing_was_opened(&world));
}

#[test]
fn a_restricted_network_still_has_its_own_services() {
    let mut world = restricted();
    assert_eq!(world.put(&[ping_frame(HOST, 1, 1, b"")]).len(), 1);
    assert_eq!(world.put(&[arp_frame(REQUEST, (GUEST_MAC, GUEST), HOST)]).len(), 1);
    world.put(&[udp("10.0.2.2:67")]);
    assert!(world.net.pop_service().is_some());
}

#[test]
fn a_restricted_guest_answers_those_who_come_in_by_a_forward() {
    let config = Config { restrict: true, ..qemu() };
    let mut dialog = Dialog::called(&Opening { config, ..Opening::default() });
    dialog.say(b"allowed");
    assert_eq!(dialog.peer().received(), b"allowed");
    let mut world = restricted();
    world.put(&[arp_frame(REQUEST, (GUEST_MAC, GUEST), HOST)]);
    let socket = world.host.bind(0);
    world.net.add_forward(v4(GUEST_END), Some(socket));
    world.host.arrives(0, "203.0.113.9:7", b"question");
    world.settle();
    assert_eq!(world.take().len(), 1);
    assert_eq!(world.put(&[udp("203.0.113.9:7")]), []);
    assert_eq!(world.host.sent(0).len(), 1);
    assert!(is_prohibited(&world.put(&[udp("203.0.113.9:8")])), "but nobody else");
}

#[test]
fn the_hosts_loopback_can_be_closed_while_the_rest_stays_open() {
    let mut world = World::new(Config { host_loopback: false, ..qemu() });
    assert!(is_reset(&world.put(&[syn("10.0.2.2:80")])));
    assert!(is_prohibited(&world.put(&[udp("10.0.2.2:80")])));
    assert_eq!(world.drops(DropReason::HostLoopbackForbidden), 2);
    assert!(nothing_was_opened(&world));
    world.put(&[udp("192.0.2.1:80"), syn("192.0.2.1:80")]);
    assert_eq!(world.flows(), 2);
    assert_eq!(world.put(&[ping_frame(HOST, 1, 1, b"")]).len(), 1, "the gateway itself still answers");
}

#[test]
fn no_other_name_of_the_loopback_leads_there() {
    let mut world = World::new(Config { host_loopback: false, ..qemu() });
    let martians =
        ["0.0.0.0:80", "0.0.0.1:80", "127.0.0.1:80", "127.1.2.3:80", "240.0.0.1:80", "239.1.1.1:80"];
    for to in martians {
        let ping = ping_frame(to.rsplit_once(':').unwrap().0.parse().unwrap(), 1, 1, b"");
        for frame in [syn(to), udp(to), ping] {
            let answers = world.put(&[frame]);
            assert!(if to.starts_with("239") { answers.is_empty() } else { is_prohibited(&answers) }, "{to}");
        }
    }
    assert_eq!(world.drops(DropReason::MartianDestination), 3 * martians.len() as u64);
    assert!(nothing_was_opened(&world));
}

#[test]
fn broadcasts_are_not_passed_on() {
    let mut world = World::default();
    for to in ["255.255.255.255:80", "10.0.2.255:80"] {
        assert_eq!(world.put(&[udp(to), syn(to)]), []);
        assert_eq!(world.put(&[to_mac(udp(to), Mac::BROADCAST), to_mac(syn(to), Mac::BROADCAST)]), []);
    }
    assert_eq!(world.put(&[to_mac(udp("192.0.2.1:80"), Mac([1, 0, 0x5e, 0, 0, 1]))]), []);
    assert_eq!(world.drops(DropReason::MartianDestination), 9);
    assert!(nothing_was_opened(&world));
}

#[test]
fn no_guest_speaks_in_the_name_of_others() {
    let mut world = World::default();
    let sources =
        ["192.0.2.1:9", "10.0.2.2:9", "10.0.2.3:9", "10.0.2.255:9", "10.0.2.0:9", "0.0.0.0:9", "127.0.0.1:9"];
    for from in sources {
        assert_eq!(world.put(&[udp_frame(v4(from), v4("192.0.2.1:7"), b"x")]), []);
        let seg = Seg { src: v4(from), flags: SYN, ack: 0, ..Dialog::open(&Opening::default()).seg() };
        assert_eq!(world.put(&[seg.frame()]), []);
    }
    assert_eq!(world.drops(DropReason::SourceNotInNet), 2 * sources.len() as u64);
    assert!(nothing_was_opened(&world));
}

#[test]
fn what_guests_send_to_each_other_is_left_to_the_hub() {
    let mut world = World::default();
    assert_eq!(world.put(&[udp("10.0.2.16:80"), syn("10.0.2.16:80")]), []);
    let other = Mac([0x52, 0x54, 0, 0x12, 0x34, 0x57]);
    assert_eq!(world.put(&[to_mac(udp("192.0.2.1:80"), other)]), []);
    assert_eq!(world.put(&[from_mac(udp("192.0.2.1:80"), Mac([3, 0, 0, 0, 0, 1]))]), [], "a group as sender");
    assert_eq!(world.drops(DropReason::NotForUs), 4);
    assert!(nothing_was_opened(&world));
}

#[test]
fn what_nobody_understands_is_counted_by_what_it_is() {
    let mut world = World::default();
    let mut vlan = udp("192.0.2.1:80");
    vlan[12..14].copy_from_slice(&[0x81, 0]);
    let sctp = crate::support::frames::ipv4_frame(GUEST, Ipv4Addr::new(192, 0, 2, 1), 132, &[0; 20]);
    let answers = world.put(&[vlan, sctp, vec![0; 13]]);
    assert!(matches!(answers[..], [Packet::Icmp { src: IpAddr::V4(HOST), kind: 3, code: 2, .. }]));
    assert_eq!(world.drops(DropReason::UnknownEthertype), 1);
    assert_eq!(world.drops(DropReason::UnknownProtocol), 1);
    assert_eq!(world.drops(DropReason::EthernetTruncated), 1);
}

#[test]
fn the_gateway_takes_packets_at_either_of_its_addresses() {
    let mut world = World::default();
    let at_dns = to_mac(udp("192.0.2.1:80"), Config::mac_of(DNS.into()));
    world.put(&[at_dns]);
    assert_eq!(world.flows(), 1);
    let stray = Seg { flags: ACK, ..Dialog::open(&Opening::default()).seg() };
    assert!(is_reset(&world.put(&[stray.frame()])));
}
