//! Loss on the way to the guest: how it is noticed, and what is sent again.
//!
//! A guest that acknowledges selectively (RFC 2018) tells which holes it has; they are noted on the flow's board
//! (`board.rs`), and holes that count as lost are sent again, each once a pass. Without that, three duplicate
//! acknowledgements resend the first segment in flight and each partial acknowledgement the next (RFC 6582). Either way
//! the last resort is the retransmission timer: it goes back to the first byte in flight and starts slowly, passing
//! over what is on the board.

use super::board::Board;
use super::flags::{BLOCKED, HOST_FIN, PUMP_WANTED, READABLE, RECOVERING, SACK, TIMESTAMPS};
use super::send::Pumped;
use super::{Cx, LEAST_MSS, State, TcpFlow, before};
use crate::host::Host;
use crate::time::Time;
use crate::user::emit;
use wirebay_wire::tcp::flags::{ACK, FIN};
use wirebay_wire::tcp::{HEADER_LEN, TIMESTAMPS_LEN, Tcp};
use wirebay_wire::{DropReason, ip};

/// Slow start after a timeout is over when this much may be in flight.
const SLOW_START_END: u32 = 1 << 20;

impl<S> TcpFlow<S> {
    /// Note what the guest says it has; true if that is news.
    pub(super) fn heed_sack(&mut self, seg: &Tcp<'_>) -> bool {
        if !self.is(SACK) || !seg.may_have_sack() || self.una == self.max {
            return false;
        }
        let recovering = self.is(RECOVERING);
        let (una, max) = (self.una, self.max);
        let board = self.board.get_or_insert_with(|| Box::new(Board::new(una, max)));
        let news = board.add(self.una, self.max, seg.sack().as_slice());
        if news && recovering && board.is_pass_over(self.mss.into()) {
            board.start_pass(self.una, self.max);
        }
        if board.forget(self.una) {
            self.board = None;
        }
        news
    }

    /// `acked` more bytes have been acknowledged, up to `ack`.
    pub(super) fn recovery_progress<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>, ack: u32, acked: u32) {
        self.loss.duplicates = 0;
        self.loss.retries = 0;
        if self.loss.cwnd > 0 {
            let grown = self.loss.cwnd.saturating_add(acked);
            self.loss.cwnd = if grown > SLOW_START_END { 0 } else { grown };
        }
        if self.board.as_mut().is_some_and(|board| board.forget(ack)) {
            self.board = None;
        }
        if !self.is(RECOVERING) {
            return self.recover_if_lost(cx);
        }
        if before(ack, self.loss.recover) {
            // A partial acknowledgement (RFC 6582): the next hole begins here.
            if !self.board.as_ref().is_some_and(|board| board.was_resent(ack)) {
                self.resend_head(cx);
            }
        } else {
            self.clear(RECOVERING);
            self.recover_if_lost(cx);
        }
    }

    /// The guest has got something behind a hole.
    pub(super) fn count_duplicate<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>) {
        if self.in_flight() == 0 || self.is(BLOCKED | RECOVERING) {
            return;
        }
        self.loss.duplicates = self.loss.duplicates.saturating_add(1);
        if self.loss.duplicates == 3 {
            self.recover(cx);
        } else {
            self.recover_if_lost(cx);
        }
    }

    /// The board tells what is lost, unless everything is being sent again anyway.
    fn recover_if_lost<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>) {
        let (una, mss) = (self.una, self.mss.into());
        let lost = self.board.as_ref().is_some_and(|board| {
            board.is_head_lost(mss) && (!board.was_resent(una) || board.is_pass_over(mss))
        });
        if lost && self.nxt == self.max {
            self.recover(cx);
        }
    }

    fn recover<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>) {
        self.set(RECOVERING);
        self.loss.recover = self.max;
        if let Some(board) = &mut self.board {
            board.start_pass(self.una, self.max);
        }
        self.resend_head(cx);
    }

    /// What the board says must be done before anything new is sent: `None`, nothing.
    pub(super) fn pump_hole<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>, room: usize) -> Option<Pumped> {
        let mss = u32::from(self.mss);
        let board = self.board.as_mut()?;
        if before(self.nxt, self.max) {
            self.nxt = board.skip(self.nxt);
            return None;
        }
        if self.bits & RECOVERING == 0 {
            return None;
        }
        let (seq, len) = board.hole(self.una, mss)?;
        if room < self.frame_len() {
            return Some(Pumped::Stalled);
        }
        let len = whole_segments(len.min(self.fitting(room)), mss);
        self.resend(cx, seq, len);
        Some(Pumped::More)
    }

    /// Send what the guest does not have of `len` bytes from `seq` on again.
    fn resend<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>, seq: u32, len: u32) {
        self.rtt.ambiguous();
        if self.send_from_queue(cx, seq, len as usize).is_err() {
            // The socket has failed; its error event ends the flow.
            cx.drops.count(DropReason::HostSendFailed);
        }
        if let Some(board) = &mut self.board {
            board.resent_to(seq.wrapping_add(len));
        }
    }

    /// Bytes sent and not acknowledged, without the FIN after them.
    fn data_in_flight(&self) -> u32 {
        self.max.wrapping_sub(self.una).saturating_sub(u32::from(self.is(HOST_FIN)))
    }

    /// Send the first segment in flight again.
    pub(super) fn resend_head<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>) {
        let in_flight = self.data_in_flight();
        if in_flight > 0 {
            let gap = self.board.as_ref().map_or(u32::MAX, |board| board.gap(self.una));
            return self.resend(cx, self.una, in_flight.min(u32::from(self.mss)).min(gap));
        }
        self.rtt.ambiguous();
        if self.is(HOST_FIN) {
            let window = self.promise(cx);
            emit::tcp_bare(cx.out, cx.config, &self.ends, &self.repr(cx.now, self.una, FIN | ACK, window));
        }
    }

    /// A router on the way to the guest, or the guest, says that a packet that began with byte `seq` was too long, and
    /// that only `mtu` bytes pass (RFC 1191). Only believed of what is in flight (RFC 5927, section 7.2), and never below
    /// the least segment. What is in flight goes out again in smaller segments. True if anything has changed.
    pub fn lower_mss(&mut self, now: Time, seq: u32, mtu: u16) -> bool {
        let options = if self.is(TIMESTAMPS) { TIMESTAMPS_LEN as u16 } else { 0 };
        let overhead = (ip::header_len(self.ends.guest.ip()) + HEADER_LEN) as u16;
        let mss = mtu.saturating_sub(overhead).max(LEAST_MSS) - options;
        let in_flight = !before(seq, self.una) && before(seq, self.max);
        if self.state != State::Open || !in_flight || mss >= self.mss {
            return false;
        }
        self.mss = mss;
        self.clear(RECOVERING);
        self.rtt.ambiguous();
        (self.nxt, self.since) = (self.una, now);
        self.set(READABLE | PUMP_WANTED);
        true
    }

    /// Nothing has been acknowledged for too long: start again at `una`, slowly.
    pub(super) fn go_back<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>) {
        if self.loss.retries > 1 {
            // Maybe the guest has thrown away what it said it had (RFC 2018, section 8).
            self.board = None;
        }
        if let Some(board) = &mut self.board {
            board.start_pass(self.una, self.max);
        }
        self.loss.cwnd = u32::from(self.mss);
        self.clear(RECOVERING);
        self.resend_head(cx);
        let data = self.data_in_flight();
        self.nxt = if data > 0 { self.una.wrapping_add(data.min(u32::from(self.mss))) } else { self.max };
        self.since = cx.now;
        self.set(READABLE);
    }
}

/// The largest multiple of a segment in `len`, or all of less than one.
pub(super) fn whole_segments(len: u32, mss: u32) -> u32 {
    if len > mss { len - len % mss } else { len }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user::config::qemu_default;
    use crate::user::tcp::{Ends, Start};
    use wirebay_wire::Mac;
    use wirebay_wire::tcp::flags::SYN;
    use wirebay_wire::tcp::{TcpRepr, Timestamps};

    /// A flow with 10,000 bytes in flight from number 1000 on.
    fn sending(timestamps: Option<Timestamps>) -> TcpFlow<()> {
        let ends = Ends {
            our: "192.0.2.1:80".parse().unwrap(),
            guest: "10.0.2.15:4000".parse().unwrap(),
            mac: Mac([2; 6]),
        };
        let syn = TcpRepr { flags: SYN, mss: Some(1460), timestamps, ..TcpRepr::default() };
        let mut header = vec![0; syn.header_len()];
        syn.emit(&mut header);
        let start = Start { iss: 1000, clock: 0 };
        let mut flow =
            TcpFlow::from_guest((), ends, &Tcp::parse(&header).unwrap(), &qemu_default(), start, Time(0));
        flow.state = State::Open;
        (flow.nxt, flow.max) = (11_000, 11_000);
        flow
    }

    #[test]
    fn a_smaller_path_makes_smaller_segments_of_what_is_in_flight() {
        for (timestamps, mss) in [(None, 1360), (Some(Timestamps { value: 1, echo: 0 }), 1348)] {
            let mut flow = sending(timestamps);
            assert!(flow.lower_mss(Time(5), 2460, 1400));
            assert_eq!((flow.mss, flow.nxt, flow.max), (mss, 1000, 11_000));
            assert!(flow.is(PUMP_WANTED));
            assert!(!flow.lower_mss(Time(5), 2460, 1400), "no news");
        }
    }

    #[test]
    fn a_path_that_nobody_can_know_of_is_not_believed_in() {
        for (seq, mtu) in [(999, 1400), (11_000, 1400), (2460, 1500), (2460, u16::MAX)] {
            let mut flow = sending(None);
            assert!(!flow.lower_mss(Time(5), seq, mtu));
            assert_eq!((flow.mss, flow.nxt), (1460, 11_000), "{seq} {mtu}");
        }
    }

    #[test]
    fn no_path_is_smaller_than_the_least_segment() {
        for mtu in [0, 1, 39, 40, 68] {
            let mut flow = sending(None);
            flow.lower_mss(Time(5), 1000, mtu);
            assert_eq!(flow.mss, LEAST_MSS, "{mtu}");
        }
    }
}
