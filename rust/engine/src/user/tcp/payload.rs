//! What the guest sends: payload for the host, in the order of its numbers.
//!
//! Payload in order goes from the frame it came in to the host socket; what that does not take waits in the backlog.
//! Payload behind a hole waits in the store of `early.rs` until the hole is filled.

use super::early::Kept;
use super::flags::{ACK_WANTED, GUEST_FIN, GUEST_FIN_DONE};
use super::{Cx, State, TcpFlow, Verdict};
use crate::host::Host;
use std::collections::VecDeque;
use std::io;
use wirebay_wire::DropReason;
use wirebay_wire::tcp::Tcp;
use wirebay_wire::tcp::flags::FIN;

impl<S> TcpFlow<S> {
    /// A segment's payload and FIN, whatever its place.
    pub(super) fn accept_payload<H: Host<Tcp = S>>(
        &mut self,
        cx: &mut Cx<'_, H>,
        seg: &Tcp<'_>,
    ) -> io::Result<()> {
        let behind = self.rcv_nxt.wrapping_sub(seg.seq) as i32;
        let len = seg.payload.len() as i32 + i32::from(seg.has(FIN));
        if behind < 0 {
            if len > 0 {
                self.after_a_hole(cx, seg);
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
        if self.is(GUEST_FIN) {
            return Ok(());
        }
        let (first, mut fin) = self.within_window(cx, seg, (behind as usize).min(seg.payload.len()), 0);
        let mut early: Option<(Vec<u8>, usize)> = None;
        loop {
            let data = early.as_ref().map_or(first, |(data, old)| &data[*old..]);
            let whole = self.take(cx, data)? == data.len();
            fin &= whole;
            if self.early.is_none() {
                break;
            }
            early = self.next_early(cx, whole, &mut fin);
            if early.is_none() {
                break;
            }
        }
        if fin {
            self.set(GUEST_FIN | ACK_WANTED);
            self.rcv_nxt = self.rcv_nxt.wrapping_add(1);
            self.forget_early(cx);
            self.finish_host(cx);
        }
        Ok(())
    }

    /// The payload from `from` on as far as the window goes, and whether the FIN behind it counts. `ahead`: how far
    /// behind the next expected byte that is.
    fn within_window<'p, H: Host<Tcp = S>>(
        &mut self,
        cx: &mut Cx<'_, H>,
        seg: &Tcp<'p>,
        from: usize,
        ahead: u32,
    ) -> (&'p [u8], bool) {
        let data = &seg.payload[from..];
        let allowed = self.edge.wrapping_sub(self.rcv_nxt).saturating_sub(ahead) as usize;
        if data.len() <= allowed {
            return (data, seg.has(FIN));
        }
        cx.drops.count(DropReason::TcpOutOfWindow);
        self.set(ACK_WANTED);
        (&data[..allowed], false)
    }

    /// A segment that must wait for one before it. The guest's fast retransmission wants an answer to every one.
    #[cold]
    fn after_a_hole<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>, seg: &Tcp<'_>) {
        let ahead = seg.seq.wrapping_sub(self.rcv_nxt);
        if ahead < self.edge.wrapping_sub(self.rcv_nxt) && !self.is(GUEST_FIN) {
            let (data, fin) = self.within_window(cx, seg, 0, ahead);
            let early = self.early.get_or_insert_default();
            let kept = early.keep(seg.seq, data, cx.budget);
            if fin && kept != Kept::Full {
                early.keep_fin(seg.seq.wrapping_add(data.len() as u32));
            }
            match kept {
                Kept::New => {}
                Kept::Nothing if data.is_empty() => {}
                Kept::Nothing => cx.drops.count(DropReason::TcpDuplicate),
                Kept::Full => cx.drops.count(DropReason::TcpOutOfOrder),
            }
            if early.is_done(self.rcv_nxt) {
                self.early = None;
            }
        } else {
            cx.drops.count(DropReason::TcpOutOfWindow);
        }
        self.acknowledge(cx);
    }

    /// The hole, or a part of it, has been filled: what came early and follows now. The guest must hear of that at once
    /// (RFC 5681, section 4.2).
    #[cold]
    fn next_early<H: Host<Tcp = S>>(
        &mut self,
        cx: &mut Cx<'_, H>,
        whole: bool,
        fin: &mut bool,
    ) -> Option<(Vec<u8>, usize)> {
        self.set(ACK_WANTED);
        let early = self.early.as_mut()?;
        if whole && let Some(next) = early.pop(self.rcv_nxt, cx.budget) {
            return Some(next);
        }
        *fin |= early.ends_at(self.rcv_nxt);
        if early.is_done(self.rcv_nxt) {
            self.forget_early(cx);
        }
        None
    }

    fn forget_early<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>) {
        *cx.budget += self.early.take().map_or(0, |early| early.held());
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
        self.tally.from_guest += (taken + kept) as u64;
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
