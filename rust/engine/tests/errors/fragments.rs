//! A guest that sends fragments.

use super::cases::{Case, cases, ip, told};
use super::support::frames::{GUEST_MAC, HOST, Packet, Seg, ip_frame, ping_frame, to_mac, udp_frame, v4};
use super::support::rng::Stream;
use super::support::world::{World, dual};
use std::net::IpAddr;
use std::time::Duration;
use wirebay_engine::Outbox;
use wirebay_engine::user::fragmenting;
use wirebay_wire::tcp::flags::{ACK, RST, SYN};
use wirebay_wire::{DropReason, Mac, ndp};

/// The fragments of a frame.
fn cut(mut frame: Vec<u8>, mtu: usize) -> Vec<Vec<u8>> {
    let mut out = Outbox::default();
    fragmenting::write(&mut out, &mut frame, None, mtu, 99).unwrap();
    out.frames().map(|frame| frame.bytes.to_vec()).collect()
}

fn datagram(case: &Case, len: usize) -> Vec<Vec<u8>> {
    cut(case.frame(&Stream(4).bytes(0, len)), 1500)
}

#[test]
fn a_large_datagram_reaches_the_host_as_one_that_may_be_fragmented_again() {
    for case in cases() {
        let mut world = World::new(dual());
        let mut pieces = datagram(&case, 60_000);
        pieces.reverse();
        assert_eq!(world.put(&pieces), []);
        let sent = world.host.sent(0);
        assert_eq!((sent.len(), sent[0].to.addr), (1, case.to()));
        Stream(4).check(0, &sent[0].data);
        assert_eq!((sent[0].data.len(), sent[0].how.dont_fragment), (60_000, false));
    }
}

#[test]
fn a_large_echo_request_to_the_network_is_answered_in_fragments() {
    let mut world = World::new(dual());
    let answers = world.put(&cut(ping_frame(HOST, 7, 1, &Stream(5).bytes(0, 5000)), 1500));
    let told = told(&answers);
    assert_eq!((told.from, told.what, world.fragments()), (HOST.into(), (0, 0), 4));
    Stream(5).check(0, &told.quote);
}

#[test]
fn a_datagram_whose_checksum_is_wrong_is_dropped_as_a_whole() {
    for case in cases() {
        let mut world = World::new(dual());
        let mut pieces = datagram(&case, 3000);
        *pieces[2].last_mut().unwrap() ^= 1;
        world.put(&pieces);
        assert_eq!((world.drops(DropReason::UdpBadChecksum), world.flows()), (1, 0));
    }
}

#[test]
fn a_datagram_that_overlaps_itself_goes_nowhere() {
    for case in cases() {
        let mut world = World::new(dual());
        let pieces = datagram(&case, 3000);
        let shifted = cut(case.frame(&[0; 3000]), 1000);
        assert_eq!(world.put(&[pieces[0].clone(), shifted[1].clone()]), []);
        assert_eq!(world.put(&pieces), []);
        assert_eq!((world.drops(DropReason::FragmentOverlap), world.flows()), (5, 0));
    }
}

#[test]
fn what_does_not_become_whole_in_time_is_told() {
    for (case, limit) in cases().into_iter().zip([30, 60]) {
        let mut world = World::new(dual());
        let pieces = datagram(&case, 3000);
        assert_eq!(world.put(&pieces[..2]), []);
        world.advance(Duration::from_secs(limit - 1));
        assert_eq!(without_advertisements(&mut world), []);
        world.advance(Duration::from_secs(1));
        let told = told(&without_advertisements(&mut world));
        assert_eq!(told.what, if case.is_v6() { (3, 1) } else { (11, 1) });
        assert!(pieces[0][14..].starts_with(&told.quote));
        assert_eq!(world.drops(DropReason::FragmentTimeout), 2);
    }
}

fn without_advertisements(world: &mut World) -> Vec<Packet> {
    let is_told = |packet: &Packet| !matches!(packet, Packet::Icmp { kind: 134, .. });
    world.take().into_iter().filter(is_told).collect()
}

#[test]
fn fragments_of_strangers_are_not_kept() {
    let mut world = World::new(dual());
    let stranger = udp_frame(v4("192.0.2.1:9"), v4("198.51.100.7:9"), &[0; 3000]);
    world.put(&cut(stranger, 1500));
    assert_eq!(world.drops(DropReason::SourceNotInNet), 3);
    for case in cases() {
        let pieces: Vec<_> = datagram(&case, 3000).into_iter().map(|f| to_mac(f, GUEST_MAC)).collect();
        world.put(&pieces);
    }
    assert_eq!(world.drops(DropReason::NotForUs), 6, "and those for others neither");
}

#[test]
fn a_connection_may_begin_in_fragments() {
    for case in cases() {
        let mut world = World::new(dual());
        let seg = Seg {
            at: world.now,
            src: case.guest,
            dst: case.to(),
            seq: 1,
            ack: 0,
            flags: SYN,
            window: 1000,
            mss: Some(1460),
            scale: Some(7),
            options: crate::support::frames::Options::default(),
            payload: Vec::new(),
        };
        let answers = world.put(&cut(seg.frame(), if case.is_v6() { 56 } else { 28 }));
        let [Packet::Tcp { seg, .. }] = &answers[..] else { panic!("{answers:?}") };
        assert!(seg.has(ACK) && seg.has(SYN) && !seg.has(RST));
    }
}

#[test]
fn neighbour_discovery_in_fragments_is_ignored() {
    let [_, case] = cases();
    let IpAddr::V6(guest) = case.guest.ip() else { panic!() };
    let IpAddr::V6(host) = ip("fec0::2") else { panic!() };
    let mut message = vec![0; ndp::NEIGHBOR_LEN];
    ndp::emit_solicitation(&mut message, (guest, host), host, GUEST_MAC);
    let mut frame = ip_frame(guest.into(), host.into(), 58, &message);
    frame[21] = 255;
    let mut world = World::new(dual());
    assert_eq!(world.put(std::slice::from_ref(&frame)).len(), 1);
    assert_eq!(world.put(&cut(frame, 64)), []);
    assert_eq!(world.drops(DropReason::UnknownService), 1);
}

#[test]
fn a_flood_of_fragments_does_not_keep_a_guest_from_sending() {
    let [case, v6] = cases();
    let mut world = World::new(dual());
    let pieces = datagram(&case, 3000);
    for round in 0..2000_u32 {
        for piece in datagram(&v6, 3000).iter().take(2) {
            let mut piece = piece.clone();
            let [_, _, a, b] = round.to_be_bytes();
            piece[60..62].copy_from_slice(&[a, b]);
            piece[6..12].copy_from_slice(&Mac([2, 0, 0, 0, 0, 1 + (round % 60) as u8]).0);
            world.give(&piece);
        }
        if round % 100 == 99 {
            world.put(&pieces);
        }
    }
    assert_eq!(world.host.sent(0).len(), 20);
    assert!(world.drops(DropReason::FragmentLimit) > 500);
}
