//! The part of Wirebay that decides: hubs and switches, segmentation and the user network's address translation.
//!
//! Everything here is a pure machine: time is an argument ([`Time`]), sockets are behind a trait ([`Host`]), frames
//! come in as borrowed bytes and leave through an [`Outbox`]. The data plane runs these machines on real descriptors;
//! the tests run them on fakes with a clock that jumps.
#![forbid(unsafe_code)]

pub mod capture;
pub mod counters;
pub mod hold;
pub mod host;
pub mod hub;
pub mod lan;
pub mod loops;
pub mod outbox;
pub mod remotes;
pub mod report;
pub mod segment;
pub mod switch;
pub mod table;
pub mod time;
pub mod timers;
pub mod user;

pub use counters::{Drops, Traffic};
pub use host::{DatagramKind, Host, HostError, Peer, Readiness, Sending};
pub use hub::Hub;
pub use lan::Lan;
pub use outbox::Outbox;
pub use remotes::Remotes;
pub use report::Report;
pub use segment::Capabilities;
pub use table::Token;
pub use time::Time;
pub use user::{Config, UserNet};
