//! What the host sends: peeked from the host socket's queue, sent to the guest, sent again if it was lost.

use super::flags::{BLOCKED, FIN_ACKED, HOST_FIN, PUMP_WANTED, READ_CLOSED, READABLE};
use super::recovery::whole_segments;
use super::{Cx, State, TcpFlow, Verdict, before};
use crate::host::Host;
use crate::user::emit;
use std::io;
use wirebay_wire::ip;
use wirebay_wire::tcp::flags::{ACK, FIN};
use wirebay_wire::tcp::{HEADER_LEN, TIMESTAMPS_LEN};

/// The longest packet of a super-segment, headers included, of either family.
const LONGEST: usize = u16::MAX as usize;

/// How a call of [`TcpFlow::pump`] ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Pumped {
    /// Nothing more to send for now: an event will tell.
    Idle,
    /// There is more; call again after delivering.
    More,
    /// The way to the guest is full; call again when it has drained.
    Stalled,
    /// The flow has ended.
    Ended(Verdict),
}

impl<S> TcpFlow<S> {
    /// Send at most one super-segment. `room`: bytes that the way to the guest can take without dropping.
    pub fn pump<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>, room: usize) -> Pumped {
        self.clear(PUMP_WANTED);
        if self.board.is_some()
            && let Some(pumped) = self.pump_hole(cx, room)
        {
            return pumped;
        }
        if self.state != State::Open || !self.is(READABLE) || self.is(FIN_ACKED) || self.fin_is_out() {
            return Pumped::Idle;
        }
        let space = self.space();
        if space == 0 || (space < u32::from(self.mss) && self.in_flight() > 0) {
            return self.blocked(cx);
        }
        if room < self.frame_len() {
            return Pumped::Stalled;
        }
        let gap = self.board.as_ref().map_or(u32::MAX, |board| board.gap(self.nxt));
        let whole = whole_segments(space.min(self.fitting(room)).min(gap), self.mss.into());
        match self.send_from_queue(cx, self.nxt, whole as usize) {
            Ok(0) => self.send_fin(cx),
            Ok(n) => self.sent(cx, n as u32, whole),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                self.clear(READABLE);
                Pumped::Idle
            }
            Err(_) => Pumped::Ended(self.reset_guest(cx)),
        }
    }

    /// Our FIN has been sent and nothing before it is to be sent again.
    fn fin_is_out(&self) -> bool {
        self.is(HOST_FIN) && self.nxt == self.max
    }

    /// The payload of the largest super-segment.
    pub(super) fn largest(&self) -> u32 {
        (LONGEST - ip::header_len(self.ends.guest.ip()) - HEADER_LEN - TIMESTAMPS_LEN) as u32
    }

    /// The payload of the largest super-segment that fits into `room` once it is cut.
    pub(super) fn fitting(&self, room: usize) -> u32 {
        let segments = room / self.frame_len();
        self.largest().min((segments.min(LONGEST) * usize::from(self.mss)) as u32)
    }

    /// Bytes of a frame with one full segment.
    pub fn frame_len(&self) -> usize {
        self.ends.l3_len() + HEADER_LEN + TIMESTAMPS_LEN + usize::from(self.mss)
    }

    fn space(&self) -> u32 {
        let window = self.guest_window.saturating_sub(self.in_flight());
        if self.loss.cwnd == 0 {
            return window;
        }
        let has = self.board.as_ref().map_or(0, |board| board.covered_before(self.nxt));
        window.min(self.loss.cwnd.saturating_sub(self.in_flight() - has))
    }

    /// The guest's window is shut. If nothing is in flight no acknowledgement will come: probe by timer.
    fn blocked<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>) -> Pumped {
        if self.in_flight() == 0 && !self.is(BLOCKED) {
            self.set(BLOCKED);
            self.since = cx.now;
            self.loss.retries = 0;
        }
        Pumped::Idle
    }

    /// Peek up to `len` bytes at sequence number `seq` and send them.
    pub(super) fn send_from_queue<H: Host<Tcp = S>>(
        &mut self,
        cx: &mut Cx<'_, H>,
        seq: u32,
        len: usize,
    ) -> io::Result<usize> {
        let (acked, bits) = (self.acked, self.bits);
        let window = self.promise(cx);
        let repr = self.repr(cx.now, seq, ACK, window);
        let (socket, host) = (&mut self.socket, &mut *cx.host);
        let offset = seq.wrapping_sub(self.una) as usize;
        let sent = emit::tcp_with(cx.out, cx.config, &self.ends, &repr, len, self.mss, |buf| {
            host.tcp_peek(socket, offset, buf)
        });
        if !matches!(sent, Ok(1..)) {
            // Nothing has gone out, and so what waits to be acknowledged still does. The window's edge may stay.
            (self.acked, self.bits) = (acked, bits);
        }
        sent
    }

    fn sent<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>, len: u32, asked: u32) -> Pumped {
        if self.in_flight() == 0 {
            self.since = cx.now;
        }
        self.one_way = 0;
        self.nxt = self.nxt.wrapping_add(len);
        if before(self.max, self.nxt) {
            self.max = self.nxt;
            self.rtt.sent(self.nxt, cx.now);
        } else if let Some(board) = &mut self.board {
            board.resent_to(self.nxt);
        }
        if len == asked || self.is(READ_CLOSED) || before(self.nxt, self.max) {
            return Pumped::More;
        }
        self.clear(READABLE);
        Pumped::Idle
    }

    /// The host's stream ends at `nxt`.
    fn send_fin<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>) -> Pumped {
        if self.in_flight() == 0 {
            self.since = cx.now;
        }
        let window = self.promise(cx);
        emit::tcp_bare(cx.out, cx.config, &self.ends, &self.repr(cx.now, self.nxt, FIN | ACK, window));
        self.set(HOST_FIN);
        self.nxt = self.nxt.wrapping_add(1);
        self.max = self.nxt;
        Pumped::Idle
    }

    /// The guest's window is shut: one byte beyond it must be answered with the window as it is now.
    pub(super) fn probe_window<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>) {
        self.since = cx.now;
        match self.send_from_queue(cx, self.una, 1) {
            Ok(1) if self.nxt == self.una => {
                self.nxt = self.una.wrapping_add(1);
                if before(self.max, self.nxt) {
                    self.max = self.nxt;
                }
            }
            Ok(0) if self.is(HOST_FIN) => self.resend_head(cx),
            Ok(0) => {
                let _ = self.send_fin(cx);
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.clear(BLOCKED | READABLE),
            _ => {}
        }
    }
}
