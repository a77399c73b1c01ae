//! Cutting packets of ours that a guest's network cannot take into fragments.

use crate::Outbox;
use crate::segment::complete_checksum;
use wirebay_wire::ethernet::{self, Ethernet, ethertype};
use wirebay_wire::fragment::{self, FragmentRepr, UNIT};
use wirebay_wire::frame::{Offload, PartialChecksum};
use wirebay_wire::ipv4::Ipv4;
use wirebay_wire::{DropReason, ipv6};

/// Writes the packet in `frame` to `out` as fragments of at most `mtu` bytes each, Ethernet header aside, which share
/// `ident`. The pending checksum is finished first. How many fragments it became.
///
/// What is in front of the payload goes into every fragment: over IPv4 the header with its options, over IPv6 the fixed
/// header (the packets made here have no others that routers would read).
///
/// Errors, before anything is written: [`DropReason::TooBigForGuest`] when the MTU has no room for a fragment, what
/// parsing finds when `frame` is no whole IP packet.
pub fn write(
    out: &mut Outbox,
    frame: &mut [u8],
    pending: Option<PartialChecksum>,
    mtu: usize,
    ident: u32,
) -> Result<usize, DropReason> {
    let cut = Cut::of(frame, mtu, ident)?;
    if let Some(partial) = pending {
        complete_checksum(frame, partial)?;
    }
    let (head, payload) = frame[..cut.end].split_at(cut.head);
    for (number, piece) in payload.chunks(cut.room).enumerate() {
        let offset = number * cut.room;
        let repr = FragmentRepr { ident: cut.ident, offset, more: offset + piece.len() < payload.len() };
        cut.write_one(out, head, piece, repr);
    }
    Ok(payload.len().div_ceil(cut.room))
}

/// How a packet is cut. All in bytes, from the start of the frame.
struct Cut {
    is_v6: bool,
    /// Where the headers that all fragments have end.
    head: usize,
    /// Where the packet ends.
    end: usize,
    /// Payload of each fragment but the last.
    room: usize,
    ident: u32,
}

impl Cut {
    fn of(frame: &[u8], mtu: usize, ident: u32) -> Result<Self, DropReason> {
        let ethernet = Ethernet::parse(frame)?;
        let packet = ethernet.payload;
        let is_v6 = ethernet.ethertype == ethertype::IPV6;
        let (head, added, end) = if is_v6 {
            let ip = ipv6::Ipv6::parse(packet)?;
            (ipv6::HEADER_LEN, fragment::HEADER_LEN, ip.transport_offset + ip.payload.len())
        } else {
            let ip = Ipv4::parse(packet)?;
            (ip.header.len(), 0, ip.header.len() + ip.payload.len())
        };
        let room = mtu.saturating_sub(head + added) / UNIT * UNIT;
        if room == 0 {
            return Err(DropReason::TooBigForGuest);
        }
        Ok(Cut { is_v6, head: ethernet::HEADER_LEN + head, end: ethernet::HEADER_LEN + end, room, ident })
    }

    fn write_one(&self, out: &mut Outbox, head: &[u8], piece: &[u8], repr: FragmentRepr) {
        let added = if self.is_v6 { fragment::HEADER_LEN } else { 0 };
        let len = head.len() + added + piece.len();
        let buf = out.reserve(len);
        buf[..head.len()].copy_from_slice(head);
        buf[head.len() + added..].copy_from_slice(piece);
        let packet = &mut buf[ethernet::HEADER_LEN..];
        if self.is_v6 {
            let next = std::mem::replace(&mut packet[ipv6::NEXT_HEADER_OFFSET], ipv6::extension::FRAGMENT);
            packet[4..6].copy_from_slice(&((added + piece.len()) as u16).to_be_bytes());
            repr.emit_v6(&mut packet[ipv6::HEADER_LEN..], next);
        } else {
            repr.emit_v4(packet);
        }
        out.commit(len, Offload::default());
    }
}
