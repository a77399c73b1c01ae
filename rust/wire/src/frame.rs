//! Frames with their offload state: what a virtio-net header says travels with the bytes (virtio 1.2 section
//! 5.1.6).

use crate::DropReason;
use crate::ethernet;
use crate::ipv4::protocol;
use crate::layout::Layout;

/// The longest frame in bytes, as QEMU's socket back ends bound it: 4096 bytes of headers and 64 KiB of
/// payload.
pub const MAX_LEN: usize = 69_632;

/// Most segments a super-segment may be cut into: as many as hold 64 KiB in the smallest segments that Linux makes (48
/// bytes, timestamps included). A frame that asks for more only wants to make work.
pub const MAX_SEGMENTS: usize = 2048;

/// What a super-segment is cut into.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GsoKind {
    /// TCP over IPv4 segments.
    TcpV4,
    /// TCP over IPv6 segments.
    TcpV6,
    /// UDP datagrams over IPv4 or IPv6, each with a UDP header (USO, not fragmentation).
    Udp,
}

/// How a super-segment is cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gso {
    /// Into what.
    pub kind: GsoKind,
    /// Payload bytes of each segment but the last, not 0.
    pub size: u16,
    /// Bytes in front of the payload. From a guest it is a hint that [`Frame::checked`] replaces by the
    /// truth.
    pub header_len: u16,
}

/// A checksum that is not computed yet: its field holds the pseudo header sum, and what lies from `start` to
/// the end of the frame is to be summed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PartialChecksum {
    /// Where the sum starts, in bytes from the start of the frame.
    pub start: u16,
    /// Where its field lies, in bytes from `start`.
    pub offset: u16,
}

/// What is left to do with a frame. The default is a plain frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Offload {
    /// The checksum that is pending.
    pub checksum: Option<PartialChecksum>,
    /// The segmentation that is pending; never without a pending checksum.
    pub gso: Option<Gso>,
    /// Whether the transport checksum is known to be right and need not be verified again.
    pub checksum_valid: bool,
}

/// An Ethernet frame with its offload state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// From the destination address on, without frame check sequence.
    pub bytes: &'a [u8],
    /// What is left to do.
    pub offload: Offload,
}

impl<'a> Frame<'a> {
    /// A frame with nothing left to do.
    #[inline]
    pub fn plain(bytes: &'a [u8]) -> Self {
        Self { bytes, offload: Offload { checksum: None, gso: None, checksum_valid: false } }
    }

    /// Whether the frame can be handed on: its length is that of a frame, and its offload state fits its
    /// bytes. A pending checksum's field must lie within the frame; a super-segment must be what it says,
    /// with the pending checksum that of its transport header.
    #[inline]
    pub fn validate(&self) -> Result<(), DropReason> {
        self.checked().map(|_| ())
    }

    /// [`validate`](Self::validate), and the frame with its [`Gso::header_len`] taken from the bytes.
    #[inline]
    pub fn checked(mut self) -> Result<Self, DropReason> {
        match self.bytes.len() {
            0..ethernet::HEADER_LEN => return Err(DropReason::FrameTooShort),
            ethernet::HEADER_LEN..=MAX_LEN => {}
            _ => return Err(DropReason::FrameTooLong),
        }
        let layout = self.super_segment();
        if let Some(gso) = &mut self.offload.gso {
            gso.header_len = layout.ok_or(DropReason::OffloadInvalid)?.payload as u16;
        } else if self.offload.checksum.is_some_and(|partial| partial.end() > self.bytes.len()) {
            return Err(DropReason::OffloadInvalid);
        }
        Ok(self)
    }

    /// Where the headers of a super-segment lie; `None` when the frame is none, or its headers, its
    /// segmentation and its pending checksum do not belong together.
    #[inline]
    pub fn super_segment(&self) -> Option<Layout> {
        let (gso, partial) = (self.offload.gso?, self.offload.checksum?);
        let layout = Layout::of(self.bytes)?;
        let checksum = (layout.transport, layout.checksum_offset());
        let same = checksum == (usize::from(partial.start), usize::from(partial.offset));
        let fits = u16::try_from(layout.payload).is_ok();
        let few = layout.end - layout.payload <= usize::from(gso.size) * MAX_SEGMENTS;
        (gso.size != 0 && gso.kind.fits(&layout) && same && fits && few).then_some(layout)
    }
}

impl PartialChecksum {
    /// The end of the field, in bytes from the start of the frame.
    #[inline]
    pub fn end(self) -> usize {
        usize::from(self.start) + usize::from(self.offset) + 2
    }
}

impl GsoKind {
    fn fits(self, layout: &Layout) -> bool {
        match self {
            Self::TcpV4 => layout.protocol == protocol::TCP && !layout.is_v6,
            Self::TcpV6 => layout.protocol == protocol::TCP && layout.is_v6,
            Self::Udp => layout.protocol == protocol::UDP,
        }
    }
}
