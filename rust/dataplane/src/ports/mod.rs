//! The kinds of port. Each knows how to take frames from its descriptor and how to give frames to it.

pub mod dgram;
pub mod framing;
pub mod stream;
pub mod tap;
pub mod user;
pub mod vhost_user;

use dgram::DgramPort;
use stream::StreamPort;
use tap::TapPort;
use user::UserPort;
use vhost_user::VhostPort;
use wirebay_engine::{Capabilities, Drops, Traffic};

/// A port of any kind.
pub enum Kind {
    /// A TAP device.
    Tap(TapPort),
    /// A stream socket with QEMU's framing, or the wait for one.
    Stream(StreamPort),
    /// A socket on which one message is one frame, or the wait for one.
    Dgram(DgramPort),
    /// A user network; empty while it is being called (see `plane.rs`).
    User(Option<Box<UserPort>>),
    /// A guest behind vhost-user, or the wait for one.
    VhostUser(Box<VhostPort>),
}

impl Kind {
    /// The name of the kind, as in options.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Tap(_) => "tap",
            Kind::Stream(_) => "stream",
            Kind::Dgram(_) => "dgram",
            Kind::User(_) => "user",
            Kind::VhostUser(_) => "vhost-user",
        }
    }

    /// What the port can take.
    pub fn capabilities(&self) -> Capabilities {
        match self {
            Kind::Tap(tap) => tap.capabilities,
            Kind::Stream(stream) => Capabilities { max_frame: stream.max_frame(), ..Capabilities::PLAIN },
            Kind::Dgram(dgram) => Capabilities { max_frame: dgram.max_frame(), ..Capabilities::PLAIN },
            Kind::VhostUser(vhost) => vhost.capabilities(),
            Kind::User(_) => {
                Capabilities { checksum: true, tso4: true, tso6: true, uso: true, ..Capabilities::PLAIN }
            }
        }
    }
}

/// A port, its place and its counters.
pub struct Port {
    /// The name Python gave it.
    pub name: String,
    /// The segment it sits on.
    pub hub: Option<usize>,
    /// What it does.
    pub kind: Kind,
    /// What it gave to its segment.
    pub rx: Traffic,
    /// What its segment gave to it.
    pub tx: Traffic,
    /// Whether its link is up; while it is down, frames are swallowed both ways.
    pub link: bool,
    /// Its filters, by their place in `Plane::filters`, from the port's side.
    pub chain: Vec<usize>,
    /// What did not get through it, in either direction.
    pub drops: Drops,
}
