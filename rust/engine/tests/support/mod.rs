//! What the tests of the user network share: a host made of memory, guests, a bad cable, and eyes on every frame.
#![allow(dead_code)] // every test program uses its own part of this

pub mod checksum;
pub mod dialog;
pub mod fake_host;
pub mod fake_sockets;
pub mod frames;
pub mod link;
pub mod puzzle;
pub mod recorder;
pub mod rng;
pub mod sim;
pub mod smol;
pub mod trace;
pub mod watch;
pub mod world;
