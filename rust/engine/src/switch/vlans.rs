//! Which VLANs a port is in, and how their frames look there (IEEE 802.1Q clauses 6.9 and 8.8).
//!
//! | `vlan` | `trunk` | untagged frames | tagged frames |
//! |---|---|---|---|
//! | | | the untagged VLAN | every VLAN |
//! | 10 | | VLAN 10 | none |
//! | | 10, 20 | none | VLANs 10 and 20 |
//! | 10 | 20 | VLAN 10 | VLAN 20 |
//!
//! The untagged VLAN has the number 0 here. Between ports without options tags therefore pass as they are.

use wirebay_wire::DropReason;
use wirebay_wire::vlan::{MAX_VID, Tag};

/// What a port asked for; ranges include both ends.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct Options {
    /// The VLAN of untagged frames.
    pub vlan: Option<u16>,
    /// The VLANs of tagged frames.
    pub trunk: Option<Vec<(u16, u16)>>,
    /// The port reaches only ports that are not isolated.
    pub isolated: bool,
}

/// How a frame is to look where it leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tagging {
    /// As it came.
    AsIs,
    /// Without its tag.
    Untagged,
    /// With this tag, in place of the one it has or beside none.
    Tagged(Tag),
}

/// The VLANs of one port.
pub struct Vlans {
    untagged: Option<u16>,
    /// One bit a VLAN; `None`: no tagged frames.
    tagged: Option<Box<[u64; 64]>>,
}

impl Vlans {
    /// From options; `None` when a number is no VLAN or a range is the wrong way round.
    pub fn new(options: &Options) -> Option<Self> {
        let everything = (options.vlan.is_none() && options.trunk.is_none()).then(|| vec![(1, MAX_VID)]);
        let untagged = if everything.is_some() { Some(0) } else { options.vlan };
        let is_vlan = |vid: u16| (1..=MAX_VID).contains(&vid);
        if options.vlan.is_some_and(|vid| !is_vlan(vid)) {
            return None;
        }
        let Some(ranges) = everything.as_ref().or(options.trunk.as_ref()) else {
            return Some(Vlans { untagged, tagged: None });
        };
        let mut bits = Box::new([0; 64]);
        for &(first, last) in ranges {
            if !is_vlan(first) || !is_vlan(last) || first > last {
                return None;
            }
            (first..=last).for_each(|vid| bits[usize::from(vid / 64)] |= 1_u64 << (vid % 64));
        }
        Some(Vlans { untagged, tagged: Some(bits) })
    }

    /// The VLAN of a frame that comes in with this outer tag.
    #[inline]
    pub fn enter(&self, tag: Option<Tag>) -> Result<u16, DropReason> {
        match tag.map(Tag::vid) {
            None | Some(0) => self.untagged.ok_or(DropReason::VlanNotAllowed),
            Some(vid) if self.carries(vid) => Ok(vid),
            Some(_) => Err(DropReason::VlanNotAllowed),
        }
    }

    /// How a frame of VLAN `vid`, which came with `tag`, leaves; `None` when it does not.
    #[inline]
    pub fn leave(&self, vid: u16, tag: Option<Tag>) -> Option<Tagging> {
        if self.untagged == Some(vid) {
            // A tag that carries only a priority stays where there are no VLANs.
            return Some(if tag.is_none() || vid == 0 { Tagging::AsIs } else { Tagging::Untagged });
        }
        if !self.carries(vid) {
            return None;
        }
        let same = tag.is_some_and(|tag| tag.vid() == vid);
        Some(if same { Tagging::AsIs } else { Tagging::Tagged(tag.unwrap_or(Tag(0)).with_vid(vid)) })
    }

    /// The VLAN of what comes without a tag.
    pub fn untagged(&self) -> Option<u16> {
        self.untagged
    }

    #[inline]
    fn carries(&self, vid: u16) -> bool {
        self.tagged.as_ref().is_some_and(|bits| bits[usize::from(vid / 64)] >> (vid % 64) & 1 != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vlans(vlan: Option<u16>, trunk: Option<&[(u16, u16)]>) -> Vlans {
        Vlans::new(&Options { vlan, trunk: trunk.map(<[_]>::to_vec), isolated: false }).unwrap()
    }

    #[test]
    fn each_kind_of_port_takes_what_its_table_says() {
        let no = Err(DropReason::VlanNotAllowed);
        for (port, expected) in [
            (vlans(None, None), [Ok(0), Ok(0), Ok(10), Ok(20)]),
            (vlans(Some(10), None), [Ok(10), Ok(10), no, no]),
            (vlans(None, Some(&[(10, 10), (20, 30)])), [no, no, Ok(10), Ok(20)]),
            (vlans(Some(10), Some(&[(20, 20)])), [Ok(10), Ok(10), no, Ok(20)]),
        ] {
            let tags = [None, Some(Tag(0x2000)), Some(Tag(10)), Some(Tag(0x6014))];
            assert_eq!(tags.map(|tag| port.enter(tag)), expected);
        }
    }

    #[test]
    fn a_frame_leaves_with_the_tag_its_port_wants() {
        let (open, access, trunk) =
            (vlans(None, None), vlans(Some(10), None), vlans(None, Some(&[(10, 11)])));
        assert_eq!(open.leave(10, None), Some(Tagging::Tagged(Tag(10))));
        assert_eq!(open.leave(10, Some(Tag(10))), Some(Tagging::AsIs));
        assert_eq!(open.leave(0, Some(Tag(0xe000))), Some(Tagging::AsIs));
        assert_eq!(access.leave(10, Some(Tag(10))), Some(Tagging::Untagged));
        assert_eq!(access.leave(10, None), Some(Tagging::AsIs));
        assert_eq!(access.leave(0, None), None);
        assert_eq!(trunk.leave(11, Some(Tag(0xe000))), Some(Tagging::Tagged(Tag(0xe00b))));
        assert_eq!(trunk.leave(12, None), None);
    }

    #[test]
    fn what_is_no_vlan_is_refused() {
        for (vlan, trunk) in
            [(Some(0), None), (Some(4095), None), (None, Some(vec![(5, 4)])), (None, Some(vec![(0, 4)]))]
        {
            assert!(Vlans::new(&Options { vlan, trunk, isolated: false }).is_none());
        }
    }
}
