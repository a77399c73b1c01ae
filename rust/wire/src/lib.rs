//! Wire formats of Wirebay: checked views over bytes, and compact representations that emit them.
//!
//! Every format has two levels. The *view* (`Ethernet`, `Ipv4`, `Tcp`, ...) is made by `parse`, which checks
//! everything the format promises and then holds plain fields and slices, so reading a view cannot fail. The
//! *representation* (`Ipv4Repr`, `TcpRepr`, ...) holds what is needed to `emit` the same header. `parse`
//! takes any bytes and never panics: what it refuses, it refuses with a [`DropReason`]. `emit` panics when
//! its buffer is shorter than the header, which is a mistake of the caller and never of a guest.
//!
//! Lengths are in bytes, numbers in host order; nothing here does I/O, reads a clock or allocates.

#![forbid(unsafe_code)]

pub mod arp;
mod bytes;
pub mod checksum;
pub mod drop_reason;
pub mod ethernet;
pub mod fragment;
pub mod frame;
pub mod icmpv4;
pub mod icmpv6;
pub mod ip;
pub mod ipv4;
pub mod ipv6;
pub mod l2tpv3;
pub mod layout;
pub mod membership;
pub mod ndp;
pub mod pcap;
pub mod tcp;
pub mod udp;
pub mod vlan;
pub mod vnet;
pub mod vxlan;

pub use drop_reason::DropReason;
pub use ethernet::Mac;
pub use frame::{Frame, Gso, GsoKind, Offload, PartialChecksum};
