//! Interrupts: the pin as a level, and MSI-X vectors.
//!
//! Theory of operation. The client gives an eventfd for the pin. Writing to it asserts the line; from then on the client
//! takes the pin as masked, lowers the line with the guest's next access to a BAR, and asks us (`SET_IRQS`, unmask) to say
//! so again if the level is still high. So the level is told at a rising edge and after an unmask, never twice in between.
//!
//! Saying so at once after an unmask would raise the line within the guest's own interrupt handler, once for each of its
//! register accesses, and cost a round trip each time. Therefore it waits until the guest has left the card alone for
//! [`QUIET`], at most [`LATEST`] after the unmask: mostly the handler has cleared the cause by then.

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use std::os::fd::OwnedFd;

/// Microseconds without a message after which the level is told again.
pub const QUIET: u64 = 150;
/// Microseconds after an unmask by which it is told in any case.
pub const LATEST: u64 = 1000;

/// Indexes of interrupts.
pub const INTX: u32 = 0;
/// MSI-X vectors.
pub const MSIX: u32 = 2;
/// Errors that the device reports.
pub const ERR: u32 = 3;
/// How many indexes there are.
pub const COUNT: u32 = 5;

/// Flags of `SET_IRQS`: what kind of data, and what to do.
const DATA_NONE: u32 = 1;
const DATA_BOOL: u32 = 1 << 1;
const DATA_EVENTFD: u32 = 1 << 2;
const MASK: u32 = 1 << 3;
const UNMASK: u32 = 1 << 4;
const TRIGGER: u32 = 1 << 5;

/// All interrupts of a card.
pub struct Interrupts {
    pin: Option<OwnedFd>,
    masked: bool,
    level: bool,
    /// When the pin was unmasked with its level high.
    unmasked: Option<u64>,
    vectors: Vec<Option<OwnedFd>>,
    error: Option<OwnedFd>,
}

impl Interrupts {
    /// None is connected; there are so many vectors.
    pub fn new(vectors: u16) -> Self {
        let vectors = (0..vectors).map(|_| None).collect();
        Interrupts { pin: None, masked: false, level: false, unmasked: None, vectors, error: None }
    }

    /// Forget whom to tell.
    pub fn disconnect(&mut self) {
        *self = Interrupts::new(self.vectors.len() as u16);
    }

    /// How many interrupts an index has, and what can be done with them.
    pub fn info(&self, index: u32) -> Result<(u32, u32), Errno> {
        match index {
            INTX => Ok((7, 1)),
            MSIX => Ok((1, self.vectors.len() as u32)),
            ERR => Ok((1, 1)),
            _ if index < COUNT => Ok((0, 0)),
            _ => Err(Errno::INVAL),
        }
    }

    /// The level of the pin, as the card and its configuration have it.
    pub fn set_level(&mut self, level: bool) {
        let rising = level && !self.level;
        self.level = level;
        if !level {
            self.unmasked = None;
        } else if rising && !self.masked {
            self.assert();
        }
    }

    /// Signal a vector; one that is not connected is lost.
    pub fn signal(&mut self, vector: u16) {
        if let Some(Some(fd)) = self.vectors.get(usize::from(vector)) {
            tell(fd);
        }
    }

    /// When the level is to be told again, if nothing happens before; `quiet_since` is when the last message came.
    pub fn deadline(&self, quiet_since: u64) -> Option<u64> {
        self.unmasked.map(|since| (quiet_since + QUIET).min(since + LATEST))
    }

    /// Tell the level again, if it is time.
    pub fn tick(&mut self, now: u64, quiet_since: u64) {
        if self.deadline(quiet_since).is_some_and(|at| at <= now) {
            self.assert();
        }
    }

    fn assert(&mut self) {
        self.unmasked = None;
        if let Some(fd) = &self.pin {
            self.masked = true;
            tell(fd);
        }
    }

    /// `SET_IRQS`.
    pub fn set(&mut self, payload: &[u8], fds: Vec<OwnedFd>, now: u64) -> Result<(), Errno> {
        let words = payload.get(4..20).ok_or(Errno::INVAL)?;
        let mut words = words.chunks(4).filter_map(|word| Some(u32::from_ne_bytes(*word.first_chunk()?)));
        let [flags, index, start, count] = [(); 4].map(|()| words.next().unwrap_or_default());
        let (_, have) = self.info(index)?;
        if start.checked_add(count).is_none_or(|end| end > have.max(1)) {
            return Err(Errno::INVAL);
        }
        let first = start as usize;
        match (flags & 0x7, flags & !0x7) {
            (DATA_NONE, TRIGGER) if count == 0 => self.release(index),
            (DATA_NONE, MASK | UNMASK) if index == INTX => self.mask(flags & MASK != 0, now),
            (DATA_BOOL, MASK | UNMASK) if index == INTX => {
                if *payload.get(20).ok_or(Errno::INVAL)? != 0 {
                    self.mask(flags & MASK != 0, now);
                }
            }
            (DATA_EVENTFD, TRIGGER) => return self.connect(index, first, count as usize, fds),
            (DATA_NONE, TRIGGER) if have > 0 => self.trigger(index, first, count as usize),
            _ => return Err(Errno::INVAL),
        }
        Ok(())
    }

    fn release(&mut self, index: u32) {
        match index {
            INTX => (self.pin, self.masked, self.unmasked) = (None, false, None),
            MSIX => self.vectors.iter_mut().for_each(|vector| *vector = None),
            _ => self.error = None,
        }
    }

    fn mask(&mut self, masked: bool, now: u64) {
        self.masked = masked;
        self.unmasked = (!masked && self.level).then_some(now);
    }

    fn trigger(&mut self, index: u32, first: usize, count: usize) {
        match index {
            INTX => self.assert(),
            MSIX => (first..first + count).for_each(|vector| self.signal(vector as u16)),
            _ => self.error.iter().for_each(tell),
        }
    }

    /// Descriptors to tell by; without any, there is nobody to tell any more.
    fn connect(&mut self, index: u32, first: usize, count: usize, fds: Vec<OwnedFd>) -> Result<(), Errno> {
        if !(fds.is_empty() || fds.len() == count) {
            return Err(Errno::INVAL);
        }
        for fd in &fds {
            // Whatever it is, telling must never wait for it.
            fcntl_setfl(fd, fcntl_getfl(fd)? | OFlags::NONBLOCK)?;
        }
        let mut fds = fds.into_iter();
        match index {
            INTX => {
                self.release(INTX);
                self.pin = fds.next();
                if self.level {
                    self.assert();
                }
            }
            MSIX => {
                let wanted = self.vectors.get_mut(first..first + count).ok_or(Errno::INVAL)?;
                for vector in wanted {
                    *vector = fds.next();
                }
            }
            _ => self.error = fds.next(),
        }
        Ok(())
    }
}

fn tell(fd: &OwnedFd) {
    // A counter at its end has told already, and one that is gone has nobody to be told.
    let _ = rustix::io::write(fd, &1_u64.to_ne_bytes());
}
