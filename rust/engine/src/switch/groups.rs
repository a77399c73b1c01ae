//! Which port wants which multicast group, learned from IGMP and MLD in passing (RFC 4541).
//!
//! Snooping relies on a router that asks: members repeat their reports only when asked. So groups count in a VLAN, for
//! one family, only while a router has been heard there, and not before everybody had time to answer it; until then,
//! and for groups nobody has reported, everything goes everywhere. A port whose memberships do not fit its quota gets
//! every group for a while: it cannot cost others theirs.

use super::addresses::Station;
use crate::time::Time;
use crate::user::Secret;
use hashbrown::HashMap;
use std::time::Duration;

/// A report holds so long: two of its router's questions and an answer (RFC 3376 section 8.4).
const MEMBER: Duration = Duration::from_secs(260);
/// A router counts so long after it has asked (RFC 3376 section 8.5).
const ROUTER: Duration = Duration::from_secs(255);
/// How long members may take to answer (RFC 3376 section 8.3).
const ANSWER: Duration = Duration::from_secs(10);
/// After a leave its router asks whether somebody is left; the answers come within this (RFC 3376 section 8.8).
const LAST: Duration = Duration::from_secs(2);
/// Memberships of one port.
const QUOTA: usize = 256;
/// VLANs in which one port may seem to lead to a router.
const ROUTERS: usize = 16;

struct Member {
    port: usize,
    until: Time,
}

struct Router {
    port: usize,
    vid: u16,
    v6: bool,
    since: Time,
    until: Time,
}

/// Memberships and routers of one switch.
pub struct Groups {
    members: HashMap<Station, Vec<Member>, Secret>,
    routers: Vec<Router>,
    /// Memberships by port number.
    counts: Vec<usize>,
    /// Ports that get everything for now.
    greedy: Vec<Member>,
    swept: Time,
}

impl Groups {
    /// Without members.
    pub fn new(secret: Secret) -> Self {
        Groups {
            members: HashMap::with_hasher(secret),
            routers: Vec::new(),
            counts: Vec::new(),
            greedy: Vec::new(),
            swept: Time::default(),
        }
    }

    /// Do memberships count there? Only with a router that everybody has had time to answer.
    pub fn is_snooping(&self, now: Time, vid: u16, v6: bool) -> bool {
        let mut routers = self.routers.iter().filter(|r| r.vid == vid && r.v6 == v6);
        routers.any(|r| now < r.until && r.since + ANSWER <= now)
    }

    /// Whether the port leads to a router.
    pub fn is_router(&self, now: Time, vid: u16, v6: bool, port: usize) -> bool {
        self.routers.iter().any(|r| r.port == port && r.vid == vid && r.v6 == v6 && now < r.until)
    }

    /// Has anybody reported the group?
    pub fn is_known(&self, now: Time, group: Station) -> bool {
        self.members.get(&group).is_some_and(|members| members.iter().any(|m| now < m.until))
    }

    /// Whether the port is to have the group.
    pub fn wants(&self, now: Time, group: Station, port: usize) -> bool {
        let member = |m: &Member| m.port == port && now < m.until;
        self.greedy.iter().any(member) || self.members.get(&group).is_some_and(|all| all.iter().any(member))
    }

    /// A router has asked from the port.
    pub fn query(&mut self, now: Time, vid: u16, v6: bool, port: usize) {
        self.routers.retain(|r| now < r.until);
        let until = now + ROUTER;
        let known = self.routers.iter_mut().find(|r| r.port == port && r.vid == vid && r.v6 == v6);
        if let Some(router) = known {
            router.until = until;
        } else if self.routers.iter().filter(|r| r.port == port).count() < ROUTERS {
            self.routers.push(Router { port, vid, v6, since: now, until });
        }
    }

    /// The port wants the group.
    pub fn join(&mut self, now: Time, group: Station, port: usize) {
        let until = now + MEMBER;
        let members = self.members.get_mut(&group);
        if let Some(member) = members.and_then(|all| all.iter_mut().find(|m| m.port == port)) {
            member.until = until;
        } else if self.has_place(now, port) {
            self.counts[port] += 1;
            self.members.entry(group).or_default().push(Member { port, until });
        } else {
            self.greedy.retain(|m| m.port != port);
            self.greedy.push(Member { port, until });
        }
    }

    /// Somebody there wants it no longer; others on the same port answer their router if they still do.
    pub fn leave(&mut self, now: Time, group: Station, port: usize) {
        let members = self.members.get_mut(&group);
        if let Some(member) = members.and_then(|all| all.iter_mut().find(|m| m.port == port)) {
            member.until = member.until.min(now + LAST);
        }
    }

    /// The port is unplugged.
    pub fn forget(&mut self, port: usize) {
        self.routers.retain(|r| r.port != port);
        self.greedy.retain(|m| m.port != port);
        self.keep(&|member| member.port != port);
    }

    fn has_place(&mut self, now: Time, port: usize) -> bool {
        if self.counts.len() <= port {
            self.counts.resize(port + 1, 0);
        }
        // Rarely: going through all groups must not be something a guest can ask for with each frame.
        if self.counts[port] >= QUOTA && now.since(self.swept) >= LAST {
            self.swept = now;
            self.keep(&|member| now < member.until);
            self.greedy.retain(|m| now < m.until);
        }
        self.counts[port] < QUOTA
    }

    fn keep(&mut self, worth: &dyn Fn(&Member) -> bool) {
        let counts = &mut self.counts;
        self.members.retain(|_, members| {
            members.retain(|member| {
                let keep = worth(member);
                counts[member.port] -= usize::from(!keep);
                keep
            });
            !members.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wirebay_wire::Mac;

    fn at(seconds: u64) -> Time {
        Time(seconds * 1_000_000)
    }

    fn group(number: u16) -> Station {
        let [a, b] = number.to_be_bytes();
        Station::new(0, Mac([1, 0, 0x5e, 1, a, b]))
    }

    #[test]
    fn snooping_starts_when_a_router_could_be_answered_and_ends_with_it() {
        let mut groups = Groups::new(Secret([1; 16]));
        groups.query(at(5), 0, false, 3);
        assert!(!groups.is_snooping(at(14), 0, false) && groups.is_snooping(at(15), 0, false));
        assert!(!groups.is_snooping(at(15), 0, true) && !groups.is_snooping(at(15), 1, false));
        assert!(groups.is_router(at(15), 0, false, 3) && !groups.is_router(at(15), 0, false, 4));
        groups.query(at(130), 0, false, 3);
        assert!(groups.is_snooping(at(384), 0, false) && !groups.is_snooping(at(385), 0, false));
    }

    #[test]
    fn a_membership_ends_by_time_or_soon_after_a_leave_that_nobody_answers() {
        let mut groups = Groups::new(Secret([1; 16]));
        groups.join(at(0), group(1), 1);
        groups.join(at(0), group(1), 2);
        groups.leave(at(10), group(1), 1);
        assert!(groups.wants(at(11), group(1), 1) && !groups.wants(at(12), group(1), 1));
        groups.join(at(11), group(1), 1);
        assert!(groups.wants(at(12), group(1), 1), "somebody else there has answered");
        assert!(groups.wants(at(259), group(1), 2) && !groups.wants(at(260), group(1), 2));
        assert!(groups.is_known(at(270), group(1)) && !groups.is_known(at(271), group(1)));
    }

    #[test]
    fn a_flood_of_reports_is_bounded_and_gives_its_sender_everything() {
        let mut groups = Groups::new(Secret([1; 16]));
        groups.join(at(0), group(0), 1);
        (0..10_000).for_each(|number| groups.join(at(1), group(number), 2));
        assert_eq!((groups.counts[2], groups.members.len()), (QUOTA, QUOTA));
        assert!(groups.wants(at(2), group(9_999), 2) && groups.wants(at(2), group(0), 1));
        assert!(!groups.wants(at(2), group(9_999), 1));
        groups.join(at(300), group(9_999), 2);
        assert_eq!(groups.counts[2], 1);
        groups.forget(2);
        assert!(!groups.wants(at(300), group(9_999), 2));
    }
}
