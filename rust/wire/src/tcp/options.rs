//! The options of a TCP header: maximum segment size, window scale, selective acknowledgements, timestamps.

use super::{Tcp, TcpRepr, flags};
use crate::bytes::{get, put};

mod option {
    pub const END: u8 = 0;
    pub const NOP: u8 = 1;
    pub const MSS: u8 = 2;
    pub const WINDOW_SCALE: u8 = 3;
    pub const SACK_PERMITTED: u8 = 4;
    pub const SACK: u8 = 5;
    pub const TIMESTAMPS: u8 = 8;
}

/// Most bytes of options in a header.
const MAX_OPTIONS: usize = 40;
/// Length in bytes of the timestamps as they are emitted: two bytes to align them, kind, length, two numbers.
pub const TIMESTAMPS_LEN: usize = 12;

/// The largest shift a receiver may use (RFC 7323 section 2.3).
const MAX_WINDOW_SCALE: u8 = 14;

/// The timestamps option (RFC 7323 section 3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timestamps {
    /// The sender's clock.
    pub value: u32,
    /// The last value the sender has had from the other end; without a meaning where [`flags::ACK`] is not set.
    pub echo: u32,
}

/// Ranges of sequence numbers, each from its first number to the one behind its last; at most four, as many as a
/// header has room for (RFC 2018 section 3). What they say is not checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SackBlocks {
    blocks: [(u32, u32); Self::MOST],
    len: u8,
}

impl SackBlocks {
    /// Most blocks of a header.
    pub const MOST: usize = 4;

    /// Add a block behind the others; false when there is no room.
    pub fn push(&mut self, start: u32, end: u32) -> bool {
        let Some(place) = self.blocks.get_mut(usize::from(self.len)) else { return false };
        *place = (start, end);
        self.len += 1;
        true
    }

    /// The blocks, in the order of the header.
    #[inline]
    pub fn as_slice(&self) -> &[(u32, u32)] {
        &self.blocks[..usize::from(self.len)]
    }

    /// Are there none?
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Keep the first `most`.
    pub fn truncate(&mut self, most: usize) {
        if most < usize::from(self.len) {
            self.len = most as u8;
            self.blocks[most..].fill((0, 0));
        }
    }

    pub(super) fn parse(value: &[u8]) -> Self {
        let mut blocks = Self::default();
        for block in value.chunks_exact(8) {
            blocks.push(be32(block, 0), be32(block, 4));
        }
        blocks
    }
}

impl Tcp<'_> {
    /// The timestamps.
    #[inline]
    pub fn timestamps(&self) -> Option<Timestamps> {
        match *self.options {
            [] => None,
            // As almost everybody sends them in the middle of a connection (RFC 7323, appendix A).
            [option::NOP, option::NOP, option::TIMESTAMPS, 10, ref value @ ..] if value.len() == 8 => {
                Some(read_timestamps(value))
            }
            _ => self.find(option::TIMESTAMPS).filter(|value| value.len() == 8).map(read_timestamps),
        }
    }

    /// The selective acknowledgements; none on a SYN, and none where the option is malformed.
    pub fn sack(&self) -> SackBlocks {
        if self.has(flags::SYN) {
            return SackBlocks::default();
        }
        let blocks = self.find(option::SACK).filter(|value| value.len() % 8 == 0);
        SackBlocks::parse(blocks.unwrap_or_default())
    }

    /// Whether there may be some: a look at the length alone.
    #[inline]
    pub fn may_have_sack(&self) -> bool {
        self.options.len() > TIMESTAMPS_LEN
            || !matches!(*self.options, [] | [option::NOP, option::NOP, option::TIMESTAMPS, ..])
    }

    /// Whether a SYN has the option that permits selective acknowledgements; false on other segments.
    pub fn sack_permitted(&self) -> bool {
        self.has(flags::SYN) && self.find(option::SACK_PERMITTED) == Some(&[])
    }

    /// The value of the last option of a kind.
    fn find(&self, wanted: u8) -> Option<&[u8]> {
        let (mut options, mut found) = (self.options, None);
        while let Some((kind, value, rest)) = next_option(options) {
            if kind == wanted {
                found = Some(value);
            }
            options = rest;
        }
        found
    }

    /// The maximum segment size and the window scale of a SYN.
    #[inline]
    pub(super) fn read_syn(&mut self) {
        if !self.has(flags::SYN) {
            return;
        }
        if let Some(&[high, low]) = self.find(option::MSS) {
            self.mss = Some(u16::from_be_bytes([high, low]));
        }
        if let Some(&[shift]) = self.find(option::WINDOW_SCALE) {
            self.window_scale = Some(shift.min(MAX_WINDOW_SCALE));
        }
    }
}

fn read_timestamps(value: &[u8]) -> Timestamps {
    Timestamps { value: be32(value, 0), echo: be32(value, 4) }
}

/// Kind and value of the first option, and what follows it; `None` at the end of the list and where it is
/// malformed.
fn next_option(options: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    match *options {
        [] | [option::END, ..] => None,
        [option::NOP, ref rest @ ..] => Some((option::NOP, &[], rest)),
        [kind, len, ..] => {
            let (option, rest) = options.split_at_checked(usize::from(len))?;
            // A length below 2 would not move forward.
            Some((kind, option.get(2..)?, rest))
        }
        [_] => None,
    }
}

impl TcpRepr {
    /// Length of all options.
    #[inline]
    pub(super) fn options_len(&self) -> usize {
        let blocks = self.blocks();
        self.fixed_options() + if blocks > 0 { 4 + 8 * blocks } else { 0 }
    }

    /// Length of the options but the selective acknowledgements.
    #[inline]
    fn fixed_options(&self) -> usize {
        let paired =
            if self.timestamps.is_some() { TIMESTAMPS_LEN } else { 4 * usize::from(self.sack_permitted) };
        paired + 4 * usize::from(self.mss.is_some()) + 4 * usize::from(self.window_scale.is_some())
    }

    /// How many blocks are emitted.
    #[inline]
    fn blocks(&self) -> usize {
        if self.sack.is_empty() {
            return 0;
        }
        self.sack.as_slice().len().min((MAX_OPTIONS - self.fixed_options()).saturating_sub(4) / 8)
    }

    #[inline]
    pub(super) fn emit_options(&self, options: &mut [u8]) {
        match self.timestamps {
            _ if options.is_empty() => {}
            Some(timestamps) if options.len() == TIMESTAMPS_LEN && !self.sack_permitted => {
                options.copy_from_slice(&timestamps.emit());
            }
            _ => self.emit_all(options),
        }
    }

    fn emit_all(&self, mut options: &mut [u8]) {
        let mut next = |bytes: &[u8]| {
            let (option, rest) = std::mem::take(&mut options).split_at_mut(bytes.len());
            option.copy_from_slice(bytes);
            options = rest;
        };
        if let Some(mss) = self.mss {
            let [high, low] = mss.to_be_bytes();
            next(&[option::MSS, 4, high, low]);
        }
        if self.sack_permitted || self.timestamps.is_some() {
            // In front of the timestamps, where only padding would be (RFC 7323, appendix A).
            next(&if self.sack_permitted { [option::SACK_PERMITTED, 2] } else { [option::NOP; 2] });
            match self.timestamps {
                Some(timestamps) => next(&timestamps.emit()[2..]),
                None => next(&[option::NOP; 2]),
            }
        }
        if let Some(shift) = self.window_scale {
            next(&[option::NOP, option::WINDOW_SCALE, 3, shift]);
        }
        let blocks = self.blocks();
        if blocks > 0 {
            next(&[option::NOP, option::NOP, option::SACK, 2 + 8 * blocks as u8]);
        }
        for (start, end) in &self.sack.as_slice()[..blocks] {
            next(&start.to_be_bytes());
            next(&end.to_be_bytes());
        }
    }
}

impl Timestamps {
    #[inline]
    fn emit(self) -> [u8; TIMESTAMPS_LEN] {
        let mut option = [0; TIMESTAMPS_LEN];
        put(&mut option, 0, [option::NOP, option::NOP, option::TIMESTAMPS, 10]);
        put(&mut option, 4, self.value.to_be_bytes());
        put(&mut option, 8, self.echo.to_be_bytes());
        option
    }
}

fn be32(from: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(get(from, at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::HEADER_LEN;

    /// A header with these flags and options.
    fn segment(flags: u8, options: &[u8]) -> Vec<u8> {
        let mut segment = vec![0; HEADER_LEN];
        segment[12] = ((HEADER_LEN + options.len()) as u8) << 2;
        segment[13] = flags;
        segment.extend(options);
        segment
    }

    #[test]
    fn a_syn_is_written_as_linux_writes_it() {
        let timestamps = Some(Timestamps { value: 0x0102_0304, echo: 0 });
        let syn = TcpRepr {
            flags: flags::SYN,
            mss: Some(1460),
            window_scale: Some(7),
            sack_permitted: true,
            timestamps,
            ..TcpRepr::default()
        };
        let mut header = vec![0; syn.header_len()];
        syn.emit(&mut header);
        assert_eq!(header[HEADER_LEN..], [2, 4, 5, 180, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7]);
    }

    #[test]
    fn acknowledgements_of_linux_are_read_in_any_arrangement() {
        let blocks = [0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0, 9, 0, 0, 0, 12];
        let timestamps = [8, 10, 0, 0, 0, 7, 0, 0, 0, 8];
        let behind = [&[1, 1][..], &timestamps, &[1, 1, 5, 18], &blocks].concat();
        let before = [&[5, 18][..], &blocks, &timestamps].concat();
        for options in [behind, before] {
            let segment = segment(flags::ACK, &options);
            let tcp = Tcp::parse(&segment).unwrap();
            assert_eq!(tcp.sack().as_slice(), [(1, 5), (9, 12)]);
            assert_eq!(tcp.timestamps(), Some(Timestamps { value: 7, echo: 8 }));
        }
    }

    #[test]
    fn torn_blocks_and_timestamps_count_for_nothing() {
        for options in
            [&[5, 9, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1][..], &[8, 9, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1], &[5, 2, 1, 1]]
        {
            let segment = segment(flags::ACK, options);
            let tcp = Tcp::parse(&segment).unwrap();
            assert_eq!((tcp.sack(), tcp.timestamps()), (SackBlocks::default(), None), "{options:?}");
        }
    }

    #[test]
    fn four_blocks_fit_a_header_and_three_beside_timestamps() {
        let mut sack = SackBlocks::default();
        assert!((0..4).all(|i| sack.push(i, i + 1)));
        assert!(!sack.push(9, 10));
        for (timestamps, most) in [(None, 4), (Some(Timestamps { value: 1, echo: 2 }), 3)] {
            let repr = TcpRepr { flags: flags::ACK, sack, timestamps, ..TcpRepr::default() };
            assert!(repr.header_len() <= HEADER_LEN + MAX_OPTIONS);
            let mut header = vec![0; repr.header_len()];
            repr.emit(&mut header);
            assert_eq!(Tcp::parse(&header).unwrap().sack().as_slice(), &sack.as_slice()[..most]);
        }
    }
}
