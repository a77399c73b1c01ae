//! What the guest says it has beyond its acknowledgement (RFC 2018), and which holes between are lost (after RFC 6675).
//!
//! A flow has a board only while there is something on it. What the guest says is believed for one purpose: not to send
//! again what it has. Nothing is forgotten by the host before it is acknowledged, so a guest that takes its word back,
//! or lies, harms itself at most; a second time-out in a row forgets the board. Blocks that are about what was
//! acknowledged already (DSACK, RFC 2883) or about what was never sent are passed over.

use super::before;

/// Most ranges remembered. What would need one more is not taken down, and is sent again at worst.
const MOST_RANGES: usize = 64;
/// As many segments must have arrived behind a hole before it counts as lost (RFC 6675, `DupThresh`).
const THRESHOLD: u32 = 3;

/// The board of one flow: ranges that touch nowhere, in order, all of them between the last acknowledgement and what
/// has been sent.
pub struct Board {
    ranges: Vec<(u32, u32)>,
    /// Holes before this have been sent again in this pass.
    resent: u32,
    /// What was the highest number sent when the pass began.
    mark: u32,
    /// Bytes that have arrived in this pass out of what was sent again in it.
    mended: u32,
}

impl Board {
    /// Nothing on it yet; a pass begins.
    pub fn new(una: u32, max: u32) -> Self {
        Board { ranges: Vec::new(), resent: una, mark: max, mended: 0 }
    }

    /// Take down blocks of an acknowledgement; true if they say anything new.
    pub fn add(&mut self, una: u32, max: u32, blocks: &[(u32, u32)]) -> bool {
        let (mut news, had) = (false, self.covered_before(self.resent));
        for &(start, end) in blocks {
            if before(una, start) && before(start, end) && !before(max, end) {
                news |= self.insert(start, end);
            }
        }
        self.mended = self.mended.saturating_add(self.covered_before(self.resent).wrapping_sub(had));
        news
    }

    fn insert(&mut self, start: u32, end: u32) -> bool {
        let first = self.ranges.partition_point(|range| before(range.1, start));
        let behind = self.ranges.partition_point(|range| !before(end, range.0));
        if first == behind {
            let room = self.ranges.len() < MOST_RANGES;
            if room {
                self.ranges.insert(first, (start, end));
            }
            return room;
        }
        let (low, high) = (self.ranges[first].0, self.ranges[behind - 1].1);
        let merged =
            (if before(start, low) { start } else { low }, if before(high, end) { end } else { high });
        let news = behind - first > 1 || merged != (low, high);
        self.ranges[first] = merged;
        self.ranges.drain(first + 1..behind);
        news
    }

    /// Everything before `una` is acknowledged. True if nothing is left on the board.
    pub fn forget(&mut self, una: u32) -> bool {
        let gone = self.ranges.partition_point(|range| !before(una, range.1));
        self.ranges.drain(..gone);
        if let Some(first) = self.ranges.first_mut().filter(|first| before(first.0, una)) {
            first.0 = una;
        }
        if before(self.resent, una) {
            self.resent = una;
        }
        self.ranges.is_empty()
    }

    /// Holes are sent again from `from` on; `max` is the highest number sent so far.
    pub fn start_pass(&mut self, from: u32, max: u32) {
        (self.resent, self.mark, self.mended) = (from, max, 0);
    }

    /// Everything before `seq` has been sent again.
    pub fn resent_to(&mut self, seq: u32) {
        self.resent = seq;
    }

    /// Has the hole that begins at `seq` been sent again in this pass?
    pub fn was_resent(&self, seq: u32) -> bool {
        before(seq, self.resent)
    }

    /// Has the guest got so much of what was sent in this pass, new or again, that what it still lacks was lost again?
    pub fn is_pass_over(&self, mss: u32) -> bool {
        let enough = (THRESHOLD - 1) * mss;
        let new = self.ranges.last().is_some_and(|last| before(self.mark.wrapping_add(enough), last.1));
        new || self.mended > enough
    }

    /// The next hole that is lost and was not sent again in this pass: from where, and how long.
    pub fn hole(&self, una: u32, mss: u32) -> Option<(u32, u32)> {
        let from = if before(una, self.resent) { self.resent } else { una };
        let next = self.ranges.partition_point(|range| !before(from, range.0));
        let seq = next.checked_sub(1).map_or(from, |last| {
            let end = self.ranges[last].1;
            if before(from, end) { end } else { from }
        });
        let (start, _) = *self.ranges.get(next)?;
        self.is_lost(next, mss).then(|| (seq, start.wrapping_sub(seq)))
    }

    /// Is the hole before range number `next` lost?
    fn is_lost(&self, next: usize, mss: u32) -> bool {
        let behind = &self.ranges[next..];
        let bytes = behind.iter().fold(0_u32, |sum, range| sum.saturating_add(range.1.wrapping_sub(range.0)));
        behind.len() as u32 >= THRESHOLD || bytes > (THRESHOLD - 1) * mss
    }

    /// Is the first hole lost?
    pub fn is_head_lost(&self, mss: u32) -> bool {
        !self.ranges.is_empty() && self.is_lost(0, mss)
    }

    /// `seq`, or what follows the range it lies in.
    pub fn skip(&self, seq: u32) -> u32 {
        let inside = self.ranges.iter().find(|range| !before(seq, range.0) && before(seq, range.1));
        inside.map_or(seq, |range| range.1)
    }

    /// Bytes from `seq` to the next range.
    pub fn gap(&self, seq: u32) -> u32 {
        let next = self.ranges.iter().find(|range| before(seq, range.0));
        next.map_or(u32::MAX, |range| range.0.wrapping_sub(seq))
    }

    /// Bytes before `seq` that the guest has.
    pub fn covered_before(&self, seq: u32) -> u32 {
        let passed = self.ranges.iter().take_while(|range| before(range.0, seq));
        passed.fold(0, |sum, range| {
            let end = if before(seq, range.1) { seq } else { range.1 };
            sum.wrapping_add(end.wrapping_sub(range.0))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const BASE: u32 = u32::MAX - 500;

    fn at(offset: u32) -> u32 {
        BASE.wrapping_add(offset)
    }

    fn blocks(of: &[(u32, u32)]) -> Vec<(u32, u32)> {
        of.iter().map(|&(start, end)| (at(start), at(end))).collect()
    }

    proptest! {
        #[test]
        fn the_board_knows_what_a_list_of_all_bytes_knows(
            told in vec((0_u32..1000, 0_u32..1000), 0..40), acked in 0_u32..900, seq in 0_u32..1000,
        ) {
            let (mut board, mut has) = (Board::new(at(0), at(9000)), vec![false; 1001]);
            for &(start, end) in &told {
                let before = has.clone();
                if 0 < start && start < end && end <= 990 {
                    has[start as usize..end as usize].fill(true);
                }
                let news = board.add(at(0), at(990), &blocks(&[(start, end)]));
                prop_assert_eq!(news, before != has);
            }
            has[..acked as usize].fill(false);
            let empty = board.forget(at(acked));
            prop_assert_eq!(empty, !has.iter().any(|&has| has));
            prop_assume!(seq >= acked);
            let seq = seq as usize;
            prop_assert_eq!(board.covered_before(at(seq as u32)), has[..seq].iter().filter(|&&has| has).count() as u32);
            let skip = seq + has[seq..].iter().take_while(|&&has| has).count();
            prop_assert_eq!(board.skip(at(seq as u32)), at(skip as u32));
            let gap = has[skip..].iter().position(|&has| has);
            prop_assert_eq!(board.gap(at(skip as u32)), gap.map_or(u32::MAX, |gap| gap as u32));
            board.start_pass(at(seq as u32), at(990));
            let hole = has[skip..].iter().position(|&has| has).map(|gap| (at(skip as u32), gap as u32));
            prop_assert_eq!(board.hole(at(acked), 0), hole, "with a threshold of nothing every hole is lost");
        }
    }

    #[test]
    fn blocks_that_cannot_be_are_passed_over() {
        let mut board = Board::new(at(0), at(9000));
        for block in [(0, 10), (20, 20), (30, 20), (90, 101), (200, 300)] {
            assert!(!board.add(at(0), at(100), &blocks(&[block])), "{block:?}");
        }
        assert!(!board.add(at(0), at(100), &[(at(0).wrapping_sub(50), at(0).wrapping_sub(10))]), "a DSACK");
        assert!(board.forget(at(0)));
    }

    #[test]
    fn ranges_are_bounded() {
        let mut board = Board::new(at(0), at(9000));
        for i in 1..10_000 {
            board.add(at(0), at(100_000), &blocks(&[(2 * i, 2 * i + 1)]));
        }
        assert_eq!(board.ranges.len(), MOST_RANGES);
    }

    #[test]
    fn a_hole_is_lost_when_enough_has_arrived_behind_it() {
        let mut board = Board::new(at(0), at(9000));
        board.add(at(0), at(9000), &blocks(&[(1000, 2000)]));
        assert_eq!(board.hole(at(0), 1000), None);
        board.add(at(0), at(9000), &blocks(&[(2000, 3001)]));
        assert_eq!(board.hole(at(0), 1000), Some((at(0), 1000)));
        board.add(at(0), at(9000), &blocks(&[(4000, 4001), (5000, 5001)]));
        board.resent_to(at(1000));
        assert_eq!(board.hole(at(0), 1000), None, "the others are not");
        board.add(at(0), at(9000), &blocks(&[(6000, 6001)]));
        assert_eq!(board.hole(at(0), 1000), Some((at(3001), 999)));
    }
}
