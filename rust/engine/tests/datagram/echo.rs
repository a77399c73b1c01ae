//! Echo requests.

use crate::support::fake_sockets::errno;
use crate::support::frames::{DNS, GUEST, GUEST_MAC, HOST, Packet, echo, ping_frame};
use crate::support::world::{World, qemu};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use wirebay_engine::{Config, DatagramKind};
use wirebay_wire::DropReason;
use wirebay_wire::icmpv4::kind::{ECHO_REPLY, ECHO_REQUEST, UNREACHABLE};

const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

fn reply(src: Ipv4Addr, ident: u16, seq: u16, payload: &[u8]) -> Packet {
    let payload = payload.to_vec();
    Packet::Icmp {
        to: GUEST_MAC,
        src: src.into(),
        dst: GUEST.into(),
        kind: ECHO_REPLY,
        code: 0,
        ident,
        seq,
        payload,
    }
}

/// The only answer is an ICMP error with this code; the packet it quotes.
fn unreachable(answers: &[Packet], expected: u8) -> &[u8] {
    let [
        Packet::Icmp {
            to: GUEST_MAC,
            src: IpAddr::V4(HOST),
            dst: IpAddr::V4(GUEST),
            kind: UNREACHABLE,
            code,
            payload,
            ..
        },
    ] = answers
    else {
        panic!("{answers:?}")
    };
    assert_eq!(*code, expected);
    payload
}

fn answered(world: &mut World, from: &str, message: &[u8]) -> Vec<Packet> {
    world.host.arrives(0, from, message);
    world.settle();
    world.take()
}

#[test]
fn the_networks_own_addresses_answer_themselves() {
    for config in [qemu(), Config { restrict: true, host_loopback: false, ..qemu() }] {
        let mut world = World::new(config);
        for addr in [HOST, DNS] {
            let answers = world.put(&[ping_frame(addr, 77, 3, b"abcdefgh")]);
            assert_eq!(answers, [reply(addr, 77, 3, b"abcdefgh")]);
        }
        assert_eq!(world.flows(), 0);
    }
}

#[test]
fn an_echo_from_outside_comes_back_with_the_guests_identifier() {
    let mut world = World::default();
    assert_eq!(world.put(&[ping_frame(OUTSIDE, 77, 3, b"abcdefgh")]), []);
    assert_eq!(world.host.kernel().datagrams[0].kind, DatagramKind::Ping4);
    let sent = world.host.sent(0);
    assert_eq!(
        (sent[0].to.addr.ip(), &sent[0].data),
        (OUTSIDE.into(), &echo(ECHO_REQUEST, 77, 3, b"abcdefgh"))
    );
    // The kernel has put an identifier of its own in.
    let answers = answered(&mut world, "192.0.2.1:0", &echo(ECHO_REPLY, 4242, 3, b"abcdefgh"));
    assert_eq!(answers, [reply(OUTSIDE, 77, 3, b"abcdefgh")]);
}

#[test]
fn every_identifier_has_its_socket_and_every_destination_shares_it() {
    let mut world = World::default();
    world.put(&[
        ping_frame(OUTSIDE, 77, 1, b""),
        ping_frame(Ipv4Addr::new(198, 51, 100, 1), 77, 2, b""),
        ping_frame(OUTSIDE, 78, 1, b""),
    ]);
    assert_eq!((world.flows(), world.host.open_datagrams()), (2, 2));
    assert_eq!((world.host.sent(0).len(), world.host.sent(1).len()), (2, 1));
}

#[test]
fn an_identifier_is_forgotten_after_four_minutes() {
    let mut world = World::default();
    world.put(&[ping_frame(OUTSIDE, 77, 1, b"")]);
    world.advance(Duration::from_millis(239_999));
    assert_eq!(world.flows(), 1);
    world.advance(Duration::from_millis(1));
    assert_eq!((world.flows(), world.host.open_datagrams()), (0, 0));
}

#[test]
fn a_host_that_forbids_ping_sockets_is_an_unreachable_that_says_so() {
    let mut world = World::default();
    world.host.kernel().open_fails = Some(errno::EACCES);
    let answers = world.put(&[ping_frame(OUTSIDE, 77, 1, b"abcdefgh")]);
    unreachable(&answers, 13);
    assert_eq!(world.drops(DropReason::PingForbidden), 1);
    assert_eq!(world.flows(), 0);
}

#[test]
fn an_echo_that_the_host_cannot_send_is_told() {
    let mut world = World::default();
    world.host.kernel().send_fails = Some(errno::EHOSTUNREACH);
    let answers = world.put(&[ping_frame(OUTSIDE, 77, 1, b"abcdefgh")]);
    let quoted = unreachable(&answers, 1);
    assert_eq!((&quoted[12..16], &quoted[16..20]), (&GUEST.octets()[..], &OUTSIDE.octets()[..]));
}

#[test]
fn restricted_guests_do_not_ping_outside() {
    let mut world = World::new(Config { restrict: true, ..qemu() });
    let answers = world.put(&[ping_frame(OUTSIDE, 77, 1, b"")]);
    unreachable(&answers, 13);
    assert_eq!(world.host.open_datagrams(), 0);
}

#[test]
fn what_is_no_echo_reply_is_not_passed_on() {
    let mut world = World::default();
    world.put(&[ping_frame(OUTSIDE, 77, 1, b"")]);
    assert_eq!(answered(&mut world, "192.0.2.1:0", &echo(ECHO_REQUEST, 1, 1, b"")), []);
    assert_eq!(answered(&mut world, "192.0.2.1:0", &[0; 3]), []);
    assert_eq!((world.drops(DropReason::UnknownService), world.drops(DropReason::IcmpTruncated)), (1, 1));
}

#[test]
fn an_echo_reply_that_does_not_fit_the_guest_network_comes_in_fragments() {
    let mut world = World::default();
    world.put(&[ping_frame(OUTSIDE, 77, 1, b"")]);
    for (len, fragments) in [(1472, 0), (1473, 2)] {
        let answers = answered(&mut world, "192.0.2.1:0", &echo(ECHO_REPLY, 1, 1, &vec![7; len]));
        assert!(matches!(&answers[..], [Packet::Icmp { payload, .. }] if payload.len() == len));
        assert_eq!(world.fragments(), fragments);
    }
}

#[test]
fn the_networks_own_answer_comes_in_fragments_too() {
    let mut world = World::default();
    assert_eq!(world.put(&[ping_frame(HOST, 77, 1, &[0; 1472])]).len(), 1);
    assert_eq!(world.put(&[ping_frame(HOST, 77, 2, &[0; 1473])]).len(), 1);
    assert_eq!(world.fragments(), 2);
}

#[test]
fn a_guest_that_answers_pings_nobody_sent_is_ignored() {
    let mut world = World::default();
    let mut frame = ping_frame(OUTSIDE, 77, 1, b"");
    frame[34] = ECHO_REPLY;
    crate::support::frames::finish(&mut frame);
    assert_eq!(world.put(&[frame]), []);
    assert_eq!((world.drops(DropReason::UnknownService), world.flows()), (1, 0));
}
