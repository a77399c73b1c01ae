//! A guest that reports what a link behind it takes.

use super::cases::ip;
use super::support::dialog::{Dialog, Opening};
use super::support::frames::{GUEST, HOST, ipv4_frame};
use super::support::world::World;
use wirebay_wire::DropReason;
use wirebay_wire::icmpv4;
use wirebay_wire::ipv4::protocol;
