//! Connections to services in Python: the guest waits until there is a far end, or hears that there is none.

use crate::support::frames::{GUEST, GUEST_MAC, Options, Packet, Seg, arp_frame, udp_frame, v4};
use crate::support::world::World;
use std::time::Duration;
use wirebay_engine::Time;
use wirebay_engine::user::Call;
use wirebay_wire::DropReason;
use wirebay_wire::arp::REQUEST;
use wirebay_wire::ipv4::protocol::{TCP, UDP};
use wirebay_wire::tcp::flags::{ACK, RST, SYN};

const SERVICE: &str = "10.0.2.4:445";

fn syn(port: u16) -> Vec<u8> {
    Seg {
        at: Time(0),
        src: v4(&format!("10.0.2.15:{port}")),
        dst: v4(SERVICE),
        seq: 1000,
        ack: 0,
        flags: SYN,
        window: 0xffff,
        mss: Some(1460),
        scale: Some(7),
        options: Options::default(),
        payload: Vec::new(),
    }
    .frame()
}

fn world() -> World {
    let mut world = World::default();
    assert_eq!(world.serve(TCP, v4(SERVICE)), 0);
    world
}

fn flags(packets: &[Packet]) -> Vec<u8> {
    packets.iter().map(|packet| packet.clone().seg().unwrap().flags).collect()
}

#[test]
fn an_address_of_a_service_is_answered_for_as_long_as_it_has_one() {
    let mut world = world();
    let ask = || arp_frame(REQUEST, (GUEST_MAC, GUEST), "10.0.2.4".parse().unwrap());
    assert_eq!(world.put(&[ask()]).len(), 1);
    world.net.remove_service(0);
    assert_eq!(world.put(&[ask()]), []);
}

#[test]
fn a_connection_opens_when_the_far_end_is_there() {
    let mut world = world();
    assert_eq!(world.put(&[syn(40_000), syn(40_000)]), [], "the repeated SYN changes nothing");
    let call = Call { connection: 0, service: 0, client: v4("10.0.2.15:40000") };
    assert_eq!((world.net.pop_call(), world.net.pop_call()), (Some(call), None));
    assert!(world.attach(0));
    assert_eq!(flags(&world.take()), [SYN | ACK]);
    assert_eq!(world.flows(), 1);
    assert!(!world.attach(0), "once only");
}

#[test]
fn a_connection_without_a_far_end_is_reset() {
    let mut world = world();
    world.put(&[syn(40_000)]);
    assert!(world.refuse(0));
    assert_eq!(flags(&world.take()), [RST | ACK]);
    assert_eq!((world.flows(), world.drops(DropReason::HostRefused)), (0, 1));
}

#[test]
fn a_service_that_does_not_answer_is_given_up_after_half_a_minute() {
    let mut world = world();
    world.put(&[syn(40_000)]);
    world.advance(Duration::from_secs(29));
    assert_eq!(world.take(), []);
    world.advance(Duration::from_secs(2));
    assert_eq!(flags(&world.take()), [RST | ACK]);
    assert!(!world.attach(0), "too late");
}

#[test]
fn a_port_of_a_services_address_without_a_service_refuses() {
    let mut world = world();
    world.serve(UDP, v4("10.0.2.4:9"));
    let mut other = Packet::parse(Time(0), &syn(40_000)).seg().unwrap();
    other.dst = v4("10.0.2.4:80");
    assert_eq!(flags(&world.put(&[other.frame()])), [RST | ACK]);
    let answers = world.put(&[udp_frame(v4("10.0.2.15:2000"), v4("10.0.2.4:70"), b"x")]);
    assert!(matches!(&answers[..], [Packet::Icmp { kind: 3, code: 3, .. }]), "{answers:?}");
}

#[test]
fn a_flood_of_connections_is_bounded_and_counted() {
    let mut world = world();
    for port in 0..1000 {
        world.put(&[syn(10_000 + port)]);
    }
    assert_eq!(std::iter::from_fn(|| world.net.pop_call()).count(), 256);
    assert_eq!(world.drops(DropReason::ServiceBusy), 744);
}

#[test]
fn a_service_works_where_nothing_may_leave() {
    let mut world = World::new(wirebay_engine::Config { restrict: true, ..crate::support::world::qemu() });
    world.serve(TCP, v4(SERVICE));
    world.serve(UDP, v4("10.0.2.2:69"));
    world.put(&[syn(40_000), udp_frame(v4("10.0.2.15:2000"), v4("10.0.2.2:69"), b"read")]);
    assert_eq!(world.net.pop_service().unwrap().payload, b"read");
    assert!(world.attach(0));
    assert_eq!(flags(&world.take()), [SYN | ACK]);
}
