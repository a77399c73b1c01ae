//! Connections that guests are opening: how many there may be at once.
//!
//! A guest that floods the network with SYNs must not fill the table that all guests share, so only a quarter of it may
//! be half open from guests. When that is full the *oldest* half-open connection gives way to the new one, instead of
//! the new one being refused: a connection that is meant opens within moments, one that has waited longest is most
//! likely part of the flood, and refusing new ones would let a flood keep everybody else out.

use super::UserNet;
use super::flows::Flow;
use super::tcp::TcpFlow;
use crate::host::Host;
use crate::outbox::Outbox;
use crate::table::Token;
use crate::time::Time;
use std::collections::VecDeque;
use wirebay_wire::DropReason;

/// This part of the table.
const SHARE: usize = 4;

/// The half-open connections of a network, the oldest first, among others that are open or gone meanwhile.
pub struct HalfOpen {
    queue: VecDeque<Token>,
    count: usize,
    limit: usize,
}

impl HalfOpen {
    /// None yet, in a table of `max_flows`.
    pub fn new(max_flows: usize) -> Self {
        HalfOpen { queue: VecDeque::new(), count: 0, limit: (max_flows / SHARE).max(1) }
    }

    /// One is open, or has ended.
    pub fn leave(&mut self) {
        self.count -= 1;
    }
}

impl<H: Host> UserNet<H> {
    /// The guest's connection `token` has begun to open.
    pub(super) fn half_open_begins(&mut self, now: Time, token: Token, out: &mut Outbox) {
        self.half_open.count += 1;
        self.half_open.queue.push_back(token);
        while self.half_open.count > self.half_open.limit
            && let Some(oldest) = self.half_open.queue.pop_front()
        {
            if self.is_half_open(oldest) {
                self.drops.count(DropReason::TcpGaveWay);
                self.with_tcp(now, oldest, out, TcpFlow::reset_guest);
            }
        }
        if self.half_open.queue.len() > 2 * self.half_open.limit {
            let mut queue = std::mem::take(&mut self.half_open.queue);
            queue.retain(|&token| self.is_half_open(token));
            self.half_open.queue = queue;
        }
    }

    fn is_half_open(&mut self, token: Token) -> bool {
        matches!(self.flows.get(token), Some(Flow::Tcp(flow)) if flow.is_half_open())
    }
}
