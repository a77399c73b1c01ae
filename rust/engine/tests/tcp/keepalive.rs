//! Connections on which nothing happens.

use crate::support::dialog::{Dialog, Opening};
use crate::support::fake_sockets::Fate;
use std::time::Duration;
use wirebay_wire::tcp::flags::{ACK, RST};

const TWO_HOURS: Duration = Duration::from_hours(2);
const INTERVAL: Duration = Duration::from_secs(75);

fn opened() -> Dialog {
    Dialog::open(&Opening::default())
}

#[test]
fn an_idle_guest_is_asked_after_two_hours_whether_it_is_there() {
    let mut dialog = opened();
    let start = dialog.world.now;
    let segs = dialog.advance(TWO_HOURS);
    assert_eq!(segs.len(), 1);
    assert_eq!(segs[0].at.since(start), TWO_HOURS);
    assert!(segs[0].is(ACK) && segs[0].seq == dialog.ack.wrapping_sub(1), "an old byte asks for an answer");
    assert!(segs[0].payload.is_empty());
}

#[test]
fn a_guest_that_answers_is_left_alone_for_two_hours_more() {
    let mut dialog = opened();
    for _ in 0..3 {
        let before = dialog.world.now;
        let segs = dialog.advance(TWO_HOURS);
        assert_eq!(segs.iter().map(|seg| seg.at.since(before)).collect::<Vec<_>>(), [TWO_HOURS]);
        assert_eq!(dialog.acknowledge(), []);
    }
    dialog.say(b"still here");
    assert_eq!(dialog.peer().received(), b"still here");
}

#[test]
fn a_guest_that_never_answers_is_asked_nine_times_and_then_both_ends_are_reset() {
    let mut dialog = opened();
    let start = dialog.world.now;
    let mut segs = dialog.advance(Duration::from_hours(3));
    let last = segs.pop().unwrap();
    let expected: Vec<_> = (0..9).map(|i| TWO_HOURS + i * INTERVAL).collect();
    assert_eq!(segs.iter().map(|seg| seg.at.since(start)).collect::<Vec<_>>(), expected);
    assert!(last.has(RST) && last.at.since(start) == TWO_HOURS + 9 * INTERVAL, "{last:?}");
    assert_eq!(dialog.peer().fate(), Fate::Aborted);
    assert!(!dialog.lives());
}

#[test]
fn anything_the_guest_sends_puts_the_question_off() {
    let mut dialog = opened();
    dialog.world.advance(Duration::from_mins(119));
    dialog.say(b"x");
    dialog.world.advance(Duration::from_secs(1));
    dialog.hear();
    assert_eq!(dialog.advance(Duration::from_mins(119)), []);
    assert_eq!(dialog.advance(Duration::from_mins(1)).len(), 1);
}

#[test]
fn an_answer_to_a_later_question_counts_as_well() {
    let mut dialog = opened();
    dialog.world.advance(TWO_HOURS + 5 * INTERVAL);
    dialog.hear();
    dialog.acknowledge();
    assert_eq!(dialog.advance(TWO_HOURS - Duration::from_secs(1)), []);
    assert_eq!(dialog.advance(Duration::from_secs(1)).len(), 1);
}

#[test]
fn a_worker_that_slept_through_everything_asks_before_it_gives_up() {
    let mut dialog = opened();
    let late = dialog.world.now + Duration::from_hours(10);
    dialog.world.jump(late);
    let segs = dialog.hear();
    assert!(segs.len() == 1 && segs[0].is(ACK), "{segs:?}");
    assert!(dialog.lives());
    dialog.acknowledge();
    dialog.say(b"slept well");
    assert_eq!(dialog.peer().received(), b"slept well");
}
