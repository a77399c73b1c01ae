//! Messages on a unix stream socket, each with a header that tells its length and perhaps with descriptors beside it.
//!
//! Only as much is read as the message at hand is long: descriptors belong to the message whose bytes they come with.

use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

/// Most descriptors beside one message.
pub const MAX_FDS: usize = 32;

/// Why the connection has ended: one sentence.
pub type Ended = String;

/// The bytes of a message, and the descriptors beside it.
pub type Whole = (Vec<u8>, Vec<OwnedFd>);

/// What has arrived of the next message.
#[derive(Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl Inbox {
    /// Read on; bytes and descriptors when a message is whole, `None` when the rest is still to come. `wanted` says how
    /// long the message is, as far as the bytes it is given tell.
    pub fn read(
        &mut self,
        socket: impl AsFd,
        wanted: impl Fn(&[u8]) -> Result<usize, Ended>,
    ) -> Result<Option<Whole>, Ended> {
        loop {
            let wanted = wanted(&self.bytes)?;
            if self.bytes.len() == wanted {
                return Ok(Some((std::mem::take(&mut self.bytes), std::mem::take(&mut self.fds))));
            }
            if !self.read_some(&socket, wanted)? {
                return Ok(None);
            }
        }
    }

    /// Read towards `wanted` bytes and no further.
    fn read_some(&mut self, socket: &impl AsFd, wanted: usize) -> Result<bool, Ended> {
        let have = self.bytes.len();
        self.bytes.resize(wanted, 0);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let got = recvmsg(
            socket,
            &mut [IoSliceMut::new(&mut self.bytes[have..])],
            &mut ancillary,
            RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC,
        );
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                self.fds.extend(fds);
            }
        }
        let len = match got {
            Ok(got) => got.bytes,
            Err(Errno::AGAIN | Errno::INTR) => {
                self.bytes.truncate(have);
                return Ok(false);
            }
            Err(Errno::CONNRESET) => 0,
            Err(error) => {
                return Err(format!("reading from the peer failed: {}", std::io::Error::from(error)));
            }
        };
        self.bytes.truncate(have + len);
        match len {
            0 if have == 0 => Err("the peer closed the connection".into()),
            0 => Err("the peer closed the connection in the middle of a message".into()),
            _ if self.fds.len() > MAX_FDS => {
                Err("the peer sent more descriptors than any request has".into())
            }
            _ => Ok(true),
        }
    }
}
