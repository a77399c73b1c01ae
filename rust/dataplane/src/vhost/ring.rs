//! One split ring, and frames through it: gathered from the guest's transmit descriptors, scattered over its receive
//! descriptors.
//!
//! Every frame is copied once between guest memory and a buffer of ours, because a guest may change what lies in its
//! memory while we look at it.

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
const MAX_CHAINS: usize = 64;

/// A ring as the VMM has set it up so far.
pub struct Ring {
    queue: Queue,
    /// The addresses of descriptor table, used ring and available ring, as the VMM has them.
    pub addresses: Option<[u64; 3]>,
    /// Tells us that the guest has put something in.
    pub kick: Option<Watched>,
    call: Option<OwnedFd>,
    /// The VMM lets it work.
    pub enabled: bool,
    started: bool,
    /// Something has been put in that the guest may have to be told of.
    used: bool,
    /// Bytes that a receive chain had the last time, to tell how much room there is.
    chain: usize,
}

impl Ring {
    /// A ring that nothing is known of.
    pub fn new(enabled: bool) -> Self {
        // The size is a constant that the queue accepts.
        let queue = Queue::new(MAX_SIZE).expect("a valid ring size");
        let (addresses, kick, call) = (None, None, None);
        Ring { queue, addresses, kick, call, enabled, started: false, used: false, chain: 0 }
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

    /// Do not be told: we look ourselves.
    pub fn hush(&mut self, memory: &GuestMemoryMmap) {
        if self.works() {
            let _ = self.queue.disable_notification(memory);
        }
    }

    /// Take one frame that the guest sends, header and all, into `buf`.
    pub fn take(&mut self, memory: &GuestMemoryMmap, buf: &mut [u8]) -> Taken {
        if !self.works() {
            return Taken::Empty;
        }
        let Some(chain) = self.queue.pop_descriptor_chain(memory) else { return Taken::Empty };
        let head = chain.head_index();
        let gathered = gather(chain, memory, buf);
        self.put_back(memory, head, 0);
        gathered.map_or_else(Taken::Bad, Taken::Frame)
    }

    fn put_back(&mut self, memory: &GuestMemoryMmap, head: u16, len: usize) {
        // Fails only for a ring that is not in guest memory any more; then nobody waits for it.
        let _ = self.queue.add_used(memory, head, len as u32);
        self.used = true;
    }

    /// About how many bytes of frames the guest has room for.
    pub fn room(&self, memory: &GuestMemoryMmap) -> usize {
        let Ok(index) = self.queue.avail_idx(memory, Ordering::Acquire) else { return 0 };
        if !self.works() {
            return 0;
        }
        let chains = usize::from(index.0.wrapping_sub(self.queue.next_avail()));
        chains * self.chain.max(1)
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
        let chains = self.reserve(memory, header.len() + frame.len(), merge)?;
        if merge {
            header[10..12].copy_from_slice(&(chains.len() as u16).to_le_bytes());
        }
        let mut source = Source { parts: [header, frame] };
        for chain in &chains {
            let mut written = 0;
            for &(addr, len) in &chain.buffers {
                written += source.write(memory, addr, len).ok_or(DropReason::RingInvalid)?;
            }
            self.put_back(memory, chain.head, written);
        }
        Ok(())
    }

    /// Receive chains with room for `len` bytes together; none are taken when there are not enough.
    fn reserve(
        &mut self,
        memory: &GuestMemoryMmap,
        len: usize,
        merge: bool,
    ) -> Result<Vec<Chain>, DropReason> {
        let (mut chains, mut room): (Vec<Chain>, usize) = (Vec::with_capacity(1), 0);
        while room < len {
            let next = if chains.len() < if merge { MAX_CHAINS } else { 1 } {
                self.queue.pop_descriptor_chain(memory)
            } else {
                None
            };
            let Some(next) = next else {
                for _ in &chains {
                    self.queue.go_to_previous_position();
                }
                return Err(DropReason::QueueFull);
            };
            let head = next.head_index();
            let buffers: Vec<_> = next
                .filter(virtio_queue::desc::split::Descriptor::is_write_only)
                .map(|d| (d.addr(), d.len() as usize))
                .collect();
            self.chain = buffers.iter().map(|(_, len)| len).sum();
            room += self.chain;
            chains.push(Chain { head, buffers });
        }
        Ok(chains)
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

/// A receive chain: its head, and its buffers.
struct Chain {
    head: u16,
    buffers: Vec<(GuestAddress, usize)>,
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
