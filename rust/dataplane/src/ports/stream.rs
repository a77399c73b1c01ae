//! A stream socket that carries frames as QEMU frames them: four bytes of length, big-endian, then the frame. VPNKit
//! and its heirs have two bytes, little-endian.
//!
//! Writes may stop anywhere and go on later, so frames wait in one queue of bytes; reads may stop anywhere too, so what
//! is not a whole frame yet waits in one buffer. A length over the limit ends the connection, because nothing after it
//! can be understood.

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use serde::Deserialize;
use std::cell::Cell;
use std::os::fd::OwnedFd;
use wirebay_wire::frame::MAX_LEN;
use wirebay_wire::{DropReason, Frame};

/// Bytes that may wait for the peer to read; beyond it, frames are dropped.
const QUEUE: usize = 1 << 20;
/// Bytes read in one go.
const READ: usize = 256 << 10;
/// The least frame an Ethernet card takes; its driver may drop shorter ones as damaged.
const LEAST_FRAME: usize = 60;

/// What stands before a frame: its length.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Prefix {
    /// Four bytes, big-endian.
    #[default]
    Qemu,
    /// Two bytes, little-endian.
    Vpnkit,
}

impl Prefix {
    fn len(self) -> usize {
        match self {
            Prefix::Qemu => 4,
            Prefix::Vpnkit => 2,
        }
    }

    /// The longest frame it has a length for.
    fn most(self) -> usize {
        match self {
            Prefix::Qemu => MAX_LEN,
            Prefix::Vpnkit => usize::from(u16::MAX),
        }
    }

    /// The bytes that say `len`, and how many of them there are.
    fn bytes(self, len: usize) -> ([u8; 4], usize) {
        match self {
            Prefix::Qemu => ((len as u32).to_be_bytes(), 4),
            Prefix::Vpnkit => ((len as u32).to_le_bytes(), 2),
        }
    }

    /// The length at the start of `data` and what follows it, as soon as it is all there.
    fn take(self, data: &[u8]) -> Option<(usize, &[u8])> {
        match self {
            Prefix::Qemu => {
                data.split_first_chunk().map(|(len, rest)| (u32::from_be_bytes(*len) as usize, rest))
            }
            Prefix::Vpnkit => {
                data.split_first_chunk().map(|(len, rest)| (u16::from_le_bytes(*len).into(), rest))
            }
        }
    }
}

/// A connected peer.
struct Peer {
    fd: OwnedFd,
    /// Where output goes if not to the same descriptor; then both may be pipes.
    out: Option<OwnedFd>,
    /// Output that waits, from `sent` on.
    queue: Vec<u8>,
    sent: usize,
    /// Input that is no whole frame yet.
    input: Vec<u8>,
    /// Is the descriptor watched for room to write?
    watched: bool,
    /// Somebody asked for room and there was little: tell when the queue has drained.
    awaited: Cell<bool>,
}

/// The port, with or without a peer.
#[derive(Default)]
pub struct StreamPort {
    prefix: Prefix,
    peer: Option<Peer>,
    /// Bytes between the length and what it counts.
    extra: usize,
}

/// Why a connection has ended: one sentence.
pub type Ended = String;

impl StreamPort {
    /// A port without a peer.
    pub fn new(prefix: Prefix) -> Self {
        StreamPort { prefix, ..StreamPort::default() }
    }

    /// A port whose frames have so many bytes more in front of them, which their length does not count. They are handed
    /// out with the frame.
    pub fn with_extra(extra: usize) -> Self {
        StreamPort { extra, ..StreamPort::default() }
    }

    /// Take a connected socket as the peer, or two descriptors, of which one is for output; false if there is one
    /// already.
    pub fn attach(&mut self, fd: OwnedFd, out: Option<OwnedFd>) -> bool {
        let vacant = self.peer.is_none();
        if vacant {
            let (queue, input) = (Vec::new(), Vec::new());
            let awaited = Cell::new(false);
            self.peer = Some(Peer { fd, out, queue, sent: 0, input, watched: false, awaited });
        }
        vacant
    }

    /// The longest frame the port takes.
    pub fn max_frame(&self) -> usize {
        self.prefix.most()
    }

    /// Close the connection.
    pub fn detach(&mut self) {
        self.peer = None;
    }

    /// The socket.
    pub fn fd(&self) -> Option<&OwnedFd> {
        self.peer.as_ref().map(|peer| &peer.fd)
    }

    /// The descriptor that output goes to.
    pub fn out(&self) -> Option<&OwnedFd> {
        self.peer.as_ref().map(|peer| peer.out.as_ref().unwrap_or(&peer.fd))
    }

    /// Whether input and output have a descriptor each.
    pub fn is_split(&self) -> bool {
        self.peer.as_ref().is_some_and(|peer| peer.out.is_some())
    }

    /// Bytes that can be queued before frames are dropped. Without a peer there is nothing to wait for.
    pub fn room(&self) -> usize {
        let Some(peer) = self.peer.as_ref() else { return usize::MAX };
        let room = QUEUE.saturating_sub(peer.queue.len() - peer.sent);
        if room < MAX_LEN {
            peer.awaited.set(true);
        }
        room
    }

    /// Queue a plain frame; [`StreamPort::flush`] sends it.
    pub fn push(&mut self, frame: &Frame<'_>) -> Result<(), DropReason> {
        let padding = &[0; LEAST_FRAME][frame.bytes.len().min(LEAST_FRAME)..];
        let (prefix, len) = self.prefix.bytes(frame.bytes.len() + padding.len());
        self.queue(&[&prefix[..len], frame.bytes, padding])
    }

    /// Queue pieces one behind the other, all or none.
    pub fn queue(&mut self, pieces: &[&[u8]]) -> Result<(), DropReason> {
        let peer = self.peer.as_mut().ok_or(DropReason::LinkDown)?;
        let len: usize = pieces.iter().map(|piece| piece.len()).sum();
        if peer.queue.len() - peer.sent + len > QUEUE + MAX_LEN {
            return Err(DropReason::QueueFull);
        }
        for piece in pieces {
            peer.queue.extend_from_slice(piece);
        }
        Ok(())
    }

    /// Send what is queued, as far as the peer reads. Whether the queue, awaited by somebody, is roomy again.
    pub fn flush(&mut self) -> Result<bool, Ended> {
        let Some(peer) = self.peer.as_mut() else { return Ok(false) };
        peer.send()?;
        let roomy = peer.queue.len() - peer.sent <= QUEUE / 2;
        Ok(roomy && peer.awaited.replace(false))
    }

    /// Should the descriptor be watched for room to write, and is that news?
    pub fn watch(&mut self) -> Option<bool> {
        let peer = self.peer.as_mut()?;
        let want = peer.sent < peer.queue.len();
        (want != std::mem::replace(&mut peer.watched, want)).then_some(want)
    }

    /// Read once and hand every whole frame to `sink`.
    pub fn read(&mut self, buf: &mut Vec<u8>, sink: &mut dyn FnMut(&[u8])) -> Result<(), Ended> {
        let Some(peer) = self.peer.as_mut() else { return Ok(()) };
        peer.read((self.prefix, self.extra), buf, sink)
    }
}

impl Peer {
    fn send(&mut self) -> Result<(), Ended> {
        while self.sent < self.queue.len() {
            let rest = &self.queue[self.sent..];
            let sent = match &self.out {
                Some(out) => rustix::io::write(out, rest),
                None => rustix::net::send(&self.fd, rest, SendFlags::NOSIGNAL | SendFlags::DONTWAIT),
            };
            match sent {
                Ok(len) => self.sent += len,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(Errno::PIPE | Errno::CONNRESET) => return Err("the peer closed the connection".into()),
                Err(error) => {
                    return Err(format!("sending to the peer failed: {}", std::io::Error::from(error)));
                }
            }
        }
        if self.sent == self.queue.len() {
            self.queue.clear();
            self.sent = 0;
        } else if self.sent > QUEUE / 2 {
            self.queue.drain(..self.sent);
            self.sent = 0;
        }
        Ok(())
    }

    /// `buf` is lent by the loop for all streams; only the tail of an unfinished frame is kept here.
    fn read(
        &mut self,
        (prefix, extra): (Prefix, usize),
        buf: &mut Vec<u8>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Ended> {
        let kept = self.input.len();
        buf.resize(kept.max(MAX_LEN + prefix.len() + extra) + READ, 0);
        buf[..kept].copy_from_slice(&self.input);
        let place = &mut buf[kept..kept + READ];
        let got = match &self.out {
            Some(out) if is_shut(out) => Err(Errno::CONNRESET),
            Some(_) => rustix::io::read(&self.fd, place),
            None => rustix::net::recv(&self.fd, place, RecvFlags::DONTWAIT).map(|(got, _)| got),
        };
        let got = match got {
            Ok(0) | Err(Errno::CONNRESET) => return Err(self.end_of_stream()),
            Ok(got) => got,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            Err(error) => {
                return Err(format!("reading from the peer failed: {}", std::io::Error::from(error)));
            }
        };
        let data = &buf[..kept + got];
        let used = split(prefix, extra, data, sink)?;
        self.input.clear();
        self.input.extend_from_slice(&data[used..]);
        Ok(())
    }

    fn end_of_stream(&self) -> Ended {
        let how = if self.input.is_empty() { "" } else { " in the middle of a frame" };
        format!("the peer closed the connection{how}")
    }
}

/// Whether nobody reads any more what goes to a pipe. An event tells it, but not of which of two descriptors it is.
fn is_shut(out: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(out, PollFlags::empty())];
    let gone = PollFlags::ERR | PollFlags::HUP;
    rustix::event::poll(&mut fds, Some(&Timespec::default())).is_ok() && fds[0].revents().intersects(gone)
}

/// Hand out the whole frames in `data`; how many bytes they took.
fn split(prefix: Prefix, extra: usize, data: &[u8], sink: &mut dyn FnMut(&[u8])) -> Result<usize, Ended> {
    let mut at = 0;
    while let Some((len, rest)) = prefix.take(&data[at..]) {
        if len > MAX_LEN {
            return Err(format!("the peer sent a frame of {len} bytes, over the limit of {MAX_LEN}"));
        }
        let Some(frame) = rest.get(..extra + len) else { break };
        if len > 0 {
            sink(frame);
        }
        at += prefix.len() + extra + len;
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn framed(frames: &[Vec<u8>]) -> Vec<u8> {
        frames
            .iter()
            .flat_map(|f| (f.len() as u32).to_be_bytes().into_iter().chain(f.iter().copied()))
            .collect()
    }

    fn pair() -> (StreamPort, std::os::unix::net::UnixStream) {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut port = StreamPort::default();
        assert!(port.attach(ours.into(), None));
        (port, theirs)
    }

    fn read_all(port: &mut StreamPort) -> Result<Vec<Vec<u8>>, Ended> {
        let (mut frames, mut buf) = (Vec::new(), Vec::new());
        port.read(&mut buf, &mut |frame| frames.push(frame.to_vec()))?;
        Ok(frames)
    }

    proptest! {
        #[test]
        fn frames_survive_any_cutting_of_the_stream(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 1..8),
            cut in 1usize..64,
        ) {
            use std::io::Write;
            let (mut port, mut peer) = pair();
            let mut got = Vec::new();
            for piece in framed(&frames).chunks(cut) {
                peer.write_all(piece).unwrap();
                got.extend(read_all(&mut port).unwrap());
            }
            prop_assert_eq!(got, frames);
        }

        #[test]
        fn any_bytes_end_in_frames_or_in_one_sentence(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let mut total = 0;
            match split(Prefix::Qemu, 0, &bytes, &mut |frame| total += frame.len()) {
                Ok(used) => prop_assert!(used <= bytes.len() && total <= used),
                Err(sentence) => prop_assert!(sentence.contains("over the limit")),
            }
        }
    }

    #[test]
    fn frames_pass_over_two_pipes_in_either_framing_and_a_shut_one_ends_it() {
        for (prefix, length) in [(Prefix::Qemu, &[0, 0, 0, 60][..]), (Prefix::Vpnkit, &[60, 0])] {
            let ((input, to_us), (from_us, output)) =
                (rustix::pipe::pipe().unwrap(), rustix::pipe::pipe().unwrap());
            rustix::io::ioctl_fionbio(&input, true).unwrap();
            let mut port = StreamPort::new(prefix);
            assert!(port.attach(input, Some(output)));
            port.push(&Frame::plain(&[7; 60])).unwrap();
            port.flush().unwrap();
            let mut got = [0; 100];
            let len = rustix::io::read(&from_us, &mut got).unwrap();
            assert_eq!(got[..len], [length, &[7; 60]].concat());
            rustix::io::write(&to_us, &got[..len]).unwrap();
            assert_eq!(read_all(&mut port).unwrap(), [[7; 60]]);
            assert_eq!(read_all(&mut port).unwrap(), [[0; 0]; 0]);
            drop(from_us);
            assert_eq!(read_all(&mut port).unwrap_err(), "the peer closed the connection");
        }
    }

    #[test]
    fn a_runt_is_padded_to_what_a_card_takes() {
        use std::io::Read;
        let (mut port, mut peer) = pair();
        port.push(&Frame::plain(&[7; 42])).unwrap();
        port.flush().unwrap();
        let mut got = [0xff; 64];
        peer.read_exact(&mut got).unwrap();
        assert_eq!(got[..4], 60u32.to_be_bytes());
        assert!(got[4..46].iter().all(|&b| b == 7) && got[46..].iter().all(|&b| b == 0));
    }

    #[test]
    fn a_peer_that_does_not_read_costs_a_bounded_queue_and_loses_only_its_own_frames() {
        let (mut port, _peer) = pair();
        let frame = vec![1; 60_000];
        let refused = (0..200).filter(|_| {
            let full = port.push(&Frame::plain(&frame)) == Err(DropReason::QueueFull);
            port.flush().unwrap();
            full
        });
        assert!(refused.count() > 100);
        assert_eq!(port.room(), 0);
    }

    #[test]
    fn a_peer_that_leaves_in_the_middle_of_a_frame_is_told_from_one_that_leaves() {
        use std::io::Write;
        let (mut port, mut peer) = pair();
        peer.write_all(&[0, 0, 0, 9, 1]).unwrap();
        assert_eq!(read_all(&mut port), Ok(vec![]));
        drop(peer);
        assert_eq!(
            read_all(&mut port).unwrap_err(),
            "the peer closed the connection in the middle of a frame"
        );
        let (mut port, peer) = pair();
        drop(peer);
        assert_eq!(read_all(&mut port).unwrap_err(), "the peer closed the connection");
    }

    #[test]
    fn without_a_peer_frames_are_dropped_because_the_link_is_down() {
        let mut port = StreamPort::default();
        assert_eq!(port.push(&Frame::plain(&[0; 60])), Err(DropReason::LinkDown));
    }
}
