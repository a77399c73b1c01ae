//! One direction of a bad cable: frames arrive late, in another order, twice or not at all.

use super::rng::Rng;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;
use wirebay_engine::Time;

/// How bad, each out of a thousand frames.
#[derive(Clone, Copy, Default, Debug)]
pub struct Quality {
    pub loss: u32,
    pub duplication: u32,
    /// Frames that wait until some others have overtaken them.
    pub reordering: u32,
}

const DELAY: Duration = Duration::from_micros(100);
const OVERTAKEN: Duration = Duration::from_micros(350);

/// The direction.
pub struct Link {
    quality: Quality,
    rng: Rng,
    due: BinaryHeap<Reverse<(Time, u64)>>,
    frames: HashMap<u64, Vec<u8>>,
    count: u64,
    /// Bytes on their way.
    pub load: usize,
    /// Frames that were lost.
    pub lost: u64,
    /// Everything that was sent, lost or not, if anybody wants to know.
    pub capture: Option<Vec<(Time, Vec<u8>)>>,
}

impl Link {
    pub fn new(quality: Quality, seed: u64) -> Self {
        Link {
            quality,
            rng: Rng::new(seed),
            due: BinaryHeap::new(),
            frames: HashMap::new(),
            count: 0,
            load: 0,
            lost: 0,
            capture: None,
        }
    }

    /// From now on nothing bad happens.
    pub fn heal(&mut self) {
        self.quality = Quality::default();
    }

    pub fn send(&mut self, now: Time, frame: Vec<u8>) {
        if let Some(capture) = &mut self.capture {
            capture.push((now, frame.clone()));
        }
        if self.rng.per_mille(self.quality.loss) {
            self.lost += 1;
            return;
        }
        if self.rng.per_mille(self.quality.duplication) {
            self.enqueue(now + DELAY, frame.clone());
        }
        let delay = if self.rng.per_mille(self.quality.reordering) { OVERTAKEN } else { DELAY };
        self.enqueue(now + delay, frame);
    }

    fn enqueue(&mut self, at: Time, frame: Vec<u8>) {
        self.load += frame.len();
        self.due.push(Reverse((at, self.count)));
        self.frames.insert(self.count, frame);
        self.count += 1;
    }

    /// When the next frame arrives.
    pub fn next(&self) -> Option<Time> {
        self.due.peek().map(|Reverse((at, _))| *at)
    }

    /// A frame that has arrived.
    pub fn receive(&mut self, now: Time) -> Option<Vec<u8>> {
        let Reverse((at, number)) = *self.due.peek()?;
        if at > now {
            return None;
        }
        self.due.pop();
        let frame = self.frames.remove(&number)?;
        self.load -= frame.len();
        Some(frame)
    }
}
