//! The network under test, with its clock, its host and everything it sends.

use super::fake_host::{Event, FakeHost};
use super::frames::{Packet, Seg};
use super::recorder::{Phase, Recorder};
use super::watch::Watch;
use std::net::SocketAddr;
use std::time::Duration;
use wirebay_engine::user::{Ping, Plan, Secret, ServiceMessage};
use wirebay_engine::{Config, Outbox, Time, UserNet};
use wirebay_wire::{DropReason, Frame, Offload};

/// The network with QEMU's addresses of both families.
pub fn dual() -> Config {
    let ip = |text: &str| text.parse().unwrap();
    let v6 = Some(Plan { net: ip("fec0::"), prefix: 64, host: ip("fec0::2"), dns: ip("fec0::3") });
    Config { v6, ..qemu() }
}

/// The network with QEMU's IPv4 addresses, and without IPv6: it sends nothing that nobody asked for.
pub fn qemu() -> Config {
    let ip = |text: &str| text.parse().unwrap();
    Config {
        v4: Some(Plan { net: ip("10.0.2.0"), prefix: 24, host: ip("10.0.2.2"), dns: ip("10.0.2.3") }),
        v6: None,
        mtu: 1500,
        restrict: false,
        host_loopback: true,
        max_flows: 1 << 17,
        services: Vec::new(),
        search: Vec::new(),
    }
}

/// More rounds than this without rest are an endless loop.
const RESTLESS: usize = 100_000;

/// One network and all around it.
pub struct World {
    pub net: UserNet<FakeHost>,
    pub host: FakeHost,
    pub now: Time,
    /// Bytes that the way to the guest takes before something of it arrives.
    pub room: usize,
    /// Everything arrives at once, and the room stays what it is.
    pub drains: bool,
    pub recorder: Option<Recorder>,
    /// How many super-segments the network has sent.
    pub super_segments: usize,
    out: Outbox,
    watch: Watch,
    sent: Vec<(Vec<u8>, Packet)>,
}

impl Default for World {
    fn default() -> Self {
        World::new(qemu())
    }
}

impl World {
    pub fn new(config: Config) -> Self {
        let host = FakeHost::default();
        World {
            net: UserNet::new(config.clone(), host.clone(), Secret(*b"a fixed sequence")),
            host,
            now: Time(1_000_000),
            room: usize::MAX,
            drains: false,
            recorder: None,
            super_segments: 0,
            out: Outbox::default(),
            watch: Watch::new(config),
            sent: Vec::new(),
        }
    }

    /// The guest sends a finished frame. Nothing else happens yet: see [`World::settle`].
    pub fn give(&mut self, frame: &[u8]) {
        self.give_frame(&Frame::plain(frame));
    }

    pub fn give_with(&mut self, bytes: &[u8], offload: Offload) {
        self.give_frame(&Frame { bytes, offload }.checked().unwrap());
    }

    fn give_frame(&mut self, frame: &Frame<'_>) {
        if let Some(seg) = guest_segment(self.now, frame) {
            self.watch.guest_sent(&seg);
            self.recorder.iter_mut().for_each(|recorder| recorder.guest_sent(&seg));
        }
        self.net.input(self.now, frame, &mut self.out);
        self.collect(Phase::Input);
    }

    /// The guest sends frames, and everything that follows from them happens.
    pub fn put(&mut self, frames: &[Vec<u8>]) -> Vec<Packet> {
        for frame in frames {
            self.give(frame);
        }
        self.settle();
        self.take()
    }

    /// Everything happens that does not need time: events, acknowledgements, bulk data.
    pub fn settle(&mut self) {
        for _ in 0..RESTLESS {
            self.deliver_events();
            self.end_batch();
            let busy = self.net.run(self.now, &mut self.out, &|_| self.room);
            self.collect(Phase::Run);
            if !busy && !self.host.has_events() {
                return;
            }
        }
        panic!("the network never comes to rest");
    }

    fn deliver_events(&mut self) {
        while let Some(event) = self.host.next_event() {
            match event {
                Event::Flow(token, ready) => self.net.host_event(self.now, token, ready, &mut self.out),
                Event::Forward(slot) => {
                    while self.net.forward_errors(slot, &mut self.out) {}
                    while self.receive_forward(slot) {}
                }
            }
            self.collect(Phase::Event);
        }
    }

    fn receive_forward(&mut self, slot: usize) -> bool {
        self.net.receive_forward(self.now, slot, &mut self.out).unwrap_or(false)
    }

    fn end_batch(&mut self) {
        self.recorder.iter_mut().for_each(|recorder| recorder.batch(&self.host));
        self.net.end_batch(self.now, &mut self.out);
        self.collect(Phase::Batch);
    }

    fn collect(&mut self, phase: Phase) {
        for frame in self.out.frames() {
            self.super_segments += usize::from(frame.offload.gso.is_some());
            if !self.drains {
                self.room = self.room.saturating_sub(frame.bytes.len());
            }
            self.watch.network_sent(self.now, &frame, &mut |bytes, packet| {
                if let (Some(recorder), Packet::Tcp { seg, .. }) = (&mut self.recorder, &packet) {
                    recorder.network_sent(phase, seg, &self.host);
                }
                self.sent.push((bytes, packet));
            });
        }
        self.out.clear();
        self.recorder.iter_mut().for_each(|recorder| recorder.called(phase, &self.host));
    }

    /// Time passes; every deadline on the way is kept to the microsecond.
    pub fn advance(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(at) = self.net.next_deadline().filter(|&at| at <= end) {
            self.jump(at.max(self.now));
        }
        self.jump(end);
    }

    /// Time has passed, and nobody looked meanwhile.
    pub fn jump(&mut self, to: Time) {
        self.now = to;
        self.net.on_time(to, &mut self.out);
        self.collect(Phase::Timer);
        self.settle();
    }

    /// What the network has sent since the last question.
    pub fn take(&mut self) -> Vec<Packet> {
        self.sent.drain(..).map(|(_, packet)| packet).collect()
    }

    /// The same as bytes.
    pub fn take_frames(&mut self) -> Vec<Vec<u8>> {
        self.sent.drain(..).map(|(bytes, _)| bytes).collect()
    }

    /// A forward has accepted a connection from `client`.
    pub fn accept(&mut self, slot: usize, client: &str) {
        let client: SocketAddr = client.parse().unwrap();
        let adopt = |host: &mut FakeHost, token| Ok(host.adopt(token));
        self.net.accept(self.now, slot, client, adopt, &mut self.out);
        self.collect(Phase::Event);
        self.settle();
    }

    /// A service answers at an address.
    pub fn serve(&mut self, protocol: u8, at: SocketAddr) -> usize {
        self.watch.also(at.ip());
        self.net.add_service(protocol, at)
    }

    /// Python has brought the far end of a connection to a service.
    pub fn attach(&mut self, connection: u64) -> bool {
        let adopt = |host: &mut FakeHost, token| Ok(host.adopt(token));
        let waited = self.net.service_attach(self.now, connection, adopt, &mut self.out);
        self.collect(Phase::Event);
        self.settle();
        waited
    }

    /// Python has no far end for it.
    pub fn refuse(&mut self, connection: u64) -> bool {
        let waited = self.net.service_refuse(connection, &mut self.out);
        self.collect(Phase::Event);
        waited
    }

    /// The network asks a guest for an echo.
    pub fn ping(&mut self, ping: Ping) -> Result<(), DropReason> {
        let asked = self.net.ping(ping, &mut self.out);
        self.collect(Phase::Event);
        asked
    }

    pub fn service_reply(&mut self, message: &ServiceMessage) {
        self.net.service_reply(message, &mut self.out);
        self.collect(Phase::Event);
    }

    /// The network goes away.
    pub fn close(&mut self) {
        self.net.close(self.now, &mut self.out);
        self.collect(Phase::Event);
    }

    pub fn drops(&self, reason: DropReason) -> u64 {
        self.net.drops.get(reason)
    }

    /// How many fragments the network has sent.
    pub fn fragments(&self) -> usize {
        self.watch.fragments()
    }

    /// How many flows of all kinds there are.
    pub fn flows(&self) -> usize {
        let census = self.net.census();
        census.tcp + census.udp + census.icmp
    }
}

fn guest_segment(at: Time, frame: &Frame<'_>) -> Option<Seg> {
    use wirebay_wire::ethernet::{Ethernet, ethertype};
    use wirebay_wire::ipv4::{Ipv4, protocol};
    use wirebay_wire::ipv6::Ipv6;
    let ethernet = Ethernet::parse(frame.bytes).ok()?;
    if ethernet.ethertype == ethertype::IPV6 {
        let ip = Ipv6::parse(ethernet.payload).ok().filter(|ip| ip.next_header == protocol::TCP)?;
        wirebay_wire::tcp::Tcp::parse(ip.payload).ok()?;
        return Packet::parse(at, frame.bytes).seg();
    }
    if ethernet.ethertype != ethertype::IPV4 {
        return None;
    }
    let ip =
        Ipv4::parse(ethernet.payload).ok().filter(|ip| ip.protocol == protocol::TCP && !ip.is_fragment())?;
    wirebay_wire::tcp::Tcp::parse(ip.payload).ok()?;
    Packet::parse(at, frame.bytes).seg()
}
