//! What the guest acknowledges, and which of its segments count at all. Their payload is `payload.rs`'s.

use super::flags::{BLOCKED, FIN_ACKED, HOST_FIN, PUMP_WANTED, RECOVERING};
use super::{Cx, State, TcpFlow, Verdict, before};
use crate::host::Host;
use wirebay_wire::DropReason;
use wirebay_wire::tcp::Tcp;
use wirebay_wire::tcp::flags::{ACK, FIN, RST, SYN};

/// Slow start after a timeout is over when this much may be in flight.
const SLOW_START_END: u32 = 1 << 20;

impl<S> TcpFlow<S> {
    /// A segment of this connection has come from the guest.
    pub fn segment<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>, seg: &Tcp<'_>) -> Verdict {
        match self.state {
            State::Connecting if seg.has(RST) => self.in_handshake_reset(cx, seg),
            State::Connecting => {
                cx.drops.count(DropReason::TcpDuplicate);
                Verdict::Keep
            }
            State::SynReceived => self.in_syn_received(cx, seg),
            State::SynSent => self.in_syn_sent(cx, seg),
            State::Open => self.in_open(cx, seg),
        }
    }

    /// A verdict on an open flow; the last thing the guest hears is that its FIN has arrived.
    pub(super) fn farewell<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>) -> Verdict {
        let verdict = self.verdict();
        if verdict == Verdict::Close && self.acked != self.ack_value() {
            self.acknowledge(cx);
        }
        verdict
    }

    pub(super) fn in_open<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>, seg: &Tcp<'_>) -> Verdict {
        self.heard = cx.now;
        self.probes = 0;
        if seg.has(RST) {
            return self.on_reset(cx, seg);
        }
        if seg.has(SYN) || !seg.has(ACK) || before(self.max, seg.ack) {
            // RFC 5961: tell the guest where we are; if it has really started again it answers with RST.
            cx.drops.count(DropReason::TcpOutOfWindow);
            self.acknowledge(cx);
            return Verdict::Keep;
        }
        self.accept_ack(cx, seg);
        if self.accept_payload(cx, seg).is_ok() {
            return self.farewell(cx);
        }
        cx.drops.count(DropReason::HostSendFailed);
        self.reset_guest(cx)
    }

    fn on_reset<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>, seg: &Tcp<'_>) -> Verdict {
        if seg.seq == self.ack_value() || seg.seq == self.rcv_nxt {
            return Verdict::Abort;
        }
        cx.drops.count(DropReason::TcpOutOfWindow);
        if before(self.rcv_nxt, seg.seq) && before(seg.seq, self.edge) {
            self.acknowledge(cx);
        }
        Verdict::Keep
    }

    fn accept_ack<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>, seg: &Tcp<'_>) {
        let window = u32::from(seg.window) << self.guest_scale;
        let same_window = window == self.guest_window;
        // A window counts from the acknowledgement it came with: one that stayed while `una` moves would slide along.
        let newer = seg.ack == self.una && !before(seg.seq, self.window_seq);
        if newer || before(self.una, seg.ack) {
            (self.guest_window, self.window_seq) = (window, seg.seq);
        }
        if before(self.una, seg.ack) {
            self.advance(cx, seg.ack);
        } else if seg.ack == self.una && same_window && seg.payload.is_empty() && !seg.has(FIN) {
            self.count_duplicate(cx);
        }
        if self.is(BLOCKED) && self.guest_window > 0 {
            // A probe that was answered but not taken is sent again with what follows it.
            self.clear(BLOCKED);
            self.nxt = self.una;
            self.loss.retries = 0;
        }
        self.set(PUMP_WANTED);
    }

    /// The guest has everything before `ack`.
    fn advance<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>, ack: u32) {
        let acked = ack.wrapping_sub(self.una);
        let fin = u32::from(self.is(HOST_FIN) && ack == self.max);
        let data = acked - fin;
        if data > 0 && cx.host.tcp_consume(&mut self.socket, data as usize).is_err() {
            cx.drops.count(DropReason::HostSendFailed);
        }
        if fin > 0 {
            self.set(FIN_ACKED);
            self.clear(BLOCKED);
        }
        self.una = ack;
        if before(self.nxt, ack) {
            self.nxt = ack;
        }
        self.rtt.acknowledged(ack, cx.now);
        self.since = cx.now;
        self.recovery_progress(cx, ack, acked);
    }

    fn recovery_progress<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>, ack: u32, acked: u32) {
        self.loss.duplicates = 0;
        self.loss.retries = 0;
        if self.loss.cwnd > 0 {
            let grown = self.loss.cwnd.saturating_add(acked);
            self.loss.cwnd = if grown > SLOW_START_END { 0 } else { grown };
        }
        if !self.is(RECOVERING) {
            return;
        }
        if before(ack, self.loss.recover) {
            // A partial acknowledgement (RFC 6582): the next hole begins here.
            self.resend_head(cx);
        } else {
            self.clear(RECOVERING);
        }
    }

    fn count_duplicate<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>) {
        if self.in_flight() == 0 || self.is(BLOCKED) {
            return;
        }
        self.loss.duplicates = self.loss.duplicates.saturating_add(1);
        if self.loss.duplicates == 3 && !self.is(RECOVERING) {
            self.set(RECOVERING);
            self.loss.recover = self.max;
            self.resend_head(cx);
        }
    }
}
