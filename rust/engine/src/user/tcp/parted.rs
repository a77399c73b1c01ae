//! Connections that have ended well, remembered for a while (TIME-WAIT, RFC 9293 section 3.6.1).
//!
//! The last thing a flow says may be the acknowledgement of the guest's FIN. If that gets lost the guest repeats its
//! FIN, to a connection that is gone; it must hear the acknowledgement again, and not a reset. What is remembered is
//! only that acknowledgement: a guest that opens a new connection between the same ends is served as if there had been
//! none before.

use super::stamps::Stamps;
use super::{Ends, TcpFlow, before, policy};
use crate::outbox::Outbox;
use crate::time::Time;
use crate::user::{Config, emit};
use std::collections::VecDeque;
use std::time::Duration;
use wirebay_wire::tcp::flags::{ACK, FIN, RST, SYN};
use wirebay_wire::tcp::{Tcp, TcpRepr};

/// Most that are remembered; the oldest is forgotten for a new one.
const MOST: usize = 1024;
/// How long: a guest repeats its FIN eight times in this (Linux remembers as long).
const MEMORY: Duration = Duration::from_mins(1);

/// What a flow leaves behind.
pub struct Parting {
    ends: Ends,
    seq: u32,
    ack: u32,
    window: u16,
    stamps: Option<Stamps>,
    at: Time,
}

impl<S> TcpFlow<S> {
    /// What is to be remembered of this flow.
    pub fn parting(&self, at: Time) -> Parting {
        let stamps = self.is(super::flags::TIMESTAMPS).then_some(self.stamps);
        let ack = self.ack_value();
        // Nobody will use it, but what was promised stays promised.
        let (window, _) = policy::advertise(ack, self.edge, 0, self.our_scale);
        Parting { ends: self.ends, seq: self.nxt, ack, window, stamps, at }
    }
}

impl Parting {
    /// A segment that a connection between these ends would have sent before it ended?
    fn covers(&self, seg: &Tcp<'_>) -> bool {
        let len = seg.payload.len() as u32 + u32::from(seg.has(FIN));
        let end = seg.seq.wrapping_add(len);
        !seg.has(SYN | RST) && seg.has(ACK) && !before(self.ack, end) && !before(self.seq, seg.ack)
    }

    fn repr(&self, now: Time, seg: &Tcp<'_>) -> TcpRepr {
        let timestamps = self.stamps.zip(seg.timestamps()).map(|(mut stamps, theirs)| {
            stamps.heard(theirs.value, now);
            stamps.stamp(now)
        });
        TcpRepr {
            src_port: self.ends.our.port(),
            dst_port: self.ends.guest.port(),
            seq: self.seq,
            ack: self.ack,
            flags: ACK,
            window: self.window,
            timestamps,
            ..TcpRepr::default()
        }
    }
}

/// The memory of one network.
#[derive(Default)]
pub struct Parted {
    ring: VecDeque<Parting>,
}

impl Parted {
    /// A flow has ended well.
    pub fn remember(&mut self, parting: Parting) {
        if self.ring.len() >= MOST {
            self.ring.pop_front();
        }
        self.ring.push_back(parting);
    }

    /// A segment of no connection has come. True if it is a late one of a connection that is remembered; what was
    /// received before has been acknowledged again.
    pub fn answer(&self, now: Time, out: &mut Outbox, config: &Config, ends: &Ends, seg: &Tcp<'_>) -> bool {
        let known = |parting: &&Parting| (parting.ends.our, parting.ends.guest) == (ends.our, ends.guest);
        let Some(parting) = self.ring.iter().rev().find(known) else { return false };
        if now.since(parting.at) > MEMORY || !parting.covers(seg) {
            return false;
        }
        if !seg.payload.is_empty() || seg.has(FIN) {
            emit::tcp_bare(out, config, ends, &parting.repr(now, seg));
        }
        true
    }
}
