//! What a listing of flows says of connections.

use crate::support::dialog::{Dialog, GUEST_END, Opening, SERVER};
use crate::support::frames::v4;
use std::time::Duration;
use wirebay_engine::user::Listed;

fn only(dialog: &Dialog) -> Listed {
    let (listed, next) = dialog.world.net.list(0, 10);
    assert_eq!((listed.len(), next), (1, None));
    listed[0]
}

#[test]
fn a_connection_is_listed_with_its_ends_its_age_and_its_bytes() {
    let mut dialog = Dialog::open(&Opening::default());
    let began = dialog.world.now;
    dialog.say(b"question");
    dialog.peer().sends(b"a longer answer");
    let segs = dialog.hear();
    dialog.accept(&segs);
    assert_eq!(only(&dialog).tally.to_guest, 0, "the guest has acknowledged nothing yet");
    dialog.acknowledge();
    dialog.world.now = dialog.world.now + Duration::from_secs(7);
    let flow = only(&dialog);
    assert_eq!((flow.protocol, flow.state), (6, "open"));
    assert_eq!((flow.guest, flow.peer), (v4(GUEST_END), Some(v4(SERVER))));
    assert_eq!((flow.tally.from_guest, flow.tally.to_guest), (8, 15));
    assert!(flow.tally.since <= began);
}

#[test]
fn ends_of_streams_are_no_bytes_and_are_told_as_states() {
    let mut dialog = Dialog::open(&Opening::default());
    dialog.fin();
    assert_eq!(only(&dialog).state, "guest-closed");
    let mut dialog = Dialog::open(&Opening::default());
    dialog.peer().ends();
    let segs = dialog.hear();
    dialog.accept(&segs);
    dialog.acknowledge();
    let flow = only(&dialog);
    assert_eq!((flow.state, flow.tally.from_guest, flow.tally.to_guest), ("peer-closed", 0, 0));
}
