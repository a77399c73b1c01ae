//! The fragments that the network sends, put together as they come: in order, without holes.

use wirebay_wire::fragment;

/// What has come of the packet that is being sent.
#[derive(Default)]
pub struct Puzzle {
    frame: Vec<u8>,
    ident: Vec<u8>,
    /// How many fragments there were.
    pub fragments: usize,
}

impl Puzzle {
    /// Whether the frame is a fragment.
    pub fn is_piece(frame: &[u8]) -> bool {
        match frame[12..14] {
            [8, 0] => frame[20] & 0x3f != 0 || frame[21] != 0,
            [0x86, 0xdd] => frame[20] == 44,
            _ => false,
        }
    }

    /// One more piece; the whole frame when it was the last.
    pub fn put(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        self.fragments += 1;
        let is_v6 = frame[12..14] == [0x86, 0xdd];
        let (head, field, ident) =
            if is_v6 { (54, &frame[56..58], 58..62) } else { (34, &frame[20..22], 18..20) };
        let field = u16::from_be_bytes([field[0], field[1]]);
        let (offset, more) = if is_v6 {
            (field & 0xfff8, field & 1 != 0)
        } else {
            ((field & 0x1fff) * 8, field & 0x2000 != 0)
        };
        assert_eq!(field & if is_v6 { 6 } else { 0xc000 }, 0, "no fragment of ours may not be fragmented");
        let payload = &frame[if is_v6 { head + fragment::HEADER_LEN } else { head }..];
        assert!(!more || payload.len().is_multiple_of(8));
        if offset == 0 {
            assert!(self.frame.is_empty(), "a packet was not finished");
            self.frame = frame[..head].to_vec();
            if is_v6 {
                self.frame[20] = frame[head];
            }
            self.ident = frame[ident].to_vec();
        } else {
            assert_eq!(frame[ident], self.ident[..]);
        }
        assert_eq!(usize::from(offset) + head, self.frame.len(), "a hole or an overlap");
        self.frame.extend(payload);
        (!more).then(|| finish(std::mem::take(&mut self.frame), is_v6))
    }
}

fn finish(mut frame: Vec<u8>, is_v6: bool) -> Vec<u8> {
    let len = (frame.len() - if is_v6 { 54 } else { 14 }) as u16;
    if is_v6 {
        frame[18..20].copy_from_slice(&len.to_be_bytes());
    } else {
        frame[16..18].copy_from_slice(&len.to_be_bytes());
        frame[20..22].fill(0);
        frame[24..26].fill(0);
        let sum = !super::checksum::ones_sum(&frame[14..34]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
    }
    frame
}
