//! The guest's memory: regions of files that the VMM has sent, each known by its guest address and by the address the
//! VMM itself has it at, in which ring addresses are told.

use std::fs::File;
use std::os::fd::OwnedFd;
use vm_memory::{FileOffset, GuestAddress, GuestMemoryMmap, GuestRegionMmap, MmapRegion};

/// Most regions of one guest.
pub const MAX_REGIONS: usize = 32;
/// Bytes of a region in a message.
pub const REGION_LEN: usize = 32;

/// One region as a message tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Region {
    /// Where the guest has it.
    pub guest: u64,
    /// How long it is.
    pub size: u64,
    /// Where the VMM has it.
    pub user: u64,
    /// Where it starts in the file.
    pub offset: u64,
}

impl Region {
    /// Reads the four numbers.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?));
        Some(Region { guest: number(0)?, size: number(8)?, user: number(16)?, offset: number(24)? })
    }

    fn contains_user(&self, addr: u64) -> bool {
        addr >= self.user && addr - self.user < self.size
    }
}

/// All regions, mapped.
#[derive(Default)]
pub struct Memory {
    regions: Vec<Region>,
    /// The same for the rings.
    pub guest: GuestMemoryMmap,
}

impl Memory {
    /// Forget everything.
    pub fn clear(&mut self) {
        *self = Memory::default();
    }

    /// Map one more region. Fails, and changes nothing, when it cannot be mapped or lies over another.
    pub fn add(&mut self, region: Region, fd: OwnedFd) -> Result<(), String> {
        if self.regions.len() >= MAX_REGIONS {
            return Err(format!("the guest has more than {MAX_REGIONS} memory regions"));
        }
        let refused = |error: &dyn std::fmt::Display| format!("a memory region cannot be mapped: {error}");
        let (file, size) = (File::from(fd), usize::try_from(region.size).map_err(|e| refused(&e))?);
        let end = region.offset.checked_add(region.size).ok_or_else(|| refused(&"its size"))?;
        if size == 0 || file.metadata().map_err(|e| refused(&e))?.len() < end {
            // Beyond the end of a file there is memory, but touching it kills.
            return Err(refused(&"the file is shorter"));
        }
        let mapping =
            MmapRegion::from_file(FileOffset::new(file, region.offset), size).map_err(|e| refused(&e))?;
        let mapped = GuestRegionMmap::new(mapping, GuestAddress(region.guest))
            .ok_or_else(|| refused(&"its end overflows"))?;
        self.guest = self.guest.insert_region(mapped.into()).map_err(|e| refused(&e))?;
        self.regions.push(region);
        Ok(())
    }

    /// Unmap a region, told by its addresses and size.
    pub fn remove(&mut self, wanted: &Region) -> Result<(), String> {
        let same = |r: &Region| (r.guest, r.size, r.user) == (wanted.guest, wanted.size, wanted.user);
        let at = self.regions.iter().position(same).ok_or("there is no such memory region")?;
        let (rest, _) = self
            .guest
            .remove_region(GuestAddress(wanted.guest), wanted.size)
            .map_err(|error| format!("a memory region cannot be removed: {error}"))?;
        self.guest = rest;
        self.regions.remove(at);
        Ok(())
    }

    /// The guest address of what the VMM has at `user`.
    pub fn guest_address(&self, user: u64) -> Option<u64> {
        let region = self.regions.iter().find(|region| region.contains_user(user))?;
        Some(region.guest + (user - region.user))
    }
}
