//! What is particular about IPv6 guests: neighbour discovery, router advertisements, and the same network as over IPv4.

#[path = "../support/mod.rs"]
mod support;

mod datagram;
mod neighbor;
mod router;
mod tcp;
