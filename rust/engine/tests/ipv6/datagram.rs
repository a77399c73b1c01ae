//! UDP, echo, name service, forwards and pings over IPv6.

use super::neighbor::{LINK_LOCAL, advertisement};
use crate::support::fake_sockets::errno;
use crate::support::frames::{
    GATEWAY6_MAC, GUEST_MAC, GUEST6, HOST6, Packet, ip_frame, ipv6_frame, udp_frame,
};
use crate::support::world::{World, dual};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use wirebay_engine::user::{Ping, Pong};
use wirebay_engine::{Config, DatagramKind};
use wirebay_wire::icmpv6::{self, Icmpv6, kind};
use wirebay_wire::{DropReason, Mac, ndp};

fn end(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn guest(port: u16) -> SocketAddr {
    SocketAddr::new(GUEST6.into(), port)
}

fn world() -> World {
    World::new(dual())
}

fn send(world: &mut World, from: SocketAddr, to: &str, payload: &[u8]) -> Vec<Packet> {
    world.put(&[udp_frame(from, end(to), payload)])
}

fn echo(kind: u8, dst: Ipv6Addr, ident: u16, payload: &[u8]) -> Vec<u8> {
    let [a, b] = ident.to_be_bytes();
    let mut message = vec![0; 8];
    message.extend(payload);
    icmpv6::emit(&mut message, GUEST6, dst, kind, 0, [a, b, 0, 1]);
    message
}

fn ask(world: &mut World, dst: &str, ident: u16) -> Vec<Packet> {
    let dst: Ipv6Addr = dst.parse().unwrap();
    let message = echo(kind::ECHO_REQUEST, dst, ident, b"hello");
    world.put(&[ip_frame(GUEST6.into(), dst.into(), icmpv6::PROTOCOL, &message)])
}

fn heard(packets: &[Packet]) -> Vec<(SocketAddr, SocketAddr, &[u8])> {
    let datagrams = packets.iter().filter_map(|packet| match packet {
        Packet::Udp { src, dst, payload, .. } => Some((*src, *dst, &payload[..])),
        _ => None,
    });
    datagrams.collect()
}

#[test]
fn a_guests_port_is_one_socket_and_anybody_may_answer() {
    let mut world = world();
    send(&mut world, guest(5000), "[2001:db8::1]:9", b"one");
    send(&mut world, guest(5000), "[2001:db8::2]:9", b"two");
    assert_eq!(world.host.kernel().datagrams[0].kind, DatagramKind::Udp6);
    let to: Vec<_> = world.host.sent(0).iter().map(|sent| sent.to.addr).collect();
    assert_eq!(to, [end("[2001:db8::1]:9"), end("[2001:db8::2]:9")]);
    world.host.arrives(0, "[2001:db8::77]:7", b"answer");
    world.settle();
    assert_eq!(heard(&world.take()), [(end("[2001:db8::77]:7"), guest(5000), &b"answer"[..])]);
}

#[test]
fn datagrams_of_one_size_travel_together() {
    let mut world = world();
    send(&mut world, guest(5000), "[2001:db8::1]:9", b"question");
    for i in 0..5 {
        world.host.arrives(0, "[2001:db8::1]:9", &[i; 1000]);
    }
    world.settle();
    assert_eq!((world.super_segments, heard(&world.take()).len()), (1, 5));
}

#[test]
fn the_hosts_loopback_answers_from_the_address_it_was_asked_at() {
    for (from, asked) in
        [(guest(5000), "[fec0::2]:53"), (SocketAddr::new(LINK_LOCAL.into(), 5000), "[fe80::2]:53")]
    {
        let mut world = world();
        send(&mut world, from, asked, b"question");
        assert_eq!(world.host.sent(0)[0].to.addr, end("[::1]:53"));
        world.host.arrives(0, "[::1]:53", b"answer");
        world.settle();
        assert_eq!(heard(&world.take()), [(end(asked), from, &b"answer"[..])]);
    }
}

#[test]
fn the_name_server_is_the_hosts_resolver_of_either_family() {
    let mut world = world();
    world.net.set_resolvers(vec![IpAddr::from([192, 0, 2, 53])]);
    send(&mut world, guest(5000), "[fec0::3]:53", b"question");
    assert_eq!(world.host.sent(0)[0].to.addr, end("192.0.2.53:53"));
    world.host.arrives(0, "192.0.2.53:53", b"answer");
    world.settle();
    assert_eq!(heard(&world.take()), [(end("[fec0::3]:53"), guest(5000), &b"answer"[..])]);
}

#[test]
fn a_datagram_without_a_checksum_is_none_over_ipv6() {
    let mut world = world();
    let mut frame = udp_frame(guest(5000), end("[2001:db8::1]:9"), b"x");
    frame[60..62].fill(0);
    world.put(&[frame]);
    assert_eq!((world.drops(DropReason::UdpBadChecksum), world.flows()), (1, 0));
}

#[test]
fn a_refusal_of_the_host_becomes_an_unreachable_that_quotes_the_datagram() {
    let mut world = world();
    world.host.kernel().send_fails = Some(errno::ECONNREFUSED);
    let frame = udp_frame(guest(5000), end("[2001:db8::1]:9"), b"x");
    let answers = world.put(std::slice::from_ref(&frame));
    let [Packet::Icmp { src, kind: kind::UNREACHABLE, code: icmpv6::code::PORT, payload, .. }] = &answers[..]
    else {
        panic!("{answers:?}")
    };
    assert_eq!((*src, &payload[..]), (IpAddr::V6(HOST6), &frame[14..]));
}

#[test]
fn our_addresses_answer_echo_requests_themselves() {
    for ours in ["fec0::2", "fec0::3", "fe80::2"] {
        let mut world = world();
        let answers = ask(&mut world, ours, 7);
        let [Packet::Icmp { src, kind: kind::ECHO_REPLY, ident: 7, seq: 1, payload, .. }] = &answers[..]
        else {
            panic!("{answers:?}")
        };
        assert_eq!((*src, &payload[..]), (ours.parse().unwrap(), &b"hello"[..]));
    }
}

#[test]
fn echo_requests_to_the_outside_go_through_a_ping_socket_and_come_back_with_the_guests_identifier() {
    let mut world = world();
    ask(&mut world, "2001:db8::1", 0x1234);
    assert_eq!(world.host.kernel().datagrams[0].kind, DatagramKind::Ping6);
    let sent = world.host.sent(0);
    assert_eq!(Icmpv6::parse_unchecked(&sent[0].data).unwrap().kind, kind::ECHO_REQUEST);
    world.host.arrives(0, "[2001:db8::1]:0", &echo(kind::ECHO_REPLY, HOST6, 99, b"hello"));
    world.settle();
    let answers = world.take();
    assert!(
        matches!(&answers[..], [Packet::Icmp { kind: kind::ECHO_REPLY, ident: 0x1234, seq: 1, .. }]),
        "{answers:?}"
    );
}

#[test]
fn dhcpv6_goes_to_the_service_from_a_guest_with_only_a_link_local_address() {
    let mut world = world();
    let (group, src) = (end("[ff02::1:2]:547"), SocketAddr::new(LINK_LOCAL.into(), 546));
    world.put(&[udp_frame(src, group, b"solicit")]);
    let message = world.net.pop_service().unwrap();
    assert_eq!((message.src, message.dst, &message.payload[..]), (src, group, &b"solicit"[..]));
}

#[test]
fn sources_that_are_no_guests_and_groups_are_refused() {
    let mut world = world();
    send(&mut world, end("[2001:db8::5]:1"), "[2001:db8::1]:9", b"x");
    send(&mut world, end("[fec0::2]:1"), "[2001:db8::1]:9", b"x");
    assert_eq!(world.drops(DropReason::SourceNotInNet), 2);
    send(&mut world, guest(1), "[ff02::fb]:5353", b"x");
    send(&mut world, guest(1), "[::ffff:127.0.0.1]:9", b"x");
    assert_eq!(world.drops(DropReason::MartianDestination), 2);
    assert_eq!(world.flows(), 0);
}

#[test]
fn a_client_of_a_udp_forward_waits_until_the_guest_is_found_by_neighbour_discovery() {
    let mut world = world();
    let slot = world.net.forward_vacancy();
    let socket = world.host.bind(slot);
    world.net.add_forward(guest(53), Some(socket));
    world.host.arrives(0, "[2001:db8::9]:4000", b"hello");
    world.settle();
    let asked = world.take();
    let group = ndp::multicast_mac(ndp::solicited_node(GUEST6));
    assert!(
        matches!(&asked[..], [Packet::Icmp { to, kind: kind::NEIGHBOR_SOLICITATION, .. }] if *to == group),
        "{asked:?}"
    );
    let packets = world.put(&[advertisement(GUEST6)]);
    assert_eq!(heard(&packets), [(end("[2001:db8::9]:4000"), guest(53), &b"hello"[..])]);
    world.put(&[udp_frame(guest(53), end("[2001:db8::9]:4000"), b"back")]);
    assert_eq!(world.host.sent(0)[0].data, b"back");
}

#[test]
fn a_ping_of_ours_finds_the_guest_and_its_answer_is_told_once() {
    let mut world = World::new(Config { v4: None, ..dual() });
    let ping = Ping { addr: GUEST6.into(), ident: 7, seq: 1, size: 5 };
    world.ping(ping).unwrap();
    assert!(matches!(&world.take()[..], [Packet::Icmp { kind: kind::NEIGHBOR_SOLICITATION, .. }]));
    let packets = world.put(&[advertisement(GUEST6)]);
    assert!(matches!(&packets[..], [Packet::Icmp { kind: kind::ECHO_REQUEST, ident: 7, seq: 1, .. }]));
    let reply = echo(kind::ECHO_REPLY, HOST6, 7, &[1, 2, 3, 4, 5]);
    let frame = ipv6_frame((GUEST6, GUEST_MAC), (HOST6, GATEWAY6_MAC), 63, icmpv6::PROTOCOL, &reply);
    world.put(&[frame.clone(), frame]);
    assert_eq!(world.net.pop_pong(), Some(Pong { addr: GUEST6.into(), ident: 7, seq: 1, hops: 63 }));
    assert_eq!(world.net.pop_pong(), None, "the second answer is nobody's");
    assert_eq!(world.drops(DropReason::UnknownService), 1);
}

#[test]
fn who_is_no_guest_is_not_pinged() {
    let mut world = world();
    for addr in ["2001:db8::1", "fec0::2", "192.0.2.1"] {
        let ping = Ping { addr: addr.parse().unwrap(), ident: 1, seq: 1, size: 0 };
        assert_eq!(world.ping(ping), Err(DropReason::SourceNotInNet), "{addr}");
    }
    assert_eq!(world.take(), []);
}

#[test]
fn a_frame_for_another_station_is_not_ours() {
    let mut world = world();
    let mut frame = udp_frame(guest(5000), end("[2001:db8::1]:9"), b"x");
    frame[..6].copy_from_slice(&Mac([2, 0, 0, 0, 0, 9]).0);
    world.put(&[frame]);
    assert_eq!(world.drops(DropReason::NotForUs), 1);
}
