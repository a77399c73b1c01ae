//! What a client may ask for, one function each (vfio-user specification, "Commands"; offsets are within the payload).

use super::interrupts;
use super::memory::Told;
use super::message::{self, Ended, MAX_DATA, Message, command};
use super::session::Session;
use rustix::io::Errno;
use std::os::fd::AsFd;

/// Indexes of regions; BARs are 0 to 5.
const ROM: u32 = 6;
const CONFIG: u32 = 7;
const REGIONS: u32 = 9;
/// Flags of a region.
const READABLE: u32 = 1;
const WRITABLE: u32 = 2;
/// `GET_INFO`: can be reset, is PCI.
const DEVICE_FLAGS: u32 = 3;
/// `DMA_UNMAP`: all ranges.
const ALL: u32 = 2;
/// Bytes before the data of a region access, and of a write within a `WRITE_MULTI`.
const ACCESS: usize = 16;
const MULTI_WRITE: usize = 24;
/// Short: the client has no room for more than its own was long.
const VERSION: &[u8] = b"\0\0\0\0{\"capabilities\":{\"max_msg_fds\":8,\"max_data_xfer_size\":1048576,\
    \"write_multiple\":true}}\0";

/// Why there is no answer.
enum Failure {
    /// The client was wrong.
    Refused(Errno),
    /// The device is broken.
    Ended(Ended),
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Failure::Refused(errno)
    }
}

impl From<Ended> for Failure {
    fn from(ended: Ended) -> Self {
        Failure::Ended(ended)
    }
}

type Answer = Result<Vec<u8>, Failure>;

/// An access to a region.
struct Access {
    offset: u64,
    region: u32,
    count: usize,
}

impl Session {
    /// Carry out a request and answer it.
    pub(super) fn carry_out(&self, mut request: Message, socket: impl AsFd) -> Result<(), Ended> {
        let answer = match request.command {
            command::VERSION => version(&request),
            command::DMA_MAP => self.dma_map(&mut request),
            command::DMA_UNMAP => self.dma_unmap(&request),
            command::GET_INFO => info(&request),
            command::GET_REGION_INFO => self.region_info(&request),
            command::GET_IRQ_INFO => self.irq_info(&request),
            command::SET_IRQS => self.set_irqs(&mut request),
            command::REGION_READ => self.region_read(&request),
            command::REGION_WRITE => self.region_write(&request),
            command::WRITE_MULTI => self.write_multi(&request),
            command::RESET => self.reset().map(|()| Vec::new()).map_err(Failure::from),
            _ => Err(Errno::OPNOTSUPP.into()),
        };
        let answer = match answer {
            Ok(payload) => Ok(payload),
            Err(Failure::Refused(errno)) => Err(errno),
            Err(Failure::Ended(ended)) => return Err(ended),
        };
        if !request.wants_reply() {
            return Ok(());
        }
        message::reply(socket, &request, answer.as_ref().map(Vec::as_slice).map_err(|errno| *errno))
    }

    fn dma_map(&self, request: &mut Message) -> Answer {
        let told = Told {
            flags: request.u32(4)?,
            offset: request.u64(8)?,
            address: request.u64(16)?,
            size: request.u64(24)?,
        };
        let fd = request.fds.pop();
        if !request.fds.is_empty() {
            return Err(Errno::INVAL.into());
        }
        self.state().memory.add(told, fd)?;
        Ok(Vec::new())
    }

    fn dma_unmap(&self, request: &Message) -> Answer {
        let (flags, address, size) = (request.u32(4)?, request.u64(8)?, request.u64(16)?);
        match (flags, address, size) {
            (0, address, size) => self.state().memory.remove(address, size)?,
            (ALL, 0, 0) => self.state().memory.clear(),
            _ => return Err(Errno::INVAL.into()),
        }
        Ok(request.payload[..24].to_vec())
    }

    fn region_info(&self, request: &Message) -> Answer {
        let index = request.u32(8)?;
        let (size, flags) = match index {
            ROM => (self.layout.rom.len() as u64, READABLE),
            CONFIG => (super::config::LEN as u64, READABLE | WRITABLE),
            0..ROM => (self.layout.bars[index as usize], READABLE | WRITABLE),
            _ if index < REGIONS => (0, 0),
            _ => return Err(Errno::INVAL.into()),
        };
        let words = words(&[32, if size == 0 { 0 } else { flags }, index, 0]);
        Ok([words, size.to_ne_bytes().to_vec(), vec![0; 8]].concat())
    }

    fn irq_info(&self, request: &Message) -> Answer {
        let index = request.u32(8)?;
        let (flags, count) = self.state().interrupts.info(index)?;
        Ok(words(&[16, flags, index, count]))
    }

    fn set_irqs(&self, request: &mut Message) -> Answer {
        let (payload, fds) = (std::mem::take(&mut request.payload), std::mem::take(&mut request.fds));
        let now = self.now();
        self.state().interrupts.set(&payload, fds, now)?;
        Ok(Vec::new())
    }

    fn region_read(&self, request: &Message) -> Answer {
        let access = access(request, 0)?;
        if access.count > MAX_DATA {
            return Err(Errno::INVAL.into());
        }
        let mut answer = request.payload[..ACCESS].to_vec();
        match access.region {
            CONFIG => answer.extend(self.state().config.read(access.offset, access.count)?),
            ROM => answer.extend(self.rom(&access)?),
            _ => self.bar_read(&access, &mut answer)?,
        }
        Ok(answer)
    }

    fn region_write(&self, request: &Message) -> Answer {
        let access = access(request, 0)?;
        let data = request.payload.get(ACCESS..).ok_or(Errno::INVAL)?;
        if data.len() != access.count {
            return Err(Errno::INVAL.into());
        }
        self.write_data(&access, data)?;
        Ok(request.payload[..ACCESS].to_vec())
    }

    /// Several small writes in one message; one that is wrong ends it.
    fn write_multi(&self, request: &Message) -> Answer {
        let count = usize::try_from(request.u64(0)?).map_err(|_| Errno::INVAL)?;
        if count.checked_mul(MULTI_WRITE).is_none_or(|len| len + 8 != request.payload.len()) {
            return Err(Errno::INVAL.into());
        }
        for at in (8..request.payload.len()).step_by(MULTI_WRITE) {
            let access = access(request, at)?;
            let data = &request.payload[at + ACCESS..at + MULTI_WRITE];
            self.write_data(&access, data.get(..access.count).ok_or(Errno::INVAL)?)?;
        }
        Ok(request.payload[..8].to_vec())
    }

    fn write_data(&self, access: &Access, data: &[u8]) -> Result<(), Failure> {
        match access.region {
            CONFIG => Ok(self.state().config.write(access.offset, data)?),
            ROM => Err(Errno::PERM.into()),
            _ => self.bar_write(access, data),
        }
    }

    fn rom(&self, access: &Access) -> Result<&[u8], Errno> {
        let start = usize::try_from(access.offset).map_err(|_| Errno::INVAL)?;
        let end = start.checked_add(access.count).ok_or(Errno::INVAL)?;
        self.layout.rom.get(start..end).ok_or(Errno::INVAL)
    }

    fn bar_read(&self, access: &Access, answer: &mut Vec<u8>) -> Result<(), Failure> {
        self.check_bar(access)?;
        for at in (0..access.count).step_by(4) {
            let size = (access.count - at).min(4);
            let value = self.device()?.read(access.region, access.offset + at as u64, size, self.now())?;
            answer.extend(&value.to_le_bytes()[..size]);
        }
        Ok(())
    }

    fn bar_write(&self, access: &Access, data: &[u8]) -> Result<(), Failure> {
        self.check_bar(access)?;
        for (at, part) in (0..).step_by(4).zip(data.chunks(4)) {
            let mut value = [0; 4];
            value[..part.len()].copy_from_slice(part);
            let (offset, value) = (access.offset + at, u32::from_le_bytes(value));
            self.device()?.write(access.region, offset, part.len(), value, self.now())?;
        }
        Ok(())
    }

    /// What a processor can do in one go, within a BAR.
    fn check_bar(&self, access: &Access) -> Result<(), Errno> {
        let size = *self.layout.bars.get(access.region as usize).ok_or(Errno::INVAL)?;
        let end = access.offset.checked_add(access.count as u64).ok_or(Errno::INVAL)?;
        if matches!(access.count, 1 | 2 | 4 | 8) && end <= size { Ok(()) } else { Err(Errno::INVAL) }
    }
}

fn version(request: &Message) -> Answer {
    let text_ends = request.payload.len() == 4 || request.payload.last() == Some(&0);
    if request.payload.get(..2) != Some(&[0, 0]) || request.payload.len() < 4 || !text_ends {
        return Err(Errno::INVAL.into());
    }
    Ok(VERSION.to_vec())
}

fn info(request: &Message) -> Answer {
    request.u32(0)?;
    Ok(words(&[16, DEVICE_FLAGS, REGIONS, interrupts::COUNT]))
}

fn access(request: &Message, at: usize) -> Result<Access, Errno> {
    let (offset, region) = (request.u64(at)?, request.u32(at + 8)?);
    Ok(Access { offset, region, count: request.u32(at + 12)? as usize })
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}
