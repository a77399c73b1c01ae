//! When to acknowledge what a guest sent, and how large a window to offer it. Nothing else decides these two things.
//!
//! Goals: a guest on a fast path is never held back by us; a slow host peer makes the guest slow down instead of
//! filling our memory; the window's right edge never moves back (RFC 9293, section 3.8.6); no timer is needed to find
//! out that a host socket has drained.
//!
//! An acknowledgement covers what the *host socket took*, never more. The window is the room left in the host socket's
//! send queue, but at least [`OVERSHOOT`] while everything received was taken: the guest then runs into the full queue,
//! the kernel notes that we wait for room, and its "writable" event, not a timer, opens the window again. What the
//! guest sent into the full queue waits in the flow's backlog, which is therefore about [`OVERSHOOT`] bytes, and while
//! anything waits there the window is shut.

use std::time::Duration;

/// Our window scale (RFC 7323): windows up to 16 MiB.
pub const WINDOW_SCALE: u8 = 8;
/// The largest window offered, bytes.
pub const MAX_WINDOW: u32 = 8 << 20;
/// The least window offered while nothing waits for the host socket, bytes.
pub const OVERSHOOT: u32 = 64 << 10;
/// How long a small piece may wait for an answer to carry its acknowledgement. Far below any sender's
/// retransmission timer, and short enough not to be felt by a sender that waits for it (Nagle's algorithm).
pub const DELAY: Duration = Duration::from_millis(2);

/// What the flow knows when a batch of frames from the guest has been worked off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intake {
    /// Bytes the host socket took that the guest does not know of yet.
    pub unacknowledged: u32,
    /// Free room in the host socket's send queue.
    pub room: u32,
    /// Bytes received but not yet taken by the host socket.
    pub waiting: u32,
    /// What is left of the window the guest was last told.
    pub window_left: u32,
    /// The guest's segment size.
    pub mss: u32,
    /// A short exchange: so far the guest waited for our answer before it sent more.
    pub interactive: bool,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// Send an acknowledgement now.
    Now,
    /// Let the next data segment carry it, or send it after [`DELAY`].
    Soon,
    /// The guest knows all there is to know.
    No,
}

/// The window to offer, bytes.
pub fn window(room: u32, waiting: u32) -> u32 {
    if waiting > 0 { 0 } else { room.clamp(OVERSHOOT, MAX_WINDOW) }
}

/// The window field for an acknowledgement of `ack` and the right edge it promises, which is never left of `edge`.
pub fn advertise(ack: u32, edge: u32, window: u32, scale: u8) -> (u16, u32) {
    let promised = edge.wrapping_sub(ack);
    let window = if promised <= MAX_WINDOW + OVERSHOOT { window.max(promised) } else { window };
    let field = (window.div_ceil(1 << scale)).min(u32::from(u16::MAX)) as u16;
    (field, ack.wrapping_add(u32::from(field) << scale))
}

/// Acknowledge now, soon or not at all?
pub fn when(intake: &Intake) -> Ack {
    let offer = window(intake.room, intake.waiting);
    let reopens =
        intake.window_left < intake.mss.saturating_mul(2).min(OVERSHOOT) && offer > intake.window_left;
    match intake.unacknowledged {
        _ if reopens => Ack::Now,
        0 => Ack::No,
        n if intake.interactive && n < intake.mss => Ack::Soon,
        _ => Ack::Now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUSY: Intake = Intake {
        unacknowledged: 64_240,
        room: 1 << 20,
        waiting: 0,
        window_left: 1 << 20,
        mss: 1460,
        interactive: false,
    };

    #[test]
    fn bulk_is_acknowledged_at_the_end_of_each_batch() {
        assert_eq!(when(&BUSY), Ack::Now);
        assert_eq!(when(&Intake { unacknowledged: 0, ..BUSY }), Ack::No);
    }

    #[test]
    fn a_question_waits_a_moment_for_its_answer() {
        let question = Intake { unacknowledged: 1, interactive: true, ..BUSY };
        assert_eq!(when(&question), Ack::Soon);
        assert_eq!(when(&Intake { interactive: false, ..question }), Ack::Now);
    }

    #[test]
    fn a_guest_with_a_shut_window_hears_when_it_opens() {
        let shut = Intake { unacknowledged: 0, window_left: 0, ..BUSY };
        assert_eq!(when(&shut), Ack::Now);
        assert_eq!(when(&Intake { waiting: 1, ..shut }), Ack::No);
    }

    #[test]
    fn while_something_waits_the_window_is_shut_and_otherwise_never() {
        assert_eq!(window(0, 0), OVERSHOOT);
        assert_eq!(window(1 << 30, 1), 0);
        assert_eq!(window(1 << 30, 0), MAX_WINDOW);
    }

    #[test]
    fn the_right_edge_never_moves_back() {
        let (_, edge) = advertise(1000, 1000, 100_000, WINDOW_SCALE);
        let (field, same) = advertise(1500, edge, 0, WINDOW_SCALE);
        assert!(same.wrapping_sub(edge) < 256, "rounding up only");
        assert_eq!(u32::from(field), (edge - 1500).div_ceil(256));
    }

    #[test]
    fn edges_work_across_the_wrap_of_sequence_numbers() {
        let ack = u32::MAX - 10;
        let (_, edge) = advertise(ack, ack, 70_000, WINDOW_SCALE);
        assert!(edge < 80_000);
        assert_eq!(advertise(ack.wrapping_add(20), edge, 0, WINDOW_SCALE).1.wrapping_sub(edge) >> 8, 0);
    }

    #[test]
    fn without_a_window_scale_the_field_is_enough() {
        let (field, edge) = advertise(0, 0, MAX_WINDOW, 0);
        assert_eq!((field, edge), (65_535, 65_535));
    }
}
