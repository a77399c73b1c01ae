//! The epoll set, with what each event is about packed into its 64-bit word.

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};
use wirebay_engine::{Readiness, Token};

/// Bits of a port number, a flow's index and a flow's generation in an event's word; 4 remain for the kind.
const PORT_BITS: u32 = 12;
const INDEX_BITS: u32 = 24;
const GENERATION_BITS: u32 = 24;
/// Most ports of a worker.
pub const MAX_PORTS: usize = 1 << PORT_BITS;

/// What an event is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// The control socket.
    Control,
    /// A port's own descriptor.
    Port(usize),
    /// The service channel of a user network.
    Service(usize),
    /// A forward's socket.
    Forward(usize, usize),
    /// A host socket of a flow.
    Flow(usize, Token),
    /// A connection of a filter: its place, and which end.
    Filter(usize, usize),
    /// The kick descriptor of a ring of a vhost-user port.
    Kick(usize, usize),
}

impl Source {
    fn pack(self) -> u64 {
        let word = |kind: u64, port: usize, generation: u32, index: usize| {
            let generation = u64::from(generation) & ((1 << GENERATION_BITS) - 1);
            kind << 60
                | (port as u64) << (INDEX_BITS + GENERATION_BITS)
                | generation << INDEX_BITS
                | index as u64
        };
        match self {
            Source::Control => word(0, 0, 0, 0),
            Source::Port(port) => word(1, port, 0, 0),
            Source::Service(port) => word(2, port, 0, 0),
            Source::Forward(port, slot) => word(3, port, 0, slot),
            Source::Filter(slot, end) => word(6, end, 0, slot),
            Source::Flow(port, token) => word(4, port, token.generation, token.index as usize),
            Source::Kick(port, ring) => word(5, port, 0, ring),
        }
    }

    fn unpack(word: u64) -> Source {
        let port = (word >> (INDEX_BITS + GENERATION_BITS)) as usize & (MAX_PORTS - 1);
        let generation = (word >> INDEX_BITS) as u32 & ((1 << GENERATION_BITS) - 1);
        let index = word as u32 & ((1 << INDEX_BITS) - 1);
        match word >> 60 {
            0 => Source::Control,
            1 => Source::Port(port),
            2 => Source::Service(port),
            3 => Source::Forward(port, index as usize),
            6 => Source::Filter(index as usize, port),
            5 => Source::Kick(port, index as usize),
            _ => Source::Flow(port, Token { index, generation }),
        }
    }
}

/// Only errors and ends, which cannot be left out.
pub const NOTHING: EventFlags = EventFlags::empty();
/// Level triggered, readable only.
pub const READ: EventFlags = EventFlags::IN;
/// Level triggered, writable only.
pub const WRITE: EventFlags = EventFlags::OUT;
/// Level triggered, both directions.
pub const READ_WRITE: EventFlags = EventFlags::IN.union(EventFlags::OUT);
/// Edge triggered, everything: flows are never modified in the set.
pub const EDGE: EventFlags =
    EventFlags::IN.union(EventFlags::OUT).union(EventFlags::RDHUP).union(EventFlags::ET);

/// How long to go on asking after something has happened, before going to sleep. To be woken costs a process on an idle
/// processor more than this, and in an exchange of questions and answers the next event is nearer: without it a
/// request through the worker took twice as long. A worker that nobody uses does not spin.
const SPIN: Duration = Duration::from_micros(25);

/// The epoll set. A descriptor leaves it by being closed.
pub struct Poll {
    epoll: OwnedFd,
    events: Vec<Event>,
    /// The last wait brought something: the next event is probably near.
    awake: bool,
}

impl Poll {
    /// An empty set.
    pub fn new() -> io::Result<Self> {
        Ok(Poll {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(256),
            awake: false,
        })
    }

    /// Another handle of the same set, for the owner of host sockets.
    pub fn registrar(&self) -> io::Result<Registrar> {
        Ok(Registrar { epoll: self.epoll.try_clone()? })
    }

    /// Wait for events, at most `timeout` (for ever without). Too early is possible, too late is not intended.
    pub fn wait(
        &mut self,
        timeout: Option<Duration>,
    ) -> io::Result<impl Iterator<Item = (Source, Readiness)> + use<>> {
        let spinning = if self.awake { self.spin(timeout)? } else { Duration::ZERO };
        if self.events.is_empty() {
            self.ask(timeout.map(|span| span.saturating_sub(spinning)))?;
        }
        self.awake = !self.events.is_empty();
        let taken: Vec<_> =
            self.events.drain(..).map(|e| (Source::unpack({ e.data }.u64()), readiness(e.flags))).collect();
        Ok(taken.into_iter())
    }

    /// Ask again and again for a moment; how long it took.
    fn spin(&mut self, timeout: Option<Duration>) -> io::Result<Duration> {
        let (start, most) = (Instant::now(), timeout.unwrap_or(SPIN).min(SPIN));
        loop {
            // Whoever waits for this processor is likely to be the one that we wait for.
            rustix::thread::sched_yield();
            self.ask(Some(Duration::ZERO))?;
            let spent = start.elapsed();
            if !self.events.is_empty() || spent >= most {
                return Ok(spent);
            }
        }
    }

    fn ask(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.map(|span| rustix::event::Timespec {
            tv_sec: span.as_secs() as i64,
            tv_nsec: i64::from(span.subsec_nanos()),
        });
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn readiness(flags: EventFlags) -> Readiness {
    Readiness {
        readable: flags.intersects(EventFlags::IN),
        writable: flags.intersects(EventFlags::OUT),
        read_closed: flags.intersects(EventFlags::RDHUP | EventFlags::HUP),
        error: flags.intersects(EventFlags::ERR),
    }
}

/// Adds descriptors to the set.
pub struct Registrar {
    epoll: OwnedFd,
}

impl Registrar {
    /// Watch a descriptor.
    pub fn add(&self, fd: impl AsFd, source: Source, flags: EventFlags) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, EventData::new_u64(source.pack()), flags)?)
    }

    /// Watch it for something else.
    pub fn modify(&self, fd: impl AsFd, source: Source, flags: EventFlags) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, fd, EventData::new_u64(source.pack()), flags)?)
    }

    /// Watch a descriptor that somebody else has too: closing ours would not end that.
    pub fn watch(&self, fd: OwnedFd, source: Source, flags: EventFlags) -> io::Result<Watched> {
        self.add(&fd, source, flags)?;
        Ok(Watched { fd, registrar: self.try_clone()? })
    }

    /// Another handle.
    pub fn try_clone(&self) -> io::Result<Registrar> {
        Ok(Registrar { epoll: self.epoll.try_clone()? })
    }
}

/// A descriptor that is watched for as long as this lives.
pub struct Watched {
    /// The descriptor.
    pub fd: OwnedFd,
    registrar: Registrar,
}

impl Drop for Watched {
    fn drop(&mut self) {
        // It was added, and nothing else takes it out.
        let _ = epoll::delete(&self.registrar.epoll, &self.fd);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_survives_packing() {
        let token = Token { index: (1 << 24) - 1, generation: (1 << 24) - 1 };
        for source in [
            Source::Control,
            Source::Port(MAX_PORTS - 1),
            Source::Service(7),
            Source::Forward(3, 70_000),
            Source::Filter(70_000, 1),
            Source::Kick(4, 15),
            Source::Flow(MAX_PORTS - 1, token),
            Source::Flow(0, Token { index: 0, generation: 1 }),
        ] {
            assert_eq!(Source::unpack(source.pack()), source);
        }
    }
}
