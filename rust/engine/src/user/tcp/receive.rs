//! What the guest sends: acknowledgements for us, payload for the host.

use super::flags::{
    ACK_WANTED, BLOCKED, FIN_ACKED, GUEST_FIN, GUEST_FIN_DONE, HOST_FIN, PUMP_WANTED, RECOVERING,
};
use super::{Cx, State, TcpFlow, Verdict, before};
use crate::host::Host;
use std::collections::VecDeque;
use std::io;
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
    fn farewell<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>) -> Verdict {
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

    fn accept_payload<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>, seg: &Tcp<'_>) -> io::Result<()> {
        let mut fin = seg.has(FIN);
        let behind = self.rcv_nxt.wrapping_sub(seg.seq) as i32;
        let len = seg.payload.len() as i32 + i32::from(fin);
        if behind < 0 {
            // A hole. The guest's fast retransmission wants to see every one of these.
            if len > 0 {
                cx.drops.count(DropReason::TcpOutOfOrder);
                self.acknowledge(cx);
            }
            return Ok(());
        }
        if len <= behind {
            // Nothing new: an old segment, or a keepalive or window probe that wants an answer.
            if behind > 0 {
                if len > 0 {
                    cx.drops.count(DropReason::TcpDuplicate);
                }
                self.set(ACK_WANTED);
            }
            return Ok(());
        }
        let mut data = &seg.payload[(behind as usize).min(seg.payload.len())..];
        let allowed = self.edge.wrapping_sub(self.rcv_nxt) as usize;
        if data.len() > allowed {
            cx.drops.count(DropReason::TcpOutOfWindow);
            (data, fin) = (&data[..allowed], false);
            self.set(ACK_WANTED);
        }
        if self.is(GUEST_FIN) {
            return Ok(());
        }
        let taken = self.take(cx, data)?;
        if fin && taken == data.len() {
            self.set(GUEST_FIN | ACK_WANTED);
            self.rcv_nxt = self.rcv_nxt.wrapping_add(1);
            self.finish_host(cx);
        }
        Ok(())
    }

    /// Hand payload to the host socket; what it does not take waits, within the budget. How much was accepted.
    fn take<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>, data: &[u8]) -> io::Result<usize> {
        if data.is_empty() {
            return Ok(0);
        }
        let mut taken = 0;
        if self.backlog.is_empty() {
            taken = would_block_is_zero(cx.host.tcp_send(&mut self.socket, data))?;
        }
        let rest = &data[taken..];
        let kept = rest.len().min(*cx.budget);
        if kept < rest.len() {
            cx.drops.count(DropReason::TcpBacklogFull);
        }
        if kept > 0 {
            *cx.budget -= kept;
            self.backlog.extend(&rest[..kept]);
        }
        self.rcv_nxt = self.rcv_nxt.wrapping_add((taken + kept) as u32);
        self.one_way = self.one_way.saturating_add(1);
        Ok(taken + kept)
    }

    /// The host socket has room again.
    pub fn writable<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>) -> Verdict {
        if self.state != State::Open || self.backlog.is_empty() {
            return Verdict::Keep;
        }
        match self.drain(cx) {
            Ok(0) => Verdict::Keep,
            Ok(_) => {
                self.set(ACK_WANTED);
                self.finish_host(cx);
                self.farewell(cx)
            }
            Err(_) => {
                cx.drops.count(DropReason::HostSendFailed);
                self.reset_guest(cx)
            }
        }
    }

    fn drain<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>) -> io::Result<usize> {
        let backlog = &mut self.backlog;
        let mut drained = 0;
        while !backlog.is_empty() {
            let taken = would_block_is_zero(cx.host.tcp_send(&mut self.socket, first_piece(backlog)))?;
            if taken == 0 {
                break;
            }
            backlog.drain(..taken);
            drained += taken;
        }
        *cx.budget += drained;
        if backlog.is_empty() {
            // An idle flow keeps no memory for it.
            *backlog = VecDeque::new();
        }
        Ok(drained)
    }

    /// After the guest's FIN and the last byte before it: end the host's stream too.
    fn finish_host<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>) {
        if self.is(GUEST_FIN) && !self.is(GUEST_FIN_DONE) && self.backlog.is_empty() {
            cx.host.tcp_shutdown(&mut self.socket);
            self.set(GUEST_FIN_DONE);
        }
    }
}

fn first_piece(backlog: &VecDeque<u8>) -> &[u8] {
    backlog.as_slices().0
}

fn would_block_is_zero(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}
