//! Writes down what the ACK and window policy was asked and what it answered, seen from outside: the recorder keeps
//! its own count of what the guest sent and the host took, and checks that the network does as its policy says.

use super::fake_host::FakeHost;
use super::frames::Seg;
use super::trace::{Advertised, Line};
use super::watch::before;
use std::collections::BTreeMap;
use wirebay_engine::user::tcp::policy::{self, Ack, Intake};
use wirebay_wire::tcp::flags::{ACK, FIN, RST, SYN};

/// Which call has sent a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    Input,
    Event,
    Batch,
    Run,
    Timer,
}

impl Phase {
    fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// The recorder of the first connection of a world.
#[derive(Default)]
#[allow(clippy::struct_excessive_bools)] // independent facts, each asked for by some test
pub struct Recorder {
    pub lines: Vec<Line>,
    base: u32,
    rcv_nxt: u32,
    /// What waits behind a hole: from where to where.
    early: BTreeMap<u32, u32>,
    early_fin: Option<u32>,
    edge: u32,
    acked: u32,
    mss: u32,
    scale: u8,
    one_way: u32,
    waiting: u32,
    open: bool,
    fin: bool,
    touched: bool,
    wanted: bool,
    expected: Option<Ack>,
}

impl Recorder {
    /// A guest has sent a segment.
    pub fn guest_sent(&mut self, seg: &Seg) {
        if seg.has(SYN) {
            self.base = seg.seq.wrapping_add(1);
            (self.rcv_nxt, self.edge, self.acked) = (0, u32::from(u16::MAX), 0);
            self.mss = u32::from(seg.mss.unwrap_or(536)).min(1460);
            self.scale = if seg.scale.is_some() { policy::WINDOW_SCALE } else { 0 };
            return;
        }
        (self.open, self.touched) = (true, true);
        self.receive(seg.seq.wrapping_sub(self.base), seg.payload.len() as u32, seg.has(FIN));
    }

    fn receive(&mut self, seq: u32, len: u32, fin: bool) {
        let total = len + u32::from(fin);
        if before(self.rcv_nxt, seq) {
            return self.receive_early(seq, len, fin);
        }
        let behind = self.rcv_nxt.wrapping_sub(seq);
        if total <= behind {
            self.wanted |= total > 0 || behind > 0;
            return;
        }
        let data = self.within_window(seq.wrapping_add(behind), len - behind.min(len));
        self.rcv_nxt = self.rcv_nxt.wrapping_add(data);
        self.one_way += u32::from(data > 0);
        self.wanted |= !self.early.is_empty() || self.early_fin.is_some();
        self.take_early();
        if fin && seq.wrapping_add(len) == self.rcv_nxt || self.early_fin == Some(self.rcv_nxt) {
            (self.fin, self.wanted) = (true, true);
        }
    }

    /// Behind a hole: it waits, and is answered at once.
    fn receive_early(&mut self, seq: u32, len: u32, fin: bool) {
        let data = self.within_window(seq, len);
        if data > 0 {
            let end = self.early.entry(seq).or_default();
            *end = (*end).max(seq.wrapping_add(data));
        }
        if fin && data == len {
            self.early_fin = Some(seq.wrapping_add(len));
        }
    }

    fn within_window(&mut self, seq: u32, len: u32) -> u32 {
        let allowed = self.edge.wrapping_sub(seq).min(len);
        self.wanted |= allowed < len;
        allowed
    }

    fn take_early(&mut self) {
        while let Some(entry) = self.early.first_entry().filter(|entry| *entry.key() <= self.rcv_nxt) {
            let end = entry.remove();
            self.one_way += u32::from(end > self.rcv_nxt);
            self.rcv_nxt = self.rcv_nxt.max(end);
        }
    }

    /// A call has returned.
    pub fn called(&mut self, phase: Phase, host: &FakeHost) {
        if phase == Phase::Input && self.open {
            self.waiting = self.backlog(host);
        }
        if phase == Phase::Batch {
            assert_ne!(self.expected.take(), Some(Ack::Now), "the policy said now, and nothing was sent");
        }
    }

    fn backlog(&self, host: &FakeHost) -> u32 {
        self.rcv_nxt.wrapping_sub(host.peer(0).conn().taken() as u32)
    }

    /// A batch is about to end.
    pub fn batch(&mut self, host: &FakeHost) {
        if !self.open {
            return;
        }
        let waiting = self.backlog(host);
        self.wanted |= waiting < self.waiting;
        self.waiting = waiting;
        if !self.touched && !self.wanted {
            return;
        }
        self.touched = false;
        if std::mem::take(&mut self.wanted) {
            self.lines.push(Line::Wanted);
            return;
        }
        let intake = self.intake(host, waiting);
        let decision = policy::when(&intake);
        self.expected = Some(decision);
        self.lines.push(Line::When(intake, decision));
    }

    fn intake(&self, host: &FakeHost, waiting: u32) -> Intake {
        let room = host.kernel().conns[0].room() as u32;
        Intake {
            unacknowledged: self.rcv_nxt.wrapping_sub(waiting).wrapping_sub(self.acked),
            room,
            waiting,
            window_left: self.edge.wrapping_sub(self.rcv_nxt),
            mss: self.mss,
            interactive: self.one_way <= 1,
        }
    }

    /// The network has sent a segment.
    pub fn network_sent(&mut self, phase: Phase, seg: &Seg, host: &FakeHost) {
        if seg.has(SYN | RST) || !seg.has(ACK) {
            return;
        }
        if phase == Phase::Batch {
            let expected = self.expected.take();
            assert!(!matches!(expected, Some(Ack::Soon | Ack::No)), "the policy said {expected:?}");
        }
        if phase == Phase::Run && !seg.payload.is_empty() {
            self.one_way = 0;
        }
        let conn = host.peer(0);
        let (room, shut) = (conn.conn().told_room as u32, conn.conn().shut);
        let ack = seg.ack.wrapping_sub(self.base);
        let data_ack = ack.wrapping_sub(u32::from(self.fin && shut));
        let new_edge = ack.wrapping_add(u32::from(seg.window) << self.scale);
        if data_ack == self.acked && new_edge == self.edge && !seg.payload.is_empty() {
            return; // the next piece of the same super-segment
        }
        let waiting = self.rcv_nxt.wrapping_sub(data_ack);
        let (edge, scale, field) = (self.edge, self.scale, seg.window);
        let line = Advertised { phase: phase.name(), ack, edge, room, waiting, scale, field, new_edge };
        self.lines.push(Line::Advertise(line));
        (self.edge, self.acked, self.wanted) = (new_edge, data_ack, false);
    }
}
