//! The TCP side of the user network with a guest that is driven by hand, segment by segment.
// In a test the plain form is the readable one, and a mistake in it is a failed test.
#![allow(clippy::large_stack_arrays, clippy::unchecked_time_subtraction, clippy::needless_pass_by_value)]

mod closing;
mod early;
mod flood;
mod forwarded;
mod keepalive;
mod listing;
mod model;
mod opening;
mod options;
mod parted;
mod receiving;
mod room;
mod sack;
mod sending;
mod slow_host;
mod stamps;
mod table;
mod urgent;
mod window;
mod wrap;

#[path = "../support/mod.rs"]
mod support;
