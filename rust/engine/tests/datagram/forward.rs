//! UDP forwards from the host into the guest network.

use crate::support::frames::{GUEST, GUEST_MAC, HOST, Packet, arp_frame, udp_frame, v4};
use crate::support::world::{World, qemu};
use std::net::SocketAddr;
use std::time::Duration;
use wirebay_engine::{Config, Peer, Report};
use wirebay_wire::arp::{REPLY, REQUEST};
use wirebay_wire::ipv4::Ipv4;
use wirebay_wire::udp::Udp;
use wirebay_wire::{DropReason, Mac};

const CLIENT: &str = "203.0.113.9:50000";
const GUEST_END: &str = "10.0.2.15:69";

/// A forward whose socket is number 0.
fn forwarding(config: Config) -> World {
    let mut world = World::new(config);
    let socket = world.host.bind(world.net.forward_vacancy());
    world.net.add_forward(v4(GUEST_END), Some(socket));
    world
}

fn known_guest() -> World {
    let mut world = forwarding(qemu());
    world.put(&[arp_frame(REQUEST, (GUEST_MAC, GUEST), HOST)]);
    world
}

fn arrives(world: &mut World, from: &str, data: &[u8]) -> Vec<Packet> {
    world.host.arrives(0, from, data);
    world.settle();
    world.take()
}

fn udp(src: &str, payload: &[u8]) -> Packet {
    Packet::Udp { to: GUEST_MAC, src: v4(src), dst: v4(GUEST_END), payload: payload.to_vec() }
}

fn is_arp_question(packet: &Packet) -> bool {
    matches!(packet, Packet::Arp { to: Mac::BROADCAST, message } if message.operation == REQUEST)
}

#[test]
fn the_guest_sees_the_client_and_the_client_is_answered_from_where_it_asked() {
    let mut world = known_guest();
    let client = Peer { addr: CLIENT.parse().unwrap(), local: Some("198.51.100.2".parse().unwrap()) };
    world.host.arrives_from(0, client, b"question");
    world.settle();
    assert_eq!(world.take(), [udp(CLIENT, b"question")]);
    assert_eq!(world.put(&[udp_frame(v4(GUEST_END), v4(CLIENT), b"answer")]), []);
    let sent = world.host.sent(0);
    assert_eq!((sent.len(), sent[0].to, &sent[0].data[..]), (1, client, &b"answer"[..]));
    assert_eq!(world.host.open_datagrams(), 1, "no other socket was opened for it");
}

#[test]
fn a_client_on_the_host_itself_seems_to_be_the_gateway() {
    let mut world = known_guest();
    assert_eq!(arrives(&mut world, "127.0.0.1:40000", b"x"), [udp("10.0.2.2:40000", b"x")]);
    world.put(&[udp_frame(v4(GUEST_END), v4("10.0.2.2:40000"), b"y")]);
    assert_eq!(world.host.sent(0)[0].to.addr, "127.0.0.1:40000".parse().unwrap());
}

/// Who told the guest what, and about an answer to whom.
fn told(packets: &[Packet]) -> (String, (u8, u8), SocketAddr) {
    let [Packet::Icmp { src, kind, code, payload, .. }] = packets else { panic!("{packets:?}") };
    let quoted = Ipv4::parse(payload).unwrap();
    let udp = Udp::parse(quoted.payload).unwrap();
    assert_eq!((quoted.src, udp.src_port, udp.payload), (GUEST, 69, &b"answer"[..]));
    (src.to_string(), (*kind, *code), SocketAddr::new(quoted.dst.into(), udp.dst_port))
}

#[test]
fn a_client_that_has_gone_is_reported_to_the_guest_as_the_guest_knows_it() {
    let cases = [(CLIENT, "203.0.113.9", CLIENT), ("127.0.0.1:40000", "10.0.2.2", "10.0.2.2:40000")];
    for (client, seen, seen_end) in cases {
        let mut world = known_guest();
        let addr: SocketAddr = client.parse().unwrap();
        // The local address is what the kernel's report does not have.
        let peer = Peer { addr, local: Some("198.51.100.2".parse().unwrap()) };
        world.host.arrives_from(0, peer, b"question");
        world.settle();
        world.take();
        world.host.reports(0, Report::Port, &addr.ip().to_string(), client, b"answer");
        world.settle();
        assert_eq!(told(&world.take()), (seen.into(), (3, 3), v4(seen_end)), "{client}");
    }
}

#[test]
fn a_router_on_the_way_to_a_client_is_seen_and_a_stranger_is_no_client() {
    let mut world = known_guest();
    arrives(&mut world, CLIENT, b"question");
    world.host.reports(0, Report::Host, "192.0.2.1", "203.0.113.77:50000", b"answer");
    world.host.reports(0, Report::Host, "192.0.2.1", CLIENT, b"answer");
    world.settle();
    assert_eq!(told(&world.take()), ("192.0.2.1".into(), (3, 1), v4(CLIENT)));
}

#[test]
fn a_client_that_is_known_by_another_port_is_reported_by_that() {
    let mut world = known_guest();
    arrives(&mut world, "127.0.0.1:40000", b"a");
    let second = arrives(&mut world, "127.0.0.2:40000", b"b");
    let [Packet::Udp { src, .. }] = second[..] else { panic!("{second:?}") };
    world.host.reports(0, Report::Port, "127.0.0.2", "127.0.0.2:40000", b"answer");
    world.settle();
    assert_eq!(told(&world.take()), ("10.0.2.2".into(), (3, 3), src));
}

#[test]
fn many_reports_at_once_are_all_told_and_datagrams_between_them_heard() {
    let mut world = known_guest();
    arrives(&mut world, CLIENT, b"question");
    for _ in 0..20 {
        world.host.reports(0, Report::Port, "203.0.113.9", CLIENT, b"answer");
        world.host.arrives(0, CLIENT, b"again");
    }
    world.settle();
    assert_eq!(world.take().len(), 40);
}

#[test]
fn clients_that_would_look_the_same_are_told_apart_by_port() {
    let mut world = known_guest();
    arrives(&mut world, "127.0.0.1:40000", b"a");
    let second = arrives(&mut world, "127.0.0.2:40000", b"b");
    let [Packet::Udp { src, .. }] = second[..] else { panic!("{second:?}") };
    assert_ne!(src, v4("10.0.2.2:40000"));
    world.put(&[udp_frame(v4(GUEST_END), src, b"for the second")]);
    assert_eq!(world.host.sent(0)[0].to.addr, "127.0.0.2:40000".parse().unwrap());
    assert_eq!(
        arrives(&mut world, "127.0.0.2:40000", b"c"),
        [Packet::Udp { to: GUEST_MAC, src, dst: v4(GUEST_END), payload: b"c".to_vec() }]
    );
    assert_eq!(world.flows(), 2);
}

#[test]
fn the_first_datagram_for_an_unknown_guest_waits_until_it_has_answered() {
    let mut world = forwarding(qemu());
    let asked = arrives(&mut world, CLIENT, b"hold on");
    assert!(asked.len() == 1 && is_arp_question(&asked[0]), "{asked:?}");
    let answers = world.put(&[arp_frame(REPLY, (GUEST_MAC, GUEST), HOST)]);
    assert_eq!(answers, [udp(CLIENT, b"hold on")]);
    assert_eq!(arrives(&mut world, CLIENT, b"and on"), [udp(CLIENT, b"and on")]);
}

#[test]
fn only_one_datagram_of_each_client_waits() {
    let mut world = forwarding(qemu());
    for i in 0..5 {
        let asked = arrives(&mut world, CLIENT, &[i]);
        assert!(asked.iter().all(is_arp_question), "{asked:?}");
    }
    assert_eq!(world.drops(DropReason::NoNeighbor), 4);
    assert_eq!(world.put(&[arp_frame(REPLY, (GUEST_MAC, GUEST), HOST)]).len(), 1);
}

#[test]
fn a_removed_forward_takes_its_flows_and_its_socket_with_it() {
    let mut world = known_guest();
    arrives(&mut world, CLIENT, b"x");
    world.net.remove_forward(0);
    assert_eq!((world.flows(), world.host.open_datagrams()), (0, 0));
    // The guest's late answer is traffic of its own now.
    world.put(&[udp_frame(v4(GUEST_END), v4(CLIENT), b"late")]);
    assert_eq!(world.host.sent(0), []);
}

#[test]
fn a_forward_that_takes_the_place_of_another_does_not_take_its_clients() {
    let mut world = known_guest();
    arrives(&mut world, CLIENT, b"x");
    world.net.remove_forward(0);
    let socket = world.host.bind(world.net.forward_vacancy());
    assert_eq!(world.net.add_forward(v4("10.0.2.15:70"), Some(socket)), 0);
    world.put(&[udp_frame(v4(GUEST_END), v4(CLIENT), b"for the old one")]);
    assert_eq!(world.host.sent(1), []);
}

#[test]
fn a_client_is_forgotten_when_nothing_happens_for_four_minutes() {
    let mut world = known_guest();
    arrives(&mut world, CLIENT, b"x");
    world.advance(Duration::from_secs(239));
    world.put(&[udp_frame(v4(GUEST_END), v4(CLIENT), b"y")]);
    world.advance(Duration::from_secs(239));
    assert_eq!(world.flows(), 1);
    world.advance(Duration::from_secs(1));
    assert_eq!((world.flows(), world.host.open_datagrams()), (0, 1), "the forward stays");
}

#[test]
fn a_full_table_takes_no_more_clients_and_counts_right() {
    let mut world = forwarding(Config { max_flows: 1, ..qemu() });
    world.put(&[arp_frame(REQUEST, (GUEST_MAC, GUEST), HOST)]);
    arrives(&mut world, CLIENT, b"first");
    for _ in 0..3 {
        assert_eq!(arrives(&mut world, "203.0.113.10:50000", b"second"), []);
    }
    assert_eq!((world.flows(), world.drops(DropReason::FlowTableFull)), (1, 3));
    assert_eq!(arrives(&mut world, CLIENT, b"again"), [udp(CLIENT, b"again")]);
    world.advance(Duration::from_mins(4));
    assert_eq!(world.flows(), 0);
}

#[test]
fn clients_that_no_guest_answers_give_way_and_those_it_has_answered_stay() {
    let mut world = forwarding(Config { max_flows: 40, ..qemu() });
    world.put(&[arp_frame(REQUEST, (GUEST_MAC, GUEST), HOST)]);
    arrives(&mut world, CLIENT, b"x");
    world.put(&[udp_frame(v4(GUEST_END), v4(CLIENT), b"answer")]);
    for port in 1000..1100 {
        arrives(&mut world, &format!("203.0.113.66:{port}"), b"flood");
    }
    assert_eq!((world.flows(), world.drops(DropReason::UnansweredGaveWay)), (11, 90));
    assert_eq!(world.drops(DropReason::FlowTableFull), 0);
    world.host.sent(0);
    world.put(&[udp_frame(v4(GUEST_END), v4(CLIENT), b"another")]);
    assert_eq!(world.host.sent(0)[0].to.addr, CLIENT.parse().unwrap());
}

#[test]
fn what_does_not_fit_the_guest_comes_in_fragments() {
    let mut world = known_guest();
    assert_eq!(arrives(&mut world, CLIENT, &[7; 1473]), [udp(CLIENT, &[7; 1473])]);
    assert_eq!(world.fragments(), 2);
}

#[test]
fn many_clients_at_once_are_all_served() {
    let mut world = known_guest();
    for i in 0..1000 {
        world.host.arrives(0, &format!("203.0.113.9:{}", 10_000 + i), &[i as u8; 3]);
    }
    world.settle();
    assert_eq!((world.take().len(), world.net.census().udp), (1000, 1000));
}
