//! Repeatable randomness, and streams of bytes whose content is known at every place.

/// `SplitMix64` (Steele, Lea and Flood, 2014).
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Rng(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number from 0 to `limit - 1`.
    pub fn below(&mut self, limit: usize) -> usize {
        ((u128::from(self.next()) * limit as u128) >> 64) as usize
    }

    /// True so many times out of a thousand.
    pub fn per_mille(&mut self, chance: u32) -> bool {
        self.below(1000) < chance as usize
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend(self.next().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// An endless stream of bytes that does not repeat: whatever is lost, doubled or misplaced shows.
#[derive(Clone, Copy)]
pub struct Stream(pub u64);

impl Stream {
    /// The bytes at `from..from + len`.
    pub fn bytes(self, from: usize, len: usize) -> Vec<u8> {
        (from..from + len).map(|at| self.at(at)).collect()
    }

    fn at(self, place: usize) -> u8 {
        let word = mix(self.0.wrapping_mul(0x1_0001).wrapping_add(place as u64 / 8));
        word.to_le_bytes()[place % 8]
    }

    /// Panics unless `data` is what the stream holds from `from` on.
    pub fn check(self, from: usize, data: &[u8]) {
        let wrong = data.iter().enumerate().position(|(i, &byte)| byte != self.at(from + i));
        assert_eq!(wrong.map(|at| from + at), None, "the first wrong byte of the stream");
    }
}
