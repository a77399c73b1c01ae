//! Guests of both families, and what they are told.

use super::support::frames::{GUEST, GUEST6, HOST, HOST6, Packet, udp_frame};
use super::support::world::{World, dual};
use std::net::{IpAddr, SocketAddr};
use wirebay_wire::ip::Ip;
use wirebay_wire::ipv4::Ipv4;
use wirebay_wire::ipv6::Ipv6;

/// A guest of either family, whom it talks to, and a router on the way.
pub struct Case {
    pub guest: SocketAddr,
    pub server: &'static str,
    pub router: &'static str,
}

pub fn cases() -> [Case; 2] {
    let guest = |ip: IpAddr| SocketAddr::new(ip, 5000);
    [
        Case { guest: guest(GUEST.into()), server: "198.51.100.7:33434", router: "203.0.113.1" },
        Case { guest: guest(GUEST6.into()), server: "[2001:db8:1::7]:33434", router: "2001:db8:2::1" },
    ]
}

impl Case {
    pub fn is_v6(&self) -> bool {
        self.guest.is_ipv6()
    }

    pub fn to(&self) -> SocketAddr {
        self.server.parse().unwrap()
    }

    /// The network's host address.
    pub fn ours(&self) -> IpAddr {
        if self.is_v6() { HOST6.into() } else { HOST.into() }
    }

    /// The guest's datagram.
    pub fn frame(&self, payload: &[u8]) -> Vec<u8> {
        udp_frame(self.guest, self.to(), payload)
    }

    /// A network in which the guest has sent something.
    pub fn world(&self) -> World {
        let mut world = World::new(dual());
        assert_eq!(world.put(&[self.frame(b"probe")]), []);
        world
    }
}

/// An ICMP message of either family: its sender, type and code, second word and what it quotes.
#[derive(PartialEq, Eq, Debug)]
pub struct Told {
    pub from: IpAddr,
    pub what: (u8, u8),
    pub rest: u32,
    pub quote: Vec<u8>,
}

/// The only packet, which must be such a message.
pub fn told(packets: &[Packet]) -> Told {
    let [Packet::Icmp { src, kind, code, ident, seq, payload, .. }] = packets else { panic!("{packets:?}") };
    let rest = u32::from(*ident) << 16 | u32::from(*seq);
    Told { from: *src, what: (*kind, *code), rest, quote: payload.clone() }
}

/// A quoted packet, taken apart.
pub fn quoted(packet: &[u8]) -> Ip<'_> {
    if packet[0] >> 4 == 4 {
        (Ipv4::parse(packet).unwrap(), packet).into()
    } else {
        (Ipv6::parse(packet).unwrap(), packet).into()
    }
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}
