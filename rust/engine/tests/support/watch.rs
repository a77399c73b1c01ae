//! Eyes on every frame the network sends: what must be true of all of them.

use super::checksum::{ones_sum, transport_sum, transport_sum_v6};
use super::frames::{Packet, Seg};
use super::puzzle::Puzzle;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use wirebay_engine::segment::{Capabilities, adapt};
use wirebay_engine::{Config, Time};
use wirebay_wire::tcp::flags::{ACK, RST, SYN};
use wirebay_wire::{Frame, Mac};

/// What the guest has said in its SYN.
#[derive(Clone, Copy, Default)]
struct Options {
    scales: bool,
    mss: Option<u16>,
}

/// What a connection has promised so far.
#[derive(Default)]
struct Promise {
    /// Of a SYN that is not answered yet: it counts when it is.
    asked: Options,
    guest: Options,
    scale: Option<u8>,
    calling: bool,
    /// The last acknowledgement and right edge that were sent.
    said: Option<(u32, u32)>,
}

impl Promise {
    fn scale(&self) -> u8 {
        if self.guest.scales { self.scale.unwrap_or(0) } else { 0 }
    }

    fn heard_syn(&mut self, seg: &Seg) {
        let options = Options { scales: seg.scale.is_some(), mss: seg.mss };
        if !seg.has(ACK) {
            self.asked = options;
        } else if std::mem::take(&mut self.calling) {
            self.guest = options;
        }
    }

    fn said_syn(&mut self, seg: &Seg) {
        (self.scale, self.said) = (seg.scale, None);
        self.calling = !seg.has(ACK);
        if seg.has(ACK) {
            self.guest = self.asked;
        }
    }
}

/// The checks, and what they remember.
pub struct Watch {
    config: Config,
    promises: HashMap<(SocketAddr, SocketAddr), Promise>,
    scratch: Vec<u8>,
    puzzle: Puzzle,
}

impl Watch {
    pub fn new(config: Config) -> Self {
        Watch { config, promises: HashMap::new(), scratch: Vec::new(), puzzle: Puzzle::default() }
    }

    /// A guest has sent this.
    pub fn guest_sent(&mut self, seg: &Seg) {
        if seg.has(SYN) {
            self.promises.entry((seg.dst, seg.src)).or_default().heard_syn(seg);
        }
    }

    /// The network has one more address.
    pub fn also(&mut self, addr: IpAddr) {
        self.config.services.push(addr);
    }

    /// How many fragments the network has sent.
    pub fn fragments(&self) -> usize {
        self.puzzle.fragments
    }

    /// The network has sent this: check it, and hand it on in plain frames. Fragments are put together.
    pub fn network_sent(&mut self, at: Time, frame: &Frame<'_>, sink: &mut dyn FnMut(Vec<u8>, Packet)) {
        assert_eq!(frame.checked(), Ok(*frame), "the offload header is not what the bytes are");
        let mut scratch = std::mem::take(&mut self.scratch);
        let adapted = adapt(frame, &Capabilities::PLAIN, &mut scratch, &mut |plain| {
            assert!(plain.bytes.len() <= 14 + usize::from(self.config.mtu), "{} bytes", plain.bytes.len());
            let whole = if Puzzle::is_piece(plain.bytes) {
                self.puzzle.put(plain.bytes)
            } else {
                Some(plain.bytes.to_vec())
            };
            let Some(whole) = whole else { return };
            self.check_plain(&whole);
            let packet = Packet::parse(at, &whole);
            if let Packet::Tcp { seg, .. } = &packet {
                self.check_tcp(seg);
            }
            sink(whole, packet);
        });
        self.scratch = scratch;
        assert!(adapted.is_ok(), "{adapted:?}");
    }

    fn check_plain(&self, frame: &[u8]) {
        let plans = self.config.v4.iter().chain(&self.config.v6);
        let ours = plans.flat_map(|plan| [plan.host, plan.dns]).chain(self.config.services.iter().copied());
        let mut ours = ours.map(|ip| Config::mac_of(ip).0);
        assert!(ours.any(|mac| frame[6..12] == mac), "sent from an address that is not ours");
        assert_ne!(frame[..6], Mac([0; 6]).0, "sent to nobody");
        if frame[12..14] == [8, 0] {
            Self::check_ip(&frame[14..]);
        } else if frame[12..14] == [0x86, 0xdd] {
            Self::check_ipv6(&frame[14..]);
        }
    }

    fn check_ip(packet: &[u8]) {
        assert_eq!(packet[0], 0x45);
        assert_eq!(ones_sum(&packet[..20]), 0xffff, "IPv4 checksum");
        assert_eq!(usize::from(u16::from_be_bytes([packet[2], packet[3]])), packet.len(), "IPv4 length");
        let address = |at: usize| Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3]);
        let sum = match packet[9] {
            1 => ones_sum(&packet[20..]),
            proto => transport_sum(address(12), address(16), proto, &packet[20..]),
        };
        assert_eq!(sum, 0xffff, "transport checksum");
    }

    fn check_ipv6(packet: &[u8]) {
        assert_eq!(packet[0], 0x60);
        assert_eq!(usize::from(u16::from_be_bytes([packet[4], packet[5]])), packet.len() - 40, "IPv6 length");
        let address = |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&packet[at..at + 16]).unwrap());
        let sum = transport_sum_v6(address(8), address(24), packet[6], &packet[40..]);
        assert_eq!(sum, 0xffff, "transport checksum");
    }

    fn check_tcp(&mut self, seg: &Seg) {
        let promise = self.promises.entry((seg.src, seg.dst)).or_default();
        let mss = promise.guest.mss.unwrap_or(536).max(48).min(self.config.mss(seg.dst.ip()));
        assert!(seg.payload.len() <= usize::from(mss), "{} bytes in a segment", seg.payload.len());
        if seg.has(RST) {
            self.promises.remove(&(seg.src, seg.dst));
            return;
        }
        if seg.has(SYN) {
            promise.said_syn(seg);
        }
        if seg.has(ACK) {
            let scale = if seg.has(SYN) { 0 } else { promise.scale() };
            let (ack, edge) = (seg.ack, seg.ack.wrapping_add(u32::from(seg.window) << scale));
            if let Some((last_ack, last_edge)) = promise.said {
                assert!(!before(ack, last_ack), "an acknowledgement was taken back: {last_ack} {ack}");
                assert!(!before(edge, last_edge), "the window's right edge moved back: {last_edge} {edge}");
            }
            promise.said = Some((ack, edge));
        }
    }
}

/// Is sequence number `a` before `b`?
pub fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}
