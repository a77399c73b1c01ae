//! ICMP messages for IPv4 (RFC 792).

use crate::bytes::{get, get16, header, put};
use crate::{DropReason, checksum};

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 8;

/// Message types (RFC 792).
pub mod kind {
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 0;
    /// Destination unreachable.
    pub const UNREACHABLE: u8 = 3;
    /// Echo request.
    pub const ECHO_REQUEST: u8 = 8;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 11;
}

/// Codes of [`kind::UNREACHABLE`] (RFC 792; RFC 1812 section 5.2.7.1 for 13).
pub mod code {
    /// The network is unreachable.
    pub const NET_UNREACHABLE: u8 = 0;
    /// The host is unreachable.
    pub const HOST: u8 = 1;
    /// The protocol is unreachable.
    pub const PROTOCOL: u8 = 2;
    /// The port is unreachable.
    pub const PORT: u8 = 3;
    /// The packet is too big and must not be fragmented; the header carries the next hop's MTU (RFC 1191
    /// section 4).
    pub const FRAGMENTATION_NEEDED: u8 = 4;
    /// Communication is administratively prohibited.
    pub const ADMIN_PROHIBITED: u8 = 13;
}

/// How much of the original packet an error quotes: as much as keeps the whole within 576 bytes (RFC 1812
/// section 4.3.2.3).
const MAX_QUOTE: usize = 576 - crate::ipv4::HEADER_LEN - HEADER_LEN;

/// A message, taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Icmp<'a> {
    /// The type, one of [`kind`] or another.
    pub kind: u8,
    /// The code within the type, for errors one of [`code`] or another.
    pub code: u8,
    /// The identifier of an echo: the first half of `rest`.
    pub ident: u16,
    /// The sequence number of an echo: the second half of `rest`.
    pub seq: u16,
    /// The last four bytes of the header, whose meaning depends on the type.
    pub rest: [u8; 4],
    /// What follows the header: the data of an echo, the quoted packet of an error.
    pub payload: &'a [u8],
}

impl<'a> Icmp<'a> {
    /// Takes a message apart and checks its checksum.
    #[inline]
    pub fn parse(message: &'a [u8]) -> Result<Self, DropReason> {
        let (header, payload) = message.split_first_chunk::<HEADER_LEN>().ok_or(DropReason::IcmpTruncated)?;
        if checksum::add(0, message) != 0xffff {
            return Err(DropReason::IcmpBadChecksum);
        }
        Ok(Self {
            kind: header[0],
            code: header[1],
            ident: get16(header, 4),
            seq: get16(header, 6),
            rest: get(header, 4),
            payload,
        })
    }
}

/// Writes the header of an echo of `kind` in front of the `payload_len` bytes that already lie behind it in
/// `buf`, with the checksum over both. `buf` must be that long.
pub fn emit_echo(buf: &mut [u8], kind: u8, ident: u16, seq: u16, payload_len: usize) {
    let rest = u32::from(ident) << 16 | u32::from(seq);
    emit_header(&mut buf[..HEADER_LEN + payload_len], kind, 0, rest);
}

/// Writes an error about `original_ip_packet` and returns its length in bytes. `rest` is the second word of
/// the header, such as the next hop's MTU. The original is quoted as far as RFC 1812 section 4.3.2.3 and
/// `buf` allow; RFC 792 wants room for its header and 8 bytes more.
pub fn emit_error(buf: &mut [u8], kind: u8, code: u8, rest: u32, original_ip_packet: &[u8]) -> usize {
    let quoted = original_ip_packet.len().min(MAX_QUOTE).min(buf.len() - HEADER_LEN);
    let message = &mut buf[..HEADER_LEN + quoted];
    message[HEADER_LEN..].copy_from_slice(&original_ip_packet[..quoted]);
    emit_header(message, kind, code, rest);
    message.len()
}

/// Writes the header of `message`, whose payload is in place.
fn emit_header(message: &mut [u8], kind: u8, code: u8, rest: u32) {
    let fixed = header::<HEADER_LEN>(message);
    put(fixed, 0, [kind, code, 0, 0]);
    put(fixed, 4, rest.to_be_bytes());
    let sum = checksum::finish(checksum::add(0, message));
    put(message, 2, sum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_covers_its_payload() {
        let mut buf = *b"........ping????";
        emit_echo(&mut buf, kind::ECHO_REQUEST, 0x1234, 7, 4);
        let icmp = Icmp::parse(&buf[..12]).unwrap();
        assert_eq!(
            (icmp.kind, icmp.code, icmp.ident, icmp.seq, icmp.payload),
            (8, 0, 0x1234, 7, &b"ping"[..])
        );
        assert_eq!(&buf[12..], b"????");
    }

    #[test]
    fn a_wrong_checksum_is_refused() {
        let mut buf = [0; 8];
        emit_echo(&mut buf, kind::ECHO_REPLY, 1, 2, 0);
        buf[7] ^= 1;
        assert_eq!(Icmp::parse(&buf), Err(DropReason::IcmpBadChecksum));
        assert_eq!(Icmp::parse(&buf[..7]), Err(DropReason::IcmpTruncated));
    }

    #[test]
    fn an_error_quotes_at_most_548_bytes_and_at_most_what_fits() {
        let original: Vec<u8> = (0..=255).cycle().take(1500).collect();
        let mut buf = [0; 2000];
        let len = emit_error(&mut buf, kind::UNREACHABLE, code::FRAGMENTATION_NEEDED, 1400, &original);
        assert_eq!(len, 8 + 548);
        let icmp = Icmp::parse(&buf[..len]).unwrap();
        assert_eq!((icmp.kind, icmp.code, icmp.rest), (3, 4, [0, 0, 5, 120]));
        assert_eq!(icmp.payload, &original[..548]);
        assert_eq!(emit_error(&mut buf[..36], kind::UNREACHABLE, code::PORT, 0, &original), 36);
        assert_eq!(emit_error(&mut buf, kind::UNREACHABLE, code::PORT, 0, &original[..28]), 36);
    }
}
