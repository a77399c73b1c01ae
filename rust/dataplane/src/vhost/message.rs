//! Messages: a header of twelve bytes in host order, then the payload; descriptors come beside the header.

use crate::inbox;
pub use crate::inbox::Ended;
use rustix::net::{SendFlags, send};
use std::os::fd::{AsFd, OwnedFd};

const HEADER: usize = 12;
/// The longest payload of a request that we know: a table of 32 memory regions.
const MAX_PAYLOAD: usize = 8 + 32 * 32;
const VERSION: u32 = 1;
const IS_REPLY: u32 = 1 << 2;
const NEEDS_REPLY: u32 = 1 << 3;

/// Numbers of requests that the VMM sends.
#[allow(missing_docs)] // the names are the specification's
pub mod request {
    pub const GET_FEATURES: u32 = 1;
    pub const SET_FEATURES: u32 = 2;
    pub const SET_OWNER: u32 = 3;
    pub const RESET_OWNER: u32 = 4;
    pub const SET_MEM_TABLE: u32 = 5;
    pub const SET_VRING_NUM: u32 = 8;
    pub const SET_VRING_ADDR: u32 = 9;
    pub const SET_VRING_BASE: u32 = 10;
    pub const GET_VRING_BASE: u32 = 11;
    pub const SET_VRING_KICK: u32 = 12;
    pub const SET_VRING_CALL: u32 = 13;
    pub const SET_VRING_ERR: u32 = 14;
    pub const GET_PROTOCOL_FEATURES: u32 = 15;
    pub const SET_PROTOCOL_FEATURES: u32 = 16;
    pub const GET_QUEUE_NUM: u32 = 17;
    pub const SET_VRING_ENABLE: u32 = 18;
    pub const NET_SET_MTU: u32 = 20;
    pub const RESET_DEVICE: u32 = 34;
    pub const GET_MAX_MEM_SLOTS: u32 = 36;
    pub const ADD_MEM_REG: u32 = 37;
    pub const REM_MEM_REG: u32 = 38;
    pub const SET_STATUS: u32 = 39;
    pub const GET_STATUS: u32 = 40;
}

/// A whole request.
pub struct Message {
    /// Which, one of [`request`] or another.
    pub request: u32,
    /// The VMM waits for an answer even where the request has none of its own.
    pub needs_reply: bool,
    /// What it says.
    pub payload: Vec<u8>,
    /// What came beside it.
    pub fds: Vec<OwnedFd>,
}

impl Message {
    /// The number at `at` of the payload.
    pub fn u64(&self, at: usize) -> Option<u64> {
        Some(u64::from_ne_bytes(*self.payload.get(at..)?.first_chunk()?))
    }

    /// The number at `at` of the payload.
    pub fn u32(&self, at: usize) -> Option<u32> {
        Some(u32::from_ne_bytes(*self.payload.get(at..)?.first_chunk()?))
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
            request: number(&bytes, 0),
            needs_reply: number(&bytes, 4) & NEEDS_REPLY != 0,
            payload: bytes[HEADER..].to_vec(),
            fds,
        }))
    }
}

/// How long the message is, as far as that is known.
fn wanted(bytes: &[u8]) -> Result<usize, Ended> {
    let Some(header) = bytes.first_chunk::<HEADER>() else { return Ok(HEADER) };
    let len = number(header, 8) as usize;
    if len > MAX_PAYLOAD {
        return Err(format!("the peer sent a message of {len} bytes, over the limit of {MAX_PAYLOAD}"));
    }
    if number(header, 4) & 3 != VERSION {
        return Err("the peer speaks another version of vhost-user".into());
    }
    Ok(HEADER + len)
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Send the answer to a request.
pub fn reply(socket: impl AsFd, request: u32, payload: &[u8]) -> Result<(), Ended> {
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    for word in [request, VERSION | IS_REPLY, payload.len() as u32] {
        bytes.extend(word.to_ne_bytes());
    }
    bytes.extend(payload);
    match send(socket, &bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
        Ok(sent) if sent == bytes.len() => Ok(()),
        _ => Err("the peer does not read the answers to its requests".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    fn message(request: u32, flags: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes: Vec<u8> =
            [request, flags, payload.len() as u32].iter().flat_map(|word| word.to_ne_bytes()).collect();
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn a_message_may_come_in_pieces_of_any_size() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut inbox = Inbox::default();
        let bytes = message(request::SET_FEATURES, VERSION | NEEDS_REPLY, &7_u64.to_ne_bytes());
        for byte in &bytes[..19] {
            theirs.write_all(&[*byte]).unwrap();
            assert!(inbox.read(&ours).unwrap().is_none());
        }
        theirs.write_all(&bytes[19..]).unwrap();
        let got = inbox.read(&ours).unwrap().unwrap();
        assert_eq!((got.request, got.needs_reply, got.u64(0), got.u64(1)), (2, true, Some(7), None));
    }

    #[test]
    fn two_messages_in_one_write_are_two() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut both = message(request::SET_OWNER, VERSION, &[]);
        both.extend(message(request::GET_FEATURES, VERSION, &[]));
        theirs.write_all(&both).unwrap();
        let mut inbox = Inbox::default();
        assert_eq!(inbox.read(&ours).unwrap().unwrap().request, request::SET_OWNER);
        assert_eq!(inbox.read(&ours).unwrap().unwrap().request, request::GET_FEATURES);
    }

    #[test]
    fn what_is_no_message_ends_in_one_sentence() {
        let huge = [1_u32, VERSION, 1 << 20].iter().flat_map(|word| word.to_ne_bytes()).collect();
        for (bytes, sentence) in [
            (message(1, 2, &[]), "another version"),
            (huge, "over the limit"),
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
