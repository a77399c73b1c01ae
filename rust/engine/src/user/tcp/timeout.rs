//! Time: handshakes that are not answered, segments that are lost, windows that stay shut, peers that fall silent.

use super::flags::{ACK_SOON, BLOCKED, PUMP_WANTED, READABLE};
use super::{Cx, State, TcpFlow, Verdict, policy};
use crate::host::Host;
use crate::time::Time;
use crate::user::emit;
use std::time::Duration;
use wirebay_wire::DropReason;
use wirebay_wire::tcp::flags::ACK;

/// A connect that the host's kernel has not ended after this long is given up.
pub const CONNECT_TIMEOUT: Duration = Duration::from_mins(3);
/// SYN and SYN-ACK are sent this often again, with doubling pauses from one second: 63 seconds in all.
pub const HANDSHAKE_RETRIES: u8 = 5;
/// Data is sent this often again before the guest counts as gone.
pub const DATA_RETRIES: u8 = 12;
/// A guest with a shut window that has not answered a probe for this long counts as gone.
pub const PROBE_PATIENCE: Duration = Duration::from_mins(10);
/// A connection without a sound from the guest for this long is probed (the kernel's `tcp_keepalive_time`) ...
pub const KEEPALIVE_IDLE: Duration = Duration::from_hours(2);
/// ... this often ...
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(75);
/// ... and given up after this many probes.
pub const KEEPALIVE_PROBES: u8 = 9;

impl<S> TcpFlow<S> {
    /// Set the deadline to what applies now; called after everything that may change it.
    pub fn schedule(&mut self, now: Time) {
        let at = match self.state {
            State::Connecting => self.since + CONNECT_TIMEOUT,
            State::SynReceived | State::SynSent => self.since + Duration::from_secs(1 << self.loss.retries),
            State::Open if self.in_flight() > 0 || self.is(BLOCKED) => {
                self.since + self.rtt.timeout(self.loss.retries)
            }
            State::Open if self.probes == 0 => self.heard + KEEPALIVE_IDLE,
            State::Open => self.since + KEEPALIVE_INTERVAL,
        };
        let soon = if self.is(ACK_SOON) { self.deadline.at.min(now + policy::DELAY) } else { Time::NEVER };
        self.deadline.at = at.min(soon);
    }

    /// The deadline has passed.
    pub fn timeout<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>) -> Verdict {
        if self.is(ACK_SOON) {
            self.acknowledge(cx);
        }
        self.schedule(cx.now);
        if self.deadline.at > cx.now {
            return Verdict::Keep;
        }
        match self.state {
            State::Connecting => self.unanswered(cx),
            State::SynReceived | State::SynSent => self.handshake_again(cx),
            State::Open if self.in_flight() > 0 || self.is(BLOCKED) => self.data_again(cx),
            State::Open => self.keepalive(cx),
        }
    }

    fn unanswered<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>) -> Verdict {
        cx.drops.count(DropReason::HostUnreachable);
        self.reset_guest(cx)
    }

    fn handshake_again<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>) -> Verdict {
        if self.loss.retries >= HANDSHAKE_RETRIES {
            cx.drops.count(if self.unresolved() { DropReason::NoNeighbor } else { DropReason::TcpNoFlow });
            return self.reset_guest(cx);
        }
        self.loss.retries += 1;
        self.since = cx.now;
        if self.state == State::SynSent {
            self.call_guest(cx);
        } else {
            self.send_syn_ack(cx);
        }
        Verdict::Keep
    }

    fn data_again<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>) -> Verdict {
        if self.guest_window == 0 && !self.is(BLOCKED) {
            // It has taken back what it offered before (RFC 9293, section 3.8.6): what is in flight waits as well.
            self.set(BLOCKED | READABLE);
            self.nxt = self.una;
        }
        // A guest that answers probes may keep its window shut for ever (RFC 9293, section 3.8.6.1).
        let answered = self.is(BLOCKED) && cx.now.since(self.heard) < PROBE_PATIENCE;
        if self.loss.retries >= DATA_RETRIES && !answered {
            return self.reset_guest(cx);
        }
        self.loss.retries = (self.loss.retries + 1).min(DATA_RETRIES);
        if self.is(BLOCKED) {
            self.probe_window(cx);
        } else {
            self.go_back(cx);
            self.set(PUMP_WANTED);
        }
        Verdict::Keep
    }

    fn keepalive<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>) -> Verdict {
        if self.probes >= KEEPALIVE_PROBES {
            return self.reset_guest(cx);
        }
        self.probes += 1;
        self.since = cx.now;
        let window = self.promise(cx);
        let probe = self.repr(cx.now, self.nxt.wrapping_sub(1), ACK, window);
        emit::tcp_bare(cx.out, cx.config, &self.ends, &probe);
        Verdict::Keep
    }
}
