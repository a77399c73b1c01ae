//! What came before its time: payload from the guest behind a hole, kept until the hole is filled.
//!
//! Pieces are disjoint and in order; where two segments overlap the bytes that came first stay. A flow has a store only
//! while there is something in it. All of it is paid for from the budget that the backlogs of all flows share: a
//! piece's memory and [`PIECE_COST`] for the piece itself, so that a guest that sends single bytes gains nothing. A
//! part of the budget ([`RESERVE`]) is out of reach: payload that came in order must not be refused for payload that
//! did not.
//!
//! Nothing in here has been acknowledged, so it may be thrown away at any time (RFC 2018, section 8).

use super::before;
use std::collections::VecDeque;
use wirebay_wire::tcp::SackBlocks;

/// Most pieces of a flow; what would need one more is dropped.
const MOST_PIECES: usize = 1024;
/// A piece grows up to this as segments join it, bytes; a super-segment may be larger.
const LONGEST: usize = 64 << 10;
/// What a piece costs beside its bytes.
const PIECE_COST: usize = 64;
/// What is left of the budget for backlogs, bytes.
const RESERVE: usize = 16 << 20;

/// A run of bytes.
struct Piece {
    seq: u32,
    data: Vec<u8>,
}

impl Piece {
    fn end(&self) -> u32 {
        self.seq.wrapping_add(self.data.len() as u32)
    }

    fn cost(&self) -> usize {
        PIECE_COST + self.data.capacity()
    }

    /// Put `more` behind, if the memory it takes can be paid for. That grows twofold, so that growing costs little,
    /// but no further than it may become.
    fn join(&mut self, more: &[u8], pay: impl FnOnce(usize) -> bool) -> bool {
        let (len, capacity) = (self.data.len(), self.data.capacity());
        let wanted = len + more.len();
        if wanted > capacity {
            let grown = wanted.max((2 * capacity).min(LONGEST));
            if !pay(grown - capacity) {
                return false;
            }
            self.data.reserve_exact(grown - len);
        }
        self.data.extend_from_slice(more);
        true
    }
}

/// What has become of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kept {
    /// All of it that was new is kept.
    New,
    /// It was all here before.
    Nothing,
    /// There was no room for some of it.
    Full,
}

/// The store of one flow.
#[derive(Default)]
pub struct Early {
    pieces: VecDeque<Piece>,
    held: usize,
    fin: Option<u32>,
    /// A number out of each of the runs that grew last, the latest first.
    recent: Vec<u32>,
}

impl Early {
    /// Bytes of the budget that are in use.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Keep what is new of `data`, whose first byte is number `seq`.
    pub fn keep(&mut self, seq: u32, data: &[u8], budget: &mut usize) -> Kept {
        let (mut at, mut rest, mut kept) = (seq, data, Kept::Nothing);
        while !rest.is_empty() {
            let next = self.pieces.partition_point(|piece| !before(at, piece.end()));
            let len = match self.pieces.get(next) {
                Some(piece) if !before(at, piece.seq) => piece.end().wrapping_sub(at) as usize,
                found => {
                    let gap = found.map_or(rest.len(), |piece| piece.seq.wrapping_sub(at) as usize);
                    let new = &rest[..gap.min(rest.len())];
                    if !self.add(next, at, new, budget) {
                        self.note(seq);
                        return Kept::Full;
                    }
                    kept = Kept::New;
                    new.len()
                }
            };
            at = at.wrapping_add(len as u32);
            rest = rest.get(len..).unwrap_or_default();
        }
        self.note(seq);
        kept
    }

    /// What the guest is told to be here: the run that grew last first, then those before it (RFC 2018, section 4).
    pub fn blocks(&self) -> SackBlocks {
        let mut blocks = SackBlocks::default();
        for (start, end) in self.recent.iter().filter_map(|&seq| self.run(seq)) {
            blocks.push(start, end);
        }
        blocks
    }

    /// The run of bytes that `seq` is in, whatever pieces it is made of.
    fn run(&self, seq: u32) -> Option<(u32, u32)> {
        let at = self.pieces.partition_point(|piece| !before(seq, piece.end()));
        let mut run =
            self.pieces.get(at).filter(|piece| !before(seq, piece.seq)).map(|p| (p.seq, p.end()))?;
        for piece in self.pieces.range(..at).rev() {
            if piece.end() != run.0 {
                break;
            }
            run.0 = piece.seq;
        }
        for piece in self.pieces.range(at + 1..) {
            if piece.seq != run.1 {
                break;
            }
            run.1 = piece.end();
        }
        Some(run)
    }

    /// A run has grown at `seq`.
    fn note(&mut self, seq: u32) {
        let Some((start, end)) = self.run(seq) else { return };
        self.recent.retain(|&other| before(other, start) || !before(other, end));
        self.recent.insert(0, seq);
        self.recent.truncate(SackBlocks::MOST);
    }

    /// The stream ends before number `seq`.
    pub fn keep_fin(&mut self, seq: u32) {
        self.fin.get_or_insert(seq);
    }

    /// Put `data` before piece number `next`, where nothing is yet.
    fn add(&mut self, next: usize, seq: u32, data: &[u8], budget: &mut usize) -> bool {
        if let Some(last) = next.checked_sub(1).and_then(|i| self.pieces.get_mut(i))
            && last.end() == seq
            && last.data.len() + data.len() <= LONGEST
        {
            return last.join(data, |growth| pay(growth, budget, &mut self.held));
        }
        if self.pieces.len() >= MOST_PIECES || !pay(PIECE_COST + data.len(), budget, &mut self.held) {
            return false;
        }
        self.pieces.insert(next, Piece { seq, data: data.to_vec() });
        true
    }

    /// The piece that goes on at `next`, without what comes before; its memory is given back to the budget.
    pub fn pop(&mut self, next: u32, budget: &mut usize) -> Option<(Vec<u8>, usize)> {
        loop {
            if before(next, self.pieces.front()?.seq) || self.ends_at(next) {
                return None;
            }
            let mut piece = self.pieces.pop_front()?;
            let cost = piece.cost().min(self.held);
            (self.held, *budget) = (self.held - cost, *budget + cost);
            if let Some(fin) = self.fin.filter(|&fin| before(next, fin)) {
                piece.data.truncate(fin.wrapping_sub(piece.seq) as usize);
            }
            if before(next, piece.end()) {
                let old = next.wrapping_sub(piece.seq) as usize;
                return Some((piece.data, old));
            }
        }
    }

    /// Does the stream end at `next`?
    pub fn ends_at(&self, next: u32) -> bool {
        self.fin == Some(next)
    }

    /// Is there nothing left for a flow that has come to `next`?
    pub fn is_done(&self, next: u32) -> bool {
        self.pieces.is_empty() && self.fin.is_none_or(|fin| before(fin, next))
    }
}

fn pay(cost: usize, budget: &mut usize, held: &mut usize) -> bool {
    if *budget < cost + RESERVE {
        return false;
    }
    (*budget, *held) = (*budget - cost, *held + cost);
    true
}
