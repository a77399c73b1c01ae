//! Deadlines of flows. A flow keeps its own deadline and moves it with every packet; this set holds one entry a flow,
//! touched only when the deadline moves *nearer* than the entry. An entry that comes up too early is put back.

use crate::table::Token;
use crate::time::Time;
use std::collections::BTreeSet;

/// One entry a flow, ordered by time.
#[derive(Default)]
pub struct Timers {
    entries: BTreeSet<(Time, Token)>,
}

/// What a flow keeps for its timer.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    /// When the flow wants to be called; it may move this at will.
    pub at: Time,
    entry: Time,
}

impl Default for Deadline {
    fn default() -> Self {
        Deadline { at: Time::NEVER, entry: Time::NEVER }
    }
}

impl Timers {
    /// Make sure that the flow is called no later than its deadline.
    pub fn arm(&mut self, token: Token, deadline: &mut Deadline) {
        if deadline.at < deadline.entry {
            self.forget(token, deadline);
            self.entries.insert((deadline.at, token));
            deadline.entry = deadline.at;
        }
    }

    /// The flow goes away.
    pub fn forget(&mut self, token: Token, deadline: &mut Deadline) {
        if deadline.entry != Time::NEVER {
            self.entries.remove(&(deadline.entry, token));
            deadline.entry = Time::NEVER;
        }
    }

    /// When to look again.
    pub fn next(&self) -> Option<Time> {
        self.entries.first().map(|&(at, _)| at)
    }

    /// A flow whose entry has come up. The caller clears its [`Deadline`] with [`Timers::came_up`], acts if the
    /// deadline itself has passed, and arms it again.
    pub fn pop(&mut self, now: Time) -> Option<Token> {
        let &(at, token) = self.entries.first()?;
        if at > now {
            return None;
        }
        self.entries.pop_first();
        Some(token)
    }

    /// The entry of this deadline has been popped; has the deadline passed as well?
    pub fn came_up(deadline: &mut Deadline, now: Time) -> bool {
        deadline.entry = Time::NEVER;
        deadline.at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(index: u32) -> Token {
        Token { index, generation: 0 }
    }

    #[test]
    fn a_deadline_that_moves_away_is_not_called_early() {
        let (mut timers, mut deadline) = (Timers::default(), Deadline::default());
        deadline.at = Time(10);
        timers.arm(token(1), &mut deadline);
        deadline.at = Time(50);
        timers.arm(token(1), &mut deadline);
        assert_eq!(timers.next(), Some(Time(10)));
        assert_eq!(timers.pop(Time(10)), Some(token(1)));
        assert!(!Timers::came_up(&mut deadline, Time(10)));
        timers.arm(token(1), &mut deadline);
        assert_eq!(timers.next(), Some(Time(50)));
    }

    #[test]
    fn a_flow_never_has_more_than_one_entry() {
        let (mut timers, mut deadline) = (Timers::default(), Deadline::default());
        for at in [90, 50, 70, 20, 30] {
            deadline.at = Time(at);
            timers.arm(token(1), &mut deadline);
        }
        assert_eq!(timers.entries.len(), 1);
        timers.forget(token(1), &mut deadline);
        assert_eq!(timers.next(), None);
    }
}
