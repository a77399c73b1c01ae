//! Messages: a header of 16 bytes in host order (id, command, size of all, flags, error), then the payload; descriptors
//! come beside the header.

use crate::inbox;
pub use crate::inbox::Ended;
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use std::os::fd::{AsFd, OwnedFd};

/// Bytes of the header.
pub const HEADER: usize = 16;
/// Most data that one message carries, as told to the client.
pub const MAX_DATA: usize = 1 << 20;
/// What comes before the data, in the largest of the messages that have some.
const MAX_BEFORE_DATA: usize = 32;
const IS_REPLY: u32 = 1;
const TYPE: u32 = 0xf;
const NO_REPLY: u32 = 1 << 4;
const IS_ERROR: u32 = 1 << 5;

/// Numbers of commands (vfio-user specification, "Commands").
#[allow(missing_docs)] // the names are the specification's
pub mod command {
    pub const VERSION: u16 = 1;
    pub const DMA_MAP: u16 = 2;
    pub const DMA_UNMAP: u16 = 3;
    pub const GET_INFO: u16 = 4;
    pub const GET_REGION_INFO: u16 = 5;
    pub const GET_IRQ_INFO: u16 = 7;
    pub const SET_IRQS: u16 = 8;
    pub const REGION_READ: u16 = 9;
    pub const REGION_WRITE: u16 = 10;
    pub const DMA_READ: u16 = 11;
    pub const DMA_WRITE: u16 = 12;
    pub const RESET: u16 = 13;
    pub const WRITE_MULTI: u16 = 15;
}

/// A whole message.
pub struct Message {
    /// Chosen by whoever asks; a reply has that of its request.
    pub id: u16,
    /// One of [`command`] or another.
    pub command: u16,
    flags: u32,
    /// What it says.
    pub payload: Vec<u8>,
    /// What came beside it.
    pub fds: Vec<OwnedFd>,
}

impl Message {
    /// Is it the answer to something we asked?
    pub fn is_reply(&self) -> bool {
        self.flags & TYPE == IS_REPLY
    }

    /// Does the client want an answer?
    pub fn wants_reply(&self) -> bool {
        self.flags & NO_REPLY == 0
    }

    /// Has it failed?
    pub fn failed(&self) -> bool {
        self.flags & IS_ERROR != 0
    }

    /// The number at `at` of the payload.
    pub fn u32(&self, at: usize) -> Result<u32, Errno> {
        let bytes = self.payload.get(at..).and_then(|rest| rest.first_chunk());
        bytes.map(|bytes| u32::from_ne_bytes(*bytes)).ok_or(Errno::INVAL)
    }

    /// The number at `at` of the payload.
    pub fn u64(&self, at: usize) -> Result<u64, Errno> {
        let bytes = self.payload.get(at..).and_then(|rest| rest.first_chunk());
        bytes.map(|bytes| u64::from_ne_bytes(*bytes)).ok_or(Errno::INVAL)
    }
}

/// What has arrived of the next message.
#[derive(Default)]
pub struct Inbox(inbox::Inbox);

impl Inbox {
    /// Read on; a message when one is whole, `None` when the rest is still to come.
    pub fn read(&mut self, socket: impl AsFd) -> Result<Option<Message>, Ended> {
        let whole = self.0.read(socket, wanted)?;
        Ok(whole.map(|(bytes, fds)| Message {
            id: half(&bytes, 0),
            command: half(&bytes, 2),
            flags: word(&bytes, 8),
            payload: bytes[HEADER..].to_vec(),
            fds,
        }))
    }
}

/// How long the message is, as far as that is known.
fn wanted(bytes: &[u8]) -> Result<usize, Ended> {
    if bytes.len() < HEADER {
        return Ok(HEADER);
    }
    let len = word(bytes, 4) as usize;
    let limit = HEADER + MAX_BEFORE_DATA + MAX_DATA;
    if !(HEADER..=limit).contains(&len) {
        return Err(format!("the peer sent a message of {len} bytes, outside of {HEADER} to {limit}"));
    }
    if word(bytes, 8) & TYPE > IS_REPLY {
        return Err("the peer sent a message that is neither request nor reply".into());
    }
    Ok(len)
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Send the answer to a request: a payload, or why there is none.
pub fn reply(socket: impl AsFd, to: &Message, answer: Result<&[u8], Errno>) -> Result<(), Ended> {
    let (flags, error) = match answer {
        Ok(_) => (IS_REPLY, 0),
        Err(error) => (IS_REPLY | IS_ERROR, error.raw_os_error() as u32),
    };
    transmit(socket, to.id, to.command, [flags, error], answer.unwrap_or_default())
}

/// Send a request of our own.
pub fn request(socket: impl AsFd, id: u16, command: u16, payload: &[u8]) -> Result<(), Ended> {
    transmit(socket, id, command, [0, 0], payload)
}

fn transmit(socket: impl AsFd, id: u16, command: u16, words: [u32; 2], payload: &[u8]) -> Result<(), Ended> {
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend(id.to_ne_bytes());
    bytes.extend(command.to_ne_bytes());
    bytes.extend(((HEADER + payload.len()) as u32).to_ne_bytes());
    bytes.extend(words[0].to_ne_bytes());
    bytes.extend(words[1].to_ne_bytes());
    bytes.extend(payload);
    match send(socket, &bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
        Ok(sent) if sent == bytes.len() => Ok(()),
        Err(Errno::PIPE | Errno::CONNRESET) => Err("the peer closed the connection".into()),
        _ => Err("the peer does not read what is sent to it".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    fn message(id: u16, command: u16, len: u32, flags: u32) -> Vec<u8> {
        let mut bytes = [id.to_ne_bytes(), command.to_ne_bytes()].concat();
        bytes.extend([len, flags, 0].iter().flat_map(|word| word.to_ne_bytes()));
        bytes
    }

    #[test]
    fn a_message_may_come_in_pieces_of_any_size() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut inbox = Inbox::default();
        let bytes = [message(7, command::REGION_READ, 24, 0), 9_u64.to_ne_bytes().to_vec()].concat();
        for byte in &bytes[..23] {
            theirs.write_all(&[*byte]).unwrap();
            assert!(inbox.read(&ours).unwrap().is_none());
        }
        theirs.write_all(&bytes[23..]).unwrap();
        let got = inbox.read(&ours).unwrap().unwrap();
        assert_eq!((got.id, got.command, got.u64(0), got.u64(1)), (7, 9, Ok(9), Err(Errno::INVAL)));
        assert!(got.wants_reply() && !got.is_reply());
    }

    #[test]
    fn what_is_no_message_ends_in_one_sentence() {
        for (bytes, sentence) in [
            (message(1, 1, 15, 0), "outside of"),
            (message(1, 1, u32::MAX, 0), "outside of"),
            (message(1, 1, 16, 2), "neither request nor reply"),
            (vec![1, 2, 3], "in the middle of a message"),
            (vec![], "closed the connection"),
        ] {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(&bytes).unwrap();
            drop(theirs);
            let ended = Inbox::default().read(&ours).err().unwrap();
            assert!(ended.contains(sentence), "{ended}");
        }
    }
}
