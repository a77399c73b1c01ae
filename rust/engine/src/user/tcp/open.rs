//! Opening a connection, from either side.

use super::flags::{PUMP_WANTED, READABLE, SACK, TIMESTAMPS};
use super::{
    Config, Cx, DEFAULT_MSS, Ends, LEAST_MSS, Start, State, TcpFlow, Verdict, before, policy, reset_stray,
};
use crate::host::Host;
use crate::time::Time;
use crate::user::emit;
use std::io;
use wirebay_wire::tcp::flags::{ACK, RST, SYN};
use wirebay_wire::tcp::{TIMESTAMPS_LEN, Tcp};
use wirebay_wire::{DropReason, Mac};

impl<S> TcpFlow<S> {
    /// A guest's SYN; the host socket has begun to connect.
    pub fn from_guest(
        socket: S,
        ends: Ends,
        syn: &Tcp<'_>,
        config: &Config,
        start: Start,
        now: Time,
    ) -> Self {
        let mut flow = TcpFlow::new(socket, ends, State::Connecting, start, now);
        flow.rcv_nxt = syn.seq.wrapping_add(1);
        flow.learn_options(syn, config, now);
        flow
    }

    /// A connection that a forward has accepted on the host.
    pub fn from_host(socket: S, ends: Ends, start: Start, now: Time) -> Self {
        TcpFlow::new(socket, ends, State::SynSent, start, now)
    }

    fn learn_options(&mut self, syn: &Tcp<'_>, config: &Config, now: Time) {
        self.mss = syn.mss.unwrap_or(DEFAULT_MSS).max(LEAST_MSS).min(config.mss(self.ends.guest.ip()));
        if let Some(stamps) = syn.timestamps() {
            self.set(TIMESTAMPS);
            self.stamps.begin(stamps.value, now);
            // A segment size is without options, and this one is in every segment (RFC 6691).
            self.mss -= TIMESTAMPS_LEN as u16;
        }
        if syn.sack_permitted() {
            self.set(SACK);
        }
        if let Some(scale) = syn.window_scale {
            (self.guest_scale, self.our_scale) = (scale.min(14), policy::WINDOW_SCALE);
        }
        // The window of a SYN is never scaled (RFC 7323, section 2.2).
        self.guest_window = u32::from(syn.window);
        self.window_seq = syn.seq;
        self.acked = self.rcv_nxt;
        self.edge = self.rcv_nxt.wrapping_add(u32::from(u16::MAX));
    }

    /// The host socket's connect has ended, or not yet.
    pub fn connect_progress<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>) -> io::Result<()> {
        if cx.host.tcp_connected(&mut self.socket)? {
            self.state = State::SynReceived;
            self.since = cx.now;
            self.send_syn_ack(cx);
        }
        Ok(())
    }

    pub(super) fn send_syn_ack<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>) {
        let mut repr = self.repr(cx.now, self.una, SYN | ACK, u16::MAX);
        repr.mss = Some(cx.config.mss(self.ends.guest.ip()));
        repr.window_scale = (self.our_scale > 0).then_some(policy::WINDOW_SCALE);
        repr.sack_permitted = self.is(SACK);
        emit::tcp_bare(cx.out, cx.config, &self.ends, &repr);
        self.nxt = self.una.wrapping_add(1);
        self.max = self.nxt;
    }

    /// Call the guest: SYN, or ARP as long as nobody knows where it lives.
    pub fn call_guest<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>) {
        if self.unresolved() {
            return emit::who_has(cx.out, cx.config, self.ends.guest.ip());
        }
        let mut repr = self.repr(cx.now, self.una, SYN, u16::MAX);
        repr.mss = Some(cx.config.mss(self.ends.guest.ip()));
        repr.window_scale = Some(policy::WINDOW_SCALE);
        repr.sack_permitted = true;
        repr.timestamps = Some(self.stamps.stamp(cx.now));
        emit::tcp_bare(cx.out, cx.config, &self.ends, &repr);
        self.nxt = self.una.wrapping_add(1);
        self.max = self.nxt;
    }

    /// The guest's Ethernet address has become known. It may have been by a segment of the guest's, and this be late.
    pub fn resolve<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>, mac: Mac) {
        if self.state != State::SynSent || !self.unresolved() {
            return;
        }
        self.ends.mac = mac;
        self.loss.retries = 0;
        self.since = cx.now;
        self.call_guest(cx);
    }

    /// A reset before the guest has anything of ours to acknowledge must at least name the byte we expect.
    pub(super) fn in_handshake_reset<H: Host<Tcp = S>>(&self, cx: &mut Cx<'_, H>, seg: &Tcp<'_>) -> Verdict {
        if seg.seq == self.rcv_nxt {
            return Verdict::Abort;
        }
        cx.drops.count(DropReason::TcpOutOfWindow);
        Verdict::Keep
    }

    pub(super) fn in_syn_received<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>, seg: &Tcp<'_>) -> Verdict {
        if seg.has(RST) {
            return self.in_handshake_reset(cx, seg);
        }
        if seg.has(SYN) {
            if let Some(stamps) = seg.timestamps().filter(|_| seg.seq.wrapping_add(1) == self.rcv_nxt) {
                self.stamps.heard(stamps.value, cx.now);
            }
            self.send_syn_ack(cx);
            return Verdict::Keep;
        }
        if !seg.has(ACK) || seg.ack != self.nxt {
            cx.drops.count(DropReason::TcpOutOfWindow);
            return Verdict::Keep;
        }
        self.opened(cx);
        self.in_open(cx, seg)
    }

    pub(super) fn in_syn_sent<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>, seg: &Tcp<'_>) -> Verdict {
        let called = !self.unresolved() && before(self.una, self.nxt);
        if !called || !seg.has(ACK) || seg.ack != self.nxt {
            cx.drops.count(DropReason::TcpOutOfWindow);
            if called && seg.has(ACK) {
                // The guest remembers an old connection: it must forget that before it can take this one.
                reset_stray(cx.out, cx.config, &self.ends, seg);
            }
            return Verdict::Keep;
        }
        if seg.has(RST) {
            return Verdict::Abort;
        }
        if !seg.has(SYN) {
            cx.drops.count(DropReason::TcpBadFlags);
            return Verdict::Keep;
        }
        self.rcv_nxt = seg.seq.wrapping_add(1);
        self.learn_options(seg, cx.config, cx.now);
        self.opened(cx);
        self.acknowledge(cx);
        Verdict::Keep
    }

    /// The handshake is complete: our SYN has been acknowledged.
    fn opened<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>) {
        self.state = State::Open;
        self.una = self.nxt;
        self.loss.retries = 0;
        self.heard = cx.now;
        // Whatever the host has sent meanwhile was announced before anybody listened.
        self.set(READABLE | PUMP_WANTED);
    }
}
