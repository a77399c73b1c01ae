//! VLAN tags (IEEE 802.1Q section 9.6): reading the outer one, and putting it on, off or in place of another.
//!
//! Offload state counts from the start of the frame, so it moves along with what follows the tag.

use crate::bytes::get16;
use crate::ethernet::{HEADER_LEN, ethertype};
use crate::frame::MAX_LEN;
use crate::{DropReason, Frame, Gso, Offload, PartialChecksum};

/// Length of a tag in bytes.
pub const TAG_LEN: usize = 4;
/// The highest number of a VLAN; 0 marks a tag that carries a priority only, 4095 is reserved.
pub const MAX_VID: u16 = 4094;
/// Where a tag stands: behind both addresses.
const AT: usize = 12;
const VID_MASK: u16 = 0x0fff;

/// What a tag says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tag(pub u16);

impl Tag {
    /// A tag of this VLAN with the priority of another tag.
    #[must_use]
    pub fn with_vid(self, vid: u16) -> Self {
        Self(self.0 & !VID_MASK | vid & VID_MASK)
    }

    /// The number of the VLAN, 0 for a tag that carries a priority only.
    #[inline]
    pub fn vid(self) -> u16 {
        self.0 & VID_MASK
    }

    /// The outer tag of a frame, `None` when it has none or is too short for one.
    #[inline]
    pub fn of(frame: &[u8]) -> Option<Self> {
        let header = frame.first_chunk::<{ HEADER_LEN + TAG_LEN }>()?;
        (get16(header, AT) == ethertype::VLAN).then(|| Self(get16(header, AT + 2)))
    }
}

/// Builds in `out` the frame with `tag` as its outer tag, or with none, in place of the one it has. Everything else
/// stays, what is still to be done with the frame included.
///
/// Errors: [`DropReason::FrameTooLong`] when the tag makes it longer than a frame can be,
/// [`DropReason::OffloadInvalid`] when a pending checksum does not start behind the tag.
pub fn retag<'a>(frame: &Frame<'_>, tag: Option<Tag>, out: &'a mut Vec<u8>) -> Result<Frame<'a>, DropReason> {
    let rest = if Tag::of(frame.bytes).is_some() { AT + TAG_LEN } else { AT };
    let (addresses, rest) = (&frame.bytes[..AT], &frame.bytes[rest..]);
    out.clear();
    out.extend_from_slice(addresses);
    if let Some(Tag(control)) = tag {
        out.extend_from_slice(&ethertype::VLAN.to_be_bytes());
        out.extend_from_slice(&control.to_be_bytes());
    }
    if out.len() + rest.len() > MAX_LEN {
        return Err(DropReason::FrameTooLong);
    }
    out.extend_from_slice(rest);
    let shift = out.len() as isize - frame.bytes.len() as isize;
    let offload = shifted(frame.offload, shift).ok_or(DropReason::OffloadInvalid)?;
    Ok(Frame { bytes: out, offload })
}

/// Offload state of a frame whose network header has moved by `shift` bytes.
fn shifted(offload: Offload, shift: isize) -> Option<Offload> {
    let moved = |at: u16| u16::try_from(isize::try_from(at).ok()?.checked_add(shift)?).ok();
    let checksum = match offload.checksum {
        Some(partial) if usize::from(partial.start) < HEADER_LEN => return None,
        Some(partial) => Some(PartialChecksum { start: moved(partial.start)?, ..partial }),
        None => None,
    };
    let gso = match offload.gso {
        Some(gso) => Some(Gso { header_len: moved(gso.header_len)?, ..gso }),
        None => None,
    };
    Some(Offload { checksum, gso, ..offload })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GsoKind;
    use proptest::prelude::*;

    fn tagged(frame: &[u8], control: u16) -> Vec<u8> {
        let tag = [0x81, 0, (control >> 8) as u8, control as u8];
        [&frame[..12], &tag[..], &frame[12..]].concat()
    }

    proptest! {
        #[test]
        fn a_tag_is_put_on_changed_and_taken_off_again(
            rest in prop::collection::vec(any::<u8>(), 2..100), control: u16, other: u16,
        ) {
            let plain = [&[9; 12][..], &[8, 0], &rest].concat();
            let (mut one, mut two, mut three) = (Vec::new(), Vec::new(), Vec::new());
            let first = retag(&Frame::plain(&plain), Some(Tag(control)), &mut one).unwrap();
            prop_assert_eq!(first.bytes, &tagged(&plain, control)[..]);
            prop_assert_eq!(Tag::of(first.bytes), Some(Tag(control)));
            let second = retag(&first, Some(Tag(other)), &mut two).unwrap();
            prop_assert_eq!(second.bytes, &tagged(&plain, other)[..]);
            let third = retag(&second, None, &mut three).unwrap();
            prop_assert_eq!(third.bytes, &plain[..]);
        }

        #[test]
        fn any_frame_is_taken_or_refused_with_a_reason(
            bytes in prop::collection::vec(any::<u8>(), 14..80), start: u16, offset: u16, tag: Option<u16>,
        ) {
            let checksum = Some(PartialChecksum { start, offset });
            let frame = Frame { bytes: &bytes, offload: Offload { checksum, ..Offload::default() } };
            if let Ok(frame) = retag(&frame, tag.map(Tag), &mut Vec::new()) {
                prop_assert!(frame.bytes.len() + 4 >= bytes.len());
            }
        }
    }

    #[test]
    fn what_is_left_to_do_moves_with_the_headers() {
        let checksum = Some(PartialChecksum { start: 34, offset: 16 });
        let gso = Some(Gso { kind: GsoKind::TcpV4, size: 1448, header_len: 54 });
        let offload = Offload { checksum, gso, checksum_valid: false };
        let (mut one, mut two) = (Vec::new(), Vec::new());
        let frame = Frame { bytes: &[0; 100], offload };
        let on = retag(&frame, Some(Tag(7)), &mut one).unwrap();
        assert_eq!(on.offload.checksum, Some(PartialChecksum { start: 38, offset: 16 }));
        assert_eq!(on.offload.gso.map(|gso| gso.header_len), Some(58));
        assert_eq!(retag(&on, None, &mut two).unwrap(), frame);
    }

    #[test]
    fn a_frame_of_the_greatest_length_has_no_room_for_a_tag() {
        let bytes = vec![0; MAX_LEN];
        let frame = Frame::plain(&bytes);
        assert_eq!(retag(&frame, Some(Tag(1)), &mut Vec::new()), Err(DropReason::FrameTooLong));
        assert!(retag(&frame, None, &mut Vec::new()).is_ok());
    }

    #[test]
    fn the_priority_survives_another_number() {
        assert_eq!(Tag(0xa000).with_vid(10), Tag(0xa00a));
        assert_eq!(Tag(0xafff).with_vid(1).vid(), 1);
    }
}
