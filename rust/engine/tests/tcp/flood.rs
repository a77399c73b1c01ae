//! Floods of SYNs: half-open connections are bounded, the others are not touched, and new ones still open.

use crate::support::dialog::{Dialog, Opening};
use crate::support::fake_host::Connect;
use crate::support::fake_sockets::Fate;
use crate::support::frames::{Packet, Seg, v4};
use crate::support::world::{World, qemu};
use std::net::SocketAddr;
use std::time::Duration;
use wirebay_engine::Config;
use wirebay_wire::DropReason;
use wirebay_wire::tcp::flags::{ACK, PSH, RST, SYN};

const FLOWS: usize = 100;

fn world(connect: Connect) -> World {
    let world = World::new(Config { max_flows: FLOWS, ..qemu() });
    world.host.kernel().connect = connect;
    world
}

fn syn(port: u16) -> Seg {
    let src = SocketAddr::new(v4("10.0.2.15:1").ip(), port);
    Seg { src, seq: 7, ack: 0, flags: SYN, mss: Some(1460), ..Dialog::open(&Opening::default()).seg() }
}

fn put(world: &mut World, seg: &Seg) -> Vec<Seg> {
    world.put(&[seg.frame()]).into_iter().filter_map(Packet::seg).collect()
}

fn open(world: &mut World, port: u16) -> Seg {
    let syn = syn(port);
    let answer = put(world, &syn).into_iter().find(|seg| seg.dst.port() == port).unwrap();
    assert!(answer.is(SYN | ACK), "{answer:?}");
    let seg = Seg { seq: syn.end(), ack: answer.end(), flags: ACK, mss: None, ..syn };
    put(world, &seg);
    seg
}

#[test]
fn at_most_a_quarter_of_the_table_is_half_open_and_the_oldest_gives_way() {
    for connect in [Connect::AtOnce, Connect::Later] {
        let mut world = world(connect);
        for port in 1..=25 {
            let answers = put(&mut world, &syn(port));
            assert!(answers.iter().all(|seg| seg.is(SYN | ACK)));
        }
        assert_eq!((world.flows(), world.drops(DropReason::TcpGaveWay)), (25, 0));
        for port in 26..=125 {
            let answers = put(&mut world, &syn(port));
            let reset = answers.iter().find(|seg| seg.has(RST)).unwrap();
            assert_eq!(reset.dst.port(), port - 25, "the oldest");
            assert_eq!(world.host.peer(usize::from(port) - 26).fate(), Fate::Aborted);
            assert_eq!(world.flows(), 25);
        }
        assert_eq!(world.drops(DropReason::TcpGaveWay), 100);
    }
}

#[test]
fn connections_that_are_open_do_not_give_way_and_do_not_count() {
    let mut world = world(Connect::AtOnce);
    let mut segs: Vec<_> = (1..=70).map(|port| open(&mut world, port)).collect();
    for port in 1000..3000 {
        put(&mut world, &syn(port));
    }
    assert_eq!((world.flows(), world.drops(DropReason::FlowTableFull)), (95, 0));
    for (i, seg) in segs.iter_mut().enumerate() {
        put(&mut world, &Seg { flags: ACK | PSH, payload: b"here".to_vec(), ..seg.clone() });
        assert_eq!(world.host.peer(i).received(), b"here");
    }
}

#[test]
fn in_the_middle_of_a_flood_others_connect() {
    let mut world = world(Connect::AtOnce);
    for round in 0..50 {
        for port in 1000..1020 {
            put(&mut world, &syn(port + 20 * round));
        }
        open(&mut world, 100 + round);
    }
    assert_eq!(world.flows(), 74, "50 of them are open");
}

#[test]
fn what_has_opened_or_ended_makes_place() {
    let mut world = world(Connect::AtOnce);
    for round in 0..40 {
        for port in 1..=25 {
            let syn = syn(port);
            put(&mut world, &syn);
            put(&mut world, &Seg { flags: RST, seq: syn.end(), ..syn });
        }
        assert_eq!(world.flows(), 0, "in round {round}");
    }
    assert_eq!(world.drops(DropReason::TcpGaveWay), 0);
    (1..=25).for_each(|port| drop(put(&mut world, &syn(port))));
    world.advance(Duration::from_mins(2));
    world.take();
    assert_eq!((world.flows(), world.net.next_deadline()), (0, None));
    (1..=25).for_each(|port| drop(put(&mut world, &syn(port))));
    assert_eq!((world.flows(), world.drops(DropReason::TcpGaveWay)), (25, 0));
}

#[test]
fn connects_that_fail_make_place() {
    let mut world = world(Connect::Later);
    for round in 0..10 {
        for port in 1..=25 {
            put(&mut world, &syn(port));
            world.host.peer(round * 25 + usize::from(port) - 1).fails(111);
            world.settle();
        }
    }
    assert_eq!((world.flows(), world.drops(DropReason::TcpGaveWay)), (0, 0));
}

#[test]
fn clients_of_a_forward_do_not_count_as_guests_that_open() {
    let mut world = world(Connect::AtOnce);
    let slot = world.net.add_forward(v4("10.0.2.15:22"), None);
    for port in 0..50 {
        world.accept(slot, &format!("203.0.113.9:{}", 1000 + port));
    }
    (1..=25).for_each(|port| drop(put(&mut world, &syn(port))));
    assert_eq!((world.flows(), world.drops(DropReason::TcpGaveWay)), (75, 0));
}
