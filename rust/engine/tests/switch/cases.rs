//! Groups, reserved addresses, and reasons.

use wirebay_engine::Time;
use wirebay_engine::loops::LoopGuard;
use wirebay_engine::switch::{Options, Switch};
use wirebay_engine::user::Secret;
use wirebay_wire::ipv4::Ipv4Repr;
use wirebay_wire::{DropReason, Frame, checksum, membership};

struct Lab {
    switch: Switch,
    guard: LoopGuard,
    now: u64,
    count: u8,
}

impl Lab {
    fn new(ports: &[Options]) -> Self {
        let secret = Secret([4; 16]);
        let mut switch = Switch::new(secret, 16);
        ports.iter().enumerate().for_each(|(port, options)| assert!(switch.join(port, options)));
        Lab { switch, guard: LoopGuard::new(secret), now: 1000, count: 0 }
    }

    fn send(&mut self, from: usize, bytes: &[u8]) -> Result<Vec<usize>, DropReason> {
        let mut out = Vec::new();
        let now = Time(self.now * 1_000_000);
        self.switch.route(now, from, &Frame::plain(bytes), &mut self.guard, &mut out)?;
        Ok(out.iter().map(|target| target.port).collect())
    }

    /// A frame unlike any before.
    fn to(&mut self, from: usize, dst: [u8; 6]) -> Result<Vec<usize>, DropReason> {
        self.count += 1;
        let bytes = [&dst[..], &[2, 0, 0, 0, 0, from as u8], &[0x88, 0xb5, self.count], &[0; 50]].concat();
        self.send(from, &bytes)
    }

    fn igmp(&mut self, from: usize, kind: u8, group: [u8; 4]) -> Result<Vec<usize>, DropReason> {
        self.count += 1;
        let dst = if kind == 0x11 { [224, 0, 0, 1] } else { group };
        let mac = membership::mac_v4(dst.into()).unwrap();
        let mut bytes = [&mac.0[..], &[2, 0, 0, 0, 0, from as u8], &[8, 0], &[0; 20]].concat();
        let repr = Ipv4Repr {
            src: [10, 0, 0, from as u8 + 1].into(),
            dst: dst.into(),
            protocol: 2,
            ttl: 1,
            ident: self.count.into(),
            dont_fragment: false,
            payload_len: 8,
        };
        repr.emit(&mut bytes[14..]);
        let mut message = [&[kind, 0, 0, 0][..], &group].concat();
        let sum = checksum::finish(checksum::add(0, &message));
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        self.send(from, &[bytes, message].concat())
    }
}

const GROUP: [u8; 4] = [239, 1, 2, 3];
const GROUP_MAC: [u8; 6] = [1, 0, 0x5e, 1, 2, 3];

/// Port 0 leads to a router that has asked, ports 1 and 2 have hosts, port 3 one that wants the group.
fn snooping() -> Lab {
    let mut lab = Lab::new(&vec![Options::default(); 4]);
    assert_eq!(lab.igmp(0, 0x11, [0; 4]), Ok(vec![1, 2, 3]));
    lab.now += 10;
    assert_eq!(lab.igmp(3, 0x16, GROUP), Ok(vec![0]), "reports are for routers");
    lab
}

#[test]
fn a_group_goes_to_its_members_and_routers() {
    let mut lab = snooping();
    assert_eq!(lab.to(1, GROUP_MAC), Ok(vec![0, 3]));
    assert_eq!(lab.igmp(3, 0x17, GROUP), Ok(vec![0]));
    lab.now += 2;
    assert_eq!(lab.to(1, GROUP_MAC), Ok(vec![0, 2, 3]), "nobody's group is everybody's");
}

#[test]
fn local_groups_and_unknown_ones_go_everywhere() {
    let mut lab = snooping();
    for group in [[1, 0, 0x5e, 0, 0, 251], [1, 0, 0x5e, 9, 9, 9], [0x33, 0x33, 0, 0, 0, 1], [0xff; 6]] {
        assert_eq!(lab.to(1, group), Ok(vec![0, 2, 3]), "{group:?}");
    }
}

#[test]
fn without_a_router_every_group_goes_everywhere() {
    let mut lab = snooping();
    lab.now += 250;
    assert_eq!(lab.to(1, GROUP_MAC), Ok(vec![0, 2, 3]));
}

#[test]
fn addresses_between_switches_are_not_passed_on() {
    let mut lab = Lab::new(&vec![Options::default(); 2]);
    assert_eq!(lab.to(0, [1, 0x80, 0xc2, 0, 0, 0]), Err(DropReason::ReservedAddress));
    assert_eq!(lab.to(0, [1, 0x80, 0xc2, 0, 0, 0x10]), Ok(vec![1]));
}

#[test]
fn isolated_ports_reach_the_others_only() {
    let isolated = Options { isolated: true, ..Options::default() };
    let mut lab = Lab::new(&[isolated.clone(), isolated, Options::default()]);
    assert_eq!(lab.to(0, [0xff; 6]), Ok(vec![2]));
    assert_eq!(lab.to(1, [2, 0, 0, 0, 0, 0]), Err(DropReason::PortIsolated));
    assert_eq!(lab.to(2, [2, 0, 0, 0, 0, 0]), Ok(vec![0]));
}

#[test]
fn a_frame_for_its_own_segment_and_one_of_no_vlan_have_their_reasons() {
    let access = Options { vlan: Some(10), ..Options::default() };
    let mut lab = Lab::new(&[Options::default(), access]);
    assert_eq!(lab.to(0, [0xff; 6]), Ok(vec![]), "VLAN 10 is not the untagged one");
    assert_eq!(lab.to(0, [2, 0, 0, 0, 0, 0]), Err(DropReason::SameSegment));
    let tagged = [&[0xff; 6][..], &[2; 6], &[0x81, 0, 0, 10, 0x88, 0xb5], &[0; 46]].concat();
    assert_eq!(lab.send(1, &tagged), Err(DropReason::VlanNotAllowed));
    assert_eq!(lab.send(0, &tagged), Ok(vec![1]));
}
