//! A TAP device: one frame a system call, but a frame may be a super-segment of 64 KiB (`IFF_VNET_HDR`).

use rustix::io::Errno;
use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use wirebay_engine::Capabilities;
use wirebay_wire::frame::MAX_LEN;
use wirebay_wire::{DropReason, Frame, Offload, vnet};

/// The device as its file descriptor, already configured by Python.
pub struct TapPort {
    /// The descriptor.
    pub fd: OwnedFd,
    /// What the kernel takes from us; what it gives us was agreed when Python opened it.
    pub capabilities: Capabilities,
    header: bool,
}

/// Room for one frame with its header.
pub const BUFFER: usize = vnet::LEN + MAX_LEN;

/// What came of a read.
pub enum Read<'a> {
    /// A frame.
    Frame(Frame<'a>),
    /// A frame that is none.
    Bad(DropReason),
    /// Nothing there.
    Empty,
}

impl TapPort {
    /// A TAP with these offloads, spelled as in the protocol; none means that it has no vnet header.
    pub fn new(fd: OwnedFd, offloads: &[String]) -> Self {
        let has = |name: &str| offloads.iter().any(|o| o == name);
        let capabilities = Capabilities {
            checksum: has("csum"),
            tso4: has("tso4"),
            tso6: has("tso6"),
            uso: has("uso4") && has("uso6"),
            max_frame: MAX_LEN,
        };
        TapPort { fd, capabilities, header: !offloads.is_empty() }
    }

    /// Take one frame from the device.
    pub fn read<'a>(&self, buf: &'a mut [u8]) -> io::Result<Read<'a>> {
        let len = match rustix::io::read(&self.fd, &mut *buf) {
            Ok(len) => len,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Read::Empty),
            Err(error) => return Err(error.into()),
        };
        Ok(self.parse(&buf[..len]).map_or_else(Read::Bad, Read::Frame))
    }

    fn parse<'a>(&self, read: &'a [u8]) -> Result<Frame<'a>, DropReason> {
        if !self.header {
            return Frame::plain(read).checked();
        }
        let (header, bytes) = read.split_first_chunk().ok_or(DropReason::FrameTooShort)?;
        Frame { bytes, offload: vnet::parse(header)? }.checked()
    }

    /// Give one frame, which must be within its capabilities, to the device.
    pub fn write(&self, frame: &Frame<'_>) -> Result<(), DropReason> {
        let mut header = [0; vnet::LEN];
        // A checksum we have seen to be right is not worth telling: the kernel trusts nothing but NEEDS_CSUM.
        vnet::emit(&Offload { checksum_valid: false, ..frame.offload }, &mut header);
        let pieces = [IoSlice::new(&header), IoSlice::new(frame.bytes)];
        let pieces = if self.header { &pieces[..] } else { &pieces[1..] };
        match rustix::io::writev(&self.fd, pieces) {
            Ok(_) => Ok(()),
            Err(Errno::AGAIN | Errno::NOBUFS) => Err(DropReason::QueueFull),
            Err(_) => Err(DropReason::PortWriteFailed),
        }
    }
}
