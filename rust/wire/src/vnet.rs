//! The virtio-net header in front of a frame: `virtio_net_hdr_v1` of 12 bytes, little endian (virtio 1.2
//! section 5.1.6; the same bytes as Linux's `virtio_net_hdr_mrg_rxbuf` on a TAP with `IFF_VNET_HDR`).

use crate::frame::{Gso, GsoKind, MAX_LEN, Offload, PartialChecksum};
use crate::{DropReason, bytes::put};

/// Length of the header in bytes.
pub const LEN: usize = 12;

/// `VIRTIO_NET_HDR_F_NEEDS_CSUM`: the checksum is pending.
const NEEDS_CSUM: u8 = 1;
/// `VIRTIO_NET_HDR_F_DATA_VALID`: the checksum is known to be right.
const DATA_VALID: u8 = 2;

/// Types of segmentation (`VIRTIO_NET_HDR_GSO_*`). Type 3, the fragmentation of one large UDP datagram, is
/// not offered to anybody and so refused.
const GSO_NONE: u8 = 0;
const GSO_TCP_V4: u8 = 1;
const GSO_TCP_V6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
/// Set beside a type when the TCP header has CWR: segmentation looks at the header itself.
const GSO_ECN: u8 = 0x80;

/// Reads a header. Flags that are not known are ignored (virtio 1.2 section 5.1.6.2.2), as is the number of
/// buffers; [`DropReason::OffloadInvalid`] for an unknown segmentation, one of size 0 or without a pending
/// checksum, and a checksum field behind the end of any frame. What needs the frame's bytes is checked by
/// [`Frame::validate`](crate::Frame::validate).
#[inline]
pub fn parse(header: &[u8; LEN]) -> Result<Offload, DropReason> {
    let offload = Offload {
        checksum: parse_checksum(header)?,
        gso: parse_gso(header)?,
        checksum_valid: header[0] & DATA_VALID != 0,
    };
    if offload.gso.is_some() && offload.checksum.is_none() {
        return Err(DropReason::OffloadInvalid);
    }
    Ok(offload)
}

#[inline]
fn parse_checksum(header: &[u8; LEN]) -> Result<Option<PartialChecksum>, DropReason> {
    if header[0] & NEEDS_CSUM == 0 {
        return Ok(None);
    }
    let partial = PartialChecksum { start: little(header, 6), offset: little(header, 8) };
    if partial.end() > MAX_LEN { Err(DropReason::OffloadInvalid) } else { Ok(Some(partial)) }
}

#[inline]
fn parse_gso(header: &[u8; LEN]) -> Result<Option<Gso>, DropReason> {
    let kind = match header[1] & !GSO_ECN {
        GSO_NONE => return Ok(None),
        GSO_TCP_V4 => GsoKind::TcpV4,
        GSO_TCP_V6 => GsoKind::TcpV6,
        GSO_UDP_L4 => GsoKind::Udp,
        _ => return Err(DropReason::OffloadInvalid),
    };
    let gso = Gso { kind, size: little(header, 4), header_len: little(header, 2) };
    if gso.size == 0 { Err(DropReason::OffloadInvalid) } else { Ok(Some(gso)) }
}

/// Writes a header towards a TAP, with 0 buffers.
#[inline]
pub fn emit(offload: &Offload, buf: &mut [u8; LEN]) {
    *buf = [0; LEN];
    if let Some(partial) = offload.checksum {
        buf[0] |= NEEDS_CSUM;
        put(buf, 6, partial.start.to_le_bytes());
        put(buf, 8, partial.offset.to_le_bytes());
    }
    if offload.checksum_valid {
        buf[0] |= DATA_VALID;
    }
    if let Some(gso) = offload.gso {
        buf[1] = gso_type(gso.kind);
        put(buf, 2, gso.header_len.to_le_bytes());
        put(buf, 4, gso.size.to_le_bytes());
    }
}

fn gso_type(kind: GsoKind) -> u8 {
    match kind {
        GsoKind::TcpV4 => GSO_TCP_V4,
        GsoKind::TcpV6 => GSO_TCP_V6,
        GsoKind::Udp => GSO_UDP_L4,
    }
}

#[inline]
fn little(header: &[u8; LEN], at: usize) -> u16 {
    u16::from_le_bytes([header[at], header[at + 1]])
}
