//! The Internet checksum (RFC 1071).
//!
//! A partial sum is a `u32` whose fold to 16 bits is the one's complement sum of what was added. [`add`]
//! returns it folded, so any number of pieces can follow one another and a caller may add a few 16-bit words
//! by hand between them.

use core::net::{Ipv4Addr, Ipv6Addr};

/// Bytes summed per round: eight independent 64-bit lanes, which the compiler turns into vector registers.
const BLOCK: usize = 64;

/// Adds `data`, read as big-endian 16-bit words, to a partial sum. Only the last piece may have an odd
/// length; it counts as if a zero byte followed (RFC 1071 section 1).
#[inline]
pub fn add(sum: u32, data: &[u8]) -> u32 {
    // The sum is taken in the machine's byte order and turned once at the end (RFC 1071 section 2 (B)).
    let native = fold64(sum_native(data));
    u32::from(fold64(u64::from(sum) + u64::from(u16::from_be(native))))
}

/// The checksum of a partial sum: folded and complemented, as a header carries it.
#[inline]
pub fn finish(sum: u32) -> u16 {
    !fold(sum)
}

/// A partial sum folded to 16 bits and not complemented: `0xffff` over data whose checksum is right, and what
/// a checksum field holds while the checksum is pending (virtio 1.2 section 5.1.6.2).
#[inline]
pub fn fold(sum: u32) -> u16 {
    // At most 0xffff + 0xffff, then at most 0x1_0000 - 1 + 1: two rounds are enough.
    let once = (sum >> 16) + (sum & 0xffff);
    ((once >> 16) + once) as u16
}

/// The partial sum of the pseudo header of TCP and UDP over IPv4 (RFC 9293 section 3.1, RFC 768); `len`
/// counts the transport header and its payload.
#[inline]
pub fn pseudo_v4(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, len: usize) -> u32 {
    let words = words32(src.to_bits()) + words32(dst.to_bits()) + u32::from(protocol) + words32(len as u32);
    u32::from(fold(words))
}

/// The partial sum of the pseudo header of TCP, UDP and ICMP over IPv6 (RFC 8200 section 8.1); `len` counts
/// the transport header and its payload.
#[inline]
pub fn pseudo_v6(src: Ipv6Addr, dst: Ipv6Addr, protocol: u8, len: usize) -> u32 {
    add(add(u32::from(protocol) + words32(len as u32), &src.octets()), &dst.octets())
}

/// The sum of both halves of a number.
fn words32(number: u32) -> u32 {
    (number >> 16) + (number & 0xffff)
}

/// The sum of `data` as 32-bit words in the machine's byte order; it cannot overflow below 2^33 bytes.
#[inline]
fn sum_native(data: &[u8]) -> u64 {
    let (blocks, rest) = data.as_chunks::<BLOCK>();
    let (words, tail) = rest.as_chunks::<8>();
    let words: u64 = words.iter().map(|word| halves(*word)).sum();
    sum_blocks(blocks) + words + sum_tail(tail)
}

#[inline]
fn sum_blocks(blocks: &[[u8; BLOCK]]) -> u64 {
    let mut lanes = [0_u64; BLOCK / 8];
    for block in blocks {
        for (lane, word) in lanes.iter_mut().zip(block.as_chunks::<8>().0) {
            *lane += halves(*word);
        }
    }
    lanes.iter().sum()
}

#[inline]
fn halves(word: [u8; 8]) -> u64 {
    let word = u64::from_ne_bytes(word);
    (word >> 32) + (word & 0xffff_ffff)
}

/// The sum of fewer than 8 bytes, in halves: a copy into a padded word would cost more than a header of 20
/// bytes.
#[inline]
fn sum_tail(tail: &[u8]) -> u64 {
    let (words, tail) = tail.as_chunks::<4>();
    let words: u64 = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    let (pairs, tail) = tail.as_chunks::<2>();
    let pairs: u64 = pairs.iter().map(|pair| u64::from(u16::from_ne_bytes(*pair))).sum();
    let odd = tail.first().map_or(0, |&last| u16::from_ne_bytes([last, 0]));
    words + pairs + u64::from(odd)
}

/// Folds to 16 bits, in any byte order.
#[inline]
fn fold64(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    fold(sum as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1071() {
        let sum = add(0, &[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(fold(sum), 0xddf2);
        assert_eq!(finish(sum), 0x220d);
    }

    #[test]
    fn a_last_odd_byte_is_the_high_half_of_a_word() {
        assert_eq!(fold(add(0, &[0x12])), 0x1200);
        assert_eq!(fold(add(0, &[0, 1, 0x12])), 0x1201);
    }

    #[test]
    fn the_largest_sum_does_not_overflow() {
        assert_eq!(fold(add(u32::MAX, &vec![0xff; 70_000])), 0xffff);
        assert_eq!(fold(u32::MAX), 0xffff);
        assert_eq!(fold(0xffff_0001), 1);
    }

    #[test]
    fn a_carry_out_of_the_first_fold_comes_round() {
        let mut data = [0xff; 16];
        for one in [[1, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 1]] {
            data[8..].copy_from_slice(&one);
            let word = u16::from_be_bytes([one[0], one[7]]);
            assert_eq!(fold(add(0, &data)), word);
        }
    }

    #[test]
    fn pseudo_headers_are_their_bytes() {
        let v4 = [10, 0, 2, 15, 192, 168, 1, 2, 0, 6, 0xab, 0xcd];
        let (src, dst) = (Ipv4Addr::new(10, 0, 2, 15), Ipv4Addr::new(192, 168, 1, 2));
        assert_eq!(pseudo_v4(src, dst, 6, 0xabcd), add(0, &v4));

        let (src, dst) = (Ipv6Addr::from([0xfe; 16]), Ipv6Addr::from([0x81; 16]));
        let mut v6 = [[0xfe; 16], [0x81; 16]].concat();
        v6.extend([0, 1, 0xff, 0xff, 0, 0, 0, 17]);
        assert_eq!(pseudo_v6(src, dst, 17, 0x1_ffff), add(0, &v6));
    }
}
