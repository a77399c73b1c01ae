//! Connections that come in through a forward.

use crate::support::dialog::{Dialog, Opening};
use crate::support::fake_sockets::{Fate, errno};
use crate::support::frames::{GUEST, GUEST_MAC, HOST, Packet, Seg, arp_frame, v4};
use crate::support::world::{World, qemu};
use std::time::Duration;
use wirebay_engine::Config;
use wirebay_wire::arp::{REPLY, REQUEST};
use wirebay_wire::tcp::flags::{ACK, RST, SYN};
use wirebay_wire::{DropReason, Mac};

const CLIENT: &str = "203.0.113.9:50000";

fn known_guest() -> World {
    let mut world = World::default();
    world.put(&[arp_frame(REQUEST, (GUEST_MAC, GUEST), HOST)]);
    world
}

fn forwarded(world: &mut World, client: &str) -> Vec<Packet> {
    let slot = world.net.add_forward(v4("10.0.2.15:22"), None);
    world.accept(slot, client);
    world.take()
}

fn only_seg(packets: Vec<Packet>) -> Seg {
    assert_eq!(packets.len(), 1, "{packets:?}");
    packets.into_iter().next().unwrap().seg().unwrap()
}

#[test]
fn the_guest_sees_the_clients_real_address() {
    let syn = only_seg(forwarded(&mut known_guest(), CLIENT));
    assert!(syn.is(SYN));
    assert_eq!((syn.src, syn.dst), (v4(CLIENT), v4("10.0.2.15:22")));
    assert_eq!(syn.mss, Some(1460));
}

#[test]
fn clients_that_the_guest_could_not_answer_seem_to_be_the_host() {
    for client in ["127.0.0.1:50000", "127.8.9.1:50000", "[2001:db8::1]:50000", "10.0.2.99:50000"] {
        assert_eq!(only_seg(forwarded(&mut known_guest(), client)).src, v4("10.0.2.2:50000"), "{client}");
    }
}

#[test]
fn two_clients_that_would_look_the_same_get_different_ports() {
    let mut world = known_guest();
    let first = only_seg(forwarded(&mut world, "127.0.0.1:50000"));
    let second = only_seg(forwarded(&mut world, "127.0.0.2:50000"));
    assert_eq!(first.src.port(), 50_000);
    assert!(second.src.ip() == first.src.ip() && second.src.port() != 50_000);
}

#[test]
fn a_called_guest_talks_and_is_talked_to() {
    let mut dialog = Dialog::called(&Opening::default());
    dialog.peer().sends(b"SSH-2.0-client");
    let segs = dialog.hear();
    assert_eq!(dialog.accept(&segs), b"SSH-2.0-client");
    dialog.say(b"SSH-2.0-guest");
    assert_eq!(dialog.peer().received(), b"SSH-2.0-guest");
    assert_eq!(dialog.world.net.drops.total(), 0);
}

#[test]
fn what_the_client_said_before_the_guest_answered_is_delivered() {
    let mut world = known_guest();
    let syn = only_seg(forwarded(&mut world, CLIENT));
    world.host.peer(0).sends(b"early");
    world.host.peer(0).ends();
    world.settle();
    assert_eq!(world.take(), []);
    let answer = answer_to(&syn);
    let segs: Vec<_> = world.put(&[answer.frame()]).into_iter().filter_map(Packet::seg).collect();
    assert_eq!(segs.iter().flat_map(|seg| seg.payload.clone()).collect::<Vec<_>>(), b"early");
}

fn answer_to(syn: &Seg) -> Seg {
    let (src, dst, ack) = (syn.dst, syn.src, syn.seq.wrapping_add(1));
    Seg {
        src,
        dst,
        seq: 5000,
        ack,
        flags: SYN | ACK,
        window: 0xffff,
        mss: Some(1460),
        scale: Some(7),
        ..syn.clone()
    }
}

#[test]
fn a_guest_that_refuses_makes_the_host_refuse() {
    let mut world = known_guest();
    let syn = only_seg(forwarded(&mut world, CLIENT));
    let refusal = Seg { flags: RST | ACK, seq: 0, ..answer_to(&syn) };
    assert_eq!(world.put(&[refusal.frame()]), []);
    assert_eq!(world.flows(), 0);
    assert_eq!(world.host.peer(0).fate(), Fate::Aborted);
}

#[test]
fn a_refusal_that_acknowledges_something_else_does_not_count() {
    let mut world = known_guest();
    let syn = only_seg(forwarded(&mut world, CLIENT));
    let wrong = Seg { flags: RST | ACK, ack: syn.seq, ..answer_to(&syn) };
    assert_eq!(world.put(&[wrong.frame()]), []);
    assert_eq!(world.flows(), 1);
}

#[test]
fn a_guest_that_remembers_an_old_connection_is_put_right() {
    let mut world = known_guest();
    let syn = only_seg(forwarded(&mut world, CLIENT));
    let old = Seg { flags: ACK, ack: syn.seq.wrapping_sub(70_000), ..answer_to(&syn) };
    let reset = only_seg(world.put(&[old.frame()]));
    assert!(reset.is(RST) && reset.seq == old.ack, "RFC 9293, 3.10.7.3: {reset:?}");
    world.advance(Duration::from_secs(1));
    let again = only_seg(world.take());
    assert!(again.is(SYN) && again.seq == syn.seq);
    let last = only_seg(world.put(&[answer_to(&again).frame()]));
    assert!(last.is(ACK));
}

#[test]
fn a_syn_that_nobody_answers_is_sent_again_and_then_given_up() {
    let mut world = known_guest();
    let syn = only_seg(forwarded(&mut world, CLIENT));
    world.advance(Duration::from_mins(2));
    let mut segs: Vec<_> = world.take().into_iter().filter_map(Packet::seg).collect();
    assert!(segs.pop().unwrap().has(RST));
    let seconds: Vec<_> = segs.iter().map(|seg| seg.at.since(syn.at).as_secs()).collect();
    assert_eq!(seconds, [1, 3, 7, 15, 31]);
    assert!(segs.iter().all(|seg| seg.is(SYN) && seg.seq == syn.seq));
    assert_eq!((world.flows(), world.host.peer(0).fate()), (0, Fate::Aborted));
}

#[test]
fn an_unknown_guest_is_asked_for_first_and_called_when_it_answers() {
    let mut world = World::default();
    let asked = forwarded(&mut world, CLIENT);
    let [Packet::Arp { to: Mac::BROADCAST, message }] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!((message.operation, message.sender_ip, message.target_ip), (REQUEST, HOST, GUEST));
    let call = world.put(&[arp_frame(REPLY, (GUEST_MAC, GUEST), HOST)]);
    let [Packet::Tcp { to: GUEST_MAC, seg: syn }] = &call[..] else { panic!("{call:?}") };
    assert!(syn.is(SYN));
    let last = only_seg(world.put(&[answer_to(syn).frame()]));
    assert!(last.is(ACK));
}

#[test]
fn an_unknown_guest_that_never_answers_is_asked_a_few_times_and_given_up() {
    let mut world = World::default();
    forwarded(&mut world, CLIENT);
    world.advance(Duration::from_mins(2));
    let packets = world.take();
    assert_eq!(packets.len(), 5);
    assert!(packets.iter().all(|packet| matches!(packet, Packet::Arp { .. })), "nothing is sent to nobody");
    assert_eq!((world.flows(), world.host.peer(0).fate()), (0, Fate::Aborted));
    assert_eq!(world.drops(DropReason::NoNeighbor), 1);
}

#[test]
fn a_guest_that_is_heard_of_late_does_not_disturb_a_connection_that_went_on_without() {
    let mut world = World::default();
    forwarded(&mut world, CLIENT);
    // A segment of an old connection tells where the guest is, but nobody learns from it.
    let old = Seg { at: world.now, src: v4("10.0.2.15:22"), dst: v4(CLIENT), ..stale() };
    world.put(&[old.frame()]);
    world.advance(Duration::from_secs(1));
    let syn = world.take().into_iter().filter_map(Packet::seg).find(|seg| seg.is(SYN)).unwrap();
    world.put(&[answer_to(&syn).frame()]);
    let heard_of = world.put(&[arp_frame(REQUEST, (GUEST_MAC, GUEST), HOST)]);
    assert!(heard_of.iter().all(|packet| matches!(packet, Packet::Arp { .. })), "{heard_of:?}");
    world.host.peer(0).sends(b"data");
    world.settle();
    let data = only_seg(world.take());
    assert_eq!((data.seq, &data.payload[..]), (syn.seq.wrapping_add(1), &b"data"[..]));
}

fn stale() -> Seg {
    Dialog::open(&Opening::default()).seg()
}

#[test]
fn a_full_table_takes_no_more_clients_and_keeps_those_it_has() {
    let mut world = World::new(Config { max_flows: 1, ..qemu() });
    world.put(&[arp_frame(REQUEST, (GUEST_MAC, GUEST), HOST)]);
    let syn = only_seg(forwarded(&mut world, CLIENT));
    assert_eq!(forwarded(&mut world, "203.0.113.9:50001"), []);
    assert_eq!(world.drops(DropReason::FlowTableFull), 1);
    assert!(only_seg(world.put(&[answer_to(&syn).frame()])).is(ACK));
}

#[test]
fn a_client_that_goes_away_before_the_guest_answers_makes_a_reset() {
    let mut world = known_guest();
    let syn = only_seg(forwarded(&mut world, CLIENT));
    world.host.peer(0).fails(errno::ECONNRESET);
    world.settle();
    let reset = only_seg(world.take());
    assert!(reset.has(RST) && reset.seq == syn.seq.wrapping_add(1), "{reset:?}");
    assert_eq!(world.flows(), 0);
}

#[test]
fn connections_outlive_the_forward_they_came_by() {
    let mut world = known_guest();
    let slot = world.net.add_forward(v4("10.0.2.15:22"), None);
    world.accept(slot, CLIENT);
    let syn = only_seg(world.take());
    world.net.remove_forward(slot);
    assert!(only_seg(world.put(&[answer_to(&syn).frame()])).is(ACK));
    world.accept(slot, "203.0.113.9:50001");
    assert_eq!(world.take(), []);
    assert_eq!(world.drops(DropReason::UnknownService), 1);
}
