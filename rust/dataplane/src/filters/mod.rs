//! Filters between a port and its segment, in order, with the meaning of QEMU's (`-object filter-dump` and others).
//!
//! A frame from the port passes its filters from the head of the chain to the tail, a frame to the port from the tail to
//! the head. Each filter is asked once; it lets the frame go on or keeps it. None of them waits for anybody: a capture
//! has a writer of its own, a peer that does not read has a bounded queue, and what does not fit is counted.

pub mod dump;
mod writer;

use crate::ports::stream::StreamPort;
use dump::Dump;
use serde::Deserialize;
use wirebay_engine::hold::Hold;
use wirebay_engine::{Capabilities, Drops, Time, Traffic, segment};
use wirebay_wire::pcap::Direction;
use wirebay_wire::{DropReason, Frame, vnet};

/// Ends of a filter: where frames come in from elsewhere, and where they go out to.
pub const IN: usize = 0;
/// The other one.
pub const OUT: usize = 1;

/// Which frames a filter sees. The words are QEMU's, seen from the netdev: *rx* is what is sent to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Queue {
    /// Both ways.
    All,
    /// To the port.
    Rx,
    /// From the port.
    Tx,
}

impl Queue {
    /// Whether the filter sees frames of this direction.
    pub fn covers(self, direction: Direction) -> bool {
        match self {
            Queue::All => true,
            Queue::Rx => direction == Direction::Inbound,
            Queue::Tx => direction == Direction::Outbound,
        }
    }
}

/// A connection to another program: frames behind their length, and behind that, if agreed, the length of a virtio-net
/// header and the header.
pub struct Outlet {
    /// The connection.
    pub stream: StreamPort,
    vnet: bool,
}

impl Outlet {
    /// Not connected yet.
    pub fn new(vnet: bool) -> Self {
        Outlet { stream: StreamPort::with_extra(if vnet { LENGTH } else { 0 }), vnet }
    }

    /// Queue a frame, cut up and finished where no header can tell that this is left to do.
    fn push(&mut self, frame: &Frame<'_>, scratch: &mut Vec<u8>) -> Result<(), DropReason> {
        if self.vnet {
            let mut header = [0; vnet::LEN];
            vnet::emit(&frame.offload, &mut header);
            let len = ((header.len() + frame.bytes.len()) as u32).to_be_bytes();
            let header_len = (header.len() as u32).to_be_bytes();
            return self.stream.queue(&[&len, &header_len, &header, frame.bytes]);
        }
        let (stream, mut result) = (&mut self.stream, Ok(()));
        segment::adapt(frame, &Capabilities::PLAIN, scratch, &mut |frame| {
            let len = (frame.bytes.len() as u32).to_be_bytes();
            result = result.and(stream.queue(&[&len, frame.bytes]));
        })?;
        result
    }

    /// The frame in what came behind a length.
    pub fn parse<'a>(&self, bytes: &'a [u8]) -> Result<Frame<'a>, DropReason> {
        if !self.vnet {
            return Frame::plain(bytes).checked();
        }
        let (len, bytes) = bytes.split_first_chunk::<LENGTH>().ok_or(DropReason::FrameTooShort)?;
        let len = u32::from_be_bytes(*len) as usize;
        let (header, bytes) = bytes.split_at_checked(len).ok_or(DropReason::FrameTooShort)?;
        // The header of legacy devices lacks the count of buffers, and none at all is allowed too.
        let mut whole = [0; vnet::LEN];
        let known = header.len().min(whole.len());
        whole[..known].copy_from_slice(&header[..known]);
        Frame { bytes, offload: vnet::parse(&whole)? }.checked()
    }
}

/// Bytes of a length.
const LENGTH: usize = 4;

/// What a filter does.
pub enum Kind {
    /// Writes down.
    Dump(Box<Dump>),
    /// Copies to its outlet.
    Mirror,
    /// Diverts to its outlet, and brings in what comes from its inlet.
    Redirector,
    /// Holds back.
    Buffer(Hold),
}

/// A filter.
pub struct Filter {
    /// The name Python gave it.
    pub name: String,
    /// The port it is on.
    pub port: usize,
    /// What it sees.
    pub queue: Queue,
    /// Whether it does anything.
    pub on: bool,
    /// What it does.
    pub kind: Kind,
    /// Its connections: [`IN`] and [`OUT`].
    pub ends: [Option<Outlet>; 2],
    /// What it has taken notice of.
    pub seen: Traffic,
    /// What it has lost.
    pub drops: Drops,
}

impl Filter {
    /// The name of its kind, as in QEMU's `-object` without `filter-`.
    pub fn kind_name(&self) -> &'static str {
        match self.kind {
            Kind::Dump(_) => "dump",
            Kind::Mirror => "mirror",
            Kind::Redirector => "redirector",
            Kind::Buffer(_) => "buffer",
        }
    }

    /// A frame passes; whether it goes on. A filter that keeps it and loses it counts that itself.
    pub fn offer(
        &mut self,
        now: Time,
        direction: Direction,
        frame: &Frame<'_>,
        scratch: &mut Vec<u8>,
    ) -> bool {
        if !self.on || !self.queue.covers(direction) {
            return true;
        }
        let connected = self.ends[OUT].as_mut().filter(|end| end.stream.fd().is_some());
        let (goes_on, done) = match (&mut self.kind, connected) {
            (Kind::Dump(dump), _) => (true, dump.record(now, direction, frame, None)),
            (Kind::Mirror, Some(out)) => (true, out.push(frame, scratch)),
            (Kind::Redirector, Some(out)) => (false, out.push(frame, scratch)),
            (Kind::Buffer(hold), _) => (false, hold.keep(now, direction, frame)),
            (Kind::Mirror | Kind::Redirector, None) => return true,
        };
        match done {
            Ok(()) => self.seen.count(frame.bytes.len()),
            Err(reason) => self.drops.count(reason),
        }
        goes_on
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use wirebay_wire::{Gso, GsoKind, Offload, PartialChecksum};

    fn connected(vnet: bool) -> (Outlet, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut outlet = Outlet::new(vnet);
        assert!(outlet.stream.attach(ours.into(), None));
        (outlet, theirs)
    }

    #[test]
    fn a_plain_outlet_sends_what_qemu_reads() {
        let (mut outlet, mut peer) = connected(false);
        outlet.push(&Frame::plain(&[7; 20]), &mut Vec::new()).unwrap();
        outlet.stream.flush().unwrap();
        let mut got = [0; 24];
        peer.read_exact(&mut got).unwrap();
        assert_eq!((&got[..4], &got[4..]), (&[0, 0, 0, 20][..], &[7; 20][..]), "not padded");
    }

    #[test]
    fn with_headers_a_frame_comes_back_with_what_is_left_to_do() {
        let (mut outlet, mut peer) = connected(true);
        let mut bytes = [&[2; 12][..], &[8, 0, 0x45, 0, 0, 96], &[0; 3], &[64, 6], &[0; 30]].concat();
        bytes.resize(110, 9);
        bytes[20..24].copy_from_slice(&[0, 0, 64, 6]);
        bytes[46] = 0x50;
        let checksum = Some(PartialChecksum { start: 34, offset: 16 });
        let gso = Some(Gso { kind: GsoKind::TcpV4, size: 20, header_len: 54 });
        let frame = Frame { bytes: &bytes, offload: Offload { checksum, gso, checksum_valid: false } };
        frame.validate().unwrap();
        outlet.push(&frame, &mut Vec::new()).unwrap();
        outlet.stream.flush().unwrap();
        let mut wire = vec![0; 4 + 4 + vnet::LEN + bytes.len()];
        peer.read_exact(&mut wire).unwrap();
        assert_eq!(wire[..8], [0, 0, 0, 122, 0, 0, 0, 12]);
        peer.write_all(&wire).unwrap();
        let (mut inlet, mut seen) = (Outlet::new(true), 0);
        std::mem::swap(&mut inlet.stream, &mut outlet.stream);
        let (mut stream, mut buf) = (std::mem::take(&mut inlet.stream), Vec::new());
        stream
            .read(&mut buf, &mut |bytes| {
                assert_eq!(inlet.parse(bytes).unwrap(), frame);
                seen += 1;
            })
            .unwrap();
        assert_eq!(seen, 1);
    }

    #[test]
    fn headers_of_any_length_are_parsed_or_refused() {
        let outlet = Outlet::new(true);
        let with = |len: u32, rest: usize| [&len.to_be_bytes()[..], &vec![0; rest]].concat();
        assert!(outlet.parse(&with(0, 60)).is_ok());
        assert!(outlet.parse(&with(10, 70)).is_ok());
        assert!(outlet.parse(&with(20, 80)).is_ok());
        for bad in [with(61, 60), with(50, 60), with(u32::MAX, 60), vec![0; 3], vec![]] {
            assert!(outlet.parse(&bad).is_err());
        }
    }

    #[test]
    fn queues_are_seen_from_the_netdev() {
        assert!(Queue::Rx.covers(Direction::Inbound) && !Queue::Rx.covers(Direction::Outbound));
        assert!(Queue::Tx.covers(Direction::Outbound) && !Queue::Tx.covers(Direction::Inbound));
    }
}
