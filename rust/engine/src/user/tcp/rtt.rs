//! Round-trip time to the guest and the retransmission time-out (RFC 6298), one sample at a time (Karn's algorithm).

use crate::time::Time;
use std::time::Duration;

const INITIAL: u32 = 1_000_000;
const MIN: u32 = 200_000;
const MAX: u32 = 60_000_000;

/// The estimator; all values in microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rtt {
    smoothed: u32,
    variation: u32,
    sample: Option<(u32, Time)>,
}

impl Rtt {
    /// Bytes up to sequence number `end` were sent for the first time.
    pub fn sent(&mut self, end: u32, now: Time) {
        self.sample.get_or_insert((end, now));
    }

    /// Something was sent again: what comes back now proves nothing.
    pub fn ambiguous(&mut self) {
        self.sample = None;
    }

    /// Everything before `ack` has arrived. False if there is nothing that could be measured by that, now or later.
    pub fn acknowledged(&mut self, ack: u32, now: Time) -> bool {
        let Some((end, at)) = self.sample else { return false };
        if (ack.wrapping_sub(end) as i32) >= 0 {
            self.sample = None;
            self.sample(now.since(at));
        }
        true
    }

    /// A round trip has taken this long.
    pub fn sample(&mut self, took: Duration) {
        let took = took.as_micros().min(u128::from(MAX)) as u32;
        if self.smoothed == 0 {
            (self.smoothed, self.variation) = (took.max(1), took / 2);
        } else {
            self.variation = (3 * self.variation + self.smoothed.abs_diff(took)) / 4;
            self.smoothed = ((7 * u64::from(self.smoothed) + u64::from(took)) / 8).max(1) as u32;
        }
    }

    /// How long to wait for an acknowledgement after `retries` retransmissions.
    pub fn timeout(&self, retries: u8) -> Duration {
        let base = if self.smoothed == 0 { INITIAL } else { (self.smoothed + 4 * self.variation).max(MIN) };
        Duration::from_micros((u64::from(base) << retries.min(16)).min(u64::from(MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeout_doubles_and_stays_bounded() {
        let rtt = Rtt::default();
        assert_eq!(rtt.timeout(0), Duration::from_secs(1));
        assert_eq!(rtt.timeout(3), Duration::from_secs(8));
        assert_eq!(rtt.timeout(200), Duration::from_mins(1));
    }

    #[test]
    fn a_fast_link_gets_the_least_timeout_and_a_retransmission_gives_no_sample() {
        let mut rtt = Rtt::default();
        rtt.sent(100, Time(0));
        rtt.acknowledged(100, Time(50));
        assert_eq!(rtt.timeout(0), Duration::from_millis(200));
        rtt.sent(200, Time(1000));
        rtt.ambiguous();
        rtt.acknowledged(200, Time(30_000_000));
        assert_eq!(rtt.timeout(0), Duration::from_millis(200));
    }
}
