//! One TCP connection between a guest driven by hand and a peer on the host.
//!
//! The guest has a template of its next segment; a test changes the fields it is about.

use super::fake_host::{Connect, TcpPeer};
use super::frames::{Options, Packet, Seg, v4};
use super::watch::before;
use super::world::{World, qemu};
use std::net::SocketAddr;
use std::time::Duration;
use wirebay_engine::{Config, Time};
use wirebay_wire::tcp::Timestamps;
use wirebay_wire::tcp::flags::{ACK, FIN, PSH, RST, SYN};

pub const GUEST_END: &str = "10.0.2.15:40000";
pub const SERVER: &str = "192.0.2.1:80";

/// How a connection begins.
#[derive(Clone)]
pub struct Opening {
    pub config: Config,
    /// The guest's initial sequence number.
    pub isn: u32,
    /// The network's, where a test needs a certain one.
    pub our_isn: Option<u32>,
    pub mss: Option<u16>,
    pub scale: Option<u8>,
    /// Whether the guest acknowledges selectively.
    pub sack: bool,
    /// The guest's clock, if it sends timestamps: this and the milliseconds of the world's.
    pub clock: Option<u32>,
    /// The window field of every segment, the SYN's among them.
    pub window: u16,
    /// The send queue of the host's socket.
    pub send_limit: Option<usize>,
}

impl Default for Opening {
    fn default() -> Self {
        Opening {
            config: qemu(),
            isn: 1000,
            our_isn: None,
            mss: Some(1460),
            scale: Some(7),
            sack: false,
            clock: None,
            window: 0xffff,
            send_limit: None,
        }
    }
}

impl Opening {
    fn world(&self) -> World {
        let mut world = World::new(self.config.clone());
        if let Some(wanted) = self.our_isn {
            let iss = opened(&mut World::new(self.config.clone()), &self.syn());
            // The clock of initial sequence numbers ticks every 4 microseconds.
            world.now = Time(world.now.0 + 4 * u64::from(wanted.wrapping_sub(iss)));
        }
        world.host.kernel().send_limit = self.send_limit;
        world
    }

    fn syn(&self) -> Seg {
        Seg {
            at: Time(0),
            src: v4(GUEST_END),
            dst: v4(SERVER),
            seq: self.isn,
            ack: 0,
            flags: SYN,
            window: self.window,
            mss: self.mss,
            scale: self.scale,
            options: Options { sack_permitted: self.sack, ..self.stamp(Time(0), 0) },
            payload: Vec::new(),
        }
    }

    fn stamp(&self, now: Time, echo: u32) -> Options {
        let value = self.clock.map(|clock| clock.wrapping_add((now.0 / 1000) as u32));
        let timestamps = value.map(|value| Timestamps { value, echo });
        Options { timestamps, ..Options::default() }
    }
}

fn opened(world: &mut World, syn: &Seg) -> u32 {
    let replies = world.put(&[syn.frame()]);
    replies.into_iter().find_map(Packet::seg).unwrap().seq
}

/// The connection.
pub struct Dialog {
    pub world: World,
    /// The guest's end, and the one it talks to.
    pub guest: SocketAddr,
    pub our: SocketAddr,
    /// What the guest sends next, and what it expects next.
    pub seq: u32,
    pub ack: u32,
    pub window: u16,
    pub isn: u32,
    /// The network's window scale.
    pub scale: u8,
    /// The last timestamp of the network.
    pub echo: u32,
    /// The options of the network's SYN.
    pub offered: Options,
    opening: Opening,
    /// The network's first byte.
    base: u32,
    number: usize,
}

impl Dialog {
    /// The guest has sent its SYN; the host is connecting.
    pub fn syn(opening: &Opening) -> Dialog {
        let world = opening.world();
        world.host.kernel().connect = Connect::Later;
        let (isn, window) = (opening.isn, opening.window);
        let seq = isn.wrapping_add(1);
        let (guest, our) = (v4(GUEST_END), v4(SERVER));
        let opening = opening.clone();
        let mut dialog = Dialog {
            world,
            guest,
            our,
            seq,
            ack: 0,
            window,
            isn,
            scale: 0,
            echo: 0,
            offered: Options::default(),
            opening,
            base: 0,
            number: 0,
        };
        let syn = dialog.opening.syn();
        assert_eq!(dialog.put(&syn), []);
        dialog
    }

    /// The host has connected and the guest's handshake is complete.
    pub fn open(opening: &Opening) -> Dialog {
        let mut dialog = Dialog::syn(opening);
        dialog.peer().connects();
        let answers = dialog.hear();
        assert!(answers[0].is(SYN | ACK), "{answers:?}");
        dialog.scale = if opening.scale.is_some() { answers[0].scale.unwrap_or(0) } else { 0 };
        dialog.accept(&answers);
        // With segments as large as the first window the network may have a larger one to offer at once.
        let more = dialog.acknowledge();
        assert!(more.iter().all(|seg| seg.is(ACK) && seg.payload.is_empty()), "{more:?}");
        dialog
    }

    /// A client of the host has called the guest through a forward, and the guest has answered.
    pub fn called(opening: &Opening) -> Dialog {
        let mut world = opening.world();
        let (guest, our) = (v4("10.0.2.15:22"), v4("203.0.113.9:50000"));
        let slot = world.net.add_forward(guest, None);
        world.put(&[super::frames::arp_frame(
            1,
            (super::frames::GUEST_MAC, super::frames::GUEST),
            super::frames::HOST,
        )]);
        world.accept(slot, "203.0.113.9:50000");
        let (isn, window) = (opening.isn, opening.window);
        let mut dialog = Dialog {
            world,
            guest,
            our,
            seq: isn,
            ack: 0,
            window,
            isn,
            scale: 0,
            echo: 0,
            offered: Options::default(),
            opening: opening.clone(),
            base: 0,
            number: 0,
        };
        let syn = dialog.hear();
        assert!(syn[0].is(SYN), "{syn:?}");
        dialog.offered = syn[0].options;
        dialog.scale = if opening.scale.is_some() { syn[0].scale.unwrap_or(0) } else { 0 };
        dialog.accept(&syn);
        let template = dialog.seg();
        dialog.seq = isn.wrapping_add(1);
        let options = Options { sack_permitted: opening.sack, ..template.options };
        let answer = Seg { flags: SYN | ACK, mss: opening.mss, scale: opening.scale, options, ..template };
        let last = dialog.put(&answer);
        assert!(last.len() == 1 && last[0].is(ACK), "{last:?}");
        dialog
    }

    /// The host's side of it.
    pub fn peer(&self) -> TcpPeer {
        self.world.host.peer(self.number)
    }

    /// The guest's next segment: an acknowledgement.
    pub fn seg(&self) -> Seg {
        let (src, dst, seq, ack, window) = (self.guest, self.our, self.seq, self.ack, self.window);
        let (mss, scale, payload) = (None, None, Vec::new());
        let options = self.opening.stamp(self.world.now, self.echo);
        Seg { at: self.world.now, src, dst, seq, ack, flags: ACK, window, mss, scale, options, payload }
    }

    /// The guest sends any segment; the answers.
    pub fn put(&mut self, seg: &Seg) -> Vec<Seg> {
        self.world.give(&seg.frame());
        self.hear()
    }

    /// The guest sends data; the answers.
    pub fn say(&mut self, data: &[u8]) -> Vec<Seg> {
        let seg = Seg { flags: ACK | PSH, payload: data.to_vec(), ..self.seg() };
        self.seq = seg.end();
        self.put(&seg)
    }

    /// The guest ends its stream; the answers.
    pub fn fin(&mut self) -> Vec<Seg> {
        let seg = Seg { flags: ACK | FIN, ..self.seg() };
        self.seq = seg.end();
        self.put(&seg)
    }

    /// The guest acknowledges what it has accepted; the answers.
    pub fn acknowledge(&mut self) -> Vec<Seg> {
        let seg = self.seg();
        self.put(&seg)
    }

    /// The guest acknowledges with another window from now on; the answers.
    pub fn acknowledge_with(&mut self, window: u16) -> Vec<Seg> {
        self.window = window;
        self.acknowledge()
    }

    /// What the network sends now. It is checked that nothing is acknowledged that the host has not taken.
    pub fn hear(&mut self) -> Vec<Seg> {
        self.world.settle();
        let (guest, our) = (self.guest, self.our);
        let segs = self.world.take().into_iter().filter_map(Packet::seg);
        let ours: Vec<_> = segs.filter(|seg| (seg.src, seg.dst) == (our, guest)).collect();
        for seg in &ours {
            self.check_acknowledgement(seg);
        }
        ours
    }

    fn check_acknowledgement(&self, seg: &Seg) {
        if !seg.has(ACK) || seg.has(RST | SYN) {
            return;
        }
        let peer = self.peer();
        let conn = peer.conn();
        let covered = self.isn.wrapping_add(1 + conn.taken() as u32 + u32::from(conn.shut));
        assert!(!before(covered, seg.ack), "acknowledged {} bytes too many", seg.ack.wrapping_sub(covered));
    }

    /// The guest accepts what is in order of these segments; the data.
    pub fn accept(&mut self, segs: &[Seg]) -> Vec<u8> {
        let mut data = Vec::new();
        for seg in segs {
            if seg.has(SYN) || seg.seq == self.ack {
                self.echo = seg.options.timestamps.map_or(0, |stamps| stamps.value);
                self.ack = seg.end();
                self.base = if seg.has(SYN) { self.ack } else { self.base };
                data.extend(&seg.payload);
            }
        }
        data
    }

    /// Time passes; what the network sends meanwhile.
    pub fn advance(&mut self, span: Duration) -> Vec<Seg> {
        self.world.advance(span);
        self.hear()
    }

    /// The right edge that a segment of the network promises.
    pub fn edge(&self, seg: &Seg) -> u32 {
        seg.ack.wrapping_add(u32::from(seg.window) << self.scale)
    }

    /// Bytes of data that the guest has accepted.
    pub fn received(&self) -> usize {
        self.ack.wrapping_sub(self.base) as usize
    }

    /// Does the network still have the connection?
    pub fn lives(&self) -> bool {
        self.world.net.census().tcp > 0
    }
}
