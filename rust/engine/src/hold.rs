//! Frames held back and let go together, at every tick of an interval: QEMU's `filter-buffer`.

use crate::time::Time;
use std::time::Duration;
use wirebay_wire::pcap::Direction;
use wirebay_wire::{DropReason, Frame, Offload};

/// Bytes that may wait; frames beyond are dropped.
pub const ROOM: usize = 16 << 20;

/// A frame that waits.
#[derive(Debug, PartialEq, Eq)]
pub struct Held {
    /// Where it is going.
    pub direction: Direction,
    bytes: Vec<u8>,
    offload: Offload,
}

impl Held {
    /// The frame.
    pub fn frame(&self) -> Frame<'_> {
        Frame { bytes: &self.bytes, offload: self.offload }
    }
}

/// The frames that wait, in order.
pub struct Hold {
    interval: Duration,
    start: Time,
    /// The next tick, while frames wait.
    due: Time,
    frames: Vec<Held>,
    bytes: usize,
}

impl Hold {
    /// Ticks come every `interval`, which is not zero, from `start` on.
    pub fn new(start: Time, interval: Duration) -> Self {
        Hold { interval, start, due: Time::NEVER, frames: Vec::new(), bytes: 0 }
    }

    /// Hold a frame back; [`DropReason::FilterFull`] when too much waits.
    pub fn keep(&mut self, now: Time, direction: Direction, frame: &Frame<'_>) -> Result<(), DropReason> {
        if self.bytes + frame.bytes.len() > ROOM {
            return Err(DropReason::FilterFull);
        }
        if self.frames.is_empty() {
            self.due = self.next_tick(now);
        }
        self.bytes += frame.bytes.len();
        self.frames.push(Held { direction, bytes: frame.bytes.to_vec(), offload: frame.offload });
        Ok(())
    }

    /// When the frames go; `None` while there are none.
    pub fn deadline(&self) -> Option<Time> {
        (!self.frames.is_empty()).then_some(self.due)
    }

    /// The frames, if it is time, in the order they came.
    pub fn release(&mut self, now: Time) -> Vec<Held> {
        if now < self.due { Vec::new() } else { self.release_all() }
    }

    /// The frames, whatever the time.
    pub fn release_all(&mut self) -> Vec<Held> {
        (self.due, self.bytes) = (Time::NEVER, 0);
        std::mem::take(&mut self.frames)
    }

    fn next_tick(&self, now: Time) -> Time {
        let tick = self.interval.as_micros().max(1) as u64;
        Time(
            self.start
                .0
                .saturating_add((now.since(self.start).as_micros() as u64 / tick + 1).saturating_mul(tick)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_wait_for_the_next_tick_and_go_in_order() {
        let mut hold = Hold::new(Time(5), Duration::from_micros(100));
        assert_eq!(hold.deadline(), None);
        hold.keep(Time(250), Direction::Inbound, &Frame::plain(&[1; 20])).unwrap();
        hold.keep(Time(304), Direction::Outbound, &Frame::plain(&[2; 20])).unwrap();
        assert_eq!(hold.deadline(), Some(Time(305)));
        assert!(hold.release(Time(304)).is_empty());
        let frames = hold.release(Time(305));
        assert_eq!(frames.iter().map(|held| held.frame().bytes[0]).collect::<Vec<_>>(), [1, 2]);
        assert_eq!((hold.deadline(), frames[1].direction), (None, Direction::Outbound));
        hold.keep(Time(305), Direction::Inbound, &Frame::plain(&[1; 20])).unwrap();
        assert_eq!(hold.deadline(), Some(Time(405)));
    }

    #[test]
    fn a_flood_is_bounded() {
        let mut hold = Hold::new(Time(0), Duration::from_hours(1));
        let frame = vec![0; 60_000];
        let full =
            (0..1000).filter(|_| hold.keep(Time(1), Direction::Inbound, &Frame::plain(&frame)).is_err());
        assert_eq!(full.count(), 1000 - ROOM / 60_000);
        assert_eq!(hold.release_all().len(), ROOM / 60_000);
    }
}
