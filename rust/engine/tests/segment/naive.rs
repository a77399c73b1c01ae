//! A plain version: it knows where bytes lie and nothing of the code it checks.

use wirebay_wire::{Gso, GsoKind, Offload, PartialChecksum};

/// One's complement sum, a byte at a time.
pub fn ones_sum(pieces: &[&[u8]]) -> u16 {
    let mut sum = 0_u32;
    for (at, byte) in pieces.concat().iter().enumerate() {
        sum += u32::from(*byte) << if at % 2 == 0 { 8 } else { 0 };
    }
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

/// A super-segment to be, and all that is known of it.
#[derive(Clone, Debug)]
pub struct Super {
    pub v6: bool,
    pub udp: bool,
    pub vlan: bool,
    /// IPv4 options or IPv6 destination options, a multiple of 8 bytes.
    pub ip_extra: usize,
    /// TCP options, a multiple of 4 bytes.
    pub tcp_extra: usize,
    pub flags: u8,
    pub seq: u32,
    pub ident: u16,
    pub addresses: [u8; 32],
    pub size: u16,
    pub payload: Vec<u8>,
    pub padding: usize,
}

impl Super {
    pub fn network(&self) -> usize {
        if self.vlan { 18 } else { 14 }
    }

    fn network_len(&self) -> usize {
        if self.v6 { 40 + self.ip_extra } else { 20 + self.ip_extra }
    }

    pub fn transport(&self) -> usize {
        self.network() + self.network_len()
    }

    fn transport_len(&self) -> usize {
        if self.udp { 8 } else { 20 + self.tcp_extra }
    }

    pub fn headers(&self) -> usize {
        self.transport() + self.transport_len()
    }

    fn protocol(&self) -> u8 {
        if self.udp { 17 } else { 6 }
    }

    pub fn checksum_at(&self) -> usize {
        self.transport() + if self.udp { 6 } else { 16 }
    }

    pub fn pseudo(&self, len: usize) -> Vec<u8> {
        let addresses = if self.v6 { &self.addresses[..] } else { &self.addresses[..8] };
        let len = (len as u32).to_be_bytes();
        [addresses, &len[..], &[0, 0, 0, self.protocol()]].concat()
    }

    /// One frame with `payload`, its transport checksum field left 0.
    fn build(&self, payload: &[u8], index: usize, seq: u32, flags: u8) -> Vec<u8> {
        let mut frame = vec![0x52; 12];
        if self.vlan {
            frame.extend([0x81, 0x00, 0x20, 0x07]);
        }
        frame.extend(if self.v6 { [0x86, 0xdd] } else { [0x08, 0x00] });
        let transport_len = self.transport_len() + payload.len();
        if self.v6 {
            self.push_v6(&mut frame, transport_len);
        } else {
            self.push_v4(&mut frame, transport_len, index);
        }
        frame.extend([0x12, 0x34, 0x00, 0x50]);
        if self.udp {
            frame.extend((transport_len as u16).to_be_bytes());
            frame.extend([0, 0]);
        } else {
            frame.extend(seq.to_be_bytes());
            frame.extend([9, 8, 7, 6, (self.transport_len() as u8 / 4) << 4, flags, 0xfa, 0xf0, 0, 0, 0, 3]);
            frame.extend(vec![1; self.tcp_extra]);
        }
        frame.extend(payload);
        frame
    }

    fn push_v4(&self, frame: &mut Vec<u8>, transport_len: usize, index: usize) {
        let mut ip = vec![0x40 | (self.network_len() as u8 / 4), 0x10];
        ip.extend(((self.network_len() + transport_len) as u16).to_be_bytes());
        ip.extend(self.ident.wrapping_add(index as u16).to_be_bytes());
        ip.extend([0x40, 0, 63, self.protocol(), 0, 0]);
        ip.extend(&self.addresses[..8]);
        ip.extend(vec![1; self.ip_extra]);
        let checksum = !ones_sum(&[&ip]);
        ip[10..12].copy_from_slice(&checksum.to_be_bytes());
        frame.extend(ip);
    }

    fn push_v6(&self, frame: &mut Vec<u8>, transport_len: usize) {
        frame.extend([0x6a, 0xbc, 0xde, 0xf0]);
        frame.extend(((self.ip_extra + transport_len) as u16).to_be_bytes());
        frame.extend([if self.ip_extra > 0 { 60 } else { self.protocol() }, 61]);
        frame.extend(self.addresses);
        if self.ip_extra > 0 {
            frame.extend([self.protocol(), (self.ip_extra / 8 - 1) as u8]);
            frame.extend(vec![0; self.ip_extra - 2]);
        }
    }

    /// The super-segment as a guest hands it over: pseudo header sum in the checksum field, a wrong hint for
    /// the length of the headers, padding behind the end.
    pub fn frame(&self) -> (Vec<u8>, Offload) {
        let mut bytes = self.build(&self.payload, 0, self.seq, self.flags);
        let sum = ones_sum(&[&self.pseudo(self.transport_len() + self.payload.len())]);
        bytes[self.checksum_at()..self.checksum_at() + 2].copy_from_slice(&sum.to_be_bytes());
        bytes.extend(vec![0xee; self.padding]);
        let kind = match (self.udp, self.v6) {
            (true, _) => GsoKind::Udp,
            (false, true) => GsoKind::TcpV6,
            (false, false) => GsoKind::TcpV4,
        };
        let partial = PartialChecksum {
            start: self.transport() as u16,
            offset: (self.checksum_at() - self.transport()) as u16,
        };
        let gso = Gso { kind, size: self.size, header_len: 1 };
        (bytes, Offload { checksum: Some(partial), gso: Some(gso), checksum_valid: false })
    }

    /// The naive segmentation: each segment built from nothing.
    pub fn expected(&self) -> Vec<Vec<u8>> {
        let mut segments = Vec::new();
        let mut rest = &self.payload[..];
        loop {
            let (piece, behind) = rest.split_at(rest.len().min(self.size.into()));
            let seq = self.seq.wrapping_add((self.payload.len() - rest.len()) as u32);
            let flags = self.flags_of(segments.is_empty(), behind.is_empty());
            let mut segment = self.build(piece, segments.len(), seq, flags);
            self.seal(&mut segment);
            segments.push(segment);
            rest = behind;
            if rest.is_empty() {
                return segments;
            }
        }
    }

    fn flags_of(&self, first: bool, last: bool) -> u8 {
        let mut flags = self.flags;
        if !first {
            flags &= 0b0111_1111;
        }
        if !last {
            flags &= 0b1111_0110;
        }
        flags
    }

    /// Puts the transport checksum in.
    pub fn seal(&self, segment: &mut [u8]) {
        let covered = &segment[self.transport()..];
        let mut checksum = !ones_sum(&[&self.pseudo(covered.len()), covered]);
        if self.udp && checksum == 0 {
            checksum = 0xffff;
        }
        segment[self.checksum_at()..self.checksum_at() + 2].copy_from_slice(&checksum.to_be_bytes());
    }
}
