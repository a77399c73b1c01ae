//! The way to a guest that takes only so much: nothing is sent that would be dropped there, and nobody is forgotten.

use crate::support::dialog::{Dialog, Opening};
use crate::support::frames::Seg;
use crate::support::rng::Stream;
use std::time::Duration;

/// A connection with a megabyte on its way down, and what of it is sent at first.
fn sending(room: usize, drains: bool) -> (Dialog, Vec<Seg>) {
    let mut dialog = Dialog::open(&Opening { scale: Some(8), ..Opening::default() });
    (dialog.world.room, dialog.world.drains) = (room, drains);
    dialog.peer().sends(&Stream(9).bytes(0, 1 << 20));
    let segs = dialog.hear();
    (dialog, segs)
}

fn payload(segs: &[Seg]) -> usize {
    segs.iter().map(|seg| seg.payload.len()).sum()
}

#[test]
fn no_more_is_sent_than_there_is_room_for() {
    for room in [0, 1000, 1600, 20_000, 70_000, 200_000, 600_000] {
        let (dialog, segs) = sending(room, false);
        assert!(payload(&segs) <= room, "{} bytes into {room}", payload(&segs));
        assert!(payload(&segs) + 2 * 1514 + 10 * 54 > room, "only {} bytes into {room}", payload(&segs));
        assert!(dialog.world.net.is_stalled());
    }
}

#[test]
fn a_flow_that_found_no_room_goes_on_when_there_is_some() {
    let (mut dialog, segs) = sending(20_000, false);
    let mut data = dialog.accept(&segs);
    while data.len() < 1 << 20 {
        assert_eq!(dialog.hear(), [], "without room nothing happens");
        dialog.world.room = 50_000;
        dialog.world.net.unstall();
        let segs = dialog.hear();
        assert!(!segs.is_empty() && payload(&segs) <= 50_000);
        data.extend(dialog.accept(&segs));
        dialog.acknowledge();
    }
    Stream(9).check(0, &data);
    assert!(!dialog.world.net.is_stalled());
}

#[test]
fn a_way_that_drains_at_once_stops_nobody() {
    let (mut dialog, segs) = sending(70_000, true);
    assert_eq!(payload(&segs), 1 << 20, "what is delivered does not take room any more");
    Stream(9).check(0, &dialog.accept(&segs));
    assert!(!dialog.world.net.is_stalled());
}

#[test]
fn a_flow_that_ends_while_it_waits_for_room_is_not_called_again() {
    let (mut dialog, _) = sending(0, false);
    dialog.put(&Seg { flags: wirebay_wire::tcp::flags::RST, ..dialog.seg() });
    assert!(!dialog.lives());
    dialog.world.room = usize::MAX;
    dialog.world.net.unstall();
    assert_eq!(dialog.hear(), []);
    assert_eq!(dialog.advance(Duration::from_hours(3)), []);
}
