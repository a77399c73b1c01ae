//! What the guest acknowledges, and which of its segments count at all. Their payload is `payload.rs`'s.

use super::flags::{BLOCKED, FIN_ACKED, HOST_FIN, PUMP_WANTED, TIMESTAMPS};
use super::{Cx, State, TcpFlow, Verdict, before};
use crate::host::Host;
use wirebay_wire::DropReason;
use wirebay_wire::tcp::flags::{ACK, FIN, RST, SYN};
use wirebay_wire::tcp::{Tcp, Timestamps};

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
        if seg.has(RST) {
            return self.on_reset(cx, seg);
        }
        if self.is(TIMESTAMPS)
            && !seg.has(SYN)
            && let Some(stamps) = seg.timestamps()
            && self.is_old(cx, seg, stamps)
        {
            return Verdict::Keep;
        }
        self.heard = cx.now;
        self.probes = 0;
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

    /// Is the segment one of long ago by its timestamp? One that is not is remembered. Segments without a timestamp are
    /// taken, as Linux does: nobody between the guest and us would remove it.
    fn is_old<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>, seg: &Tcp<'_>, stamps: Timestamps) -> bool {
        if self.stamps.is_old(stamps.value, cx.now) {
            cx.drops.count(DropReason::TcpOldTimestamp);
            if !seg.payload.is_empty() || seg.has(FIN) {
                self.acknowledge(cx);
            }
            return true;
        }
        if !before(self.acked, seg.seq) {
            self.stamps.heard(stamps.value, cx.now);
        }
        false
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
        let news = self.heed_sack(seg);
        let same_window = window == self.guest_window;
        // A window counts from the acknowledgement it came with: one that stayed while `una` moves would slide along.
        let newer = seg.ack == self.una && !before(seg.seq, self.window_seq);
        if newer || before(self.una, seg.ack) {
            (self.guest_window, self.window_seq) = (window, seg.seq);
        }
        if before(self.una, seg.ack) {
            self.advance(cx, seg);
        } else if seg.ack == self.una && (news || same_window && seg.payload.is_empty() && !seg.has(FIN)) {
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

    /// The guest has everything before the acknowledgement of `seg`.
    fn advance<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>, seg: &Tcp<'_>) {
        let ack = seg.ack;
        let acked = ack.wrapping_sub(self.una);
        let fin = u32::from(self.is(HOST_FIN) && ack == self.max);
        let data = acked - fin;
        self.tally.to_guest += u64::from(data);
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
        let timed = self.rtt.acknowledged(ack, cx.now);
        if !timed && self.is(TIMESTAMPS) {
            // What was sent more than once gives no sample but by its timestamp.
            let took = seg.timestamps().and_then(|stamps| self.stamps.took(stamps.echo, cx.now));
            if let Some(took) = took {
                self.rtt.sample(took);
            }
        }
        self.since = cx.now;
        self.recovery_progress(cx, ack, acked);
    }
}
