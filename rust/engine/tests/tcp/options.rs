//! Segment sizes and window scales, as agreed when a connection opens.

use crate::support::dialog::{Dialog, Opening};
use crate::support::frames::Seg;
use crate::support::world::qemu;
use wirebay_engine::Config;
use wirebay_wire::tcp::flags::{ACK, SYN};

fn syn_ack(opening: &Opening) -> Seg {
    let mut dialog = Dialog::syn(opening);
    dialog.peer().connects();
    dialog.hear().remove(0)
}

fn sizes(opening: &Opening) -> Vec<usize> {
    let mut dialog = Dialog::open(opening);
    dialog.peer().sends(&[7; 4000]);
    dialog.hear().iter().map(|seg| seg.payload.len()).collect()
}

fn with_mtu(mtu: u16) -> Opening {
    Opening { config: Config { mtu, ..qemu() }, mss: Some(mtu.max(1500) - 40), ..Opening::default() }
}

#[test]
fn the_network_asks_for_segments_that_fill_its_mtu() {
    for mtu in [576, 1500, 9000, 65_520] {
        assert_eq!(syn_ack(&with_mtu(mtu)).mss, Some(mtu - 40));
    }
}

#[test]
fn segments_are_no_larger_than_the_guest_asked_for() {
    let asked = |mss| sizes(&Opening { mss, ..Opening::default() })[0];
    assert_eq!(asked(Some(1000)), 1000);
    assert_eq!(asked(Some(1460)), 1460);
    assert_eq!(asked(None), 536);
    assert_eq!(asked(Some(1)), 48, "less would only be work");
}

#[test]
fn segments_are_no_larger_than_the_mtu_whatever_the_guest_asked_for() {
    assert_eq!(sizes(&Opening { mss: Some(9000), ..Opening::default() })[0], 1460);
    assert_eq!(sizes(&with_mtu(576))[0], 536);
    assert_eq!(sizes(&with_mtu(65_520)), [4000]);
}

#[test]
fn a_guest_that_scales_its_window_gets_a_scaled_one() {
    let opening = Opening { scale: Some(3), window: 1000, ..Opening::default() };
    assert!(syn_ack(&opening).scale.is_some());
    let mut dialog = Dialog::open(&opening);
    dialog.peer().sends(&[1; 20_000]);
    let sent: usize = dialog.hear().iter().map(|seg| seg.payload.len()).sum();
    assert!(sent <= 8000 && sent > 8000 - 1460, "{sent} bytes into a window of 8000");
}

#[test]
fn a_guest_that_does_not_scale_gets_plain_windows() {
    let opening = Opening { scale: None, window: 5000, ..Opening::default() };
    assert_eq!(syn_ack(&opening).scale, None);
    let mut dialog = Dialog::open(&opening);
    dialog.peer().sends(&[1; 20_000]);
    let sent: usize = dialog.hear().iter().map(|seg| seg.payload.len()).sum();
    assert!(sent <= 5000 && sent > 5000 - 1460, "{sent} bytes into a window of 5000");
    let answers = dialog.say(&[2; 3000]);
    assert_eq!(answers.last().unwrap().window, 0xffff, "there is room for more, but no field for it");
}

#[test]
fn the_window_of_a_syn_is_not_scaled() {
    let opening = Opening { scale: Some(7), window: 300, ..Opening::default() };
    let mut dialog = Dialog::syn(&opening);
    dialog.peer().connects();
    let answer = dialog.hear();
    assert_eq!(answer[0].window, 0xffff);
    dialog.accept(&answer);
    dialog.peer().sends(&[1; 60_000]);
    let sent: usize = dialog.acknowledge().iter().map(|seg| seg.payload.len()).sum();
    assert!(sent > 30_000, "300 << 7 bytes fit after the handshake, {sent} were sent");
}

#[test]
fn with_a_scale_the_window_can_be_megabytes() {
    let mut dialog = Dialog::open(&Opening::default());
    let answers = dialog.say(&[0; 1460]);
    let offered = dialog.edge(answers.last().unwrap()).wrapping_sub(dialog.seq);
    assert!(offered > 1 << 20, "{offered}");
}

#[test]
fn a_called_guest_is_offered_scale_and_segment_size_and_decides() {
    let scaled = Dialog::called(&Opening { scale: Some(2), ..Opening::default() });
    assert!(scaled.scale > 0);
    let mut plain = Dialog::called(&Opening { scale: None, mss: None, window: 2000, ..Opening::default() });
    plain.peer().sends(&[3; 6000]);
    let segs = plain.hear();
    assert!(segs.iter().all(|seg| seg.is(ACK) && seg.payload.len() <= 536), "{segs:?}");
    assert!(segs.iter().map(|seg| seg.payload.len()).sum::<usize>() <= 2000);
}

#[test]
fn options_of_a_later_syn_change_nothing() {
    let mut dialog = Dialog::open(&Opening::default());
    dialog.put(&Seg { flags: SYN, ack: 0, mss: Some(100), scale: None, ..dialog.seg() });
    dialog.peer().sends(&[1; 1460]);
    assert_eq!(dialog.hear()[0].payload.len(), 1460);
}
