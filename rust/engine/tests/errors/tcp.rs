//! Connections that do not come about.

use super::cases::{Case, Told, cases, ip, quoted, told};
use super::support::fake_host::Connect;
use super::support::fake_sockets::errno;
use super::support::frames::{Packet, Seg, finish};
use super::support::world::{World, dual};
use wirebay_engine::{Report, Time};
use wirebay_wire::tcp::Tcp;
use wirebay_wire::tcp::flags::{RST, SYN};

fn syn(case: &Case, hops: u8) -> Vec<u8> {
    let seg = Seg {
        at: Time(0),
        src: case.guest,
        dst: case.to(),
        seq: 1000,
        ack: 0,
        flags: SYN,
        window: 1000,
        mss: None,
        scale: None,
        options: crate::support::frames::Options::default(),
        payload: Vec::new(),
    };
    let mut frame = seg.frame();
    if case.is_v6() {
        frame[21] = hops;
    } else {
        frame[22] = hops;
        finish(&mut frame);
    }
    frame
}

/// The SYN goes so far, and somebody says this.
fn traced(case: &Case, hops: u8, reported: Option<(Report, &str)>, errno: i32) -> Vec<Packet> {
    let mut world = World::new(dual());
    world.host.kernel().connect = Connect::Later;
    world.put(&[syn(case, hops)]);
    assert_eq!(world.host.kernel().conns[0].hops, Some(hops).filter(|&hops| hops < 32));
    world.host.kernel().conns[0].reported =
        reported.map(|(report, offender)| (report, Some(offender.parse().unwrap())));
    world.host.peer(0).fails(errno);
    world.settle();
    world.take()
}

#[test]
fn a_syn_that_ends_on_its_way_is_reported_by_the_router() {
    for case in cases() {
        let reported = Some((Report::TimeExceeded, case.router));
        let Told { from, what, quote, .. } = told(&traced(&case, 2, reported, errno::EHOSTUNREACH));
        assert_eq!((from, what), (ip(case.router), if case.is_v6() { (3, 0) } else { (11, 0) }));
        let packet = quoted(&quote);
        let segment = Tcp::parse(packet.payload).unwrap();
        assert_eq!((packet.src, packet.dst), (case.guest.ip(), case.to().ip()));
        assert_eq!((segment.src_port, segment.dst_port, segment.seq), (5000, 33434, 1000));
    }
}

#[test]
fn a_host_that_refuses_is_told_by_reset_whatever_was_reported() {
    for case in cases() {
        for reported in [None, Some((Report::Port, case.router))] {
            let answers = traced(&case, 3, reported, errno::ECONNREFUSED);
            assert!(matches!(&answers[..], [Packet::Tcp { seg, .. }] if seg.has(RST)), "{answers:?}");
        }
    }
}

#[test]
fn an_ordinary_connect_that_fails_is_told_as_the_kernel_told_us() {
    for case in cases() {
        let told = told(&traced(&case, 64, None, errno::EHOSTUNREACH));
        assert_eq!(told.what, if case.is_v6() { (1, 3) } else { (3, 1) });
    }
}
