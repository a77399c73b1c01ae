//! Datagram flows that nobody has answered: how many there may be at once.
//!
//! Whoever sends to a million ports, or through a forward from a million addresses, must not fill the table that all
//! share, so only a quarter of it is for flows that have seen datagrams in one direction only. When there are more the
//! *oldest* of them gives way, instead of the new one being refused: a question is answered within moments or not at
//! all, and one that speaks without ever being answered gets a new flow with its next datagram. Flows that both ends
//! have spoken in stay.

use super::UserNet;
use super::flows::Flow;
use crate::host::Host;
use crate::table::Token;
use std::collections::VecDeque;
use wirebay_wire::DropReason;

/// This part of the table.
const SHARE: usize = 4;

/// The datagram flows of a network that were begun last, the oldest first; some are answered or gone meanwhile.
pub struct Unanswered {
    queue: VecDeque<Token>,
    limit: usize,
}

impl Unanswered {
    /// None yet, in a table of `max_flows`.
    pub fn new(max_flows: usize) -> Self {
        Unanswered { queue: VecDeque::new(), limit: (max_flows / SHARE).max(1) }
    }
}

impl<H: Host> UserNet<H> {
    /// The datagram flow `token` has begun.
    pub(super) fn datagrams_begin(&mut self, token: Token) {
        self.unanswered.queue.push_back(token);
        while self.unanswered.queue.len() > self.unanswered.limit
            && let Some(oldest) = self.unanswered.queue.pop_front()
        {
            if matches!(self.flows.get(oldest), Some(Flow::Datagram(flow)) if !flow.is_answered()) {
                self.drops.count(DropReason::UnansweredGaveWay);
                self.flows.remove(oldest);
            }
        }
    }
}
