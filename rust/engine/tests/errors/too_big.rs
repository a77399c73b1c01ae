//! A guest that reports what a link behind it takes.

use super::cases::{Case, cases};
use super::support::frames::{Options, Packet, Seg, ip_frame};
use super::support::rng::Stream;
use super::support::world::{World, dual};
use std::net::IpAddr;
use wirebay_engine::report::Message;
use wirebay_engine::{Report, Time};
use wirebay_wire::ipv4::protocol;
use wirebay_wire::tcp::flags::{ACK, SYN};
use wirebay_wire::{DropReason, icmpv4, icmpv6, ip};

fn seg(case: &Case, flags: u8, seq: u32, ack: u32) -> Seg {
    let (mss, options) = ((flags == SYN).then_some(1460), Options::default());
    let (src, dst, payload) = (case.guest, case.to(), Vec::new());
    Seg { at: Time::default(), src, dst, seq, ack, flags, window: 65_000, mss, scale: None, options, payload }
}

fn segments(world: &mut World) -> Vec<Seg> {
    world.settle();
    world.take().into_iter().filter_map(Packet::seg).collect()
}

/// A connection on which the host has sent 10,000 bytes, and the segments of those.
fn sending(case: &Case) -> (World, Vec<Seg>) {
    let mut world = World::new(dual());
    let answers = world.put(&[seg(case, SYN, 1000, 0).frame()]);
    let [Packet::Tcp { seg: answer, .. }] = &answers[..] else { panic!("{answers:?}") };
    world.put(&[seg(case, ACK, 1001, answer.seq.wrapping_add(1)).frame()]);
    world.host.peer(0).sends(&Stream(1).bytes(0, 10_000));
    let sent = segments(&mut world);
    assert_eq!(sent.iter().map(|seg| seg.payload.len()).sum::<usize>(), 10_000);
    (world, sent)
}

/// The guest's report, which quotes as much of the segment as any router does.
fn report(case: &Case, mtu: u32, segment: &Seg) -> Vec<u8> {
    report_quoting(case, mtu, segment, 8)
}

fn report_quoting(case: &Case, mtu: u32, segment: &Seg, behind: usize) -> Vec<u8> {
    let (guest, host) = (case.guest.ip(), case.ours());
    let quote = &segment.frame()[14..14 + ip::header_len(guest) + behind];
    let mut message = vec![0; 8 + quote.len()];
    let report = Report::TooBig(mtu);
    let protocol = if let (IpAddr::V6(src), IpAddr::V6(dst)) = (guest, host) {
        let Message { kind, code, rest } = report.to_v6();
        icmpv6::emit_error(&mut message, (src, dst), (kind, code), rest, quote);
        icmpv6::PROTOCOL
    } else {
        let Message { kind, code, rest } = report.to_v4();
        icmpv4::emit_error(&mut message, kind, code, rest, quote);
        protocol::ICMP
    };
    ip_frame(guest, host, protocol, &message)
}

#[test]
fn a_connection_sends_again_in_segments_that_fit() {
    for case in cases() {
        let (mut world, sent) = sending(&case);
        let largest = sent.iter().map(|seg| seg.payload.len()).max().unwrap();
        assert!(largest > 1400);
        world.give(&report(&case, 1300, &sent[1]));
        let again = segments(&mut world);
        let most = 1300 - ip::header_len(case.guest.ip()) - 20;
        assert_eq!((again[0].seq, again[0].payload.len()), (sent[0].seq, most));
        assert!(again.iter().all(|seg| seg.payload.len() <= most));
        Stream(1).check(0, &again[0].payload);
    }
}

#[test]
fn what_is_not_in_flight_or_no_connection_changes_nothing() {
    for case in cases() {
        let (mut world, sent) = sending(&case);
        let old = Seg { seq: sent[0].seq.wrapping_sub(1), ..sent[0].clone() };
        let other =
            Seg { dst: "10.0.2.15:1".parse().unwrap(), src: "192.0.2.1:1".parse().unwrap(), ..old.clone() };
        world.give(&report(&case, 1300, &old));
        if !case.is_v6() {
            world.give(&report(&case, 1300, &other));
            assert_eq!(world.drops(DropReason::TcpNoFlow), 1);
        }
        world.give(&report_quoting(&case, 1300, &sent[0], 7));
        assert_eq!(world.drops(DropReason::IcmpTruncated), 1);
        assert_eq!(segments(&mut world), []);
    }
}

#[test]
fn a_router_that_names_no_mtu_means_a_small_one() {
    let [case, _] = cases();
    let (mut world, sent) = sending(&case);
    world.give(&report(&case, 0, &sent[0]));
    assert_eq!(segments(&mut world)[0].payload.len(), 576 - 40);
}
