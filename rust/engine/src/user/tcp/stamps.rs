//! The timestamps of one connection (RFC 7323): what we send, what is too old to be believed, how long a round trip took.

use super::before;
use crate::time::Time;
use std::time::Duration;
use wirebay_wire::tcp::Timestamps;

/// After this long without news the last timestamp of the guest proves nothing: its clock may have gone halfway round
/// (RFC 7323, section 5.5).
const IDLE: Duration = Duration::from_hours(24 * 24);
/// Longer than any round trip; an echo that is older is a mistake or a lie.
const LONGEST_TRIP: u32 = 60_000;

/// Both clocks, in milliseconds. Ours begins at another place for each connection, so that it does not tell how long
/// the host has been running.
#[derive(Clone, Copy, Debug)]
pub struct Stamps {
    offset: u32,
    recent: u32,
    at: Time,
}

impl Stamps {
    /// Nothing heard yet.
    pub fn new(offset: u32, now: Time) -> Self {
        Stamps { offset, recent: 0, at: now }
    }

    fn clock(&self, now: Time) -> u32 {
        ((now.0 / 1000) as u32).wrapping_add(self.offset)
    }

    /// What a segment sent now carries.
    pub fn stamp(&self, now: Time) -> Timestamps {
        Timestamps { value: self.clock(now), echo: self.recent }
    }

    /// The guest's first timestamp, in its SYN.
    pub fn begin(&mut self, value: u32, now: Time) {
        (self.recent, self.at) = (value, now);
    }

    /// Is a segment with this timestamp one of long ago (PAWS, RFC 7323 section 5)?
    pub fn is_old(&self, value: u32, now: Time) -> bool {
        before(value, self.recent) && now.since(self.at) < IDLE
    }

    /// A segment that is not old and continues what was acknowledged.
    pub fn heard(&mut self, value: u32, now: Time) {
        if !self.is_old(value, now) {
            self.begin(value, now);
        }
    }

    /// How long ago the segment was sent that the guest answers with this echo; `None` if that cannot be.
    pub fn took(&self, echo: u32, now: Time) -> Option<Duration> {
        let took = self.clock(now).wrapping_sub(echo);
        (took < LONGEST_TRIP).then(|| Duration::from_millis(took.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_is_what_lies_up_to_half_the_circle_behind() {
        let mut stamps = Stamps::new(0, Time(0));
        stamps.begin(10, Time(0));
        for (value, old) in [(10, false), (11, false), (9, true), (0x7fff_ffff, false), (u32::MAX, true)] {
            assert_eq!(stamps.is_old(value, Time(0)), old, "{value}");
        }
    }

    #[test]
    fn after_twenty_four_days_anything_is_believed() {
        let mut stamps = Stamps::new(0, Time(0));
        stamps.begin(10, Time(0));
        let (day_before, day) = (Time(0) + IDLE.mul_f32(0.99), Time(0) + IDLE);
        assert!(stamps.is_old(9, day_before) && !stamps.is_old(9, day));
        stamps.heard(9, day);
        assert_eq!(stamps.stamp(day).echo, 9);
    }

    #[test]
    fn an_echo_tells_the_time_across_the_wrap_of_the_clock_and_nonsense_tells_nothing() {
        let stamps = Stamps::new(0_u32.wrapping_sub(5), Time(0));
        let sent = stamps.stamp(Time(0)).value;
        assert_eq!(stamps.took(sent, Time(30_000)), Some(Duration::from_millis(30)));
        assert_eq!(stamps.took(sent.wrapping_add(31), Time(30_000)), None, "from the future");
        assert_eq!(stamps.took(sent, Time(0) + Duration::from_mins(2)), None);
    }
}
