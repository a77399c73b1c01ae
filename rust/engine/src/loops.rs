//! Loops: noticing that frames come back, before a segment melts.
//!
//! Two ports of one segment may be joined outside of it, by another switch, by a wire, by a guest that bridges. A frame
//! that goes to everybody then returns through the other port, goes to everybody again, and so on for ever. Spanning
//! trees prevent that by talking; nobody here would answer. So each segment remembers, for a moment, what it has sent
//! to everybody: a fingerprint of the frame and the port it came from. A frame with the same fingerprint from another
//! port has come back and is dropped, which is what stops the circle; from then on so is the first port's own copy,
//! because it may have gone around too.
//!
//! One frame that comes back is no loop: a multicast socket hears itself. Frames that come back twice are, and when
//! there are many, the port they came back through is blocked for a while, which is told once. When the loop is still
//! there afterwards, the next while is twice as long.
//!
//! A fingerprint leaves out what may change on the way: the VLAN tag, padding, and the transport checksum, which a port
//! may have left to do.

use crate::time::Time;
use crate::user::Secret;
use std::hash::Hasher;
use std::time::Duration;
use wirebay_wire::layout::Layout;
use wirebay_wire::vlan::{TAG_LEN, Tag};
use wirebay_wire::{DropReason, Frame};

/// How long a frame is remembered: longer than it needs around any loop, shorter than anybody's retransmission.
const MEMORY: Duration = Duration::from_millis(200);
/// Frames remembered: sets that a fingerprint chooses from, and places in each.
const SETS: usize = 256;
const PLACES: usize = 4;
/// Bytes of a frame that count.
const PREFIX: usize = 256;
/// The least length of a frame; shorter ones may have been padded on their way.
const LEAST: usize = 60;
/// So many frames that came back twice make a loop, within one [`WINDOW`].
const ENOUGH: u32 = 16;
const WINDOW: Duration = Duration::from_secs(1);
const FIRST_BLOCK: Duration = Duration::from_secs(10);
const LONGEST_BLOCK: Duration = Duration::from_secs(320);
/// A port that was quiet for so long after a block starts anew.
const FORGIVEN: Duration = Duration::from_mins(1);

/// A port has been blocked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Alarm {
    /// The port.
    pub port: usize,
    /// For how long.
    pub span: Duration,
}

#[derive(Clone, Copy)]
struct Sighting {
    print: u64,
    at: Time,
    origin: usize,
    /// Where it first came back.
    other: Option<usize>,
    /// It came back more than once.
    counted: bool,
}

struct Block {
    port: usize,
    until: Time,
    span: Duration,
}

/// The memory of one segment.
pub struct LoopGuard {
    secret: Secret,
    /// By fingerprint; empty until the first frame.
    seen: Vec<Option<Sighting>>,
    /// Frames that came back twice since `since`.
    returned: u32,
    since: Time,
    blocks: Vec<Block>,
    alarm: Option<Alarm>,
}

impl LoopGuard {
    /// `secret` keys the fingerprints.
    pub fn new(secret: Secret) -> Self {
        let (seen, blocks) = (Vec::new(), Vec::new());
        LoopGuard { secret, seen, returned: 0, since: Time::default(), blocks, alarm: None }
    }

    /// Is the port out of the game?
    #[inline]
    pub fn is_blocked(&self, now: Time, port: usize) -> bool {
        !self.blocks.is_empty() && self.blocks.iter().any(|b| b.port == port && now < b.until)
    }

    /// `frame` is about to go to everybody. [`DropReason::LoopReturned`] when it did before, and came back.
    pub fn check(&mut self, now: Time, from: usize, frame: &Frame<'_>) -> Result<(), DropReason> {
        let print = self.fingerprint(frame);
        let known = |s: &Sighting| s.print == print && now.since(s.at) < MEMORY;
        let set = self.set(print);
        let Some(sighting) = set.iter_mut().flatten().find(|s| known(s)) else {
            let sighting = Sighting { print, at: now, origin: from, other: None, counted: false };
            // A place that is free comes before every other.
            if let Some(oldest) = set.iter_mut().min_by_key(|place| place.map(|s| s.at)) {
                *oldest = Some(sighting);
            }
            return Ok(());
        };
        match sighting.other {
            None if sighting.origin == from => return Ok(()),
            None => sighting.other = Some(from),
            Some(_) if sighting.counted => {}
            Some(other) => {
                sighting.counted = true;
                self.count(now, other);
            }
        }
        Err(DropReason::LoopReturned)
    }

    /// A port that was blocked since this was last asked.
    pub fn pop_alarm(&mut self) -> Option<Alarm> {
        self.alarm.take()
    }

    /// The port is unplugged.
    pub fn forget(&mut self, port: usize) {
        self.blocks.retain(|block| block.port != port);
        self.seen.clear();
    }

    fn count(&mut self, now: Time, port: usize) {
        if now.since(self.since) >= WINDOW {
            (self.since, self.returned) = (now, 0);
        }
        self.returned += 1;
        if self.returned >= ENOUGH && !self.is_blocked(now, port) {
            self.returned = 0;
            self.block(now, port);
        }
    }

    fn block(&mut self, now: Time, port: usize) {
        self.blocks.retain(|block| now < block.until + FORGIVEN);
        let before = self.blocks.iter().find(|block| block.port == port).map(|block| block.span);
        let span = before.map_or(FIRST_BLOCK, |span| (span * 2).min(LONGEST_BLOCK));
        self.blocks.retain(|block| block.port != port);
        self.blocks.push(Block { port, until: now + span, span });
        self.alarm = Some(Alarm { port, span });
    }

    fn set(&mut self, print: u64) -> &mut [Option<Sighting>] {
        if self.seen.is_empty() {
            self.seen.resize(SETS * PLACES, None);
        }
        let start = print as usize % SETS * PLACES;
        &mut self.seen[start..start + PLACES]
    }

    fn fingerprint(&self, frame: &Frame<'_>) -> u64 {
        let mut prefix = [0; PREFIX];
        let tag = if Tag::of(frame.bytes).is_some() { TAG_LEN } else { 0 };
        let (addresses, rest) = frame.bytes.split_at(12);
        let rest = &rest[tag..];
        let len = rest.len().min(PREFIX - 12);
        prefix[..12].copy_from_slice(addresses);
        prefix[12..12 + len].copy_from_slice(&rest[..len]);
        if let Some(layout) = Layout::of(frame.bytes) {
            let at = layout.transport + layout.checksum_offset() - tag;
            prefix.iter_mut().skip(at).take(2).for_each(|byte| *byte = 0);
        }
        let mut hasher = self.secret.hasher();
        hasher.write(&prefix[..(12 + len).max(LEAST)]);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> LoopGuard {
        LoopGuard::new(Secret([7; 16]))
    }

    fn frame(number: u32) -> Vec<u8> {
        let number = number.to_be_bytes();
        [&[0xff; 6][..], &[2; 6], &[0x88, 0xb5], &number].concat()
    }

    fn at(millis: u64) -> Time {
        Time(millis * 1000)
    }

    #[test]
    fn a_sender_that_repeats_itself_is_heard_and_an_echo_from_another_port_is_not() {
        let mut guard = guard();
        let bytes = frame(1);
        let frame = Frame::plain(&bytes);
        assert_eq!(guard.check(at(0), 1, &frame), Ok(()));
        assert_eq!(guard.check(at(1), 1, &frame), Ok(()));
        assert_eq!(guard.check(at(2), 2, &frame), Err(DropReason::LoopReturned));
        assert_eq!(guard.check(at(3), 1, &frame), Err(DropReason::LoopReturned));
        assert_eq!(guard.check(at(203), 2, &frame), Ok(()), "after a while it is another frame");
    }

    #[test]
    fn padding_and_tags_do_not_hide_a_frame() {
        let mut guard = guard();
        let bytes = frame(1);
        let padded = [&bytes[..12], &[0x81, 0, 0, 5], &bytes[12..], &[0; 42]].concat();
        assert_eq!(guard.check(at(0), 1, &Frame::plain(&bytes)), Ok(()));
        assert_eq!(guard.check(at(0), 2, &Frame::plain(&padded)), Err(DropReason::LoopReturned));
    }

    /// Frames that each come from port 1 and return through 2 and 3.
    fn storm(guard: &mut LoopGuard, start: u64, count: u32) {
        for number in 0..count {
            let bytes = frame(number);
            for port in 1..4 {
                if !guard.is_blocked(at(start), port) {
                    let _ = guard.check(at(start), port, &Frame::plain(&bytes));
                }
            }
        }
    }

    #[test]
    fn a_loop_blocks_one_port_once_and_longer_when_it_is_still_there() {
        let mut guard = guard();
        storm(&mut guard, 0, 200);
        assert_eq!(guard.pop_alarm(), Some(Alarm { port: 2, span: FIRST_BLOCK }));
        assert_eq!(guard.pop_alarm(), None);
        assert!(guard.is_blocked(at(9_999), 2) && !guard.is_blocked(at(10_000), 2));
        assert!(!guard.is_blocked(at(1), 1) && !guard.is_blocked(at(1), 3));
        storm(&mut guard, 10_000, 200);
        assert_eq!(guard.pop_alarm(), Some(Alarm { port: 2, span: FIRST_BLOCK * 2 }));
        storm(&mut guard, 200_000, 200);
        assert_eq!(guard.pop_alarm(), Some(Alarm { port: 2, span: FIRST_BLOCK }));
    }

    #[test]
    fn a_port_that_only_hears_itself_is_never_blocked() {
        let mut guard = guard();
        for number in 0..10_000 {
            let bytes = frame(number);
            assert_eq!(guard.check(at(0), 1, &Frame::plain(&bytes)), Ok(()));
            assert!(guard.check(at(0), 2, &Frame::plain(&bytes)).is_err());
        }
        assert_eq!(guard.pop_alarm(), None);
    }
}
