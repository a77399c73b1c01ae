//! The guest's memory, for the engine of the device: directly, or by messages during which requests are served.

use super::memory::Step;
use super::message::{self, Ended, Message, command};
use super::session::{Session, State, lock};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Microseconds that the client may take to answer.
const PATIENCE: u64 = 5_000_000;
/// Most bytes asked of the client at once.
const CHUNK: usize = 1 << 16;

impl Session {
    /// Copy from memory, as far as one range goes. `EPERM`: the guest has not made the card a bus master, or it is not the
    /// engine that asks.
    pub fn read(&self, address: u64, buf: &mut [u8]) -> Result<Step, Errno> {
        let state = self.state();
        self.check_master(&state)?;
        state.memory.read(address, buf)
    }

    /// Copy to memory, as far as one range goes.
    pub fn write(&self, address: u64, data: &[u8]) -> Result<Step, Errno> {
        let state = self.state();
        self.check_master(&state)?;
        state.memory.write(address, data)
    }

    fn check_master(&self, state: &State) -> Result<(), Errno> {
        let may = self.running.load(Ordering::Relaxed) && state.config.is_master();
        if may { Ok(()) } else { Err(Errno::PERM) }
    }

    /// Copy from memory by messages; how much.
    pub fn read_remote(&self, address: u64, buf: &mut [u8]) -> Result<usize, Errno> {
        let len = buf.len().min(CHUNK);
        let request = [address.to_ne_bytes(), (len as u64).to_ne_bytes()].concat();
        let answer = self.exchange(command::DMA_READ, &request)?;
        buf[..len].copy_from_slice(answer.get(16..16 + len).ok_or(Errno::PROTO)?);
        Ok(len)
    }

    /// Copy to memory by messages; how much.
    pub fn write_remote(&self, address: u64, data: &[u8]) -> Result<usize, Errno> {
        let data = &data[..data.len().min(CHUNK)];
        let head = [address.to_ne_bytes(), (data.len() as u64).to_ne_bytes()].concat();
        self.exchange(command::DMA_WRITE, &[&head, data].concat())?;
        Ok(data.len())
    }

    fn exchange(&self, command: u16, payload: &[u8]) -> Result<Vec<u8>, Errno> {
        self.ask(command, payload).unwrap_or_else(|ended| {
            if let Some(link) = lock(&self.link).as_mut() {
                link.ended = Some(ended);
            }
            Err(Errno::NOTCONN)
        })
    }

    /// Ask the client, and carry out its requests until it has answered.
    fn ask(&self, command: u16, payload: &[u8]) -> Result<Result<Vec<u8>, Errno>, Ended> {
        let (socket, id) = self.next_id()?;
        message::request(&*socket, id, command, payload)?;
        let limit = self.now() + PATIENCE;
        loop {
            while let Some(message) = self.next_message()? {
                if message.is_reply() && (message.id, message.command) == (id, command) {
                    return Ok(if message.failed() { Err(Errno::IO) } else { Ok(message.payload) });
                }
                self.within(message)?;
            }
            let [_, stopped] = self.wait(socket.as_fd(), false, Some(limit))?;
            if stopped {
                self.stop(); // for the loop outside
                return Err("it was stopped".into());
            }
            if self.now() >= limit {
                return Err("the peer does not answer".into());
            }
        }
    }

    /// A request in the middle of a run: the device answers from its registers.
    fn within(&self, message: Message) -> Result<(), Ended> {
        self.running.store(false, Ordering::Relaxed);
        let done = self.handle(message).and_then(|()| self.publish());
        self.running.store(true, Ordering::Relaxed);
        done
    }

    fn next_id(&self) -> Result<(Arc<OwnedFd>, u16), Ended> {
        let mut link = lock(&self.link);
        let link = link.as_mut().ok_or("there is no client")?;
        if let Some(ended) = &link.ended {
            return Err(ended.clone());
        }
        link.last_id = link.last_id.wrapping_add(1);
        Ok((link.socket.clone(), link.last_id))
    }
}
