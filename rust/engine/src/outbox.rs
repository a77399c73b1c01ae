//! Frames on their way out of a machine: built in place in one reused buffer, delivered by the caller, forgotten.

use wirebay_wire::{Frame, Offload};

/// A machine stops producing bulk data when the outbox holds this many bytes; the caller delivers and asks again.
pub const BATCH: usize = 256 << 10;
/// Above this the buffer is given back after use: a burst of timers must not hold memory for ever.
const KEEP: usize = 1 << 20;

/// An append-only batch of frames.
#[derive(Default)]
pub struct Outbox {
    buf: Vec<u8>,
    used: usize,
    frames: Vec<(usize, usize, Offload)>,
    train: Option<Train>,
    idents: u32,
}

/// The last frame is a datagram, or a train of them in one super-segment, that more of the same may join.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Train {
    /// Bytes before the payload.
    pub header: usize,
    /// Payload of each car.
    pub size: usize,
    /// Cars so far.
    pub cars: usize,
}

impl Outbox {
    /// Room for a frame of up to `len` bytes at the end of the batch; [`Outbox::commit`] makes it a frame.
    /// The bytes hold whatever was there before.
    pub fn reserve(&mut self, len: usize) -> &mut [u8] {
        let end = self.used + len;
        if self.buf.len() < end {
            self.buf.resize(end.max(BATCH + 128 * 1024), 0);
        }
        &mut self.buf[self.used..end]
    }

    /// The first `len` bytes of the reserved room are a frame.
    pub fn commit(&mut self, len: usize, offload: Offload) {
        self.frames.push((self.used, len, offload));
        self.used += len;
        self.train = None;
    }

    /// The frame just committed may become a train.
    pub fn start_train(&mut self, train: Train) {
        self.train = Some(train);
    }

    /// The train that ends the batch, and its frame so far.
    pub fn train(&self) -> Option<(Train, &[u8])> {
        let (train, &(at, len, _)) = (self.train?, self.frames.last()?);
        Some((train, &self.buf[at..at + len]))
    }

    /// Couple `more` bytes to the train's frame; returns the whole frame. Without `again` it is the last car.
    pub fn couple(&mut self, more: &[u8], again: bool, offload: Offload) -> Option<&mut [u8]> {
        self.reserve(more.len()).copy_from_slice(more);
        let (at, len, state) = self.frames.last_mut()?;
        (*len, *state) = (*len + more.len(), offload);
        let range = *at..*at + *len;
        self.used += more.len();
        let train = self.train.take();
        self.train = train.filter(|_| again).map(|train| Train { cars: train.cars + 1, ..train });
        Some(&mut self.buf[range])
    }

    /// The next number that the fragments of one packet share.
    pub fn next_ident(&mut self) -> u32 {
        self.idents = self.idents.wrapping_add(1);
        self.idents
    }

    /// Is it time to deliver before producing more?
    pub fn is_full(&self) -> bool {
        self.used >= BATCH
    }

    /// Frames to deliver.
    pub fn count(&self) -> usize {
        self.frames.len()
    }

    /// Bytes to deliver.
    pub fn bytes(&self) -> usize {
        self.used
    }

    /// Nothing to deliver?
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The frames, in order.
    pub fn frames(&self) -> impl Iterator<Item = Frame<'_>> {
        self.frames.iter().map(|&(at, len, offload)| Frame { bytes: &self.buf[at..at + len], offload })
    }

    /// Forget the frames.
    pub fn clear(&mut self) {
        self.used = 0;
        self.train = None;
        self.frames.clear();
        if self.buf.len() > KEEP {
            self.buf = Vec::new();
            self.frames = Vec::new();
        }
    }
}
