//! Anything in any order: a guest, a host peer and a cable that do what a seed tells them, and what must hold
//! whatever they do.
//!
//! After every step: what each end has received is the beginning of what the other has sent; nothing is acknowledged
//! that the host has not taken; no window edge and no acknowledgement moves back (the world watches that); nothing is
//! sent beyond the guest's window but a probe of one byte. In the end the cable is healed and everything arrives.

use crate::support::fake_host::{Connect, TcpPeer};
use crate::support::fake_sockets::Fate;
use crate::support::frames::{Options, Packet, Seg, v4};
use crate::support::rng::{Rng, Stream};
use crate::support::watch::before;
use crate::support::world::World;
use std::collections::BTreeMap;
use std::time::Duration;
use wirebay_engine::Time;
use wirebay_wire::tcp::flags::{ACK, FIN, RST, SYN};
use wirebay_wire::tcp::{SackBlocks, Timestamps};

const UP: Stream = Stream(21);
const DOWN: Stream = Stream(22);
const MSS: usize = 1000;

/// The guest: what it has sent, what of that was acknowledged, and what it has received.
#[allow(clippy::struct_excessive_bools)] // what it is and what has happened to it, each for itself
struct Guest {
    isn: u32,
    total: usize,
    sent: usize,
    /// Of the data; the SYN and the FIN are told apart by the two flags.
    acked: usize,
    synced: bool,
    fin_acked: bool,
    edge: u32,
    scale: u8,
    base: u32,
    received: usize,
    read: usize,
    fin_received: bool,
    later: BTreeMap<usize, Vec<u8>>,
    /// The right edge it has advertised, as an offset into the data.
    offered: usize,
    capacity: usize,
    /// It acknowledges selectively, with a lie now and then; it sends timestamps.
    sacks: bool,
    stamps: bool,
    clock: u32,
    echo: u32,
}

impl Guest {
    fn new(rng: &mut Rng) -> Self {
        let isn =
            if rng.per_mille(500) { rng.next() as u32 } else { 0_u32.wrapping_sub(rng.below(20_000) as u32) };
        Guest {
            isn,
            total: rng.below(60_000),
            sent: 0,
            acked: 0,
            synced: false,
            fin_acked: false,
            edge: isn,
            scale: 0,
            base: 0,
            received: 0,
            read: 0,
            fin_received: false,
            later: BTreeMap::new(),
            offered: 0,
            capacity: 300 + rng.below(30_000),
            sacks: rng.per_mille(600),
            stamps: rng.per_mille(600),
            clock: 0,
            echo: 0,
        }
    }

    fn options(&self) -> Options {
        let timestamps = self.stamps.then_some(Timestamps { value: self.clock, echo: self.echo });
        Options { timestamps, sack: self.blocks(), sack_permitted: false }
    }

    /// What it has behind the first hole.
    fn blocks(&self) -> SackBlocks {
        let mut blocks = SackBlocks::default();
        for (&at, data) in self.later.iter().filter(|(_, data)| self.sacks && !data.is_empty()) {
            let start = self.base.wrapping_add(at as u32);
            blocks.push(start, start.wrapping_add(data.len() as u32));
        }
        blocks
    }

    fn seg(&mut self) -> Seg {
        self.offered = self.offered.max(self.read + self.capacity);
        let window = (self.offered - self.received) as u16;
        let ack = self.base.wrapping_add(self.received as u32 + u32::from(self.fin_received));
        let (src, dst) = (v4("10.0.2.15:40000"), v4("192.0.2.1:80"));
        let (mss, scale, payload) = (None, None, Vec::new());
        let seq = self.seq(self.sent).wrapping_add(u32::from(self.fin_acked));
        let options = self.options();
        Seg { at: Time(0), src, dst, seq, ack, flags: ACK, window, mss, scale, options, payload }
    }

    fn seq(&self, offset: usize) -> u32 {
        self.isn.wrapping_add(1 + offset as u32)
    }

    fn syn(&mut self) -> Seg {
        let seg = self.seg();
        let options = Options { sack_permitted: self.sacks, ..seg.options };
        Seg { seq: self.isn, ack: 0, flags: SYN, mss: Some(MSS as u16), scale: Some(0), options, ..seg }
    }

    /// A piece of its data, from `from` on, as far as the window and `len` go; with the FIN where that is due.
    fn piece(&mut self, from: usize, len: usize) -> Seg {
        let window = self.edge.wrapping_sub(self.seq(from)) as i32;
        let len = len.min(self.total - from).min(window.max(0) as usize);
        self.sent = self.sent.max(from + len);
        let fin = if from + len == self.total { FIN } else { 0 };
        let (seq, payload) = (self.seq(from), UP.bytes(from, len));
        Seg { seq, payload, flags: ACK | fin, ..self.seg() }
    }

    /// A segment has arrived.
    fn hear(&mut self, seg: &Seg) {
        if seg.has(RST) {
            // What a FIN that is repeated meets when the connection has ended: its acknowledgement was lost.
            assert!(self.sent == self.total && self.fin_received, "nobody has a reason to reset: {seg:?}");
            self.fin_acked = true;
            return;
        }
        assert_eq!(seg.options.timestamps.is_some(), self.stamps, "{seg:?}");
        assert!(self.sacks || seg.options.sack.is_empty(), "{seg:?}");
        self.echo = seg.options.timestamps.map_or(0, |stamps| stamps.value);
        if seg.has(SYN) {
            self.base = seg.seq.wrapping_add(1);
            self.synced = true;
            self.scale = seg.scale.unwrap_or(0);
            self.learn(seg, 0);
            return;
        }
        self.learn(seg, self.scale);
        self.receive(seg);
    }

    fn learn(&mut self, seg: &Seg, scale: u8) {
        let acked = seg.ack.wrapping_sub(self.seq(0)) as usize;
        assert!(acked <= self.total + 1, "acknowledged what was never sent");
        self.fin_acked |= acked == self.total + 1;
        self.acked = self.acked.max(acked.min(self.total));
        let edge = seg.ack.wrapping_add(u32::from(seg.window) << scale);
        if before(self.edge, edge) {
            self.edge = edge;
        }
    }

    fn receive(&mut self, seg: &Seg) {
        let at = seg.seq.wrapping_sub(self.base) as i32;
        if at < 0 {
            return;
        }
        let (at, end) = (at as usize, at as usize + seg.payload.len());
        assert!(end <= self.offered + 1, "{} bytes beyond the window", end - self.offered);
        DOWN.check(at, &seg.payload);
        let fits = self.offered.saturating_sub(at).min(seg.payload.len());
        self.later.insert(at, seg.payload[..fits].to_vec());
        while let Some((&at, _)) = self.later.range(..=self.received).next() {
            let data = self.later.remove(&at).unwrap_or_default();
            self.received = self.received.max(at + data.len());
        }
        self.fin_received |= seg.has(FIN) && self.received == end;
    }
}

/// Everything.
struct Model {
    rng: Rng,
    world: World,
    guest: Guest,
    /// Bytes the host's peer sends, and has sent.
    down: usize,
    sent: usize,
    checked: usize,
    ended: bool,
    faults: u32,
    to_guest: Vec<Seg>,
    to_net: Vec<Seg>,
}

impl Model {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut world = World::default();
        world.now = Time(rng.next() >> 16);
        world.host.kernel().connect = *rng.pick(&[Connect::AtOnce, Connect::Later]);
        world.host.kernel().send_limit = rng.per_mille(700).then(|| 300 + rng.below(20_000));
        let (mut guest, down, faults) = (Guest::new(&mut rng), rng.below(60_000), rng.below(500) as u32);
        guest.clock = (world.now.0 / 1000) as u32;
        let (to_guest, to_net) = (Vec::new(), Vec::new());
        Model { rng, world, guest, down, sent: 0, checked: 0, ended: false, faults, to_guest, to_net }
    }

    fn peer(&self) -> Option<TcpPeer> {
        (self.world.host.connections() > 0).then(|| self.world.host.peer(0))
    }

    fn say(&mut self, seg: Seg) {
        if !self.rng.per_mille(self.faults) {
            self.to_net.push(seg);
        }
    }

    /// One thing happens.
    fn step(&mut self) {
        match self.rng.below(12) {
            0 | 1 => self.guest_sends(),
            2 => self.guest_sends_again(),
            3 => self.guest_acknowledges(),
            4 => self.guest.read += self.rng.below(self.guest.received - self.guest.read + 1),
            5 => self.host_sends(),
            6 => self.host_reads(),
            7 => self.world.advance(Duration::from_micros(1 << self.rng.below(20))),
            8 => self.connect(),
            9 => self.cable_to_net(),
            _ => self.cable_to_guest(),
        }
        self.collect();
        self.check();
        self.guest.clock = (self.world.now.0 / 1000) as u32;
    }

    fn connect(&mut self) {
        if let Some(peer) = self.peer()
            && peer.conn().connected().is_ok_and(|done| !done)
        {
            peer.connects();
            self.world.settle();
        }
    }

    fn guest_sends(&mut self) {
        let len = self.rng.below(3 * MSS);
        let seg = if self.guest.synced { self.guest.piece(self.guest.sent, len) } else { self.guest.syn() };
        self.say(seg);
    }

    fn guest_sends_again(&mut self) {
        let len = self.rng.below(3 * MSS);
        let from = self.guest.acked + self.rng.below(self.guest.sent - self.guest.acked + 1);
        let seg = if self.guest.synced { self.guest.piece(from, len) } else { self.guest.syn() };
        self.say(seg);
    }

    fn guest_acknowledges(&mut self) {
        if self.guest.synced {
            let seg = self.guest.seg();
            // Sometimes an old one that was under way for long.
            let old =
                if self.rng.per_mille(100) { self.rng.below(self.guest.received + 1) as u32 } else { 0 };
            let mut options = seg.options;
            if self.guest.sacks && self.faults > 0 && self.rng.per_mille(50) {
                let start = seg.ack.wrapping_add(self.rng.below(20_000) as u32);
                options.sack.push(start, start.wrapping_add(self.rng.below(20_000) as u32));
            }
            self.say(Seg { ack: seg.ack.wrapping_sub(old), options, ..seg });
        }
    }

    fn host_sends(&mut self) {
        let Some(peer) = self.peer() else { return };
        let len = self.rng.below(5 * MSS).min(self.down - self.sent);
        if len > 0 {
            peer.sends(&DOWN.bytes(self.sent, len));
            self.sent += len;
        } else if self.sent == self.down && !std::mem::replace(&mut self.ended, true) {
            peer.ends();
        }
        self.world.settle();
    }

    fn host_reads(&mut self) {
        let most = self.rng.below(5 * MSS);
        self.peer().iter().for_each(|peer| _ = peer.reads(most));
        self.world.settle();
    }

    fn cable_to_net(&mut self) {
        let count = self.rng.below(self.to_net.len() + 1);
        for _ in 0..count {
            let at = if self.rng.per_mille(self.faults) { self.rng.below(self.to_net.len()) } else { 0 };
            let seg = self.to_net.remove(at);
            self.world.give(&seg.frame());
        }
        self.world.settle();
    }

    fn cable_to_guest(&mut self) {
        let count = self.rng.below(self.to_guest.len() + 1);
        for _ in 0..count {
            let at = if self.rng.per_mille(self.faults) { self.rng.below(self.to_guest.len()) } else { 0 };
            let seg = self.to_guest.remove(at);
            self.guest.hear(&seg);
            self.answer(&seg);
        }
    }

    /// What every guest answers at once: anything that takes up sequence numbers.
    fn answer(&mut self, seg: &Seg) {
        if seg.end() != seg.seq {
            let answer = self.guest.seg();
            self.say(answer);
        }
    }

    fn collect(&mut self) {
        for seg in self.world.take().into_iter().filter_map(Packet::seg) {
            if self.rng.per_mille(self.faults / 4) {
                self.to_guest.push(seg.clone());
            }
            if !self.rng.per_mille(self.faults) {
                self.to_guest.push(seg);
            }
        }
    }

    fn check(&mut self) {
        let Some(peer) = self.peer() else { return };
        let conn = peer.conn();
        UP.check(self.checked, &conn.received[self.checked..]);
        self.checked = conn.received.len();
        let covered = self.guest.isn.wrapping_add(1 + conn.taken() as u32 + u32::from(conn.shut));
        for seg in self.to_guest.iter().filter(|seg| seg.has(ACK)) {
            assert!(!before(covered, seg.ack), "acknowledged before the host took it");
        }
        assert!(self.guest.received <= self.sent);
    }

    fn is_done(&self) -> bool {
        let guest = &self.guest;
        let moved = self.checked == guest.total && guest.received == self.down;
        moved && guest.fin_acked && guest.fin_received && self.world.flows() == 0
    }

    /// The cable is mended and everybody does what they can.
    fn heal(&mut self) {
        self.faults = 0;
        for _ in 0..2000 {
            if self.is_done() {
                return;
            }
            self.connect();
            self.guest.read = self.guest.received;
            if self.guest.fin_acked {
                self.guest_acknowledges();
            } else {
                self.guest_goes_on();
            }
            self.host_sends();
            self.peer().iter().for_each(|peer| _ = peer.reads(usize::MAX));
            self.world.settle();
            while !self.to_net.is_empty() || !self.to_guest.is_empty() {
                self.cable_to_net();
                self.collect();
                self.cable_to_guest();
                self.collect();
                self.check();
            }
            self.world.advance(Duration::from_millis(100));
            self.guest.clock = (self.world.now.0 / 1000) as u32;
            self.collect();
        }
        let guest = &self.guest;
        panic!(
            "up {} of {}, down {} of {}, ends {} {}, flows {}, drops {:?}",
            self.checked,
            guest.total,
            guest.received,
            self.down,
            guest.fin_acked,
            guest.fin_received,
            self.world.flows(),
            self.world.net.drops
        );
    }

    fn guest_goes_on(&mut self) {
        if !self.guest.synced {
            return self.guest_sends();
        }
        let seg = self.guest.piece(self.guest.acked, MSS);
        self.say(seg);
    }
}

#[test]
fn whatever_happens_in_whatever_order_everything_arrives_in_the_end() {
    for seed in 0..1000 {
        println!("seed {seed}");
        let mut model = Model::new(seed);
        for _ in 0..400 {
            model.step();
        }
        model.heal();
        assert_eq!(model.peer().unwrap().fate(), Fate::Closed);
        assert_eq!(model.world.net.next_deadline(), None);
    }
}
