//! The guest's memory as a card may reach it: ranges of guest addresses, each with its permissions.
//!
//! A range that came with a descriptor is mapped here and touched directly; one without can only be read and written by
//! messages to the client. A range may go at any time, so nothing outside of this module keeps a way into one. What a
//! mapping may do is what its flags say: the memory of a read-only range is mapped read-only as well.

use rustix::io::Errno;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::atomic::{Ordering, fence};
use vm_memory::{Bytes, FileOffset, MmapRegion, VolatileMemory, VolatileSlice};

/// Most ranges of one guest; clients were seen with about 20.
pub const MAX_RANGES: usize = 1024;
/// Flags of a range.
const READ: u32 = 1;
const WRITE: u32 = 2;

/// Which way an access goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// From the guest's memory.
    Read,
    /// To the guest's memory.
    Write,
}

/// How far an access has come: over so many bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Done.
    Done(usize),
    /// To be done by a message.
    Remote(usize),
}

struct Range {
    address: u64,
    size: u64,
    flags: u32,
    /// `None`: only by messages.
    memory: Option<MmapRegion>,
}

impl Range {
    fn allows(&self, way: Way) -> bool {
        self.flags & if way == Way::Read { READ } else { WRITE } != 0
    }
}

/// All ranges, by address.
#[derive(Default)]
pub struct Memory {
    ranges: Vec<Range>,
}

/// A range as a message tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Told {
    /// 1 readable, 2 writable.
    pub flags: u32,
    /// Where it starts in the file.
    pub offset: u64,
    /// Where the guest has it.
    pub address: u64,
    /// How long it is.
    pub size: u64,
}

impl Memory {
    /// One more range. Fails, and changes nothing, when it is empty, lies over another or cannot be mapped.
    pub fn add(&mut self, told: Told, fd: Option<OwnedFd>) -> Result<(), Errno> {
        let end = told.address.checked_add(told.size).ok_or(Errno::INVAL)?;
        if told.size == 0 || told.flags & !(READ | WRITE) != 0 {
            return Err(Errno::INVAL);
        }
        if self.ranges.len() >= MAX_RANGES {
            return Err(Errno::NOSPC);
        }
        let at = self.ranges.partition_point(|range| range.address < told.address);
        let meets_next = self.ranges.get(at).is_some_and(|next| next.address < end);
        let meets_last = at > 0 && self.ranges[at - 1].address + self.ranges[at - 1].size > told.address;
        if meets_next || meets_last {
            return Err(Errno::EXIST);
        }
        let memory = fd.map(|fd| map(told, fd)).transpose()?;
        let Told { flags, address, size, .. } = told;
        self.ranges.insert(at, Range { address, size, flags, memory });
        Ok(())
    }

    /// Forget a range, told by its address and size.
    pub fn remove(&mut self, address: u64, size: u64) -> Result<(), Errno> {
        let same = |range: &Range| (range.address, range.size) == (address, size);
        let at = self.ranges.iter().position(same).ok_or(Errno::NOENT)?;
        self.ranges.remove(at);
        Ok(())
    }

    /// Forget all.
    pub fn clear(&mut self) {
        self.ranges.clear();
    }

    /// Copy from `address` to `buf`, as far as the range at `address` goes.
    pub fn read(&self, address: u64, buf: &mut [u8]) -> Result<Step, Errno> {
        let Some((slice, len)) = self.find(address, buf.len(), Way::Read)? else {
            return Ok(Step::Remote(self.reach(address, buf.len())));
        };
        load(&slice, &mut buf[..len]);
        Ok(Step::Done(len))
    }

    /// Copy `data` to `address`, as far as the range at `address` goes.
    pub fn write(&self, address: u64, data: &[u8]) -> Result<Step, Errno> {
        let Some((slice, len)) = self.find(address, data.len(), Way::Write)? else {
            return Ok(Step::Remote(self.reach(address, data.len())));
        };
        store(&slice, &data[..len]);
        Ok(Step::Done(len))
    }

    fn range(&self, address: u64) -> Option<&Range> {
        let at = self.ranges.partition_point(|range| range.address <= address).checked_sub(1)?;
        let range = &self.ranges[at];
        (address - range.address < range.size).then_some(range)
    }

    /// How many of `len` bytes from `address` on lie in the range there.
    fn reach(&self, address: u64, len: usize) -> usize {
        self.range(address)
            .map_or(0, |range| (range.size - (address - range.address)).min(len as u64) as usize)
    }

    fn find(&self, address: u64, len: usize, way: Way) -> Result<Option<(VolatileSlice<'_>, usize)>, Errno> {
        let range = self.range(address).ok_or(Errno::FAULT)?;
        if !range.allows(way) {
            return Err(Errno::ACCESS);
        }
        let Some(memory) = &range.memory else { return Ok(None) };
        let len = self.reach(address, len);
        let slice = memory.get_slice((address - range.address) as usize, len).map_err(|_| Errno::FAULT)?;
        Ok(Some((slice, len)))
    }
}

fn map(told: Told, fd: OwnedFd) -> Result<MmapRegion, Errno> {
    let (file, size) = (File::from(fd), usize::try_from(told.size).map_err(|_| Errno::NOMEM)?);
    let end = told.offset.checked_add(told.size).ok_or(Errno::INVAL)?;
    if file.metadata().map_err(|_| Errno::BADF)?.len() < end {
        // Beyond the end of a file there is memory, but touching it kills.
        return Err(Errno::INVAL);
    }
    let mut protection = 0;
    for (flag, bit) in [(READ, libc::PROT_READ), (WRITE, libc::PROT_READ | libc::PROT_WRITE)] {
        protection |= if told.flags & flag == 0 { 0 } else { bit };
    }
    let flags = libc::MAP_NORESERVE | libc::MAP_SHARED;
    MmapRegion::build(Some(FileOffset::new(file, told.offset)), size, protection, flags)
        .map_err(|_| Errno::INVAL)
}

/// Numbers at their natural places go in one piece and in order: the guest's driver watches them.
fn load(slice: &VolatileSlice<'_>, buf: &mut [u8]) {
    let order = Ordering::Acquire;
    let whole = match buf.len() {
        2 => slice.load::<u16>(0, order).map(|number| buf.copy_from_slice(&number.to_ne_bytes())).is_ok(),
        4 => slice.load::<u32>(0, order).map(|number| buf.copy_from_slice(&number.to_ne_bytes())).is_ok(),
        8 => slice.load::<u64>(0, order).map(|number| buf.copy_from_slice(&number.to_ne_bytes())).is_ok(),
        _ => false,
    };
    if !whole {
        fence(order);
        slice.copy_to(buf);
    }
}

fn store(slice: &VolatileSlice<'_>, data: &[u8]) {
    let order = Ordering::Release;
    let whole = match data.len() {
        2 => number(data).is_some_and(|bytes| slice.store(u16::from_ne_bytes(bytes), 0, order).is_ok()),
        4 => number(data).is_some_and(|bytes| slice.store(u32::from_ne_bytes(bytes), 0, order).is_ok()),
        8 => number(data).is_some_and(|bytes| slice.store(u64::from_ne_bytes(bytes), 0, order).is_ok()),
        _ => false,
    };
    if !whole {
        fence(order);
        slice.copy_from(data);
    }
}

fn number<const N: usize>(data: &[u8]) -> Option<[u8; N]> {
    data.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

    const PAGE: u64 = 4096;

    fn file(pages: u64) -> OwnedFd {
        let fd = memfd_create("guest", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&fd, pages * PAGE).unwrap();
        fd
    }

    fn told(flags: u32, offset: u64, address: u64, size: u64) -> Told {
        Told { flags, offset, address, size }
    }

    #[test]
    fn an_access_stays_within_the_permissions_and_the_ranges() {
        let mut memory = Memory::default();
        memory.add(told(3, 0, PAGE, PAGE), Some(file(1))).unwrap();
        memory.add(told(1, 0, 2 * PAGE, PAGE), Some(file(1))).unwrap();
        memory.add(told(3, 0, 3 * PAGE, PAGE), None).unwrap();
        assert_eq!(memory.write(2 * PAGE - 2, &[7; 4]), Ok(Step::Done(2)));
        assert_eq!(memory.write(2 * PAGE, &[7; 2]), Err(Errno::ACCESS));
        assert_eq!(memory.read(2 * PAGE, &mut [0; 2]), Ok(Step::Done(2)));
        assert_eq!(memory.read(4 * PAGE - 1, &mut [0; 2]), Ok(Step::Remote(1)));
        for address in [0, PAGE - 1, 4 * PAGE, u64::MAX] {
            assert_eq!(memory.read(address, &mut [0; 2]), Err(Errno::FAULT));
        }
        let mut back = [0; 2];
        assert_eq!(memory.read(2 * PAGE - 2, &mut back), Ok(Step::Done(2)));
        assert_eq!(back, [7; 2]);
    }

    #[test]
    fn a_range_that_cannot_be_is_refused_and_changes_nothing() {
        let mut memory = Memory::default();
        memory.add(told(3, 0, PAGE, PAGE), None).unwrap();
        for (wrong, pages, error) in [
            (told(3, 0, PAGE, PAGE), 1, Errno::EXIST),
            (told(3, 0, 0, PAGE + 1), 2, Errno::EXIST),
            (told(3, 0, 2 * PAGE - 1, PAGE), 2, Errno::EXIST),
            (told(3, 0, u64::MAX, PAGE), 1, Errno::INVAL),
            (told(3, 0, 8 * PAGE, 0), 1, Errno::INVAL),
            (told(4, 0, 8 * PAGE, PAGE), 1, Errno::INVAL),
            (told(3, PAGE, 8 * PAGE, PAGE), 1, Errno::INVAL),
            (told(3, 5, 8 * PAGE, PAGE), 2, Errno::INVAL),
            (told(3, u64::MAX, 8 * PAGE, PAGE), 1, Errno::INVAL),
        ] {
            assert_eq!(memory.add(wrong, Some(file(pages))), Err(error), "{wrong:?}");
        }
        assert_eq!(memory.ranges.len(), 1);
        assert_eq!(memory.remove(PAGE, PAGE - 1), Err(Errno::NOENT));
        assert_eq!(memory.remove(PAGE, PAGE), Ok(()));
        assert_eq!(memory.read(PAGE, &mut [0]), Err(Errno::FAULT));
    }

    #[test]
    fn ranges_have_a_bound() {
        let mut memory = Memory::default();
        for number in 0..MAX_RANGES as u64 {
            memory.add(told(3, 0, number * PAGE, PAGE), None).unwrap();
        }
        assert_eq!(memory.add(told(3, 0, u64::MAX / 2, PAGE), None), Err(Errno::NOSPC));
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_is_read(at in 0..PAGE - 64, data in prop::collection::vec(any::<u8>(), 1..64)) {
            let mut memory = Memory::default();
            memory.add(told(3, 0, PAGE, PAGE), Some(file(1))).unwrap();
            prop_assert_eq!(memory.write(PAGE + at, &data), Ok(Step::Done(data.len())));
            let mut back = vec![0; data.len()];
            prop_assert_eq!(memory.read(PAGE + at, &mut back), Ok(Step::Done(data.len())));
            prop_assert_eq!(back, data);
        }
    }
}
