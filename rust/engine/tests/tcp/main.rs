//! The TCP side of the user network with a guest that is driven by hand, segment by segment.

mod forwarded;
mod opening;
mod options;

#[path = "../support/mod.rs"]
mod support;
