//! The way to the packet worker: a stream socket, each frame behind four bytes of length, as stream ports have it.

use super::message::Ended;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const PREFIX: usize = 4;
/// Longest frame in either direction.
pub const MAX_FRAME: usize = 65_550;
/// Bytes that may wait for the worker; beyond it, frames are dropped, as a wire would.
const QUEUE: usize = 1 << 20;
const READ: usize = 64 << 10;

/// Both directions.
pub struct Frames {
    fd: OwnedFd,
    output: Vec<u8>,
    /// Input, of which everything before `taken` is done with.
    input: Vec<u8>,
    taken: usize,
}

impl Frames {
    /// Over a connected socket.
    pub fn new(fd: OwnedFd) -> Self {
        Frames { fd, output: Vec::new(), input: Vec::new(), taken: 0 }
    }

    /// The socket.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Does output wait?
    pub fn is_waiting(&self) -> bool {
        !self.output.is_empty()
    }

    /// Queue a frame; [`Frames::flush`] sends it. False if it is too long or there is no room.
    pub fn push(&mut self, frame: &[u8]) -> bool {
        let room = frame.len() <= MAX_FRAME && self.output.len() + PREFIX + frame.len() <= QUEUE;
        if room {
            self.output.extend((frame.len() as u32).to_be_bytes());
            self.output.extend(frame);
        }
        room
    }

    /// Send what waits, as far as the worker takes it.
    pub fn flush(&mut self) -> Result<(), Ended> {
        let mut sent = 0;
        while sent < self.output.len() {
            match send(&self.fd, &self.output[sent..], SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(len) => sent += len,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => return Err(gone()),
            }
        }
        self.output.drain(..sent);
        Ok(())
    }

    /// The next frame, if one has come.
    pub fn next(&mut self) -> Result<Option<Vec<u8>>, Ended> {
        loop {
            if let Some(frame) = self.parse()? {
                return Ok(Some(frame));
            }
            self.input.drain(..std::mem::take(&mut self.taken));
            let have = self.input.len();
            self.input.resize(have + READ, 0);
            let got = recv(&self.fd, &mut self.input[have..], RecvFlags::DONTWAIT);
            self.input.truncate(have + got.map_or(0, |(len, _)| len));
            match got {
                Ok((0, _)) => return Err(gone()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(None),
                Err(_) => return Err(gone()),
            }
        }
    }

    /// Is a whole frame there already, without reading?
    pub fn is_ready(&self) -> bool {
        let rest = &self.input[self.taken..];
        rest.first_chunk::<PREFIX>()
            .is_some_and(|len| rest.len() - PREFIX >= u32::from_be_bytes(*len) as usize)
    }

    fn parse(&mut self) -> Result<Option<Vec<u8>>, Ended> {
        let rest = &self.input[self.taken..];
        let Some(len) = rest.first_chunk::<PREFIX>().map(|len| u32::from_be_bytes(*len) as usize) else {
            return Ok(None);
        };
        if len > MAX_FRAME {
            return Err(format!("the network sent a frame of {len} bytes"));
        }
        let Some(frame) = rest.get(PREFIX..PREFIX + len) else { return Ok(None) };
        let frame = frame.to_vec();
        self.taken += PREFIX + len;
        Ok(Some(frame))
    }
}

fn gone() -> Ended {
    "the packet worker is gone".into()
}
