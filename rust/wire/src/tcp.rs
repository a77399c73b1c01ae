//! TCP headers (RFC 9293 section 3.1) with the options a translation needs: the maximum segment size (RFC 9293
//! section 3.7.1), window scale and timestamps (RFC 7323 sections 2 and 3), selective acknowledgements (RFC 2018).

use crate::DropReason;
use crate::bytes::{get16, get32, header, put};

mod options;
pub use options::{SackBlocks, TIMESTAMPS_LEN, Timestamps};

/// Length in bytes of a header without options.
pub const HEADER_LEN: usize = 20;

/// Where the checksum lies in the header, in bytes.
pub const CHECKSUM_OFFSET: usize = 16;

/// Control bits (RFC 9293 section 3.1).
pub mod flags {
    /// No more data from the sender.
    pub const FIN: u8 = 1;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 2;
    /// Reset the connection.
    pub const RST: u8 = 4;
    /// Push.
    pub const PSH: u8 = 8;
    /// The acknowledgement number is valid.
    pub const ACK: u8 = 16;
    /// The urgent pointer is valid.
    pub const URG: u8 = 32;
    /// ECN echo (RFC 3168 section 6.1).
    pub const ECE: u8 = 64;
    /// Congestion window reduced (RFC 3168 section 6.1).
    pub const CWR: u8 = 128;
}

/// A segment, taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tcp<'a> {
    /// The source port.
    pub src_port: u16,
    /// The destination port.
    pub dst_port: u16,
    /// The sequence number of the first byte of the payload, or of the SYN.
    pub seq: u32,
    /// The next sequence number the sender expects, where [`flags::ACK`] is set.
    pub ack: u32,
    /// The control bits, of [`flags`].
    pub flags: u8,
    /// The window as the header carries it, not scaled.
    pub window: u16,
    /// The urgent pointer, where [`flags::URG`] is set.
    pub urgent: u16,
    /// The maximum segment size option of a SYN; `None` on other segments.
    pub mss: Option<u16>,
    /// The window scale option of a SYN, at most 14 (RFC 7323 section 2.3); `None` on other segments.
    pub window_scale: Option<u8>,
    /// Length of the header with its options, in bytes.
    pub header_len: usize,
    options: &'a [u8],
    /// What follows the header.
    pub payload: &'a [u8],
}

impl<'a> Tcp<'a> {
    /// Takes a segment apart. Checks the data offset, and that the flags make sense together: SYN with FIN or
    /// RST is refused, and so is a segment with none of SYN, ACK and RST, which every state drops (RFC 9293
    /// section 3.10.7).
    ///
    /// Options are read where they have a meaning: segment size, window scale and the permission of selective
    /// acknowledgements on a SYN (RFC 9293 section 3.7.1, RFC 7323 section 2.2, RFC 2018 section 2), the
    /// acknowledgements on other segments, timestamps on all. What is malformed or unknown is ignored. The checksum is
    /// not looked at.
    #[inline]
    pub fn parse(segment: &'a [u8]) -> Result<Self, DropReason> {
        let fixed = segment.first_chunk::<HEADER_LEN>().ok_or(DropReason::TcpTruncated)?;
        let header_len = usize::from(fixed[12] >> 4) * 4;
        let payload = segment.get(header_len..).ok_or(DropReason::TcpBadHeaderLength)?;
        let options = segment.get(HEADER_LEN..header_len).ok_or(DropReason::TcpBadHeaderLength)?;
        let flags = meaningful(fixed[13])?;
        let mut tcp = Self {
            src_port: get16(fixed, 0),
            dst_port: get16(fixed, 2),
            seq: get32(fixed, 4),
            ack: get32(fixed, 8),
            flags,
            window: get16(fixed, 14),
            urgent: get16(fixed, 18),
            mss: None,
            window_scale: None,
            header_len,
            options,
            payload,
        };
        tcp.read_syn();
        Ok(tcp)
    }

    /// Whether any bit of `flag` is set.
    #[inline]
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

#[inline]
fn meaningful(bits: u8) -> Result<u8, DropReason> {
    use flags::{ACK, FIN, RST, SYN};
    let torn = bits & SYN != 0 && bits & (FIN | RST) != 0;
    if torn || bits & (SYN | ACK | RST) == 0 { Err(DropReason::TcpBadFlags) } else { Ok(bits) }
}

/// What a header says. Maximum segment size, window scale and the permission of selective acknowledgements are for a
/// SYN only, the acknowledgements for other segments only.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TcpRepr {
    /// The source port.
    pub src_port: u16,
    /// The destination port.
    pub dst_port: u16,
    /// The sequence number.
    pub seq: u32,
    /// The acknowledgement number.
    pub ack: u32,
    /// The control bits, of [`flags`].
    pub flags: u8,
    /// The window, already scaled.
    pub window: u16,
    /// The maximum segment size option.
    pub mss: Option<u16>,
    /// The window scale option.
    pub window_scale: Option<u8>,
    /// The option that permits selective acknowledgements.
    pub sack_permitted: bool,
    /// The selective acknowledgements; only as many are emitted as the header has room for beside the timestamps: three.
    pub sack: SackBlocks,
    /// The timestamps.
    pub timestamps: Option<Timestamps>,
}

impl TcpRepr {
    /// Length of the header with its options, in bytes: a multiple of 4.
    #[inline]
    pub fn header_len(&self) -> usize {
        HEADER_LEN + self.options_len()
    }

    /// Writes the header into the first [`header_len`](Self::header_len) bytes of `buf`, which must be that
    /// long. The checksum field is 0: it covers the payload, which only the caller has.
    #[inline]
    pub fn emit(&self, buf: &mut [u8]) {
        let header_len = self.header_len();
        let (fixed, options) = buf[..header_len].split_at_mut(HEADER_LEN);
        let fixed = header::<HEADER_LEN>(fixed);
        put(fixed, 0, self.src_port.to_be_bytes());
        put(fixed, 2, self.dst_port.to_be_bytes());
        put(fixed, 4, self.seq.to_be_bytes());
        put(fixed, 8, self.ack.to_be_bytes());
        put(fixed, 12, [(header_len as u8) << 2, self.flags]);
        put(fixed, 14, self.window.to_be_bytes());
        put(fixed, CHECKSUM_OFFSET, [0; 4]);
        self.emit_options(options);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A segment with these flags and options, and the payload `[9, 9]`.
    fn segment(flags: u8, options: &[u8]) -> Vec<u8> {
        let mut segment = vec![0; HEADER_LEN];
        segment[12] = ((HEADER_LEN + options.len()) as u8) << 2;
        segment[13] = flags;
        segment.extend(options);
        segment.extend([9, 9]);
        segment
    }

    fn options(options: &[u8]) -> (Option<u16>, Option<u8>) {
        let segment = segment(flags::SYN, options);
        let tcp = Tcp::parse(&segment).unwrap();
        assert_eq!(tcp.payload, [9, 9]);
        (tcp.mss, tcp.window_scale)
    }

    #[test]
    fn the_options_of_a_linux_syn_are_read() {
        let syn = [2, 4, 5, 180, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7];
        assert_eq!(options(&syn), (Some(1460), Some(7)));
        let segment = segment(flags::SYN, &syn);
        let tcp = Tcp::parse(&segment).unwrap();
        assert_eq!(tcp.timestamps(), Some(Timestamps { value: 0x0102_0304, echo: 0 }));
        assert!(tcp.sack_permitted());
    }

    #[test]
    fn a_window_scale_over_14_counts_as_14() {
        assert_eq!(options(&[3, 3, 15, 0]), (None, Some(14)));
        assert_eq!(options(&[3, 3, 255, 0]), (None, Some(14)));
    }

    #[test]
    fn malformed_options_end_the_list_and_no_more() {
        assert_eq!(options(&[2, 4, 1, 0, 3, 0, 3, 3]), (Some(256), None), "length 0");
        assert_eq!(options(&[2, 4, 1, 0, 3, 1, 3, 3]), (Some(256), None), "length 1");
        assert_eq!(options(&[2, 4, 1, 0, 1, 1, 3, 3]), (Some(256), None), "value behind the end");
        assert_eq!(options(&[2, 4, 1, 0, 1, 1, 1, 3]), (Some(256), None), "kind without a length");
        assert_eq!(options(&[2, 3, 1, 1, 3, 3, 2, 0]), (None, Some(2)), "wrong length for its kind");
        assert_eq!(options(&[0, 2, 4, 1, 0, 3, 3, 2]), (None, None), "behind the end of the list");
    }

    #[test]
    fn options_outside_a_syn_have_no_meaning() {
        let segment = segment(flags::ACK, &[2, 4, 1, 0]);
        let tcp = Tcp::parse(&segment).unwrap();
        assert_eq!((tcp.mss, tcp.header_len, tcp.payload), (None, 24, &[9, 9][..]));
    }

    #[test]
    fn the_data_offset_must_lie_within_the_segment() {
        let mut segment = segment(flags::ACK, &[]);
        assert_eq!(Tcp::parse(&segment[..19]), Err(DropReason::TcpTruncated));
        for bad in [0x00, 0x40, 0x60, 0xf0] {
            segment[12] = bad;
            assert_eq!(Tcp::parse(&segment), Err(DropReason::TcpBadHeaderLength), "{bad:#x}");
        }
    }

    #[test]
    fn flags_without_a_meaning_together_are_refused() {
        use flags::{ACK, FIN, PSH, RST, SYN, URG};
        for bad in [0, FIN, PSH | URG, SYN | FIN, SYN | RST, SYN | FIN | ACK] {
            assert_eq!(Tcp::parse(&segment(bad, &[])), Err(DropReason::TcpBadFlags), "{bad:#x}");
        }
        for good in [SYN, SYN | ACK, ACK, RST, RST | ACK, FIN | ACK, FIN | PSH | ACK | URG] {
            assert!(Tcp::parse(&segment(good, &[])).is_ok_and(|tcp| tcp.flags == good), "{good:#x}");
        }
    }
}
