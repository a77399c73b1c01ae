//! A switch: it learns where addresses are and sends a frame there only.
//!
//! Theory. A frame that comes in goes through the same questions, each in a file of its own:
//!
//! 1. *Which VLAN is it in?* The port's options and the frame's tag say (`vlans.rs`); a frame of none is dropped.
//! 2. *Where is its destination?* A single look-up in a table that is keyed by VLAN and address (`addresses.rs`). Known:
//!    it goes there. Unknown, broadcast and multicast: to every port of the VLAN, with two exceptions. A group that
//!    somebody reported goes to those who did, while a router asks for reports (`groups.rs`); and a frame that has
//!    already been everywhere is not sent again (`loops.rs`). How much one port may send so is limited (`storm.rs`).
//! 3. *Who sent it?* The source's port is noted, unless that would take the address from one who is using it.
//! 4. *How does it leave?* For each port as it is, without its tag, or with one.
//!
//! The answer is a list of ports, each with its tagging; the switch touches no byte, so a super-segment passes as it
//! came. Nothing is allocated for a frame, and a source that keeps sending costs no look-up.
//!
//! What a guest can make grow is bounded for each port, so what it overflows is its own.

mod addresses;
mod groups;
mod storm;
mod vlans;

use crate::loops::LoopGuard;
use crate::time::Time;
use crate::user::Secret;
pub use addresses::{AGE, Addresses, Counters, GRAIN, HOLD, Station};
use groups::Groups;
use storm::Storm;
pub use vlans::{Options, Tagging, Vlans};
use wirebay_wire::membership::{self, Kind, Notice};
use wirebay_wire::vlan::Tag;
use wirebay_wire::{DropReason, Frame, Mac};

/// Addresses that one port may have.
pub const QUOTA: usize = 1024;

/// A port that a frame goes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target {
    /// Its number.
    pub port: usize,
    /// How the frame is to look there.
    pub tagging: Tagging,
}

struct Place {
    vlans: Vlans,
    isolated: bool,
}

/// A frame on its way through.
#[derive(Clone, Copy)]
struct Passing {
    now: Time,
    from: usize,
    vid: u16,
    tag: Option<Tag>,
    dst: Mac,
    /// The port it came from is isolated.
    isolated: bool,
}

/// The switch; ports are known by number.
pub struct Switch {
    /// In the order they joined.
    members: Vec<usize>,
    places: Vec<Option<Place>>,
    groups: Groups,
    storm: Storm,
    /// Where everybody is.
    pub addresses: Addresses,
}

impl Switch {
    /// Without ports. `secret` keys the tables; each port may have `quota` addresses.
    pub fn new(secret: Secret, quota: usize) -> Self {
        let addresses = Addresses::new(secret, quota);
        let (groups, storm) = (Groups::new(secret), Storm::default());
        Switch { members: Vec::new(), places: Vec::new(), groups, storm, addresses }
    }

    /// Plug a port in, or give one that is in other options; false when they name no VLAN.
    pub fn join(&mut self, port: usize, options: &Options) -> bool {
        let Some(vlans) = Vlans::new(options) else { return false };
        self.leave(port);
        if self.places.len() <= port {
            self.places.resize_with(port + 1, || None);
        }
        self.places[port] = Some(Place { vlans, isolated: options.isolated });
        self.members.push(port);
        true
    }

    /// Unplug a port.
    pub fn leave(&mut self, port: usize) {
        self.forget(port);
        self.storm.forget(port);
        self.members.retain(|&member| member != port);
        if let Some(place) = self.places.get_mut(port) {
            *place = None;
        }
    }

    /// Nobody is behind the port any more, for all that is known.
    pub fn forget(&mut self, port: usize) {
        self.addresses.forget(port);
        self.groups.forget(port);
    }

    /// All ports, in the order they joined.
    pub fn ports(&self) -> &[usize] {
        &self.members
    }

    /// The port that a frame without a tag to `mac` takes, as far as that is known.
    pub fn way_to(&self, now: Time, from: usize, mac: Mac) -> Option<usize> {
        let vid = self.place(from)?.vlans.untagged()?;
        self.addresses.find(now, Station::new(vid, mac))
    }

    /// Fill `out` with the ports that the frame goes to. The error is why it goes nowhere.
    pub fn route(
        &mut self,
        now: Time,
        from: usize,
        frame: &Frame<'_>,
        guard: &mut LoopGuard,
        out: &mut Vec<Target>,
    ) -> Result<(), DropReason> {
        let Some((dst, src)) = addresses(frame.bytes) else { return Err(DropReason::FrameTooShort) };
        let place = self.place(from).ok_or(DropReason::NoHub)?;
        let tag = Tag::of(frame.bytes);
        let passing = Passing { now, from, vid: place.vlans.enter(tag)?, tag, dst, isolated: place.isolated };
        if is_reserved(dst) {
            return Err(DropReason::ReservedAddress);
        }
        let place = if dst.is_multicast() { None } else { self.find(passing) };
        if place.is_none() {
            guard.check(now, from, frame)?;
        }
        if !src.is_multicast() {
            self.addresses.learn(now, Station::new(passing.vid, src), from);
        }
        match place {
            Some(port) => {
                out.push(self.to(passing, port)?);
                return Ok(());
            }
            None if dst.is_multicast() => self.spread(passing, frame, out),
            None => self.flood(passing, out, |_, _| true),
        }
        let admitted = self.storm.admit(now, from, out.len(), frame.bytes.len());
        admitted.inspect_err(|_| out.clear())
    }

    /// A port that has begun to send too much to everybody since this was last asked.
    pub fn pop_storm(&mut self) -> Option<usize> {
        self.storm.pop()
    }

    fn place(&self, port: usize) -> Option<&Place> {
        self.places.get(port)?.as_ref()
    }

    /// Where the destination is, if that port is in the VLAN.
    #[inline]
    fn find(&self, passing: Passing) -> Option<usize> {
        let port = self.addresses.find(passing.now, Station::new(passing.vid, passing.dst))?;
        self.place(port)?.vlans.leave(passing.vid, passing.tag).map(|_| port)
    }

    /// The way to one port.
    #[inline]
    fn to(&self, passing: Passing, port: usize) -> Result<Target, DropReason> {
        if port == passing.from {
            return Err(DropReason::SameSegment);
        }
        let place = self.place(port).ok_or(DropReason::NoHub)?;
        if passing.isolated && place.isolated {
            return Err(DropReason::PortIsolated);
        }
        let tagging = place.vlans.leave(passing.vid, passing.tag).ok_or(DropReason::VlanNotAllowed)?;
        Ok(Target { port, tagging })
    }

    /// To every port of the VLAN that is `chosen`.
    fn flood(&self, passing: Passing, out: &mut Vec<Target>, chosen: impl Fn(&Groups, usize) -> bool) {
        let ports = self.members.iter().filter(|&&port| chosen(&self.groups, port));
        out.extend(ports.filter_map(|&port| self.to(passing, port).ok()));
    }

    /// Broadcast and multicast.
    fn spread(&mut self, passing: Passing, frame: &Frame<'_>, out: &mut Vec<Target>) {
        let Passing { now, vid, dst, .. } = passing;
        let Some(v6) = family(dst) else { return self.flood(passing, out, |_, _| true) };
        let kind = self.snoop(passing, v6, frame);
        let group = Station::new(vid, dst);
        if !self.groups.is_snooping(now, vid, v6) {
            self.flood(passing, out, |_, _| true);
        } else if kind == Some(Kind::Report) {
            self.flood(passing, out, |groups, port| groups.is_router(now, vid, v6, port));
        } else if is_for_all(dst) || !self.groups.is_known(now, group) {
            self.flood(passing, out, |_, _| true);
        } else {
            self.flood(passing, out, |groups, port| {
                groups.wants(now, group, port) || groups.is_router(now, vid, v6, port)
            });
        }
    }

    fn snoop(&mut self, passing: Passing, v6: bool, frame: &Frame<'_>) -> Option<Kind> {
        let Passing { now, from, vid, .. } = passing;
        let groups = &mut self.groups;
        membership::parse(frame.bytes, &mut |notice| match notice {
            Notice::Query => groups.query(now, vid, v6, from),
            Notice::Join(mac) if !is_for_all(mac) => groups.join(now, Station::new(vid, mac), from),
            Notice::Leave(mac) => groups.leave(now, Station::new(vid, mac), from),
            Notice::Join(_) => {}
        })
    }
}

/// Destination and source.
#[inline]
fn addresses(frame: &[u8]) -> Option<(Mac, Mac)> {
    let (dst, rest) = frame.split_first_chunk()?;
    Some((Mac(*dst), Mac(*rest.first_chunk()?)))
}

/// Addresses between switches: spanning tree, pause frames and the like (IEEE 802.1Q table 8-1).
fn is_reserved(dst: Mac) -> bool {
    matches!(dst.0, [0x01, 0x80, 0xc2, 0, 0, 0..0x10])
}

/// Whether a group address is one of IPv6 (true) or IPv4 (false).
fn family(dst: Mac) -> Option<bool> {
    match dst.0 {
        [0x33, 0x33, ..] => Some(true),
        [0x01, 0x00, 0x5e, ..] => Some(false),
        _ => None,
    }
}

/// Groups that nobody reports: 224.0.0.0/24 and `ff02::1` (RFC 4541 sections 2.1.2 and 3).
fn is_for_all(group: Mac) -> bool {
    matches!(group.0, [0x01, 0x00, 0x5e, 0, 0, _] | [0x33, 0x33, 0, 0, 0, 1])
}
