//! A capture of what passes a port, as bytes for a file.
//!
//! Every frame is one record, written as it passed: a super-segment is one packet of up to 64 KiB, as a capture on a TAP
//! with offloads has it, but with its checksum done, so that nothing seems damaged. What a pcap file has no place for,
//! the direction and why a frame was dropped, a pcapng file has.
//!
//! Nothing is written here: records collect in a batch that the caller takes. Where a file would grow over its limit the
//! batch has a cut, and a new file begins with a header of its own.

use crate::segment::complete_checksum;
use crate::time::Time;
use wirebay_wire::pcap::{self, Direction, Record};
use wirebay_wire::{DropReason, Frame};

/// Bytes of a pcapng packet block in front of the frame (draft-ietf-opsawg-pcapng section 4.3).
const BLOCK_HEAD: usize = 28;
/// The most that a record takes beside its frame, comment included.
const OVERHEAD: u64 = 256;

/// The form of the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// The classic one.
    Pcap,
    /// With directions and comments.
    Pcapng,
}

/// How to capture.
#[derive(Clone, Debug)]
pub struct Options {
    /// The form of the file.
    pub format: Format,
    /// Bytes kept of each frame.
    pub maxlen: u32,
    /// Bytes of one file; a new one begins before it is exceeded. A single record may be longer.
    pub limit: Option<u64>,
    /// What the interface is called.
    pub name: String,
    /// Microseconds since 1970 at [`Time`] 0.
    pub epoch: u64,
}

/// The record that was written last.
#[derive(Clone, Copy)]
struct Last {
    start: usize,
    at: u64,
    direction: Direction,
    len: usize,
    kept: usize,
}

/// What has been captured and not been taken yet.
#[derive(Default, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Records, and the headers of files.
    pub bytes: Vec<u8>,
    /// Where in them a new file begins.
    pub cuts: Vec<usize>,
}

/// The capture.
pub struct Capture {
    options: Options,
    batch: Batch,
    /// Bytes in the current file.
    written: u64,
    last: Option<Last>,
    scratch: Vec<u8>,
}

impl Capture {
    /// A capture whose first bytes are the header of a file.
    pub fn new(options: Options) -> Self {
        let batch = Batch::default();
        let mut capture = Capture { options, batch, written: 0, last: None, scratch: Vec::new() };
        capture.begin();
        capture
    }

    /// Bytes that wait to be taken.
    pub fn waiting(&self) -> usize {
        self.batch.bytes.len()
    }

    /// Take what has been captured.
    pub fn take(&mut self) -> Batch {
        self.last = None;
        std::mem::take(&mut self.batch)
    }

    /// A frame passes; `dropped` if it gets no further.
    pub fn record(
        &mut self,
        now: Time,
        direction: Direction,
        frame: &Frame<'_>,
        dropped: Option<DropReason>,
    ) {
        let kept = frame.bytes.len().min(self.options.maxlen as usize);
        let size = kept as u64 + OVERHEAD;
        if self.options.limit.is_some_and(|limit| self.written > OVERHEAD && self.written + size > limit) {
            self.batch.cuts.push(self.batch.bytes.len());
            self.begin();
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        let bytes = finished(frame, &mut scratch);
        let at = self.options.epoch + now.0;
        self.push(&Record { at, bytes: &bytes[..kept], len: bytes.len(), direction }, dropped);
        self.scratch = scratch;
    }

    /// The frame that was recorded last was dropped after all. A pcap file has no place to say so.
    pub fn dropped(&mut self, direction: Direction, frame: &Frame<'_>, reason: DropReason) {
        let Some(last) = self.last.filter(|l| l.direction == direction && l.len == frame.bytes.len()) else {
            return;
        };
        if self.options.format == Format::Pcap {
            return;
        }
        let from = last.start + BLOCK_HEAD;
        let kept = self.batch.bytes[from..from + last.kept].to_vec();
        self.written -= (self.batch.bytes.len() - last.start) as u64;
        self.batch.bytes.truncate(last.start);
        self.push(&Record { at: last.at, bytes: &kept, len: last.len, direction }, Some(reason));
        // What is said once is said.
        self.last = None;
    }

    fn push(&mut self, record: &Record<'_>, dropped: Option<DropReason>) {
        let start = self.batch.bytes.len();
        match self.options.format {
            Format::Pcap => pcap::push_pcap(&mut self.batch.bytes, record),
            Format::Pcapng => {
                let comment = dropped.map(|reason| format!("dropped: {}", reason.name()));
                pcap::push_pcapng(&mut self.batch.bytes, record, comment.as_deref());
            }
        }
        self.written += (self.batch.bytes.len() - start) as u64;
        let Record { at, direction, len, bytes } = *record;
        self.last = dropped.is_none().then_some(Last { start, at, direction, len, kept: bytes.len() });
    }

    /// The header of a file.
    fn begin(&mut self) {
        let start = self.batch.bytes.len();
        match self.options.format {
            Format::Pcap => pcap::begin_pcap(&mut self.batch.bytes, self.options.maxlen),
            Format::Pcapng => {
                pcap::begin_pcapng(&mut self.batch.bytes, self.options.maxlen, &self.options.name);
            }
        }
        self.written = (self.batch.bytes.len() - start) as u64;
    }
}

/// The frame's bytes with the checksum done that was left to do.
fn finished<'a>(frame: &Frame<'a>, scratch: &'a mut Vec<u8>) -> &'a [u8] {
    let Some(partial) = frame.offload.checksum else { return frame.bytes };
    scratch.clear();
    scratch.extend_from_slice(frame.bytes);
    // A frame whose checksum cannot be done is shown as it is.
    let _ = complete_checksum(scratch, partial);
    scratch
}

#[cfg(test)]
mod tests {
    use super::*;
    use wirebay_wire::{Offload, PartialChecksum, checksum};

    fn capture(format: Format, maxlen: u32, limit: Option<u64>) -> Capture {
        Capture::new(Options { format, maxlen, limit, name: "vm0".into(), epoch: 0 })
    }

    fn contains(bytes: &[u8], text: &str) -> bool {
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    }

    #[test]
    fn a_drop_is_said_beside_its_frame_and_nowhere_else() {
        let mut capture = capture(Format::Pcapng, 100, None);
        let (one, two) = ([1; 60], [2; 70]);
        let header = capture.waiting();
        capture.record(Time(1), Direction::Outbound, &Frame::plain(&one), None);
        let plain = capture.waiting();
        capture.record(Time(2), Direction::Inbound, &Frame::plain(&two), None);
        capture.dropped(Direction::Outbound, &Frame::plain(&two), DropReason::NoHub);
        assert!(!contains(&capture.batch.bytes, "dropped"), "the other direction");
        capture.dropped(Direction::Inbound, &Frame::plain(&two), DropReason::NoHub);
        let Batch { bytes, cuts } = capture.take();
        assert!(contains(&bytes[plain..], "dropped: no_hub") && !contains(&bytes[..plain], "dropped"));
        assert_eq!((plain - header) % 4, 0);
        assert!(contains(&bytes[plain..], &"\u{2}".repeat(70)) && cuts.is_empty());
        capture.dropped(Direction::Inbound, &Frame::plain(&two), DropReason::NoHub);
        assert_eq!(capture.waiting(), 0, "what was taken is not touched");
    }

    #[test]
    fn frames_are_cut_and_their_checksums_done() {
        let mut capture = capture(Format::Pcap, 64, None);
        let mut bytes = vec![3; 200];
        bytes[50..52].fill(0);
        let checksum = Some(PartialChecksum { start: 34, offset: 16 });
        let offload = Offload { checksum, ..Offload::default() };
        capture.record(Time(0), Direction::Inbound, &Frame { bytes: &bytes, offload }, None);
        let file = capture.take().bytes;
        assert_eq!((file.len(), &file[32..40]), (24 + 16 + 64, &[64, 0, 0, 0, 200, 0, 0, 0][..]));
        let sum = checksum::finish(checksum::add(0, &bytes[34..]));
        assert_eq!(file[40 + 50..40 + 52], sum.to_be_bytes());
    }

    #[test]
    fn a_file_that_would_be_too_long_is_cut_and_each_part_is_a_file() {
        let mut capture = capture(Format::Pcap, 65_536, Some(2000));
        for _ in 0..10 {
            capture.record(Time(0), Direction::Inbound, &Frame::plain(&[9; 600]), None);
        }
        let Batch { bytes, cuts } = capture.take();
        let edges: Vec<usize> = [0].into_iter().chain(cuts).chain([bytes.len()]).collect();
        assert_eq!(edges.len(), 6);
        for edge in edges.windows(2) {
            let file = &bytes[edge[0]..edge[1]];
            assert_eq!(file[..4], 0xa1b2_c3d4_u32.to_ne_bytes());
            assert_eq!((file.len() - 24) % 616, 0);
            assert!(file.len() <= 2000);
        }
    }

    #[test]
    fn a_limit_below_a_frame_makes_files_of_one_frame() {
        let mut capture = capture(Format::Pcapng, 65_536, Some(1));
        for _ in 0..3 {
            capture.record(Time(0), Direction::Inbound, &Frame::plain(&[9; 600]), None);
        }
        assert_eq!(capture.take().cuts.len(), 2);
    }
}
