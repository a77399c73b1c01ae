//! Any sequence of frames, plugging and time against the model.

use crate::model::{Model, Port};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use wirebay_engine::Time;
use wirebay_engine::loops::LoopGuard;
use wirebay_engine::switch::{Options, Switch, Tagging, Target};
use wirebay_engine::user::Secret;
use wirebay_wire::vlan::{Tag, retag};
use wirebay_wire::{Frame, Gso, GsoKind, Mac, Offload, PartialChecksum};

const VLANS: [u16; 3] = [1, 10, 4094];

#[derive(Clone, Debug)]
enum Step {
    Join(usize, Port),
    Leave(usize),
    Sleep(u64),
    Frame { from: usize, tag: Option<u16>, src: u8, dst: Option<u8> },
}

fn vlan() -> impl Strategy<Value = u16> {
    prop::sample::select(&VLANS[..])
}

fn port() -> impl Strategy<Value = Port> {
    let trunk = option::of(prop::sample::subsequence(&VLANS[..], 1..3));
    (option::of(vlan()), trunk, any::<bool>()).prop_map(|(vlan, trunk, isolated)| Port {
        vlan,
        trunk,
        isolated,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let frame = (0..5_usize, option::of(vlan()), 0..6_u8, option::of(0..6_u8));
    prop_oneof![
        2 => (0..5_usize, port()).prop_map(|(number, port)| Step::Join(number, port)),
        1 => (0..5_usize).prop_map(Step::Leave),
        2 => prop_oneof![0..4_u64, 290..310_u64].prop_map(Step::Sleep),
        12 => frame.prop_map(|(from, tag, src, dst)| Step::Frame { from, tag, src, dst }),
    ]
}

fn mac(number: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, number])
}

/// The frame, different each time so that no loop is seen in it, with a super-segment's state.
fn frame(tag: Option<u16>, src: u8, dst: Option<u8>, number: usize) -> (Vec<u8>, Offload) {
    let dst = dst.map_or(Mac::BROADCAST, mac);
    let mut bytes = [&dst.0[..], &mac(src).0].concat();
    if let Some(vid) = tag {
        bytes.extend([0x81, 0x00, (vid >> 8) as u8, vid as u8]);
    }
    bytes.extend([0x88, 0xb5]);
    bytes.extend(number.to_be_bytes());
    bytes.extend([7; 60]);
    let at = if tag.is_some() { 38 } else { 34 };
    let checksum = Some(PartialChecksum { start: at, offset: 16 });
    let gso = Some(Gso { kind: GsoKind::TcpV4, size: 20, header_len: at + 20 });
    (bytes, Offload { checksum, gso, checksum_valid: false })
}

/// What a target gets, checked against the frame built with that tag from the start.
fn tag_at(
    target: &Target,
    sent: &Frame<'_>,
    own: Option<u16>,
    build: &dyn Fn(Option<u16>) -> (Vec<u8>, Offload),
) -> Option<u16> {
    let mut scratch = Vec::new();
    let (got, tag) = match target.tagging {
        Tagging::AsIs => (*sent, own),
        Tagging::Untagged => (retag(sent, None, &mut scratch).unwrap(), None),
        Tagging::Tagged(tag) => (retag(sent, Some(tag), &mut scratch).unwrap(), Some(tag.vid())),
    };
    let (bytes, offload) = build(tag);
    assert_eq!((got.bytes, got.offload), (&bytes[..], offload));
    tag
}

struct Pair {
    switch: Switch,
    guard: LoopGuard,
    model: Model,
    now: u64,
}

impl Pair {
    fn join(&mut self, number: usize, port: &Port) {
        let trunk = port.trunk.as_ref().map(|all| all.iter().map(|&vid| (vid, vid)).collect());
        let options = Options { vlan: port.vlan, trunk, isolated: port.isolated };
        assert!(self.switch.join(number, &options));
        self.model.forget(number);
        self.model.ports.insert(number, port.clone());
    }

    fn frame(&mut self, from: usize, tag: Option<u16>, src: u8, dst: Option<u8>, number: usize) {
        let build = |tag| frame(tag, src, dst, number);
        let (bytes, offload) = build(tag);
        let frame = Frame { bytes: &bytes, offload };
        let mut out = Vec::new();
        let now = Time(self.now * 1_000_000);
        let routed = self.switch.route(now, from, &frame, &mut self.guard, &mut out);
        if !self.model.ports.contains_key(&from) {
            assert!(routed.is_err() && out.is_empty());
            return;
        }
        let mut got: Vec<_> = out.iter().map(|t| (t.port, tag_at(t, &frame, tag, &build))).collect();
        got.sort_unstable();
        assert_eq!(got, self.model.route(self.now, from, tag, (src, dst)), "{routed:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn frames_go_where_the_model_says(
        first in vec(port(), 3..4), steps in vec(step(), 1..60),
    ) {
        let secret = Secret([5; 16]);
        let (switch, guard) = (Switch::new(secret, 64), LoopGuard::new(secret));
        let mut pair = Pair { switch, guard, model: Model::default(), now: 1000 };
        first.iter().enumerate().for_each(|(number, port)| pair.join(number, port));
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Join(number, port) => pair.join(number, &port),
                Step::Leave(number) => {
                    pair.switch.leave(number);
                    pair.model.ports.remove(&number);
                    pair.model.forget(number);
                }
                Step::Sleep(seconds) => pair.now += seconds,
                Step::Frame { from, tag, src, dst } => pair.frame(from, tag, src, dst, number),
            }
        }
    }

    #[test]
    fn whatever_one_port_sends_another_keeps_its_address_while_it_uses_it(
        frames in vec((any::<[u8; 12]>(), vec(any::<u8>(), 2..40)), 0..200),
    ) {
        let secret = Secret([5; 16]);
        let (mut switch, mut guard) = (Switch::new(secret, 8), LoopGuard::new(secret));
        (0..3).for_each(|port| assert!(switch.join(port, &Options::default())));
        let mut out = Vec::new();
        let (mine, _) = frame(None, 1, None, 0);
        switch.route(Time(0), 0, &Frame::plain(&mine), &mut guard, &mut out).unwrap();
        for (addresses, rest) in frames {
            let bytes = [&addresses[..], &rest[..]].concat();
            let _ = switch.route(Time(1), 1, &Frame::plain(&bytes), &mut guard, &mut out);
            let stolen = [&addresses[..6], &mac(1).0, &rest[..]].concat();
            let _ = switch.route(Time(1), 1, &Frame::plain(&stolen), &mut guard, &mut out);
        }
        prop_assert_eq!(switch.way_to(Time(2), 2, mac(1)), Some(0));
    }
}

#[test]
fn a_tag_is_read_from_the_frame() {
    assert_eq!(Tag::of(&frame(Some(10), 1, None, 0).0), Some(Tag(10)));
}
