//! A switch as a textbook has it: a list that is searched, with no bound and no short cut.

use std::collections::BTreeMap;

pub const AGE: u64 = 300;
pub const HOLD: u64 = 2;

/// A port's options: access VLAN, trunk VLANs, isolated.
#[derive(Clone, Debug)]
pub struct Port {
    pub vlan: Option<u16>,
    pub trunk: Option<Vec<u16>>,
    pub isolated: bool,
}

impl Port {
    fn open(&self) -> bool {
        self.vlan.is_none() && self.trunk.is_none()
    }

    /// The VLAN of a frame with this tag, 0 where there is none.
    fn vlan_of(&self, tag: Option<u16>) -> Option<u16> {
        match tag {
            None => self.vlan.or(self.open().then_some(0)),
            Some(_) if self.open() => tag,
            Some(vid) => self.trunk.as_ref()?.contains(&vid).then_some(vid),
        }
    }

    /// The tag that a frame of the VLAN has behind this port.
    #[allow(clippy::option_option)] // whether it leaves, and with which tag if any
    fn tag_for(&self, vid: u16) -> Option<Option<u16>> {
        if self.vlan == Some(vid) || (self.open() && vid == 0) {
            return Some(None);
        }
        let carried = self.open() || self.trunk.as_ref().is_some_and(|trunk| trunk.contains(&vid));
        carried.then_some(Some(vid))
    }
}

#[derive(Default)]
pub struct Model {
    pub ports: BTreeMap<usize, Port>,
    /// Where a station in a VLAN is, and when it last sent, in seconds.
    pub stations: Vec<((u16, u8), usize, u64)>,
}

impl Model {
    pub fn forget(&mut self, port: usize) {
        self.stations.retain(|&(_, at, _)| at != port);
    }

    /// Where a frame goes, with its tag there.
    pub fn route(
        &mut self,
        now: u64,
        from: usize,
        tag: Option<u16>,
        (src, dst): (u8, Option<u8>),
    ) -> Vec<(usize, Option<u16>)> {
        let Some(vid) = self.ports[&from].vlan_of(tag) else { return vec![] };
        let place = dst.and_then(|dst| self.find(now, (vid, dst)));
        let place = place.filter(|port| self.ports[port].tag_for(vid).is_some());
        self.learn(now, (vid, src), from);
        let all = self.ports.iter().filter(|&(&port, _)| port != from);
        let all = all.filter(|&(&port, _)| place.is_none_or(|place| place == port));
        let allowed = all.filter(|(_, port)| !(port.isolated && self.ports[&from].isolated));
        allowed.filter_map(|(&number, port)| Some((number, port.tag_for(vid)?))).collect()
    }

    fn find(&self, now: u64, station: (u16, u8)) -> Option<usize> {
        let found = self.stations.iter().find(|(known, _, at)| *known == station && now - at < AGE)?;
        Some(found.1)
    }

    fn learn(&mut self, now: u64, station: (u16, u8), port: usize) {
        match self.stations.iter_mut().find(|(known, ..)| *known == station) {
            Some((_, place, at)) if *place == port => *at = now,
            Some((_, _, at)) if now - *at < HOLD => {}
            Some((_, place, at)) => (*place, *at) = (port, now),
            None => self.stations.push((station, port, now)),
        }
    }
}
