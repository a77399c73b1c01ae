//! How far and how whole a guest's packets travel: hops and fragmentation are the guest's to decide.

use super::cases::{cases, quoted, told};
use super::support::frames::{finish, udp_frame, v4};
use super::support::world::{World, dual};
use wirebay_engine::Sending;
use wirebay_wire::DropReason;

/// How the last datagram was sent.
fn how(world: &World) -> Sending {
    world.host.sent(0).last().unwrap().how
}

#[test]
fn the_guests_hops_are_those_of_the_datagram() {
    for case in cases() {
        let mut world = World::new(dual());
        for hops in [1, 2, 255, 64] {
            let mut frame = case.frame(b"probe");
            frame[if case.is_v6() { 21 } else { 22 }] = hops;
            if !case.is_v6() {
                finish(&mut frame);
            }
            world.put(&[frame]);
            assert_eq!(how(&world).hops, hops);
        }
    }
}

#[test]
fn whether_routers_may_fragment_is_the_guests_choice_over_ipv4_and_never_over_ipv6() {
    for case in cases() {
        let mut world = case.world();
        assert!(how(&world).dont_fragment);
        let mut frame = case.frame(b"probe");
        frame[20] &= !0x40;
        if !case.is_v6() {
            finish(&mut frame);
            world.put(&[frame]);
            assert!(!how(&world).dont_fragment);
        }
    }
}

#[test]
fn a_packet_too_big_for_its_way_is_answered_with_what_fits_and_quoted() {
    for case in cases() {
        let mut world = case.world();
        world.host.kernel().path = Some((1352, 1400));
        let frame = case.frame(&[7; 1400]);
        let told = told(&world.put(std::slice::from_ref(&frame)));
        assert_eq!((told.what, told.rest), (if case.is_v6() { (2, 0) } else { (3, 4) }, 1400));
        assert!(frame[14..].starts_with(&told.quote));
        assert_eq!(world.drops(DropReason::TooBigForPath), 1);
        assert_eq!(world.put(&[case.frame(&[7; 1352])]), []);
    }
}

#[test]
fn name_service_goes_as_the_kernel_likes() {
    let mut world = World::new(dual());
    world.net.set_resolvers(vec!["192.0.2.53".parse().unwrap()]);
    let mut frame = udp_frame(v4("10.0.2.15:5000"), v4("10.0.2.3:53"), b"question");
    frame[22] = 1;
    finish(&mut frame);
    world.put(&[frame]);
    assert_eq!(how(&world), Sending::default());
}

#[test]
fn a_router_that_takes_less_is_heard() {
    for case in cases() {
        let mut world = case.world();
        world.host.reports(0, wirebay_engine::Report::TooBig(1300), case.router, case.server, b"");
        world.settle();
        let told = told(&world.take());
        assert_eq!((told.rest, quoted(&told.quote).dst), (1300, case.to().ip()));
    }
}
