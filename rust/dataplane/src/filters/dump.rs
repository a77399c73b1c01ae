//! A capture to a file that Python has opened: records are made here and written by a thread of their own.

use super::writer::Writer;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;
use wirebay_engine::Time;
use wirebay_engine::capture::{Batch, Capture, Format, Options};
use wirebay_wire::pcap::Direction;
use wirebay_wire::{DropReason, Frame};

/// Bytes that may wait for the file; frames beyond are not captured.
const ROOM: usize = 16 << 20;

/// A capture and its file.
pub struct Dump {
    capture: Capture,
    writer: Writer,
    comments: bool,
    told: bool,
}

impl Dump {
    /// To `file`; `done` is held open until the last byte is written.
    pub fn new(options: Options, file: OwnedFd, done: OwnedFd) -> io::Result<Self> {
        let comments = options.format == Format::Pcapng;
        let (capture, writer) = (Capture::new(options), Writer::start(file, done)?);
        let mut dump = Dump { capture, writer, comments, told: false };
        dump.flush();
        Ok(dump)
    }

    /// Whether the file can say why a frame was dropped.
    pub fn says_why(&self) -> bool {
        self.comments
    }

    /// A frame passes; `dropped` if it gets no further.
    pub fn record(
        &mut self,
        now: Time,
        direction: Direction,
        frame: &Frame<'_>,
        dropped: Option<DropReason>,
    ) -> Result<(), DropReason> {
        if self.writer.error().is_some() {
            return Err(DropReason::PortWriteFailed);
        }
        if self.capture.waiting() + self.writer.queued() + frame.bytes.len() > ROOM {
            return Err(DropReason::FilterFull);
        }
        self.capture.record(now, direction, frame, dropped);
        Ok(())
    }

    /// The frame recorded last was dropped.
    pub fn dropped(&mut self, direction: Direction, frame: &Frame<'_>, reason: DropReason) {
        self.capture.dropped(direction, frame, reason);
    }

    /// Hand over what was captured. How many more files that takes.
    pub fn flush(&mut self) -> usize {
        if self.capture.waiting() == 0 {
            return 0;
        }
        let Batch { mut bytes, cuts } = self.capture.take();
        for &cut in cuts.iter().rev() {
            let rest = bytes.split_off(cut);
            self.writer.prepare(rest);
        }
        self.writer.push(bytes);
        cuts.len()
    }

    /// The next file is there.
    pub fn rotate(&mut self, file: OwnedFd) {
        self.writer.next_file(file);
    }

    /// Why nothing can be written any more, told once.
    pub fn failure(&mut self) -> Option<io::Error> {
        let error = self.writer.error().filter(|_| !self.told)?;
        self.told = true;
        Some(error)
    }

    /// Nothing more will come. Wait at most `patience` until everything is written.
    pub fn end(&mut self, patience: Duration) {
        self.flush();
        self.writer.end(patience);
    }
}
