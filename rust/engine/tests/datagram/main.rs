//! Everything of the user network that is no TCP: UDP mappings, name service, echo, forwards, ARP, the service channel.
// In a test the plain form is the readable one, and a mistake in it is a failed test.
#![allow(clippy::large_stack_arrays, clippy::unchecked_time_subtraction, clippy::needless_pass_by_value)]

mod arp;
mod connect;
mod dns;
mod echo;
mod forward;
mod listing;
mod policy;
mod service;
mod train;
mod udp;

#[path = "../support/mod.rs"]
mod support;
