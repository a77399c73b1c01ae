//! One split ring, and frames through it: gathered from the guest's transmit descriptors, scattered over its receive
//! descriptors.
//!
//! Every frame is copied once between guest memory and a buffer of ours, because a guest may change what lies in its
//! memory while we look at it.
//!
//! A bad chain costs its frame. A ring that contradicts itself, with more chains available than it has entries or a chain
//! that starts beyond its table, stands still until the VMM starts it again, and the VMM is told by the error descriptor.

use super::memory::Memory;
use crate::poll::Watched;
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use virtio_queue::{DescriptorChain, Queue, QueueOwnedT, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use wirebay_wire::DropReason;
use wirebay_wire::frame::MAX_LEN;

/// Most entries of a ring (what virtio allows, and QEMU's largest is 1024).
const MAX_SIZE: u16 = 32_768;
/// Descriptor chains that one frame may be spread over.
const MAX_CHAINS: usize = 1024;
/// What a receive chain is taken to hold before one was seen: a frame of a common Ethernet with its header.
const USUAL_CHAIN: usize = 1526;

/// A ring as the VMM has set it up so far.
pub struct Ring {
    queue: Queue,
    /// The addresses of descriptor table, used ring and available ring, as the VMM has them.
    pub addresses: Option<[u64; 3]>,
    /// Tells us that the guest has put something in.
    pub kick: Option<Watched>,
    call: Option<OwnedFd>,
    /// Tells the VMM that the ring has been stopped.
    pub error: Option<OwnedFd>,
    /// The VMM lets it work.
    pub enabled: bool,
    started: bool,
    /// Something has been put in that the guest may have to be told of.
    used: bool,
    /// Bytes that a receive chain had the last time, to tell how much room there is.
    chain: usize,
    reserved: Reserved,
}

impl Ring {
    /// A ring that nothing is known of.
    pub fn new(enabled: bool) -> Self {
        // The size is a constant that the queue accepts.
        let queue = Queue::new(MAX_SIZE).expect("a valid ring size");
        Ring {
            queue,
            addresses: None,
            kick: None,
            call: None,
            error: None,
            enabled,
            started: false,
            used: false,
            chain: USUAL_CHAIN,
            reserved: Reserved::default(),
        }
    }
}

/// What came of looking for a frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// So many bytes are in the buffer.
    Frame(usize),
    /// A chain that is no frame.
    Bad(DropReason),
    /// The ring is empty.
    Empty,
}

impl Ring {
    /// Is it set up and allowed to work?
    pub fn works(&self) -> bool {
        self.started && self.enabled
    }

    /// How many entries it has.
    pub fn set_size(&mut self, size: u32) -> bool {
        u16::try_from(size).is_ok_and(|size| self.queue.try_set_size(size).is_ok())
    }

    /// Where it goes on.
    pub fn set_base(&mut self, base: u16) {
        self.queue.set_next_avail(base);
    }

    /// Whom to tell of what we put in.
    pub fn set_call(&mut self, fd: Option<OwnedFd>) {
        self.call = fd;
        // What was put in before anybody could be told.
        self.used = true;
    }

    /// Start, once the VMM has told all and kicks: addresses are translated and checked. False if they are bad.
    pub fn start(&mut self, memory: &Memory, event_idx: bool) -> bool {
        self.started = false;
        let Some(addresses) = self.addresses else { return false };
        let [Some(desc), Some(used), Some(avail)] = addresses.map(|addr| memory.guest_address(addr)) else {
            return false;
        };
        let set = self.queue.try_set_desc_table_address(GuestAddress(desc)).is_ok()
            && self.queue.try_set_used_ring_address(GuestAddress(used)).is_ok()
            && self.queue.try_set_avail_ring_address(GuestAddress(avail)).is_ok();
        self.queue.set_event_idx(event_idx);
        self.queue.set_ready(true);
        self.started = set && self.queue.is_valid(&memory.guest);
        if self.started
            && let Ok(index) = self.queue.used_idx(&memory.guest, Ordering::Relaxed)
        {
            self.queue.set_next_used(index.0);
        }
        self.started
    }

    /// Stop; where it would go on.
    pub fn stop(&mut self) -> u16 {
        self.started = false;
        self.queue.set_ready(false);
        self.kick = None;
        self.queue.next_avail()
    }

    /// The guest has kicked: forget that it has.
    pub fn clear_kick(&self) {
        let mut count = [0; 8];
        if let Some(kick) = &self.kick {
            let _ = rustix::io::read(&kick.fd, &mut count);
        }
    }

    /// Ask to be told of what the guest puts in from now on; true if there is something already.
    pub fn listen(&mut self, memory: &GuestMemoryMmap) -> bool {
        self.works() && self.queue.enable_notification(memory).unwrap_or(false)
    }

    /// Ask to be told of what the guest adds to what is in already.
    pub fn listen_for_more(&mut self, memory: &GuestMemoryMmap) {
        let (next, count) = (self.queue.next_avail(), self.available(memory));
        // The queue asks for what follows its own position. An entry that is there already would never be told.
        self.queue.set_next_avail(next.wrapping_add(count));
        self.listen(memory);
        self.queue.set_next_avail(next);
    }

    /// Do not be told: we look ourselves.
    pub fn hush(&mut self, memory: &GuestMemoryMmap) {
        if self.works() {
            let _ = self.queue.disable_notification(memory);
        }
    }

    /// Take one frame that the guest sends, header and all, into `buf`.
    pub fn take(&mut self, memory: &GuestMemoryMmap, buf: &mut [u8]) -> Taken {
        if self.available(memory) == 0 {
            return Taken::Empty;
        }
        let Some(chain) = self.queue.pop_descriptor_chain(memory) else { return Taken::Empty };
        let head = chain.head_index();
        let gathered = gather(chain, memory, buf);
        self.put_back(memory, head, 0);
        gathered.map_or_else(Taken::Bad, Taken::Frame)
    }

    /// Chains that the guest has made available and we have not taken.
    fn available(&mut self, memory: &GuestMemoryMmap) -> u16 {
        if !self.works() {
            return 0;
        }
        let count = self.distance(memory);
        if count.is_none() {
            self.break_down();
        }
        count.unwrap_or(0)
    }

    /// The same of a ring that works; `None` if it cannot be.
    fn distance(&self, memory: &GuestMemoryMmap) -> Option<u16> {
        let index = self.queue.avail_idx(memory, Ordering::Acquire).ok()?;
        let count = index.0.wrapping_sub(self.queue.next_avail());
        (count <= self.queue.size()).then_some(count)
    }

    fn break_down(&mut self) {
        self.started = false;
        if let Some(error) = &self.error {
            // Whoever does not read it knows already.
            let _ = rustix::io::write(error, &1_u64.to_ne_bytes());
        }
    }

    fn put_back(&mut self, memory: &GuestMemoryMmap, head: u16, len: usize) {
        self.used = true;
        if self.queue.add_used(memory, head, len as u32).is_err() {
            self.break_down();
        }
    }

    /// About how many bytes of frames the guest has room for.
    pub fn room(&self, memory: &GuestMemoryMmap) -> usize {
        let chains = if self.works() { self.distance(memory).unwrap_or(0) } else { 0 };
        usize::from(chains) * self.chain
    }

    /// Give the guest one frame: `header` with the number of chains filled in where the guest merges them, and `frame`.
    pub fn give(
        &mut self,
        memory: &GuestMemoryMmap,
        header: &mut [u8],
        frame: &[u8],
        merge: bool,
    ) -> Result<(), DropReason> {
        if !self.works() {
            return Err(DropReason::LinkDown);
        }
        let mut reserved = std::mem::take(&mut self.reserved);
        reserved.clear();
        let mut given = self.reserve(&mut reserved, memory, header.len() + frame.len(), merge);
        if given.is_ok() {
            if merge {
                header[10..12].copy_from_slice(&(reserved.chains.len() as u16).to_le_bytes());
            }
            given = self.fill(&reserved, memory, Source { parts: [header, frame] });
        }
        self.reserved = reserved;
        given
    }

    /// Receive chains with room for `len` bytes together; none are taken when there are not enough.
    fn reserve(
        &mut self,
        reserved: &mut Reserved,
        memory: &GuestMemoryMmap,
        len: usize,
        merge: bool,
    ) -> Result<(), DropReason> {
        let most = usize::from(self.available(memory)).min(if merge { MAX_CHAINS } else { 1 });
        let mut room = 0;
        while room < len {
            let has_next = reserved.chains.len() < most;
            let Some(next) = has_next.then(|| self.queue.pop_descriptor_chain(memory)).flatten() else {
                for _ in &reserved.chains {
                    self.queue.go_to_previous_position();
                }
                return Err(DropReason::QueueFull);
            };
            let before = room;
            room += reserved.add(next);
            self.chain = (room - before).max(1);
        }
        Ok(())
    }

    /// Write to reserved chains and give them back, all of them even where one cannot be written to.
    fn fill(
        &mut self,
        reserved: &Reserved,
        memory: &GuestMemoryMmap,
        mut source: Source<'_>,
    ) -> Result<(), DropReason> {
        let (mut from, mut filled) = (0, Ok(()));
        for &(head, to) in &reserved.chains {
            let mut written = 0;
            for &(addr, len) in &reserved.buffers[from..to] {
                match filled.and_then(|()| source.write(memory, addr, len).ok_or(DropReason::RingInvalid)) {
                    Ok(more) => written += more,
                    Err(reason) => filled = Err(reason),
                }
            }
            self.put_back(memory, head, written);
            from = to;
        }
        filled
    }

    /// Tell the guest of what was put in, if it wants to know.
    pub fn flush(&mut self, memory: &GuestMemoryMmap) {
        if !std::mem::take(&mut self.used) || !self.queue.ready() {
            return;
        }
        if let (Some(call), Ok(true)) = (&self.call, self.queue.needs_notification(memory)) {
            match rustix::io::write(call, &1_u64.to_ne_bytes()) {
                // A counter at its end has told already.
                Ok(_) | Err(Errno::AGAIN) => {}
                Err(_) => self.call = None,
            }
        }
    }
}

/// Copy what a chain holds to `buf`; how much it was. A chain that leads back into itself ends where the queue's size says.
fn gather(
    chain: DescriptorChain<&GuestMemoryMmap>,
    memory: &GuestMemoryMmap,
    buf: &mut [u8],
) -> Result<usize, DropReason> {
    let mut len = 0;
    for descriptor in chain {
        if descriptor.is_write_only() {
            return Err(DropReason::RingInvalid);
        }
        let end = len + descriptor.len() as usize;
        let place = buf.get_mut(len..end).ok_or(DropReason::FrameTooLong)?;
        memory.read_slice(place, descriptor.addr()).map_err(|_| DropReason::RingInvalid)?;
        len = end;
    }
    Ok(len)
}

/// Receive chains taken for one frame. The lists are used again, so that a frame allocates nothing.
#[derive(Default)]
struct Reserved {
    /// The head of each, and where its buffers end.
    chains: Vec<(u16, usize)>,
    buffers: Vec<(GuestAddress, usize)>,
}

impl Reserved {
    fn clear(&mut self) {
        self.chains.clear();
        self.buffers.clear();
    }

    /// Add a chain; how many bytes it has room for.
    fn add(&mut self, chain: DescriptorChain<&GuestMemoryMmap>) -> usize {
        let (head, from) = (chain.head_index(), self.buffers.len());
        let writable = chain.filter(virtio_queue::desc::split::Descriptor::is_write_only);
        self.buffers.extend(writable.map(|d| (d.addr(), d.len() as usize)));
        self.chains.push((head, self.buffers.len()));
        self.buffers[from..].iter().map(|(_, len)| len).sum()
    }
}

/// Header and frame, as far as they are not written yet.
struct Source<'a> {
    parts: [&'a [u8]; 2],
}

impl Source<'_> {
    /// Write up to `len` bytes to `addr`; how many, or `None` if there is no memory there.
    fn write(&mut self, memory: &GuestMemoryMmap, addr: GuestAddress, len: usize) -> Option<usize> {
        let mut at = 0;
        for part in &mut self.parts {
            let (now, later) = part.split_at(part.len().min(len - at));
            memory.write_slice(now, GuestAddress(addr.0.checked_add(at as u64)?)).ok()?;
            at += now.len();
            *part = later;
        }
        Some(at)
    }
}

/// Room for one frame with its header.
pub const BUFFER: usize = 12 + MAX_LEN;
