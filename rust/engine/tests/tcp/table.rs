//! Many connections, and too many.

use crate::support::dialog::{Dialog, Opening};
use crate::support::fake_host::FakeHost;
use crate::support::frames::{Options, Packet, Seg, v4};
use crate::support::world::{World, qemu};
use std::net::{IpAddr, SocketAddr};
use wirebay_engine::Config;
use wirebay_wire::DropReason;
use wirebay_wire::tcp::flags::{ACK, FIN, PSH, RST, SYN};

fn template() -> Seg {
    Dialog::open(&Opening::default()).seg()
}

/// The guest's end number `i`, one of as many as there may be.
fn end(i: u32) -> SocketAddr {
    SocketAddr::from(([10, 0, 2, 15 + (i / 60_000) as u8], 1024 + (i % 60_000) as u16))
}

fn syn(i: u32) -> Seg {
    Seg { src: end(i), dst: v4("192.0.2.1:7"), seq: i, ack: 0, flags: SYN, mss: Some(1460), ..template() }
}

/// One segment in, the segments out.
fn put(world: &mut World, seg: &Seg) -> Vec<Seg> {
    world.put(&[seg.frame()]).into_iter().filter_map(Packet::seg).collect()
}

/// The whole handshake; the guest's next segment.
fn open(world: &mut World, syn: &Seg) -> Seg {
    let answers = put(world, syn);
    assert!(answers.len() == 1 && answers[0].is(SYN | ACK), "{answers:?}");
    let seg =
        Seg { seq: syn.seq.wrapping_add(1), ack: answers[0].end(), flags: ACK, mss: None, ..syn.clone() };
    assert_eq!(put(world, &seg), []);
    seg
}

fn echo(host: &FakeHost, number: usize) {
    let peer = host.peer(number);
    let heard = peer.received();
    peer.sends(&heard);
}

#[test]
fn a_full_table_refuses_new_connections_and_leaves_the_others_alone() {
    let mut world = World::new(Config { max_flows: 10, ..qemu() });
    let mut segs: Vec<_> = (0..10).map(|i| open(&mut world, &syn(i))).collect();
    for i in 10..20 {
        let answers = put(&mut world, &syn(i));
        assert!(answers.len() == 1 && answers[0].is(RST | ACK) && answers[0].ack == i + 1, "{answers:?}");
    }
    assert_eq!(world.drops(DropReason::FlowTableFull), 10);
    assert_eq!((world.flows(), world.host.connections()), (10, 10));
    for (i, seg) in segs.iter_mut().enumerate() {
        put(&mut world, &Seg { flags: ACK | PSH, payload: b"here".to_vec(), ..seg.clone() });
        assert_eq!(world.host.peer(i).received(), b"here");
        seg.seq = seg.seq.wrapping_add(4);
    }
}

#[test]
fn a_place_that_has_become_free_is_used_again() {
    let mut world = World::new(Config { max_flows: 1, ..qemu() });
    for i in 0..5 {
        let seg = open(&mut world, &syn(i));
        assert!(put(&mut world, &syn(99))[0].has(RST));
        put(&mut world, &Seg { flags: RST, ..seg });
        assert_eq!(world.flows(), 0);
    }
}

#[test]
fn connections_that_differ_in_any_part_of_their_ends_are_different() {
    let mut world = World::default();
    let base = syn(1);
    let others = [
        base.clone(),
        Seg { src: v4("10.0.2.16:1025"), ..base.clone() },
        Seg { src: v4("10.0.2.15:1026"), ..base.clone() },
        Seg { dst: v4("192.0.2.2:7"), ..base.clone() },
        Seg { dst: v4("192.0.2.1:8"), ..base },
    ];
    for (i, syn) in others.iter().enumerate() {
        let seg = open(&mut world, syn);
        put(&mut world, &Seg { flags: ACK | PSH, payload: vec![i as u8], ..seg });
        assert_eq!(world.host.peer(i).received(), [i as u8]);
    }
    assert_eq!(world.flows(), others.len());
}

#[test]
fn sixty_five_thousand_connections_at_once_are_all_answered() {
    const MANY: u32 = 65_536;
    let mut world = World::default();
    let mut segs: Vec<_> = (0..MANY).map(|i| open(&mut world, &syn(i))).collect();
    assert_eq!(world.net.census().tcp, MANY as usize);
    for (i, seg) in segs.iter_mut().enumerate() {
        let data = Seg { flags: ACK | PSH, payload: vec![i as u8], ..seg.clone() };
        assert_eq!(put(&mut world, &data), []);
        (seg.seq, seg.payload) = (data.end(), vec![i as u8]);
    }
    (0..segs.len()).for_each(|i| echo(&world.host, i));
    world.settle();
    let mut answered = 0;
    for answer in world.take().into_iter().filter_map(Packet::seg) {
        let IpAddr::V4(guest) = answer.dst.ip() else { panic!("an answer of the other family") };
        let i = (u32::from(guest.octets()[3]) - 15) * 60_000 + u32::from(answer.dst.port()) - 1024;
        assert_eq!((answer.ack, answer.seq), (segs[i as usize].seq, segs[i as usize].ack));
        assert_eq!(answer.payload, segs[i as usize].payload);
        answered += 1;
        segs[i as usize].ack = answer.end();
    }
    assert_eq!(answered, MANY);
    close_all(&mut world, &segs);
    assert_eq!((world.flows(), world.net.next_deadline()), (0, None));
    assert_eq!(world.net.drops.total(), 0);
}

fn close_all(world: &mut World, segs: &[Seg]) {
    for (i, seg) in segs.iter().enumerate() {
        world.give(&Seg { flags: ACK | FIN, payload: Vec::new(), ..seg.clone() }.frame());
        world.host.peer(i).ends();
    }
    world.settle();
    for answer in world.take().into_iter().filter_map(Packet::seg).filter(|seg| seg.has(FIN)) {
        let last =
            Seg { seq: answer.ack, ack: answer.end(), src: answer.dst, dst: answer.src, ..template_ack() };
        world.give(&last.frame());
    }
    world.settle();
}

fn template_ack() -> Seg {
    let at = wirebay_engine::Time(0);
    let (src, dst) = (end(0), end(0));
    Seg {
        at,
        src,
        dst,
        seq: 0,
        ack: 0,
        flags: ACK,
        window: 0xffff,
        mss: None,
        scale: None,
        options: Options::default(),
        payload: Vec::new(),
    }
}
