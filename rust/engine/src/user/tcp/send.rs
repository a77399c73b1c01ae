//! What the host sends: peeked from the host socket's queue, sent to the guest, sent again if it was lost.

use super::flags::{BLOCKED, FIN_ACKED, HOST_FIN, PUMP_WANTED, READ_CLOSED, READABLE};
use super::{Cx, State, TcpFlow, Verdict, before};
use crate::host::Host;
use crate::user::emit;
use std::io;
use wirebay_wire::DropReason;
use wirebay_wire::tcp::flags::{ACK, FIN};

/// The payload of the largest super-segment: what fits a packet of 64 KiB beside the headers of either family.
const LARGEST: u32 = u16::MAX as u32 - 60;

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
        if self.state != State::Open || !self.is(READABLE) || self.is(FIN_ACKED) || self.fin_is_out() {
            return Pumped::Idle;
        }
        let space = self.space();
        if space == 0 || (space < u32::from(self.mss) && self.in_flight() > 0) {
            return self.blocked(cx);
        }
        if room < usize::from(self.mss) + self.ends.l3_len() + 20 {
            return Pumped::Stalled;
        }
        let most = space.min(LARGEST).min(room as u32);
        let whole = if most > u32::from(self.mss) { most - most % u32::from(self.mss) } else { most };
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

    fn space(&self) -> u32 {
        let limit =
            if self.loss.cwnd > 0 { self.loss.cwnd.min(self.guest_window) } else { self.guest_window };
        limit.saturating_sub(self.in_flight())
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
    fn send_from_queue<H: Host<Tcp = S>>(
        &mut self,
        cx: &mut Cx<'_, H>,
        seq: u32,
        len: usize,
    ) -> io::Result<usize> {
        let window = self.promise(cx);
        let repr = self.repr(seq, ACK, window);
        let (socket, host) = (&mut self.socket, &mut *cx.host);
        let offset = seq.wrapping_sub(self.una) as usize;
        emit::tcp_with(cx.out, cx.config, &self.ends, &repr, len, self.mss, |buf| {
            host.tcp_peek(socket, offset, buf)
        })
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
        emit::tcp_bare(cx.out, cx.config, &self.ends, &self.repr(self.nxt, FIN | ACK, window));
        self.set(HOST_FIN);
        self.nxt = self.nxt.wrapping_add(1);
        self.max = self.nxt;
        Pumped::Idle
    }

    /// Bytes sent and not acknowledged, without the FIN after them.
    fn data_in_flight(&self) -> u32 {
        self.max.wrapping_sub(self.una).saturating_sub(u32::from(self.is(HOST_FIN)))
    }

    /// Send the first segment in flight again.
    pub(super) fn resend_head<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>) {
        self.rtt.ambiguous();
        let in_flight = self.data_in_flight();
        if in_flight == 0 {
            if self.is(HOST_FIN) {
                let window = self.promise(cx);
                emit::tcp_bare(cx.out, cx.config, &self.ends, &self.repr(self.una, FIN | ACK, window));
            }
            return;
        }
        let len = in_flight.min(u32::from(self.mss)) as usize;
        if self.send_from_queue(cx, self.una, len).is_err() {
            // The socket has failed; its error event ends the flow.
            cx.drops.count(DropReason::HostSendFailed);
        }
    }

    /// Nothing has been acknowledged for too long: start again at `una`, slowly.
    pub(super) fn go_back<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>) {
        self.loss.cwnd = u32::from(self.mss);
        self.clear(super::flags::RECOVERING);
        self.rtt.ambiguous();
        self.resend_head(cx);
        let data = self.data_in_flight();
        self.nxt = if data > 0 { self.una.wrapping_add(data.min(u32::from(self.mss))) } else { self.max };
        self.since = cx.now;
        self.set(READABLE);
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
