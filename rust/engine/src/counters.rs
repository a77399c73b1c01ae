//! What passed and what did not: plain numbers, turned into text only when somebody asks.

use wirebay_wire::DropReason;

/// Frames that were not delivered, by reason.
#[derive(Clone, Debug)]
pub struct Drops {
    counts: [u64; DropReason::COUNT],
    latest: Option<DropReason>,
}

impl Default for Drops {
    fn default() -> Self {
        Drops { counts: [0; DropReason::COUNT], latest: None }
    }
}

impl Drops {
    /// Count one.
    pub fn count(&mut self, reason: DropReason) {
        self.counts[reason.index()] += 1;
        self.latest = Some(reason);
    }

    /// The reason counted last, if one was since this was last asked.
    pub fn take_latest(&mut self) -> Option<DropReason> {
        self.latest.take()
    }

    /// Count so many.
    pub fn add(&mut self, reason: DropReason, count: usize) {
        self.counts[reason.index()] += count as u64;
    }

    /// How often `reason` was counted.
    pub fn get(&self, reason: DropReason) -> u64 {
        self.counts[reason.index()]
    }

    /// The reasons that were counted at least once.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.iter().map(|&r| (r, self.get(r))).filter(|&(_, n)| n > 0)
    }

    /// All of them together.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
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
