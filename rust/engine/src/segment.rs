//! What a port cannot do is done for it: cutting super-segments and finishing checksums.
//!
//! A frame travels with its offload state through every segment, and is only touched here, in front of a port
//! that cannot take it as it is. Pure functions over bytes; the headers of a super-segment are prepared once,
//! and each segment costs one copy and one sum of its payload.

use wirebay_wire::frame::MAX_LEN;
use wirebay_wire::ipv4::protocol;
use wirebay_wire::layout::Layout;
use wirebay_wire::tcp::flags;
use wirebay_wire::{DropReason, Frame, Gso, GsoKind, Offload, PartialChecksum};
use wirebay_wire::{checksum, ipv6, tcp, udp};

/// Longest IP packet in bytes that has a length field (RFC 791 section 3.1).
const MAX_PACKET: usize = 65_535;

/// What a port can take.
// Not a state machine: four abilities that a kernel or a guest offers independently.
#[allow(clippy::struct_excessive_bools)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capabilities {
    /// Frames with a pending checksum.
    pub checksum: bool,
    /// TCP super-segments over IPv4.
    pub tso4: bool,
    /// TCP super-segments over IPv6.
    pub tso6: bool,
    /// UDP super-segments, each payload a datagram of its own.
    pub uso: bool,
    /// The longest frame in bytes, super-segments included.
    pub max_frame: usize,
}

impl Capabilities {
    /// Finished frames only, of any length a frame can have.
    pub const PLAIN: Self =
        Self { checksum: false, tso4: false, tso6: false, uso: false, max_frame: MAX_LEN };

    /// Whether the port takes `frame` as it is.
    #[inline]
    pub fn takes(&self, frame: &Frame<'_>) -> bool {
        let Offload { checksum, gso, .. } = frame.offload;
        let pending = checksum.is_some() || gso.is_some();
        frame.bytes.len() <= self.max_frame
            && (self.checksum || !pending)
            && gso.is_none_or(|gso| self.segments(gso.kind))
    }

    #[inline]
    fn segments(&self, kind: GsoKind) -> bool {
        match kind {
            GsoKind::TcpV4 => self.tso4,
            GsoKind::TcpV6 => self.tso6,
            GsoKind::Udp => self.uso,
        }
    }

    /// The state of a frame that was finished here: a port that knows of checksums need not verify this one.
    fn finished(&self) -> Offload {
        Offload { checksum_valid: self.checksum, ..Offload::default() }
    }
}

/// Delivers `frame` to a port with `caps`, and returns how many frames that took: calls `out` once with the
/// frame untouched when the port takes it; else once with its checksum finished; else with each of its
/// segments, in order.
///
/// Segmentation advances the TCP sequence number and the IPv4 identification, keeps FIN and PSH for the last
/// segment and CWR for the first, and makes all lengths and checksums anew. `scratch` holds one frame at a
/// time and allocates nothing once it has grown.
///
/// Errors, all before the first call of `out`: [`DropReason::SegmentFailed`] for a super-segment whose
/// headers do not allow it, [`DropReason::OffloadInvalid`] for a pending checksum outside the frame,
/// [`DropReason::FrameTooLong`] for what is longer than the port takes.
#[inline]
pub fn adapt(
    frame: &Frame<'_>,
    caps: &Capabilities,
    scratch: &mut Vec<u8>,
    out: &mut dyn FnMut(Frame<'_>),
) -> Result<usize, DropReason> {
    if caps.takes(frame) {
        out(*frame);
        return Ok(1);
    }
    match (frame.offload.gso, frame.offload.checksum) {
        (Some(gso), _) => segment(frame, gso, caps, scratch, out),
        (None, Some(partial)) => finish(frame.bytes, partial, caps, scratch, out),
        (None, None) => Err(DropReason::FrameTooLong),
    }
}

/// Finishes a pending checksum in place: the field holds the pseudo header sum and gets the checksum over
/// everything from `partial.start` on. [`DropReason::OffloadInvalid`], and nothing written, when the field
/// lies outside the frame.
pub fn complete_checksum(bytes: &mut [u8], partial: PartialChecksum) -> Result<(), DropReason> {
    let covered = bytes.get_mut(usize::from(partial.start)..).ok_or(DropReason::OffloadInvalid)?;
    let sum = checksum::finish(checksum::add(0, covered));
    let offset = usize::from(partial.offset);
    let field = covered.get_mut(offset..offset + 2).ok_or(DropReason::OffloadInvalid)?;
    // Which protocol it is only the offset tells; it tells UDP from TCP and ICMP.
    let sum = if offset == udp::CHECKSUM_OFFSET { never_zero(sum) } else { sum };
    field.copy_from_slice(&sum.to_be_bytes());
    Ok(())
}

/// A UDP checksum as it is sent: 0 would say that there is none (RFC 768, RFC 8200 section 8.1).
fn never_zero(sum: u16) -> u16 {
    if sum == 0 { 0xffff } else { sum }
}

fn finish(
    bytes: &[u8],
    partial: PartialChecksum,
    caps: &Capabilities,
    scratch: &mut Vec<u8>,
    out: &mut dyn FnMut(Frame<'_>),
) -> Result<usize, DropReason> {
    if bytes.len() > caps.max_frame {
        return Err(DropReason::FrameTooLong);
    }
    scratch.clear();
    scratch.extend_from_slice(bytes);
    complete_checksum(scratch, partial)?;
    out(Frame { bytes: scratch, offload: caps.finished() });
    Ok(1)
}

fn segment(
    frame: &Frame<'_>,
    gso: Gso,
    caps: &Capabilities,
    scratch: &mut Vec<u8>,
    out: &mut dyn FnMut(Frame<'_>),
) -> Result<usize, DropReason> {
    let layout = frame.super_segment().ok_or(DropReason::SegmentFailed)?;
    let payload = &frame.bytes[layout.payload..layout.end];
    let size = usize::from(gso.size);
    check_length(&layout, size.min(payload.len()), caps)?;

    scratch.clear();
    scratch.extend_from_slice(&frame.bytes[..layout.payload]);
    let template = Template::take(scratch, layout);
    // Headers alone are a frame too.
    let count = payload.len().div_ceil(size).max(1);
    for index in 0..count {
        let piece = &payload[index * size..payload.len().min((index + 1) * size)];
        scratch.truncate(layout.payload);
        scratch.extend_from_slice(piece);
        template.write(scratch, Place { index, offset: index * size, is_last: index + 1 == count });
        out(Frame { bytes: scratch, offload: caps.finished() });
    }
    Ok(count)
}

/// Whether the longest segment, with `piece` bytes of payload, can be sent to the port.
fn check_length(layout: &Layout, piece: usize, caps: &Capabilities) -> Result<(), DropReason> {
    let frame = layout.payload + piece;
    if frame - layout.network > MAX_PACKET {
        Err(DropReason::SegmentFailed)
    } else if frame > caps.max_frame {
        Err(DropReason::FrameTooLong)
    } else {
        Ok(())
    }
}

/// Where a segment lies in its super-segment.
#[derive(Clone, Copy)]
struct Place {
    index: usize,
    /// Bytes of payload before it.
    offset: usize,
    is_last: bool,
}

/// The headers of a super-segment: what changes from segment to segment, and the sums of what does not.
struct Template {
    layout: Layout,
    /// IPv4 identification of the first segment.
    ident: u16,
    /// TCP sequence number of the first segment.
    seq: u32,
    /// TCP control bits of the whole.
    flags: u8,
    /// The IPv4 header without length, identification and checksum.
    network_sum: u32,
    /// Pseudo header and transport header without lengths, sequence number, flags and checksum.
    transport_sum: u32,
}

impl Template {
    /// Takes the changing fields out of `headers`, leaving zeros there, and sums the rest.
    fn take(headers: &mut [u8], layout: Layout) -> Self {
        let (network, transport) = split(headers, &layout);
        let mut template = Self {
            layout,
            ident: 0,
            seq: 0,
            flags: 0,
            network_sum: 0,
            transport_sum: layout.protocol.into(),
        };
        let addresses = if layout.is_v6 { &network[8..ipv6::HEADER_LEN] } else { &network[12..20] };
        template.transport_sum = checksum::add(template.transport_sum, addresses);
        if !layout.is_v6 {
            template.take_v4(network);
        }
        if layout.protocol == protocol::TCP {
            template.take_tcp(transport);
        } else {
            transport[4..udp::HEADER_LEN].fill(0);
        }
        template.transport_sum = checksum::add(template.transport_sum, transport);
        template
    }

    fn take_v4(&mut self, header: &mut [u8]) {
        self.ident = u16::from_be_bytes([header[4], header[5]]);
        header[2..6].fill(0);
        header[10..12].fill(0);
        self.network_sum = checksum::add(0, header);
    }

    fn take_tcp(&mut self, header: &mut [u8]) {
        self.seq = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        self.flags = header[13];
        header[4..8].fill(0);
        header[13] = 0;
        header[tcp::CHECKSUM_OFFSET..tcp::CHECKSUM_OFFSET + 2].fill(0);
    }

    /// Fills in the headers of `segment`, whose payload is in place.
    fn write(&self, segment: &mut [u8], place: Place) {
        let (network, transport) = split(segment, &self.layout);
        if self.layout.is_v6 {
            let len = network.len() + transport.len() - ipv6::HEADER_LEN;
            put(network, 4, len as u16);
        } else {
            self.write_v4(network, transport.len(), place.index);
        }
        if self.layout.protocol == protocol::TCP {
            self.write_tcp(transport, place);
        } else {
            self.write_udp(transport);
        }
    }

    fn write_v4(&self, header: &mut [u8], transport_len: usize, index: usize) {
        let total = (header.len() + transport_len) as u16;
        let ident = self.ident.wrapping_add(index as u16);
        let sum = self.network_sum + u32::from(total) + u32::from(ident);
        put(header, 2, total);
        put(header, 4, ident);
        put(header, 10, checksum::finish(sum));
    }

    fn write_tcp(&self, segment: &mut [u8], place: Place) {
        let seq = self.seq.wrapping_add(place.offset as u32);
        let flags = self.flags_at(place);
        let header_len = self.layout.payload - self.layout.transport;
        let sum = self.transport_sum + segment.len() as u32 + (seq >> 16) + (seq & 0xffff) + u32::from(flags);
        let sum = checksum::finish(checksum::add(sum, &segment[header_len..]));
        segment[4..8].copy_from_slice(&seq.to_be_bytes());
        segment[13] = flags;
        put(segment, tcp::CHECKSUM_OFFSET, sum);
    }

    fn flags_at(&self, place: Place) -> u8 {
        let mut cleared = 0;
        if place.index != 0 {
            cleared |= flags::CWR;
        }
        if !place.is_last {
            cleared |= flags::FIN | flags::PSH;
        }
        self.flags & !cleared
    }

    fn write_udp(&self, datagram: &mut [u8]) {
        let len = datagram.len() as u16;
        // Once in the pseudo header and once in the header.
        let sum = self.transport_sum + 2 * u32::from(len);
        let sum = checksum::finish(checksum::add(sum, &datagram[udp::HEADER_LEN..]));
        put(datagram, 4, len);
        put(datagram, udp::CHECKSUM_OFFSET, never_zero(sum));
    }
}

/// The IP header with its extensions, and the transport header with what follows.
fn split<'a>(frame: &'a mut [u8], layout: &Layout) -> (&'a mut [u8], &'a mut [u8]) {
    frame[layout.network..].split_at_mut(layout.transport - layout.network)
}

fn put(header: &mut [u8], at: usize, number: u16) {
    header[at..at + 2].copy_from_slice(&number.to_be_bytes());
}
