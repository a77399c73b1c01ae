//! What passed and what did not: plain numbers, turned into text only when somebody asks.

use wirebay_wire::DropReason;

/// Frames that were not delivered, by reason.
#[derive(Clone, Debug)]
pub struct Drops([u64; DropReason::COUNT]);

impl Default for Drops {
    fn default() -> Self {
        Drops([0; DropReason::COUNT])
    }
}

impl Drops {
    /// Count one.
    pub fn count(&mut self, reason: DropReason) {
        self.0[reason.index()] += 1;
    }

    /// Count so many.
    pub fn add(&mut self, reason: DropReason, count: usize) {
        self.0[reason.index()] += count as u64;
    }

    /// How often `reason` was counted.
    pub fn get(&self, reason: DropReason) -> u64 {
        self.0[reason.index()]
    }

    /// The reasons that were counted at least once.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.iter().map(|&r| (r, self.get(r))).filter(|&(_, n)| n > 0)
    }

    /// All of them together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// Frames and bytes in one direction. A super-segment counts as one frame.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Frames.
    pub frames: u64,
    /// Bytes of the frames, Ethernet header included.
    pub bytes: u64,
}

impl Traffic {
    /// Count one frame of `len` bytes.
    pub fn count(&mut self, len: usize) {
        self.frames += 1;
        self.bytes += len as u64;
    }
}
