//! The device as one VMM sees it: features, memory and rings, a request at a time.
//!
//! A ring is set up by several requests in any order (size, base, addresses, call), starts with its first kick
//! descriptor and stops at `GET_VRING_BASE`. Without the protocol features bit a started ring works; with it, only while
//! it is enabled. Memory may change while rings work: their addresses are translated anew.

use super::memory::{MAX_REGIONS, Memory, REGION_LEN, Region};
use super::message::{Message, request};
use super::ring::Ring;
use crate::poll::Watched;
use std::io;
use std::os::fd::OwnedFd;
use wirebay_engine::Capabilities;
use wirebay_wire::Frame;
use wirebay_wire::ethernet::HEADER_LEN;
use wirebay_wire::frame::MAX_LEN;

/// Most pairs of rings, one to receive and one to send.
pub const MAX_PAIRS: usize = 8;
/// Bits of a ring's descriptor word: its index, and "there is no descriptor".
const INDEX: u64 = 0xff;
const NO_FD: u64 = 0x100;
/// What an MTU may be (virtio 1.2 section 5.1.4.1), and what a VLAN tag adds to a frame.
const LEAST_MTU: u64 = 68;
const MOST_MTU: u64 = 65_535;
const TAG_LEN: usize = 4;

/// Feature bits (virtio 1.2 sections 5.1.3 and 6; the vhost-user specification for bit 30).
#[allow(missing_docs)] // the names are the specification's
pub mod feature {
    pub const CSUM: u64 = 1;
    pub const GUEST_CSUM: u64 = 1 << 1;
    pub const MTU: u64 = 1 << 3;
    pub const GUEST_TSO4: u64 = 1 << 7;
    pub const GUEST_TSO6: u64 = 1 << 8;
    pub const GUEST_ECN: u64 = 1 << 9;
    pub const HOST_TSO4: u64 = 1 << 11;
    pub const HOST_TSO6: u64 = 1 << 12;
    pub const HOST_ECN: u64 = 1 << 13;
    pub const MRG_RXBUF: u64 = 1 << 15;
    pub const MQ: u64 = 1 << 22;
    pub const INDIRECT: u64 = 1 << 28;
    pub const EVENT_IDX: u64 = 1 << 29;
    pub const PROTOCOL: u64 = 1 << 30;
    pub const VERSION_1: u64 = 1 << 32;
    pub const GUEST_USO4: u64 = 1 << 54;
    pub const GUEST_USO6: u64 = 1 << 55;
    pub const HOST_USO: u64 = 1 << 56;
}

/// Protocol feature bits.
mod protocol {
    pub const MQ: u64 = 1;
    pub const REPLY_ACK: u64 = 1 << 3;
    pub const MTU: u64 = 1 << 4;
    pub const RESET_DEVICE: u64 = 1 << 13;
    pub const MEM_SLOTS: u64 = 1 << 15;
    pub const STATUS: u64 = 1 << 16;
}

/// What is offered whatever the offloads.
const PLAIN: u64 = feature::MTU
    | feature::MRG_RXBUF
    | feature::MQ
    | feature::INDIRECT
    | feature::EVENT_IDX
    | feature::PROTOCOL
    | feature::VERSION_1;
/// Offloads, in both directions.
const OFFLOADS: u64 = feature::CSUM
    | feature::GUEST_CSUM
    | feature::GUEST_TSO4
    | feature::GUEST_TSO6
    | feature::GUEST_ECN
    | feature::HOST_TSO4
    | feature::HOST_TSO6
    | feature::HOST_ECN
    | feature::GUEST_USO4
    | feature::GUEST_USO6
    | feature::HOST_USO;
const PROTOCOLS: u64 = protocol::MQ
    | protocol::REPLY_ACK
    | protocol::MTU
    | protocol::RESET_DEVICE
    | protocol::MEM_SLOTS
    | protocol::STATUS;

/// What a request leads to.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// Done; an answer only where the VMM wants one.
    Done,
    /// An answer of its own.
    Reply(Vec<u8>),
    /// Not done.
    Failed(String),
}

/// Has the event loop watch the kick descriptor of a ring.
pub type Watch<'a> = &'a mut dyn FnMut(usize, OwnedFd) -> io::Result<Watched>;

/// The device.
pub struct Device {
    offered: u64,
    acked: u64,
    protocols: u64,
    status: u8,
    /// The longest packet that the VMM lets the guest have, if it says so.
    mtu: Option<u16>,
    /// The guest's memory.
    pub memory: Memory,
    /// Receive rings at even places, transmit rings at odd ones.
    pub rings: Vec<Ring>,
}

impl Device {
    /// A device without a driver; without `offloads` it offers none.
    pub fn new(offloads: bool) -> Self {
        let offered = if offloads { PLAIN | OFFLOADS } else { PLAIN };
        let (memory, rings) = (Memory::default(), Vec::new());
        Device { offered, acked: 0, protocols: 0, status: 0, mtu: None, memory, rings }
    }

    /// Has the driver taken this feature?
    pub fn has(&self, feature: u64) -> bool {
        self.acked & feature != 0
    }

    /// Does the VMM want an answer to a request that has none?
    pub fn acknowledges(&self) -> bool {
        self.protocols & protocol::REPLY_ACK != 0
    }

    /// Length of the header before each frame (virtio 1.2 section 5.1.6).
    pub fn header_len(&self) -> usize {
        if self.has(feature::VERSION_1 | feature::MRG_RXBUF) { 12 } else { 10 }
    }

    /// What the guest takes.
    pub fn capabilities(&self) -> Capabilities {
        Capabilities {
            checksum: self.has(feature::GUEST_CSUM),
            tso4: self.has(feature::GUEST_TSO4),
            tso6: self.has(feature::GUEST_TSO6),
            uso: self.has(feature::GUEST_USO4) && self.has(feature::GUEST_USO6),
            max_frame: MAX_LEN,
        }
    }

    /// The rings that the guest can receive by now.
    pub fn receivers(&self) -> impl Iterator<Item = &Ring> {
        self.rings.iter().step_by(2).filter(|ring| ring.works())
    }

    /// Whether a frame is longer than the VMM's MTU allows, once it is cut.
    pub fn is_too_long(&self, frame: &Frame<'_>) -> bool {
        let Some(mtu) = self.mtu else { return false };
        let len = match frame.offload.gso {
            Some(gso) => usize::from(gso.header_len) + usize::from(gso.size).min(frame.bytes.len()),
            None => frame.bytes.len(),
        };
        len > HEADER_LEN + TAG_LEN + usize::from(mtu)
    }

    /// Carry out one request.
    pub fn handle(&mut self, message: Message, watch: Watch<'_>) -> Answer {
        match message.request {
            request::SET_MEM_TABLE => self.set_memory(message),
            request::ADD_MEM_REG => self.add_region(message),
            request::REM_MEM_REG => self.remove_region(&message),
            request::SET_VRING_KICK | request::SET_VRING_CALL | request::SET_VRING_ERR => {
                self.set_descriptor(message, watch)
            }
            request::SET_VRING_NUM
            | request::SET_VRING_BASE
            | request::GET_VRING_BASE
            | request::SET_VRING_ADDR
            | request::SET_VRING_ENABLE => self.set_ring(&message),
            _ => self.negotiate(&message),
        }
    }

    fn negotiate(&mut self, message: &Message) -> Answer {
        let number = message.u64(0);
        match (message.request, number) {
            (request::GET_FEATURES, _) => u64_reply(self.offered),
            (request::SET_FEATURES, Some(bits)) if bits & !self.offered == 0 => {
                self.acked = bits;
                if !self.has(feature::PROTOCOL) {
                    self.rings.iter_mut().for_each(|ring| ring.enabled = true);
                }
                Answer::Done
            }
            (request::GET_PROTOCOL_FEATURES, _) => u64_reply(PROTOCOLS),
            (request::SET_PROTOCOL_FEATURES, Some(bits)) if bits & !PROTOCOLS == 0 => {
                self.protocols = bits;
                Answer::Done
            }
            (request::GET_QUEUE_NUM, _) => u64_reply(MAX_PAIRS as u64),
            (request::GET_MAX_MEM_SLOTS, _) => u64_reply(MAX_REGIONS as u64),
            (request::SET_STATUS, Some(status)) => {
                self.status = status as u8;
                Answer::Done
            }
            (request::GET_STATUS, _) => u64_reply(self.status.into()),
            (request::SET_OWNER, _) => Answer::Done,
            (request::NET_SET_MTU, Some(mtu @ LEAST_MTU..=MOST_MTU)) => {
                self.mtu = Some(mtu as u16);
                Answer::Done
            }
            // Of the old request the specification says no more than that rings may be stopped.
            (request::RESET_OWNER, _) => {
                self.rings.iter_mut().for_each(|ring| ring.enabled = false);
                Answer::Done
            }
            (request::RESET_DEVICE, _) => {
                self.reset();
                Answer::Done
            }
            (number, _) => Answer::Failed(format!("request {number} is not served")),
        }
    }

    fn reset(&mut self) {
        self.rings.clear();
        (self.acked, self.status, self.mtu) = (0, 0, None);
    }

    fn set_memory(&mut self, message: Message) -> Answer {
        self.memory.clear();
        let Some(count) = message.u32(0).map(|count| count as usize) else { return malformed() };
        if count != message.fds.len() || message.payload.len() < 8 + count * REGION_LEN {
            return malformed();
        }
        let regions = message.payload[8..].chunks(REGION_LEN).filter_map(Region::parse);
        for (region, fd) in regions.zip(message.fds) {
            if let Err(reason) = self.memory.add(region, fd) {
                return Answer::Failed(reason);
            }
        }
        self.restart()
    }

    fn add_region(&mut self, mut message: Message) -> Answer {
        let (Some(region), Some(fd)) = (message.payload.get(8..).and_then(Region::parse), message.fds.pop())
        else {
            return malformed();
        };
        self.memory.add(region, fd).map_or_else(Answer::Failed, |()| self.restart())
    }

    fn remove_region(&mut self, message: &Message) -> Answer {
        let Some(region) = message.payload.get(8..).and_then(Region::parse) else { return malformed() };
        self.memory.remove(&region).map_or_else(Answer::Failed, |()| self.restart())
    }

    /// The memory has changed under rings that work.
    fn restart(&mut self) -> Answer {
        let event_idx = self.has(feature::EVENT_IDX);
        for ring in self.rings.iter_mut().filter(|ring| ring.kick.is_some()) {
            ring.start(&self.memory, event_idx);
        }
        Answer::Done
    }

    fn ring(&mut self, index: u64) -> Option<&mut Ring> {
        let index = usize::try_from(index).ok().filter(|&index| index < 2 * MAX_PAIRS)?;
        let enabled = !self.has(feature::PROTOCOL);
        while self.rings.len() <= index {
            self.rings.push(Ring::new(enabled));
        }
        self.rings.get_mut(index)
    }

    fn set_ring(&mut self, message: &Message) -> Answer {
        let (Some(index), Some(number)) = (message.u32(0), message.u32(4)) else { return malformed() };
        let addresses = [8, 16, 24].map(|at| message.u64(at));
        let Some(ring) = self.ring(index.into()) else { return no_ring(index.into()) };
        match message.request {
            request::SET_VRING_NUM if ring.set_size(number) => Answer::Done,
            request::SET_VRING_BASE => {
                ring.set_base(number as u16);
                Answer::Done
            }
            request::GET_VRING_BASE => {
                let base = u32::from(ring.stop());
                Answer::Reply([index.to_ne_bytes(), base.to_ne_bytes()].concat())
            }
            request::SET_VRING_ADDR => {
                // In the message the flags stand where other requests have their number.
                let [Some(desc), Some(used), Some(avail)] = addresses else { return malformed() };
                ring.addresses = Some([desc, used, avail]);
                Answer::Done
            }
            request::SET_VRING_ENABLE => {
                ring.enabled = number != 0;
                Answer::Done
            }
            _ => malformed(),
        }
    }

    fn set_descriptor(&mut self, mut message: Message, watch: Watch<'_>) -> Answer {
        let Some(word) = message.u64(0) else { return malformed() };
        let fd: Option<OwnedFd> = if word & NO_FD == 0 { message.fds.pop() } else { None };
        if word & NO_FD == 0 && fd.is_none() {
            return malformed();
        }
        let (kind, event_idx) = (message.request, self.has(feature::EVENT_IDX));
        let index = word & INDEX;
        let Some(ring) = self.ring(index) else { return no_ring(index) };
        match kind {
            request::SET_VRING_CALL => ring.set_call(fd),
            request::SET_VRING_ERR => ring.error = fd,
            request::SET_VRING_KICK => {
                ring.kick = None;
                return fd.map_or(Answer::Done, |fd| self.start(index as usize, fd, event_idx, watch));
            }
            _ => return malformed(),
        }
        Answer::Done
    }
}

impl Device {
    fn start(&mut self, index: usize, kick: OwnedFd, event_idx: bool, watch: Watch<'_>) -> Answer {
        let ring = &mut self.rings[index];
        if !ring.start(&self.memory, event_idx) {
            return Answer::Failed(format!("ring {index} does not lie in the guest's memory"));
        }
        match watch(index, kick) {
            Ok(kick) => {
                ring.kick = Some(kick);
                Answer::Done
            }
            Err(error) => {
                Answer::Failed(format!("the kick descriptor of ring {index} cannot be watched: {error}"))
            }
        }
    }
}

fn u64_reply(number: u64) -> Answer {
    Answer::Reply(number.to_ne_bytes().to_vec())
}

fn malformed() -> Answer {
    Answer::Failed("the request is malformed".into())
}

fn no_ring(index: u64) -> Answer {
    Answer::Failed(format!("there is no ring {index}"))
}
