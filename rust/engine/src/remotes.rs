//! Behind which of a tunnel's peers a station is, learned from what they send (RFC 7348 section 4.1).

use crate::Time;
use std::collections::BTreeMap;
use std::time::Duration;
use wirebay_wire::Mac;

/// How long a station that is silent is remembered (IEEE 802.1D's default).
const AGE: Duration = Duration::from_mins(5);
/// Most stations remembered. Frames for those beyond go to all peers: right, only dearer.
const MAX_STATIONS: usize = 4096;
/// How often a full table is searched for stations to forget.
const SWEEP: Duration = Duration::from_secs(1);

/// The stations behind the peers of one port; peers are numbers.
#[derive(Default, Debug)]
pub struct Remotes {
    seen: BTreeMap<[u8; 6], (u16, Time)>,
    swept: Time,
}

impl Remotes {
    /// `peer` has sent a frame of station `mac`.
    pub fn learn(&mut self, now: Time, mac: Mac, peer: u16) {
        if mac.is_multicast() {
            return;
        }
        if let Some(entry) = self.seen.get_mut(&mac.0) {
            *entry = (peer, now);
        } else if self.has_room(now) {
            self.seen.insert(mac.0, (peer, now));
        }
    }

    /// The peer that frames for `mac` go to; `None`: to all of them.
    pub fn find(&self, now: Time, mac: Mac) -> Option<u16> {
        self.seen.get(&mac.0).filter(|(_, at)| now.since(*at) < AGE).map(|&(peer, _)| peer)
    }

    fn has_room(&mut self, now: Time) -> bool {
        if self.seen.len() >= MAX_STATIONS && now.since(self.swept) >= SWEEP {
            self.swept = now;
            self.seen.retain(|_, (_, at)| now.since(*at) < AGE);
        }
        self.seen.len() < MAX_STATIONS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn station(number: u32) -> Mac {
        let [a, b, c, d] = number.to_be_bytes();
        Mac([2, 0, a, b, c, d])
    }

    fn at(seconds: u64) -> Time {
        Time(seconds * 1_000_000)
    }

    #[test]
    fn a_station_is_found_where_it_spoke_last_until_it_has_been_silent_too_long() {
        let mut remotes = Remotes::default();
        assert_eq!(remotes.find(at(1), station(1)), None);
        remotes.learn(at(1), station(1), 7);
        remotes.learn(at(2), station(1), 8);
        assert_eq!(remotes.find(at(301), station(1)), Some(8));
        assert_eq!(remotes.find(at(302), station(1)), None);
    }

    #[test]
    fn groups_are_never_learned() {
        let mut remotes = Remotes::default();
        remotes.learn(at(1), Mac([0xff; 6]), 7);
        assert_eq!(remotes.find(at(1), Mac([0xff; 6])), None);
    }

    #[test]
    fn a_flood_of_stations_keeps_those_that_were_there_and_the_table_small() {
        let mut remotes = Remotes::default();
        for number in 0..100_000 {
            remotes.learn(at(10), station(number), 1);
        }
        assert_eq!(remotes.seen.len(), MAX_STATIONS);
        assert_eq!(remotes.find(at(10), station(0)), Some(1));
        assert_eq!(remotes.find(at(10), station(99_999)), None);
        remotes.learn(at(400), station(99_999), 2);
        assert_eq!(remotes.find(at(400), station(99_999)), Some(2));
        assert_eq!(remotes.seen.len(), 1);
    }
}
