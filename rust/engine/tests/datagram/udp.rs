//! UDP between guests and the world.

use crate::support::fake_sockets::{Sent, errno};
use crate::support::frames::{GUEST, GUEST_MAC, HOST, Packet, from_mac, udp_frame, v4};
use crate::support::rng::Stream;
use crate::support::world::{World, qemu};
use std::net::IpAddr;
use std::time::Duration;
use wirebay_engine::{Config, DatagramKind, Peer, Sending};
use wirebay_wire::{DropReason, Gso, GsoKind, Mac, Offload, PartialChecksum};

const GUEST_END: &str = "10.0.2.15:5000";
const SERVER: &str = "192.0.2.1:7";

fn send(world: &mut World, from: &str, to: &str, payload: &[u8]) -> Vec<Packet> {
    world.put(&[udp_frame(v4(from), v4(to), payload)])
}

fn to(addr: &str) -> Peer {
    Peer { addr: addr.parse().unwrap(), local: None }
}

fn udp(src: &str, dst: &str, payload: &[u8]) -> Packet {
    Packet::Udp { to: GUEST_MAC, src: v4(src), dst: v4(dst), payload: payload.to_vec() }
}

/// A network with one mapping, of socket 0.
fn mapped() -> World {
    let mut world = World::default();
    assert_eq!(send(&mut world, GUEST_END, SERVER, b"hello"), []);
    world
}

fn hear(world: &mut World) -> Vec<Packet> {
    world.settle();
    world.take()
}

#[test]
fn a_guests_port_is_one_socket_whatever_it_talks_to() {
    let mut world = mapped();
    send(&mut world, GUEST_END, "198.51.100.9:1234", b"there");
    send(&mut world, GUEST_END, "10.0.2.2:99", b"home");
    assert_eq!((world.flows(), world.host.open_datagrams()), (1, 1));
    let how = Sending { dont_fragment: true, ..Sending::default() };
    let sent = |addr: &str, data: &[u8]| Sent { to: to(addr), data: data.to_vec(), how };
    let expected =
        [sent(SERVER, b"hello"), sent("198.51.100.9:1234", b"there"), sent("127.0.0.1:99", b"home")];
    assert_eq!(world.host.sent(0), expected);
    assert_eq!(world.host.kernel().datagrams[0].kind, DatagramKind::Udp4);
}

#[test]
fn anybody_may_answer_and_the_guest_sees_who_it_was() {
    let mut world = mapped();
    world.host.arrives(0, SERVER, b"hello yourself");
    world.host.arrives(0, "203.0.113.77:1", b"a stranger");
    let expected =
        [udp(SERVER, GUEST_END, b"hello yourself"), udp("203.0.113.77:1", GUEST_END, b"a stranger")];
    assert_eq!(hear(&mut world), expected);
}

#[test]
fn the_hosts_loopback_seems_to_be_the_gateway_in_both_directions() {
    let mut world = mapped();
    world.host.arrives(0, "127.0.0.1:99", b"from home");
    world.host.arrives(0, "10.0.2.200:99", b"from an address of the guest network");
    let expected = [
        udp("10.0.2.2:99", GUEST_END, b"from home"),
        udp("10.0.2.2:99", GUEST_END, b"from an address of the guest network"),
    ];
    assert_eq!(hear(&mut world), expected);
}

#[test]
fn ports_and_guests_are_told_apart() {
    let mut world = mapped();
    send(&mut world, "10.0.2.15:5001", SERVER, b"another port");
    let other = Mac([2, 0, 0, 0, 0, 16]);
    world.put(&[from_mac(udp_frame(v4("10.0.2.16:5000"), v4(SERVER), b"another guest"), other)]);
    assert_eq!(world.host.open_datagrams(), 3);
    world.host.arrives(2, SERVER, b"x");
    world.host.arrives(1, SERVER, b"y");
    let answers = hear(&mut world);
    assert!(
        matches!(&answers[0], Packet::Udp { to, dst, .. } if *to == other && *dst == v4("10.0.2.16:5000"))
    );
    assert_eq!(answers[1], udp(SERVER, "10.0.2.15:5001", b"y"));
}

#[test]
fn a_mapping_ends_four_minutes_after_its_last_use_in_either_direction() {
    let mut world = mapped();
    world.advance(Duration::from_secs(239));
    send(&mut world, GUEST_END, SERVER, b"again");
    world.advance(Duration::from_secs(239));
    world.host.arrives(0, SERVER, b"answer");
    world.settle();
    world.advance(Duration::from_secs(239));
    assert_eq!((world.flows(), world.host.open_datagrams()), (1, 1));
    world.advance(Duration::from_secs(1));
    assert_eq!((world.flows(), world.host.open_datagrams()), (0, 0));
    assert_eq!(world.net.next_deadline(), None);
}

#[test]
fn what_does_not_fit_the_guests_mtu_comes_in_fragments() {
    let mut world = mapped();
    for (len, fragments) in [(1472, 0), (1473, 2), (65_507, 45)] {
        let (before, payload) = (world.fragments(), Stream(1).bytes(0, len));
        world.host.arrives(0, SERVER, &payload);
        assert_eq!(hear(&mut world), [udp(SERVER, GUEST_END, &payload)]);
        assert_eq!(world.fragments() - before, fragments);
    }
    world.host.arrives(0, SERVER, &[1; 65_508]);
    assert_eq!(hear(&mut world), []);
    assert_eq!(world.drops(DropReason::TooBigForGuest), 1);
}

#[test]
fn more_than_one_call_of_the_host_brings_is_delivered_in_order() {
    let mut world = mapped();
    for i in 0..10_usize {
        world.host.arrives(0, SERVER, &Stream(1).bytes(i * 100, 100));
    }
    let answers = hear(&mut world);
    let expected: Vec<_> = (0..10).map(|i| udp(SERVER, GUEST_END, &Stream(1).bytes(i * 100, 100))).collect();
    assert_eq!(answers, expected);
}

#[test]
fn datagrams_of_one_size_travel_together_and_come_apart_as_they_were() {
    let mut world = mapped();
    let sizes = [1200, 1200, 1200, 700, 1200, 1200, 1300, 0, 0, 5, 5];
    for (i, &size) in sizes.iter().enumerate() {
        world.host.arrives(0, SERVER, &Stream(i as u64).bytes(0, size));
    }
    let answers = hear(&mut world);
    let expected: Vec<_> = sizes
        .iter()
        .enumerate()
        .map(|(i, &size)| udp(SERVER, GUEST_END, &Stream(i as u64).bytes(0, size)))
        .collect();
    assert_eq!(answers, expected);
    assert!(world.super_segments > 0);
}

#[test]
fn datagrams_of_different_senders_do_not_travel_together() {
    let mut world = mapped();
    for i in 0..6 {
        world.host.arrives(0, &format!("192.0.2.{}:7", i % 2 + 1), &[i; 100]);
    }
    let answers = hear(&mut world);
    let expected: Vec<_> =
        (0..6).map(|i| udp(&format!("192.0.2.{}:7", i % 2 + 1), GUEST_END, &[i; 100])).collect();
    assert_eq!(answers, expected);
    assert_eq!(world.super_segments, 0);
}

#[test]
fn a_super_segment_of_datagrams_is_handed_to_the_host_as_one() {
    let mut world = World::default();
    let payload = Stream(3).bytes(0, 10_000);
    let frame = udp_frame(v4(GUEST_END), v4(SERVER), &payload);
    let gso = Some(Gso { kind: GsoKind::Udp, size: 1400, header_len: 42 });
    let offload =
        Offload { checksum: Some(PartialChecksum { start: 34, offset: 6 }), gso, checksum_valid: false };
    world.give_with(&frame, offload);
    world.settle();
    let how = Sending { segment: Some(1400), dont_fragment: true, ..Sending::default() };
    assert_eq!(world.host.sent(0), [Sent { to: to(SERVER), data: payload, how }]);
}

#[test]
fn an_empty_datagram_is_one_too() {
    let mut world = mapped();
    send(&mut world, GUEST_END, SERVER, b"");
    assert_eq!(world.host.sent(0)[1].data, b"");
    world.host.arrives(0, SERVER, b"");
    assert_eq!(hear(&mut world), [udp(SERVER, GUEST_END, b"")]);
}

#[test]
fn a_wrong_checksum_is_dropped_and_none_is_allowed() {
    let mut world = World::default();
    let mut frame = udp_frame(v4(GUEST_END), v4(SERVER), b"data");
    frame[41] ^= 1;
    world.put(&[frame.clone()]);
    assert_eq!((world.drops(DropReason::UdpBadChecksum), world.flows()), (1, 0));
    frame[40..42].fill(0);
    world.put(&[frame]);
    assert_eq!(world.flows(), 1);
}

#[test]
fn a_full_table_takes_no_more_ports_and_keeps_those_it_has() {
    let mut world = World::new(Config { max_flows: 2, ..qemu() });
    for port in 5000..5005 {
        send(&mut world, &format!("10.0.2.15:{port}"), SERVER, b"x");
        if let Some(socket @ 0..2) = world.host.open_datagrams().checked_sub(1) {
            // One that is answered does not give way.
            world.host.arrives(socket, SERVER, b"x");
            hear(&mut world);
        }
    }
    assert_eq!((world.flows(), world.host.open_datagrams()), (2, 2));
    assert_eq!(world.drops(DropReason::FlowTableFull), 3);
    world.host.arrives(0, SERVER, b"first");
    assert_eq!(hear(&mut world), [udp(SERVER, GUEST_END, b"first")]);
}

#[test]
fn without_descriptors_a_datagram_is_dropped_and_the_next_one_tries_again() {
    let mut world = World::default();
    world.host.kernel().open_fails = Some(errno::EMFILE);
    assert_eq!(send(&mut world, GUEST_END, SERVER, b"x"), []);
    assert_eq!((world.drops(DropReason::DescriptorsExhausted), world.flows()), (1, 0));
    world.host.kernel().open_fails = None;
    send(&mut world, GUEST_END, SERVER, b"x");
    assert_eq!(world.flows(), 1);
}

#[test]
fn what_the_host_says_about_a_destination_is_told_to_the_guest() {
    for (number, expected) in [(errno::EHOSTUNREACH, 1), (errno::ECONNREFUSED, 3), (errno::EPERM, 13)] {
        let mut world = mapped();
        world.host.kernel().send_fails = Some(number);
        let answers = send(&mut world, GUEST_END, SERVER, b"lost");
        let [
            Packet::Icmp {
                to: GUEST_MAC,
                src: IpAddr::V4(HOST),
                dst: IpAddr::V4(GUEST),
                kind: 3,
                code,
                payload,
                ..
            },
        ] = &answers[..]
        else {
            panic!("{answers:?}")
        };
        assert_eq!(*code, expected);
        assert_eq!(payload[..], udp_frame(v4(GUEST_END), v4(SERVER), b"lost")[14..], "the packet is quoted");
    }
}

#[test]
fn a_host_that_is_busy_costs_a_datagram_and_nothing_else() {
    let mut world = mapped();
    world.host.kernel().send_fails = Some(11);
    assert_eq!(send(&mut world, GUEST_END, SERVER, b"lost"), []);
    assert_eq!(world.drops(DropReason::QueueFull), 1);
    world.host.kernel().send_fails = None;
    send(&mut world, GUEST_END, SERVER, b"sent");
    assert_eq!(world.host.sent(0).last().unwrap().data, b"sent");
}

#[test]
fn answers_go_where_the_guest_was_last_seen() {
    let mut world = mapped();
    let moved = Mac([2, 0, 0, 0, 0, 99]);
    world.put(&[from_mac(udp_frame(v4(GUEST_END), v4(SERVER), b"new card"), moved)]);
    world.host.arrives(0, SERVER, b"answer");
    assert!(matches!(&hear(&mut world)[..], [Packet::Udp { to, .. }] if *to == moved));
}

#[test]
fn ports_without_an_answer_give_way_and_answered_ones_stay() {
    let mut world = World::new(Config { max_flows: 40, ..qemu() });
    send(&mut world, GUEST_END, SERVER, b"question");
    world.host.arrives(0, SERVER, b"answer");
    hear(&mut world);
    for port in 1000..1100 {
        send(&mut world, &format!("10.0.2.66:{port}"), "192.0.2.1:9", b"flood");
        assert!(world.host.open_datagrams() <= 11);
    }
    assert_eq!((world.flows(), world.drops(DropReason::UnansweredGaveWay)), (11, 90));
    world.host.arrives(0, SERVER, b"more");
    assert_eq!(hear(&mut world), [udp(SERVER, GUEST_END, b"more")]);
    // The one that speaks on gets a new socket.
    let sockets = world.host.kernel().datagrams.len();
    send(&mut world, "10.0.2.66:1000", "192.0.2.1:9", b"again");
    assert_eq!(world.host.kernel().datagrams.len(), sockets + 1);
}
