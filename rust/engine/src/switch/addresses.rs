//! Where an address was last seen, with a bound for each port.
//!
//! A port owns at most its quota of addresses: one more pushes out one of its own, so a guest that floods with
//! invented addresses loses its own entries and nobody else's. Nor can it take another's address while that one is in
//! use: an address moves to another port only when its own has not sent from it for [`HOLD`]. Entries age by
//! [`AGE`] and are then as good as absent.

use crate::time::Time;
use crate::user::Secret;
use hashbrown::HashMap;
use std::time::Duration;
use wirebay_wire::Mac;

/// How long an address is remembered (IEEE 802.1Q section 8.8.3, table 8-6).
pub const AGE: Duration = Duration::from_mins(5);
/// An address that was in use so recently does not move.
pub const HOLD: Duration = Duration::from_secs(2);
/// How exactly the last use is remembered: an address in steady use costs no look-up.
pub const GRAIN: Duration = Duration::from_secs(1);

/// An address in its VLAN.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Station(u64);

impl Station {
    /// Of both.
    #[inline]
    pub fn new(vid: u16, mac: Mac) -> Self {
        let mut bytes = [0; 8];
        bytes[..2].copy_from_slice(&vid.to_be_bytes());
        bytes[2..].copy_from_slice(&mac.0);
        Station(u64::from_be_bytes(bytes))
    }

    /// The VLAN.
    pub fn vid(self) -> u16 {
        (self.0 >> 48) as u16
    }

    /// The address.
    pub fn mac(self) -> Mac {
        let [_, _, mac @ ..] = self.0.to_be_bytes();
        Mac(mac)
    }
}

struct Entry {
    port: usize,
    /// Its place among the port's.
    slot: usize,
    seen: Time,
}

/// What a port owns.
#[derive(Default)]
struct Owner {
    stations: Vec<Station>,
    /// The next to be pushed out when all places are taken.
    next: usize,
    /// The last one that sent, and when that was written down.
    last: Option<(Station, Time)>,
}

/// What happened to addresses.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Counters {
    /// Moved to another port.
    pub moved: u64,
    /// Seen on another port, and not moved because it is in use.
    pub held: u64,
    /// Pushed out by another of the same port.
    pub evicted: u64,
}

/// The table.
pub struct Addresses {
    entries: HashMap<Station, Entry, Secret>,
    /// By port number.
    owners: Vec<Owner>,
    quota: usize,
    /// What happened so far.
    pub counters: Counters,
}

impl Addresses {
    /// Without addresses; each port may have `quota`.
    pub fn new(secret: Secret, quota: usize) -> Self {
        let entries = HashMap::with_hasher(secret);
        Addresses { entries, owners: Vec::new(), quota: quota.max(1), counters: Counters::default() }
    }

    /// Where the station is, as far as that is known.
    #[inline]
    pub fn find(&self, now: Time, station: Station) -> Option<usize> {
        let entry = self.entries.get(&station)?;
        (now.since(entry.seen) < AGE).then_some(entry.port)
    }

    /// The station has sent from `port`.
    #[inline]
    pub fn learn(&mut self, now: Time, station: Station, port: usize) {
        if self.owners.len() <= port {
            self.owners.resize_with(port + 1, Owner::default);
        }
        if self.owners[port].last.is_some_and(|(last, at)| last == station && now.since(at) < GRAIN) {
            return;
        }
        self.look_up(now, station, port);
    }

    fn look_up(&mut self, now: Time, station: Station, port: usize) {
        match self.entries.get_mut(&station) {
            Some(entry) if entry.port == port => {
                if now.since(entry.seen) >= GRAIN {
                    entry.seen = now;
                }
                self.owners[port].last = Some((station, entry.seen));
            }
            Some(entry) if now.since(entry.seen) < HOLD => self.counters.held += 1,
            Some(_) => {
                self.counters.moved += 1;
                self.remove(station);
                self.insert(now, station, port);
            }
            None => self.insert(now, station, port),
        }
    }

    fn insert(&mut self, now: Time, station: Station, port: usize) {
        let owner = &mut self.owners[port];
        let slot = if owner.stations.len() < self.quota {
            owner.stations.push(station);
            owner.stations.len() - 1
        } else {
            let slot = owner.next;
            owner.next = (slot + 1) % self.quota;
            let old = std::mem::replace(&mut owner.stations[slot], station);
            self.entries.remove(&old);
            self.counters.evicted += 1;
            slot
        };
        owner.last = Some((station, now));
        self.entries.insert(station, Entry { port, slot, seen: now });
    }

    fn remove(&mut self, station: Station) {
        let Some(entry) = self.entries.remove(&station) else { return };
        let owner = &mut self.owners[entry.port];
        owner.stations.swap_remove(entry.slot);
        owner.last = owner.last.filter(|&(last, _)| last != station);
        if let Some(moved) = owner.stations.get(entry.slot).and_then(|moved| self.entries.get_mut(moved)) {
            moved.slot = entry.slot;
        }
    }

    /// The port is unplugged.
    pub fn forget(&mut self, port: usize) {
        let Some(owner) = self.owners.get_mut(port).map(std::mem::take) else { return };
        for station in owner.stations {
            self.entries.remove(&station);
        }
    }

    /// Every address that is known, with its port and how long ago it was used.
    pub fn iter(&self, now: Time) -> impl Iterator<Item = (Station, usize, Duration)> {
        let known = self.entries.iter().map(move |(&s, entry)| (s, entry.port, now.since(entry.seen)));
        known.filter(|&(_, _, age)| age < AGE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(quota: usize) -> Addresses {
        Addresses::new(Secret([3; 16]), quota)
    }

    fn station(number: u32) -> Station {
        let [a, b, c, d] = number.to_be_bytes();
        Station::new(7, Mac([2, 0, a, b, c, d]))
    }

    fn at(seconds: u64) -> Time {
        Time(seconds * 1_000_000)
    }

    #[test]
    fn a_station_is_both_of_its_parts() {
        let mac = Mac([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
        assert_eq!((Station::new(4094, mac).vid(), Station::new(4094, mac).mac()), (4094, mac));
    }

    #[test]
    fn a_flood_of_addresses_costs_only_the_one_who_floods() {
        let mut table = table(8);
        table.learn(at(0), station(0), 1);
        (1..100_000).for_each(|number| table.learn(at(0), station(number), 2));
        assert_eq!(table.find(at(1), station(0)), Some(1));
        assert_eq!((table.entries.len(), table.owners[2].stations.len()), (9, 8));
        assert_eq!(table.counters.evicted, 99_999 - 8);
        assert_eq!(table.find(at(1), station(99_999)), Some(2));
    }

    #[test]
    fn an_address_in_use_cannot_be_taken_and_a_silent_one_moves() {
        let mut table = table(8);
        table.learn(at(0), station(1), 1);
        table.learn(at(1), station(1), 2);
        assert_eq!((table.find(at(1), station(1)), table.counters.held), (Some(1), 1));
        table.learn(at(2), station(1), 2);
        assert_eq!((table.find(at(2), station(1)), table.counters.moved), (Some(2), 1));
    }

    #[test]
    fn addresses_age_and_use_keeps_them() {
        let mut table = table(8);
        table.learn(at(0), station(1), 1);
        table.learn(at(100), station(1), 1);
        assert_eq!(table.find(at(399), station(1)), Some(1));
        assert_eq!(table.find(at(400), station(1)), None);
        table.forget(1);
        assert!(table.entries.is_empty() && table.iter(at(100)).next().is_none());
    }

    #[test]
    fn places_stay_in_step_when_addresses_leave_from_the_middle() {
        let mut table = table(4);
        (0..4).for_each(|number| table.learn(at(0), station(number), 1));
        table.learn(at(9), station(1), 2);
        (4..20).for_each(|number| table.learn(at(9), station(number), 1));
        assert_eq!(table.entries.len(), 5);
        for (slot, station) in table.owners[1].stations.iter().enumerate() {
            assert_eq!((table.entries[station].port, table.entries[station].slot), (1, slot));
        }
    }
}
