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
    }

    /// Is it time to deliver before producing more?
    pub fn is_full(&self) -> bool {
        self.used >= BATCH
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
        self.frames.clear();
        if self.buf.len() > KEEP {
            self.buf = Vec::new();
            self.frames = Vec::new();
        }
    }
}
