//! The TCP side of the user network with a guest that is driven by hand, segment by segment.

mod closing;
mod forwarded;
mod keepalive;
mod model;
mod opening;
mod options;
mod receiving;
mod sending;
mod slow_host;
mod table;
mod window;
mod wrap;

#[path = "../support/mod.rs"]
mod support;
