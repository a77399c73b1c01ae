//! What comes back of packets that do not arrive, and packets that come and go in fragments.

#[path = "../support/mod.rs"]
mod support;

mod cases;
mod fragments;
mod path;
mod reports;
mod tcp;
mod too_big;
