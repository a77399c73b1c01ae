//! How much one port may send to everybody.
//!
//! A frame for everybody costs as much as there are ports. On a crowded switch a few guests that flood would take all of
//! its time, so each port has a budget for such frames, filled steadily: what exceeds it is dropped, told once, and
//! costs nobody else. Among few ports nothing is limited, for there flooding costs no more than ordinary traffic.

use crate::time::Time;
use std::time::Duration;
use wirebay_wire::DropReason;

/// Copies of one frame that are always free.
const CROWD: usize = 8;
/// What a copy costs beside its bytes.
const COPY: u64 = 500;
/// What is added in a microsecond: 128 MB of copies in a second.
const RATE: u64 = 128;
/// The most that can be saved: a quarter of a second's worth.
const BURST: u64 = 32_000_000;
/// A port that kept within its budget for so long is told anew.
const QUIET: Duration = Duration::from_mins(1);

#[derive(Clone, Copy)]
struct Budget {
    credit: u64,
    at: Time,
    /// When it was last exceeded.
    exceeded: Option<Time>,
}

/// The budgets, by port number.
#[derive(Default)]
pub struct Storm {
    budgets: Vec<Option<Budget>>,
    told: Option<usize>,
}

impl Storm {
    /// A port wants to send `len` bytes to `copies` ports; [`DropReason::StormLimited`] when that is too much.
    pub fn admit(&mut self, now: Time, port: usize, copies: usize, len: usize) -> Result<(), DropReason> {
        if copies <= CROWD {
            return Ok(());
        }
        if self.budgets.len() <= port {
            self.budgets.resize(port + 1, None);
        }
        let budget = self.budgets[port].get_or_insert(Budget { credit: BURST, at: now, exceeded: None });
        let earned = (now.since(budget.at).as_micros() as u64).saturating_mul(RATE);
        (budget.credit, budget.at) = (budget.credit.saturating_add(earned).min(BURST), now);
        let cost = copies as u64 * (len as u64 + COPY);
        if cost <= budget.credit {
            budget.credit -= cost;
            return Ok(());
        }
        if budget.exceeded.is_none_or(|at| now.since(at) >= QUIET) {
            self.told = Some(port);
        }
        budget.exceeded = Some(now);
        Err(DropReason::StormLimited)
    }

    /// A port that has begun to exceed its budget since this was last asked.
    pub fn pop(&mut self) -> Option<usize> {
        self.told.take()
    }

    /// The port is unplugged.
    pub fn forget(&mut self, port: usize) {
        if let Some(budget) = self.budgets.get_mut(port) {
            *budget = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many frames of a flood of a second get through, one each microsecond.
    fn flood(storm: &mut Storm, port: usize, copies: usize, start: u64) -> usize {
        (0..1_000_000).filter(|&at| storm.admit(Time(start + at), port, copies, 60).is_ok()).count()
    }

    #[test]
    fn a_flood_is_held_to_its_rate_and_told_once() {
        let mut storm = Storm::default();
        let expected = (BURST + RATE * 1_000_000) / (99 * 560);
        let passed = flood(&mut storm, 1, 99, 0) as u64;
        assert!(passed.abs_diff(expected) < 3, "{passed}");
        assert_eq!((storm.pop(), storm.pop()), (Some(1), None));
        assert!(flood(&mut storm, 1, 99, 1_000_000) < 3000);
        assert_eq!(storm.pop(), None);
        assert_eq!(storm.admit(Time(2_000_000), 2, 99, 1500), Ok(()), "another port has its own");
        assert!(flood(&mut storm, 1, 99, 70_000_000) < 3000);
        assert_eq!(storm.pop(), Some(1));
    }

    #[test]
    fn among_few_ports_nothing_is_limited() {
        assert_eq!(flood(&mut Storm::default(), 1, CROWD, 0), 1_000_000);
    }
}
