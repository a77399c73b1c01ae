//! vhost-user-net, the device's side: a VMM shares its guest's memory and rings, and frames move through them with
//! their offload state (the vhost-user specification of QEMU 11.1; virtio 1.2 sections 2.7 and 5.1).
//!
//! - `message.rs`: the bytes on the socket, requests in and replies out.
//! - `device.rs`: what has been agreed, and the state of the rings; a request at a time.
//! - `memory.rs`: the guest's memory as the VMM shares it.
//! - `ring.rs`: frames in and out of split rings.
//! - `spread.rs`: which of several receive rings a frame goes to.
//!
//! Guest memory and descriptor chains go through `vm-memory` and `virtio-queue`, which check every address. The message
//! loop is our own: the `vhost` crate's blocks until a message is whole, and a VMM that stops in the middle of one must
//! not stop the packets of others.

pub mod device;
#[cfg(test)]
mod hostile;
pub mod memory;
pub mod message;
pub mod ring;
pub mod spread;
