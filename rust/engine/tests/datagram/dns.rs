//! The name server's address leads to the host's resolver.

use crate::support::dialog::{Dialog, Opening};
use crate::support::frames::{DNS_MAC, GUEST_MAC, Packet, Seg, to_mac, udp_frame, v4};
use crate::support::world::World;
use std::net::IpAddr;
use std::time::Duration;
use wirebay_engine::DatagramKind;
use wirebay_wire::DropReason;
use wirebay_wire::tcp::flags::{RST, SYN};

const GUEST_END: &str = "10.0.2.15:5000";
const NAME_SERVER: &str = "10.0.2.3:53";

fn resolving(servers: &[&str]) -> World {
    let mut world = World::default();
    world.net.set_resolvers(servers.iter().map(|server| server.parse::<IpAddr>().unwrap()).collect());
    world
}

fn ask(world: &mut World, question: &[u8]) -> Vec<Packet> {
    world.put(&[to_mac(udp_frame(v4(GUEST_END), v4(NAME_SERVER), question), DNS_MAC)])
}

fn answers(world: &mut World) -> Vec<Packet> {
    world.settle();
    world.take()
}

fn answer(payload: &[u8]) -> Packet {
    Packet::Udp { to: GUEST_MAC, src: v4(NAME_SERVER), dst: v4(GUEST_END), payload: payload.to_vec() }
}

#[test]
fn a_question_goes_to_the_first_resolver_and_the_answer_comes_from_the_name_server() {
    let mut world = resolving(&["192.0.2.53", "192.0.2.54"]);
    assert_eq!(ask(&mut world, b"who?"), []);
    let sent = world.host.sent(0);
    assert_eq!((sent[0].to.addr, &sent[0].data[..]), ("192.0.2.53:53".parse().unwrap(), &b"who?"[..]));
    world.host.arrives(0, "192.0.2.53:53", b"me");
    world.settle();
    let frames = world.take_frames();
    assert_eq!(frames[0][6..12], DNS_MAC.0, "from the address that ARP gives for it");
    assert_eq!(Packet::parse(world.now, &frames[0]), answer(b"me"));
}

#[test]
fn a_resolver_may_have_an_ipv6_address() {
    let mut world = resolving(&["2001:db8::53"]);
    ask(&mut world, b"who?");
    assert_eq!(world.host.kernel().datagrams[0].kind, DatagramKind::Udp6);
    assert_eq!(world.host.sent(0)[0].to.addr, "[2001:db8::53]:53".parse().unwrap());
    world.host.arrives(0, "[2001:db8::53]:53", b"me");
    assert_eq!(answers(&mut world), [answer(b"me")]);
}

#[test]
fn nobody_but_the_resolver_may_answer_a_question() {
    let mut world = resolving(&["192.0.2.53"]);
    ask(&mut world, b"who?");
    for liar in ["203.0.113.66:53", "192.0.2.53:5353"] {
        world.host.arrives(0, liar, b"me, honestly");
    }
    assert_eq!(answers(&mut world), []);
    assert_eq!(world.net.drops.total(), 2);
    world.host.arrives(0, "192.0.2.53:53", b"me");
    assert_eq!(answers(&mut world), [answer(b"me")]);
}

#[test]
fn a_question_is_remembered_for_ten_seconds() {
    let mut world = resolving(&["192.0.2.53"]);
    ask(&mut world, b"who?");
    world.advance(Duration::from_millis(9999));
    assert_eq!(world.flows(), 1);
    world.advance(Duration::from_millis(1));
    assert_eq!((world.flows(), world.host.open_datagrams()), (0, 0));
}

#[test]
fn a_question_asked_again_goes_to_the_same_resolver_and_a_new_one_to_the_new() {
    let mut world = resolving(&["192.0.2.53"]);
    ask(&mut world, b"who?");
    world.net.set_resolvers(vec!["198.51.100.53".parse().unwrap()]);
    ask(&mut world, b"who?");
    assert_eq!(world.host.sent(0).len(), 2);
    world.put(&[udp_frame(v4("10.0.2.15:5001"), v4(NAME_SERVER), b"where?")]);
    assert_eq!(world.host.sent(1)[0].to.addr, "198.51.100.53:53".parse().unwrap());
}

#[test]
fn a_port_that_asks_the_name_server_and_others_keeps_them_apart() {
    let mut world = resolving(&["192.0.2.53"]);
    ask(&mut world, b"who?");
    world.put(&[udp_frame(v4(GUEST_END), v4("192.0.2.53:53"), b"directly")]);
    world.host.arrives(1, "192.0.2.53:53", b"directly too");
    world.host.arrives(0, "192.0.2.53:53", b"as asked");
    let direct = Packet::Udp {
        to: GUEST_MAC,
        src: v4("192.0.2.53:53"),
        dst: v4(GUEST_END),
        payload: b"directly too".to_vec(),
    };
    assert_eq!(answers(&mut world), [direct, answer(b"as asked")]);
}

#[test]
fn without_a_resolver_the_guest_learns_that_nobody_listens() {
    let mut world = resolving(&[]);
    let answers = ask(&mut world, b"who?");
    assert!(matches!(answers[..], [Packet::Icmp { kind: 3, code: 3, .. }]), "{answers:?}");
    assert_eq!((world.drops(DropReason::NoResolver), world.flows()), (1, 0));
}

#[test]
fn the_name_servers_other_ports_are_closed() {
    let mut world = resolving(&["192.0.2.53"]);
    let answers = world.put(&[udp_frame(v4(GUEST_END), v4("10.0.2.3:54"), b"?")]);
    assert!(matches!(answers[..], [Packet::Icmp { kind: 3, code: 3, .. }]), "{answers:?}");
    let syn = Seg { dst: v4("10.0.2.3:80"), flags: SYN, ack: 0, ..Dialog::open(&Opening::default()).seg() };
    let answers = world.put(&[syn.frame()]);
    assert!(matches!(&answers[..], [Packet::Tcp { seg, .. }] if seg.has(RST)), "{answers:?}");
    assert_eq!(world.drops(DropReason::UnknownService), 2);
    assert_eq!(world.flows(), 0);
}

#[test]
fn long_answers_come_over_tcp() {
    let mut world = resolving(&["2001:db8::53"]);
    let syn = Seg { dst: v4(NAME_SERVER), flags: SYN, ack: 0, ..Dialog::open(&Opening::default()).seg() };
    let answers = world.put(&[syn.frame()]);
    assert!(matches!(&answers[..], [Packet::Tcp { seg, .. }] if seg.has(SYN)), "{answers:?}");
    assert_eq!(world.host.peer(0).conn().to, "[2001:db8::53]:53".parse().unwrap());
}
