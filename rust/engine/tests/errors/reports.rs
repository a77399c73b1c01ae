//! What routers and hosts report about datagrams and echo requests, told to the guest.

use super::cases::{Case, Told, cases, ip, quoted, told};
use super::support::frames::{DNS, GUEST, HOST, HOST6, echo, ip_frame, ping_frame, udp_frame, v4};
use super::support::world::{World, dual};
use std::net::{IpAddr, SocketAddr};
use wirebay_engine::{Config, Report};
use wirebay_wire::icmpv4::{Icmp, kind};
use wirebay_wire::icmpv6::{self, Icmpv6};
use wirebay_wire::udp::Udp;

/// What the guest is told when this has been reported.
fn after(case: &Case, report: Report, offender: &str, payload: &[u8]) -> Told {
    let mut world = case.world();
    world.host.reports(0, report, offender, case.server, payload);
    world.settle();
    told(&world.take())
}

#[test]
fn a_hop_on_the_way_is_seen_by_its_own_address_and_quotes_the_guests_packet() {
    for case in cases() {
        let told = after(&case, Report::TimeExceeded, case.router, b"probe");
        assert_eq!((told.from, told.what), (ip(case.router), if case.is_v6() { (3, 0) } else { (11, 0) }));
        let packet = quoted(&told.quote);
        assert_eq!((packet.src, packet.dst), (case.guest.ip(), case.to().ip()));
        let udp = Udp::parse(packet.payload).unwrap();
        assert_eq!((udp.src_port, udp.dst_port, udp.payload), (5000, 33434, &b"probe"[..]));
        let sent = case.frame(b"probe");
        assert_eq!(packet.payload, &sent[sent.len() - 13..], "down to the checksum");
    }
}

#[test]
fn every_report_is_told_in_the_guests_language() {
    let both = [
        (Report::NoRoute, (3, 0), (1, 0)),
        (Report::Host, (3, 1), (1, 3)),
        (Report::Protocol, (3, 2), (4, 1)),
        (Report::Port, (3, 3), (1, 4)),
        (Report::Prohibited, (3, 13), (1, 1)),
        (Report::Incomplete, (11, 1), (3, 1)),
        (Report::TooBig(1400), (3, 4), (2, 0)),
    ];
    for case in cases() {
        for (report, v4, v6) in both {
            let told = after(&case, report, case.router, b"");
            assert_eq!(told.what, if case.is_v6() { v6 } else { v4 }, "{report:?}");
            assert_eq!(
                told.rest,
                if report == Report::TooBig(1400) {
                    1400
                } else if v6 == (4, 1) && case.is_v6() {
                    6
                } else {
                    0
                }
            );
        }
    }
}

#[test]
fn who_the_guest_cannot_answer_to_is_the_host() {
    let [v4, v6] = cases();
    for offender in ["127.0.0.1", "0.0.0.0", "10.0.2.77", "2001:db8::1"] {
        assert_eq!(after(&v4, Report::Host, offender, b"").from, IpAddr::V4(HOST), "{offender}");
    }
    for offender in ["::1", "::", "fec0::77", "fe80::1", "192.0.2.1"] {
        assert_eq!(after(&v6, Report::Host, offender, b"").from, IpAddr::V6(HOST6), "{offender}");
    }
}

#[test]
fn a_closed_port_of_the_hosts_loopback_is_one_of_the_host_address() {
    for (guest, host, loopback) in
        [("10.0.2.15:5000", "10.0.2.2:9", "127.0.0.1:9"), ("[fec0::15]:5000", "[fe80::2]:9", "[::1]:9")]
    {
        let (guest, host): (SocketAddr, SocketAddr) = (v4(guest), host.parse().unwrap());
        let mut world = World::new(dual());
        world.put(&[udp_frame(guest, host, b"x")]);
        let offender = loopback.parse::<SocketAddr>().unwrap().ip().to_string();
        world.host.reports(0, Report::Port, &offender, loopback, b"x");
        world.settle();
        let told = told(&world.take());
        assert_eq!((told.from, quoted(&told.quote).dst), (host.ip(), host.ip()));
    }
}

#[test]
fn a_resolver_that_is_gone_is_a_closed_port_of_the_name_server() {
    let mut world = World::new(dual());
    world.net.set_resolvers(vec![ip("2001:db8::53")]);
    world.put(&[udp_frame(v4("10.0.2.15:5000"), v4("10.0.2.3:53"), b"question")]);
    world.host.reports(0, Report::Port, "2001:db8::53", "[2001:db8::53]:53", b"question");
    world.settle();
    let told = told(&world.take());
    assert_eq!((told.from, told.what, quoted(&told.quote).dst), (DNS.into(), (3, 3), DNS.into()));
}

#[test]
fn reports_about_echo_requests_have_the_guests_identifier() {
    let mut world = World::new(dual());
    world.put(&[ping_frame("198.51.100.7".parse().unwrap(), 0x1234, 9, b"ping")]);
    let kernel_s = echo(kind::ECHO_REQUEST, 777, 9, b"ping");
    world.host.reports(0, Report::TimeExceeded, "203.0.113.1", "198.51.100.7:0", &kernel_s);
    world.settle();
    let told = told(&world.take());
    let packet = quoted(&told.quote);
    let icmp = Icmp::parse(packet.payload).unwrap();
    assert_eq!(
        (icmp.kind, icmp.ident, icmp.seq, icmp.payload),
        (kind::ECHO_REQUEST, 0x1234, 9, &b"ping"[..])
    );
    assert_eq!((packet.src, packet.dst), (GUEST.into(), ip("198.51.100.7")));
}

#[test]
fn reports_about_echo_requests_over_ipv6_too_even_if_nothing_was_quoted() {
    let [_, case] = cases();
    let (IpAddr::V6(src), IpAddr::V6(dst)) = (case.guest.ip(), case.to().ip()) else { panic!() };
    let mut message = [0; 8];
    icmpv6::emit(&mut message, src, dst, icmpv6::kind::ECHO_REQUEST, 0, [0x12, 0x34, 0, 9]);
    let mut world = World::new(dual());
    world.put(&[ip_frame(src.into(), dst.into(), icmpv6::PROTOCOL, &message)]);
    world.host.reports(0, Report::TimeExceeded, case.router, "[2001:db8:1::7]:0", b"");
    world.settle();
    let told = told(&world.take());
    let icmp = Icmpv6::parse(src, dst, quoted(&told.quote).payload).unwrap();
    assert_eq!((told.from, icmp.ident, icmp.seq), (ip(case.router), 0x1234, 0));
}

#[test]
fn many_reports_at_once_are_all_told_and_answers_between_them_heard() {
    let [case, _] = cases();
    let mut world = case.world();
    for i in 0..20 {
        world.host.reports(0, Report::TimeExceeded, &format!("203.0.113.{i}"), case.server, b"");
        world.host.arrives(0, case.server, b"answer");
    }
    world.settle();
    assert_eq!(world.take().len(), 40);
}

#[test]
fn a_long_quote_stays_within_the_guests_mtu() {
    for case in cases() {
        let mtu = if case.is_v6() { 1280 } else { 296 };
        let mut world = World::new(Config { mtu, ..dual() });
        world.put(&[case.frame(b"probe")]);
        world.host.reports(0, Report::Port, case.router, case.server, &[7; 2000]);
        world.settle();
        assert_eq!((told(&world.take()).from, world.fragments()), (ip(case.router), 0));
    }
}

#[test]
fn what_policy_refuses_is_answered_once_and_groups_never() {
    let [case, _] = cases();
    let mut world = World::new(dual());
    for (to, answers) in [("127.0.0.1:9", 1), ("240.0.0.1:9", 1), ("224.0.0.251:9", 0), ("10.0.2.255:9", 0)] {
        assert_eq!(world.put(&[udp_frame(case.guest, v4(to), b"x")]).len(), answers, "{to}");
    }
}
