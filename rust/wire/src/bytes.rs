//! Fixed-size reads and writes, so that the parsers index arrays whose size the compiler knows.

/// The first `N` bytes of `buf` for writing a header.
///
/// # Panics
/// When `buf` is shorter: a mistake of the caller, who knows how much it emits.
#[inline]
pub(crate) fn header<const N: usize>(buf: &mut [u8]) -> &mut [u8; N] {
    match buf.first_chunk_mut() {
        Some(header) => header,
        None => panic!("a buffer shorter than the {N}-byte header it should take"),
    }
}

/// The big-endian number at `at` of an array.
#[inline]
pub(crate) fn get16<const N: usize>(from: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes([from[at], from[at + 1]])
}

/// The big-endian number at `at` of an array.
#[inline]
pub(crate) fn get32<const N: usize>(from: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes([from[at], from[at + 1], from[at + 2], from[at + 3]])
}

/// `N` bytes at `at` of an array.
#[inline]
pub(crate) fn get<const N: usize>(from: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&from[at..at + N]);
    out
}

/// Writes `bytes` at `at` of an array.
#[inline]
pub(crate) fn put<const N: usize>(into: &mut [u8], at: usize, bytes: [u8; N]) {
    into[at..at + N].copy_from_slice(&bytes);
}
