//! A guest behind vhost-user: the socket of its VMM, and the rings in its memory.

use crate::vhost::device::{Answer, Device, Watch, feature};
use crate::vhost::message::{self, Ended, Inbox};
use crate::vhost::ring::{BUFFER, Taken};
use crate::vhost::spread;
use std::cell::Cell;
use std::os::fd::OwnedFd;
use wirebay_engine::Capabilities;
use wirebay_wire::frame::MAX_LEN;
use wirebay_wire::{DropReason, Frame, vnet};

/// Frames taken from one ring for one wake-up.
const TAKES: usize = 128;
/// The least frame an Ethernet card takes; its driver may drop shorter ones as damaged.
const LEAST_FRAME: usize = 60;

/// A connected VMM.
struct Peer {
    socket: OwnedFd,
    inbox: Inbox,
    device: Device,
    /// Somebody asked for room and there was but so much: tell when the guest has made more.
    awaited: Cell<Option<usize>>,
}

/// The port, with or without a VMM.
pub struct VhostPort {
    peer: Option<Peer>,
    offloads: bool,
}

impl VhostPort {
    /// Without a VMM yet; without `offloads` guests get none.
    pub fn new(offloads: bool) -> Self {
        VhostPort { peer: None, offloads }
    }

    /// The port for the moment in which the real one is out of its place.
    pub fn absent() -> Self {
        VhostPort::new(false)
    }

    /// Take the connected socket of a VMM; false if there is one already.
    pub fn attach(&mut self, socket: OwnedFd) -> bool {
        let vacant = self.peer.is_none();
        if vacant {
            let (inbox, device) = (Inbox::default(), Device::new(self.offloads));
            self.peer = Some(Peer { socket, inbox, device, awaited: Cell::new(None) });
        }
        vacant
    }

    /// Forget the VMM and its guest's memory.
    pub fn detach(&mut self) {
        self.peer = None;
    }

    /// Is there a VMM?
    pub fn is_attached(&self) -> bool {
        self.peer.is_some()
    }

    /// What the guest takes.
    pub fn capabilities(&self) -> Capabilities {
        self.peer.as_ref().map_or(Capabilities::PLAIN, |peer| peer.device.capabilities())
    }

    /// Work off what the VMM has sent. Kick descriptors are watched by `watch`.
    pub fn serve(&mut self, watch: Watch<'_>) -> Result<(), Ended> {
        let Some(peer) = &mut self.peer else { return Ok(()) };
        while let Some(message) = peer.inbox.read(&peer.socket)? {
            peer.answer(message, watch)?;
        }
        Ok(())
    }

    /// Take what the guest has put into a transmit ring, some of it; true if there is more.
    pub fn take(
        &mut self,
        ring: usize,
        buf: &mut Vec<u8>,
        sink: &mut dyn FnMut(Result<Frame<'_>, DropReason>),
    ) -> bool {
        let Some(peer) = &mut self.peer else { return false };
        buf.resize(BUFFER, 0);
        peer.take(ring, buf, sink)
    }

    /// The guest has kicked a receive ring. Whether that is what somebody waits for is seen at the end of the round.
    pub fn refilled(&mut self, ring: usize) {
        let Some(peer) = &mut self.peer else { return };
        if let Some(ring) = peer.device.rings.get_mut(ring) {
            ring.clear_kick();
            ring.hush(&peer.device.memory.guest);
        }
    }

    /// The rings that the guest sends by, as far as it has any.
    pub fn transmit_rings(&self) -> impl Iterator<Item = usize> + use<> {
        let count = self.peer.as_ref().map_or(0, |peer| peer.device.rings.len());
        (0..count).filter(|&ring| is_transmit(ring))
    }

    /// Bytes of frames that the guest has room for. Without a guest there is nothing to wait for.
    pub fn room(&self) -> usize {
        self.peer.as_ref().map_or(usize::MAX, Peer::room)
    }

    /// Give the guest a frame that is within its capabilities.
    pub fn push(&mut self, frame: &Frame<'_>) -> Result<(), DropReason> {
        self.peer.as_mut().ok_or(DropReason::LinkDown)?.push(frame)
    }

    /// Tell the guest of what it got. True if somebody waited for room that has come meanwhile.
    pub fn flush(&mut self) -> bool {
        self.peer.as_mut().is_some_and(Peer::flush)
    }
}

/// Is it a ring that the guest sends by?
pub fn is_transmit(ring: usize) -> bool {
    ring % 2 == 1
}

impl Peer {
    fn answer(&mut self, request: message::Message, watch: Watch<'_>) -> Result<(), Ended> {
        let (number, wants) = (request.request, request.needs_reply && self.device.acknowledges());
        match self.device.handle(request, watch) {
            Answer::Reply(payload) => message::reply(&self.socket, number, &payload),
            Answer::Done if wants => message::reply(&self.socket, number, &0_u64.to_ne_bytes()),
            Answer::Failed(_) if wants => message::reply(&self.socket, number, &1_u64.to_ne_bytes()),
            Answer::Done => Ok(()),
            Answer::Failed(reason) => Err(format!("the peer asked for what cannot be done: {reason}")),
        }
    }

    fn take(
        &mut self,
        ring: usize,
        buf: &mut [u8],
        sink: &mut dyn FnMut(Result<Frame<'_>, DropReason>),
    ) -> bool {
        let (header, memory) = (self.device.header_len(), &self.device.memory.guest);
        let Some(ring) = self.device.rings.get_mut(ring) else { return false };
        ring.clear_kick();
        ring.hush(memory);
        for _ in 0..TAKES {
            match ring.take(memory, buf) {
                Taken::Frame(len) => sink(parse(&buf[..len], header)),
                Taken::Bad(reason) => sink(Err(reason)),
                Taken::Empty => return ring.listen(memory),
            }
        }
        true
    }

    /// Which ring the next frame takes is not known, so the fullest one counts.
    fn room(&self) -> usize {
        let room = self.least_room();
        if room < MAX_LEN {
            self.awaited.set(Some(room));
        }
        room
    }

    fn least_room(&self) -> usize {
        let memory = &self.device.memory.guest;
        self.device.receivers().map(|ring| ring.room(memory)).min().unwrap_or(0)
    }

    fn push(&mut self, frame: &Frame<'_>) -> Result<(), DropReason> {
        if self.device.is_too_long(frame) {
            return Err(DropReason::FrameTooLong);
        }
        let mut header = [0; vnet::LEN];
        vnet::emit(&frame.offload, &mut header);
        let header = &mut header[..self.device.header_len()];
        if frame.bytes.len() >= LEAST_FRAME {
            return self.give(header, frame.bytes);
        }
        let mut padded = [0; LEAST_FRAME];
        padded[..frame.bytes.len()].copy_from_slice(frame.bytes);
        self.give(header, &padded)
    }

    fn give(&mut self, header: &mut [u8], bytes: &[u8]) -> Result<(), DropReason> {
        let chosen = spread::choose(bytes, self.device.receivers().count());
        let merge = self.device.has(feature::MRG_RXBUF);
        let memory = &self.device.memory.guest;
        let mut rings = self.device.rings.iter_mut().step_by(2).filter(|ring| ring.works());
        rings.nth(chosen).ok_or(DropReason::LinkDown)?.give(memory, header, bytes, merge)
    }

    /// Tell the guest of what it got. True if there is more room than whoever asked last was told.
    fn flush(&mut self) -> bool {
        let memory = &self.device.memory.guest;
        for (index, ring) in self.device.rings.iter_mut().enumerate() {
            ring.flush(memory);
            if self.awaited.get().is_some() && !is_transmit(index) {
                ring.listen_for_more(memory);
            }
        }
        // Looked at after the guest was asked to tell: what it adds from here on, it tells.
        let has_grown = self.awaited.get().is_some_and(|told| self.least_room() > told);
        if has_grown {
            self.awaited.set(None);
        }
        has_grown
    }
}

fn parse(bytes: &[u8], header_len: usize) -> Result<Frame<'_>, DropReason> {
    let (header, frame) = bytes.split_at_checked(header_len).ok_or(DropReason::FrameTooShort)?;
    let mut whole = [0; vnet::LEN];
    whole[..header_len].copy_from_slice(header);
    Frame { bytes: frame, offload: vnet::parse(&whole)? }.checked()
}
