//! The packet worker: one epoll loop over TAPs, stream sockets and the host sockets of the user network.
//!
//! It is given every descriptor it starts with by Python over the control socket (`docs/protocol.md`), opens nothing but
//! the host sockets of flows, and knows no names but the ones Python gave it. `unsafe` is allowed in [`sys`] only.
#![deny(unsafe_code)]

mod control;
mod datagram;
mod filters;
mod host;
mod inbox;
pub mod isolation;
mod plane;
mod poll;
mod ports;
pub mod protocol;
mod service_channel;
pub mod sys;
pub mod vfio;
mod vhost;
mod worker;

pub use worker::run;
