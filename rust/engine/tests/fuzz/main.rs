//! Any bytes from a guest end in an action or in a drop with a named reason; never in a panic, never in a table that
//! grows without bound.

#[path = "../support/mod.rs"]
mod support;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use support::frames::{GATEWAY_MAC, GATEWAY6_MAC};
use support::frames::{
    GUEST, GUEST_MAC, GUEST6, HOST, HOST6, Options, Seg, arp_frame, ip_frame, ping_frame, udp_frame, v4,
};
use support::rng::Rng;
use support::world::dual;
use wirebay_engine::segment::adapt;
use wirebay_engine::user::{Ping, Secret, fragmenting};
use wirebay_engine::{
    Capabilities, Config, DatagramKind, Host, HostError, Outbox, Peer, Readiness, Report, Sending, Time,
    Token, UserNet,
};
use wirebay_wire::frame::{Gso, GsoKind, PartialChecksum};
use wirebay_wire::ipv4::protocol;
use wirebay_wire::tcp::flags::{ACK, FIN, PSH, RST, SYN};
use wirebay_wire::tcp::{SackBlocks, Timestamps};
use wirebay_wire::{Frame, Offload, checksum, icmpv6, ndp};

const MAX_FLOWS: usize = 200;

/// A host whose sockets do whatever the dice say, within what a kernel may do.
struct Fickle {
    rng: Rng,
    tokens: Vec<Token>,
}

impl Fickle {
    fn fails(&mut self) -> io::Result<()> {
        let errors = [11, 11, 24, 101, 104, 111, 113, 32, 13, 90];
        if self.rng.per_mille(950) {
            Ok(())
        } else {
            Err(io::Error::from_raw_os_error(*self.rng.pick(&errors)))
        }
    }

    fn report(&mut self) -> (Report, Option<IpAddr>) {
        let report =
            *self.rng.pick(&[Report::TimeExceeded, Report::Port, Report::TooBig(1400), Report::NoRoute]);
        let offender = *self.rng.pick(&[None, Some("192.0.2.1"), Some("2001:db8::9"), Some("127.0.0.1")]);
        (report, offender.map(|text| text.parse().unwrap()))
    }

    fn opened(&mut self, token: Token) -> io::Result<()> {
        self.fails()?;
        let place = self.rng.below(64);
        match self.tokens.get_mut(place) {
            Some(old) => *old = token,
            None => self.tokens.push(token),
        }
        Ok(())
    }
}

impl Host for Fickle {
    type Tcp = ();
    type Datagram = ();

    fn tcp_connect(&mut self, token: Token, _: SocketAddr, _: Option<u8>) -> io::Result<()> {
        self.opened(token)
    }

    fn tcp_report(&mut self, (): &mut ()) -> Option<(Report, Option<IpAddr>)> {
        self.rng.per_mille(500).then(|| self.report())
    }

    fn tcp_connected(&mut self, (): &mut ()) -> io::Result<bool> {
        self.fails()?;
        Ok(self.rng.per_mille(800))
    }

    fn tcp_peek(&mut self, (): &mut (), _: usize, buf: &mut [u8]) -> io::Result<usize> {
        self.fails()?;
        if self.rng.per_mille(400) {
            Err(io::ErrorKind::WouldBlock.into())
        } else {
            Ok(self.rng.below(buf.len() + 1))
        }
    }

    fn tcp_consume(&mut self, (): &mut (), _: usize) -> io::Result<()> {
        self.fails()
    }

    fn tcp_send(&mut self, (): &mut (), data: &[u8]) -> io::Result<usize> {
        self.fails()?;
        Ok(if self.rng.per_mille(700) { data.len() } else { self.rng.below(data.len() + 1) })
    }

    fn tcp_room(&mut self, (): &mut ()) -> usize {
        self.rng.below(1 << 18)
    }

    fn tcp_shutdown(&mut self, (): &mut ()) {}

    fn tcp_abort(&mut self, (): ()) {}

    fn datagram_open(&mut self, token: Token, _: DatagramKind) -> io::Result<()> {
        self.opened(token)
    }

    fn datagram_send(&mut self, (): &mut (), _: &Peer, _: &[u8], _: Sending) -> io::Result<()> {
        self.fails()
    }

    fn datagram_recv(&mut self, (): &mut (), sink: &mut dyn FnMut(&Peer, &[u8])) -> io::Result<bool> {
        self.fails()?;
        let len = self.rng.below(2000);
        let from = Peer { addr: ([192, 0, 2, 1], self.rng.next() as u16).into(), local: None };
        sink(&from, &self.rng.bytes(len));
        Ok(self.rng.per_mille(300))
    }

    fn datagram_errors(&mut self, (): &mut (), sink: &mut dyn FnMut(&HostError<'_>)) -> io::Result<bool> {
        self.fails()?;
        let (report, offender) = self.report();
        let to = *self.rng.pick(&["192.0.2.9:9", "[2001:db8::1]:9", "127.0.0.1:0"]);
        let len = self.rng.below(2000);
        let payload = self.rng.bytes(len);
        sink(&HostError { report, offender, to: to.parse().unwrap(), payload: &payload });
        Ok(self.rng.per_mille(300))
    }
}

/// A network that is given anything, and everything around it at random.
struct Fuzz {
    net: UserNet<Fickle>,
    rng: Rng,
    now: Time,
    out: Outbox,
    scratch: Vec<u8>,
}

impl Fuzz {
    fn new(seed: u64) -> Self {
        let host = Fickle { rng: Rng::new(seed ^ 1), tokens: Vec::new() };
        let config = Config { max_flows: MAX_FLOWS, ..dual() };
        let mut net = UserNet::new(config, host, Secret(*b"a fixed sequence"));
        net.set_resolvers(vec![Ipv4Addr::new(192, 0, 2, 53).into()]);
        net.add_forward(v4("10.0.2.15:22"), None);
        net.add_forward(v4("10.0.2.16:53"), Some(()));
        net.add_forward(v4("[fec0::99]:53"), Some(()));
        net.add_service(protocol::TCP, v4("10.0.2.4:445"));
        net.add_service(protocol::UDP, v4("[fec0::2]:69"));
        Fuzz { net, rng: Rng::new(seed), now: Time(0), out: Outbox::default(), scratch: Vec::new() }
    }

    /// The invariant: whatever `bytes` are, with whatever offload state, they are handled or dropped for a reason.
    fn give(&mut self, bytes: &[u8], offload: Offload) -> bool {
        let Ok(frame) = (Frame { bytes, offload }).checked() else { return false };
        let mut pieces = 0;
        let adapted = adapt(&frame, &Capabilities::PLAIN, &mut self.scratch, &mut |_| pieces += 1);
        assert_eq!(adapted.unwrap_or(0), pieces, "nothing is sent of a frame that cannot be cut");
        self.net.input(self.now, &frame, &mut self.out);
        true
    }

    /// Now and then: the end of a batch, events, time, bulk data, calls from outside.
    fn stir(&mut self) {
        match self.rng.below(40) {
            0 => self.net.end_batch(self.now, &mut self.out),
            1 => drop(self.net.run(self.now, &mut self.out, &|_| 1 << 16)),
            2 => self.event(),
            3 => {
                self.now = self.now + Duration::from_micros(self.rng.next() >> (30 + self.rng.below(30)));
                self.net.on_time(self.now, &mut self.out);
            }
            4 => {
                let client = SocketAddr::from(([127, 0, 0, 1], self.rng.next() as u16));
                self.net.accept(self.now, 0, client, Fickle::opened, &mut self.out);
            }
            5 => {
                self.net.forward_errors(1, &mut self.out);
                drop(self.net.receive_forward(self.now, 1, &mut self.out));
            }
            6 => drop(self.net.receive_forward(self.now, 2, &mut self.out)),
            7 => self.services(),
            8 => self.net.unstall(),
            _ => {}
        }
        for frame in self.out.frames() {
            assert_eq!(frame.validate(), Ok(()), "the network sends only frames that hold together");
        }
        self.out.clear();
        let census = self.net.census();
        assert!(census.tcp + census.udp + census.icmp <= MAX_FLOWS);
    }

    /// Python does something.
    fn services(&mut self) {
        drop(self.net.pop_service());
        let _ = self.net.pop_pong();
        let Some(call) = self.net.pop_call() else { return };
        if self.rng.per_mille(500) {
            self.net.service_attach(self.now, call.connection, Fickle::opened, &mut self.out);
        } else {
            self.net.service_refuse(call.connection, &mut self.out);
        }
        let addr = *self.rng.pick(&[GUEST.into(), GUEST6.into(), HOST6.into()]);
        let ping = Ping { addr, ident: 1, seq: self.rng.below(4) as u16, size: 9 };
        let _ = self.net.ping(ping, &mut self.out);
    }

    fn event(&mut self) {
        let tokens = self.net.host().tokens.clone();
        if tokens.is_empty() {
            return;
        }
        let bits = self.rng.next();
        let [readable, writable, read_closed, error] = [1, 2, 4, 8].map(|bit| bits & bit != 0);
        let ready = Readiness { readable, writable, read_closed, error };
        self.net.host_event(self.now, *self.rng.pick(&tokens), ready, &mut self.out);
    }
}

/// One good frame of every kind, of flows that exist by the time they are sent.
fn corpus(rng: &mut Rng) -> Vec<u8> {
    let port = 40_000 + rng.below(40) as u16;
    let flags = *rng.pick(&[SYN, ACK, ACK, ACK | PSH, ACK | FIN, RST, RST | ACK, SYN | ACK]);
    let payload = vec![7; rng.below(3) * 700];
    let ends = if rng.per_mille(500) {
        let to = [v4("192.0.2.1:80"), v4("10.0.2.2:80"), v4("127.0.0.1:80"), v4("10.0.2.4:445")];
        ((GUEST, port).into_addr(), *rng.pick(&to))
    } else {
        ((GUEST6, port).into_addr(), *rng.pick(&[v4("[2001:db8::1]:80"), v4("[fec0::2]:80")]))
    };
    match rng.below(14) {
        12 | 13 => fragment(rng, ends),
        8 => neighbor(rng),
        9 => udp_frame((GUEST6, port).into_addr(), v4("[2001:db8::1]:9"), &payload),
        10 => udp_frame((GUEST6, port).into_addr(), v4("[fec0::2]:69"), &payload),
        11 => echo6(rng, &payload),
        0 => arp_frame(1 + rng.below(2) as u16, (GUEST_MAC, GUEST), HOST),
        1 => ping_frame(*rng.pick(&[HOST, Ipv4Addr::new(192, 0, 2, 1)]), port, 1, &payload),
        2 => udp_frame(v4("0.0.0.0:68"), v4("255.255.255.255:67"), &payload),
        3 => udp_frame((GUEST, port).into_addr(), v4("10.0.2.3:53"), &payload),
        4 => udp_frame((GUEST, port).into_addr(), v4("192.0.2.9:9"), &payload),
        _ => Seg {
            at: Time(0),
            src: ends.0,
            dst: ends.1,
            seq: rng.below(4000) as u32,
            ack: rng.next() as u32,
            flags,
            window: rng.next() as u16,
            mss: (flags & SYN != 0).then_some(1460),
            scale: (flags & SYN != 0).then_some(7),
            options: options(rng),
            payload,
        }
        .frame(),
    }
}

fn options(rng: &mut Rng) -> Options {
    let mut sack = SackBlocks::default();
    for _ in 0..rng.below(8).saturating_sub(4) {
        sack.push(rng.next() as u32, rng.next() as u32);
    }
    let timestamps =
        rng.per_mille(700).then(|| Timestamps { value: rng.below(1000) as u32, echo: rng.next() as u32 });
    Options { sack_permitted: rng.per_mille(700), sack, timestamps }
}

/// A part of a large datagram, of which the others may be on their way or not.
fn fragment(rng: &mut Rng, ends: (SocketAddr, SocketAddr)) -> Vec<u8> {
    let mut out = Outbox::default();
    let mut frame = udp_frame(ends.0, ends.1, &vec![rng.below(2) as u8; 3000]);
    let (mtu, ident) = (*rng.pick(&[1500, 1500, 576]), rng.below(8) as u32);
    let count = fragmenting::write(&mut out, &mut frame, None, mtu, ident).unwrap();
    out.frames().nth(rng.below(count)).unwrap().bytes.to_vec()
}

trait IntoAddr {
    fn into_addr(self) -> SocketAddr;
}

/// A message of neighbour discovery, or one that only looks like it.
fn neighbor(rng: &mut Rng) -> Vec<u8> {
    let mut message = [0; ndp::NEIGHBOR_LEN];
    ndp::emit_advertisement(&mut message, (GUEST6, HOST6), *rng.pick(&[GUEST6, HOST6]), GUEST_MAC, true);
    message[0] = 133 + rng.below(5) as u8;
    let mut frame = ip_frame(GUEST6.into(), HOST6.into(), icmpv6::PROTOCOL, &message);
    frame[21] = *rng.pick(&[255, 255, 64]);
    frame
}

fn echo6(rng: &mut Rng, payload: &[u8]) -> Vec<u8> {
    let dst = *rng.pick(&[HOST6, Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)]);
    let message = [&[128 + rng.below(2) as u8, 0, 0, 0, 0, 1, 0, rng.below(4) as u8], payload].concat();
    ip_frame(GUEST6.into(), dst.into(), icmpv6::PROTOCOL, &message)
}

impl IntoAddr for (Ipv6Addr, u16) {
    fn into_addr(self) -> SocketAddr {
        SocketAddr::new(self.0.into(), self.1)
    }
}

impl IntoAddr for (Ipv4Addr, u16) {
    fn into_addr(self) -> SocketAddr {
        SocketAddr::new(self.0.into(), self.1)
    }
}

fn mutate(rng: &mut Rng, mut frame: Vec<u8>) -> Vec<u8> {
    for _ in 0..rng.below(4) {
        let at = rng.below(frame.len().max(1)).min(frame.len().saturating_sub(1));
        match rng.below(4) {
            0 => frame.truncate(at),
            1 => frame.extend(rng.bytes(20)),
            _ if frame.is_empty() => {}
            _ => frame[at] = rng.next() as u8,
        }
    }
    mend_ip_checksum(rng, &mut frame);
    frame
}

/// Half of the frames get past the first check of IPv4, to what lies behind it.
fn mend_ip_checksum(rng: &mut Rng, frame: &mut [u8]) {
    if frame.len() < 34 || rng.per_mille(500) {
        return;
    }
    let header = 14..(14 + usize::from(frame[14] & 15) * 4).min(frame.len());
    frame[24..26].fill(0);
    let sum = checksum::finish(checksum::add(0, &frame[header]));
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
}

fn offload(rng: &mut Rng) -> Offload {
    let mut offload = Offload { checksum_valid: rng.per_mille(700), ..Offload::default() };
    if rng.per_mille(200) {
        offload.checksum = Some(PartialChecksum { start: 34, offset: *rng.pick(&[16, 6, 2]) });
    }
    if rng.per_mille(100) {
        let kind = *rng.pick(&[GsoKind::TcpV4, GsoKind::TcpV6, GsoKind::Udp]);
        offload.gso = Some(Gso { kind, size: *rng.pick(&[0, 1, 500, 1460]), header_len: rng.next() as u16 });
    }
    offload
}

fn run(seed: u64, frames: usize, make: impl Fn(&mut Rng) -> Vec<u8>) -> Fuzz {
    let mut fuzz = Fuzz::new(seed);
    for _ in 0..frames {
        let frame = make(&mut fuzz.rng);
        let offload = offload(&mut fuzz.rng);
        fuzz.give(&frame, offload);
        fuzz.stir();
    }
    fuzz
}

#[test]
fn seven_hundred_thousand_mutated_frames_are_handled_or_dropped_for_a_reason() {
    let fuzz = run(1, 700_000, |rng| {
        let frame = corpus(rng);
        mutate(rng, frame)
    });
    let reasons = fuzz.net.drops.iter().count();
    assert!(reasons >= 25, "the frames reached only {reasons} of the places where one can be dropped");
    assert!(fuzz.net.census().tcp > 0, "no connection lives: the frames never got past the handshake");
}

#[test]
fn three_hundred_thousand_random_frames_are_dropped_for_a_reason() {
    let mut fuzz = Fuzz::new(2);
    let mut given = 0;
    for _ in 0..300_000 {
        let len = fuzz.rng.below(200);
        let mut frame = fuzz.rng.bytes(len);
        if len >= 14 {
            // Addressed to the gateway and of a kind it looks at, or all would end at the first byte.
            frame[..6].copy_from_slice(&fuzz.rng.pick(&[GATEWAY_MAC, GATEWAY6_MAC]).0);
            frame[6] &= 0xfe;
            frame[12..14].copy_from_slice(&fuzz.rng.pick(&[[8, 0], [8, 6], [0x86, 0xdd]])[..]);
        }
        given += u64::from(fuzz.give(&frame, Offload::default()));
    }
    assert_eq!(fuzz.net.drops.total(), given, "each of them is counted, and nothing but them");
}
