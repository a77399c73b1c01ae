//! Capture files: pcap, as `filter-dump` of QEMU writes it (draft-ietf-opsawg-pcap), and pcapng with directions and
//! comments (draft-ietf-opsawg-pcapng). Both in the byte order of the host, with Ethernet frames and microseconds.

/// Ethernet (the registry of link types).
const ETHERNET: u16 = 1;
const PCAP_MAGIC: u32 = 0xa1b2_c3d4;
const MICROSECONDS: u64 = 1_000_000;

/// Block types of pcapng (section 4).
mod block {
    pub const SECTION: u32 = 0x0a0d_0d0a;
    pub const INTERFACE: u32 = 1;
    pub const PACKET: u32 = 6;
}

/// Options of pcapng blocks.
mod option {
    pub const COMMENT: u16 = 1;
    pub const INTERFACE_NAME: u16 = 2;
    pub const PACKET_FLAGS: u16 = 2;
    pub const APPLICATION: u16 = 4;
}

/// Which way a frame went, seen from the port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// To the port.
    Inbound = 1,
    /// From the port.
    Outbound = 2,
}

/// A frame to be written.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// When, in microseconds since 1970.
    pub at: u64,
    /// Its bytes, as far as they are kept.
    pub bytes: &'a [u8],
    /// How long it was.
    pub len: usize,
    /// Which way it went; pcap has no place for it.
    pub direction: Direction,
}

/// Begins a pcap file whose frames are cut at `maxlen` bytes.
pub fn begin_pcap(out: &mut Vec<u8>, maxlen: u32) {
    out.extend(PCAP_MAGIC.to_ne_bytes());
    out.extend(2_u16.to_ne_bytes());
    out.extend(4_u16.to_ne_bytes());
    // Time zone and accuracy, which nobody uses.
    out.extend([0; 8]);
    out.extend(maxlen.to_ne_bytes());
    out.extend(u32::from(ETHERNET).to_ne_bytes());
}

/// Appends a frame to a pcap file.
pub fn push_pcap(out: &mut Vec<u8>, record: &Record<'_>) {
    let time = [record.at / MICROSECONDS, record.at % MICROSECONDS];
    for number in [time[0] as u32, time[1] as u32, record.bytes.len() as u32, record.len as u32] {
        out.extend(number.to_ne_bytes());
    }
    out.extend_from_slice(record.bytes);
}

/// Begins a pcapng file with one interface called `name`.
pub fn begin_pcapng(out: &mut Vec<u8>, maxlen: u32, name: &str) {
    let start = open_block(out, block::SECTION);
    out.extend(0x1a2b_3c4d_u32.to_ne_bytes());
    out.extend(1_u16.to_ne_bytes());
    out.extend(0_u16.to_ne_bytes());
    // The length of the section is not known yet.
    out.extend(u64::MAX.to_ne_bytes());
    push_option(out, option::APPLICATION, b"wirebay");
    close_block(out, start);

    let start = open_block(out, block::INTERFACE);
    out.extend(ETHERNET.to_ne_bytes());
    out.extend(0_u16.to_ne_bytes());
    out.extend(maxlen.to_ne_bytes());
    push_option(out, option::INTERFACE_NAME, name.as_bytes());
    close_block(out, start);
}

/// Appends a frame to a pcapng file, with a comment if there is something to say about it.
pub fn push_pcapng(out: &mut Vec<u8>, record: &Record<'_>, comment: Option<&str>) {
    let start = open_block(out, block::PACKET);
    out.extend(0_u32.to_ne_bytes());
    let len = [record.bytes.len() as u32, record.len as u32];
    for number in [(record.at >> 32) as u32, record.at as u32, len[0], len[1]] {
        out.extend(number.to_ne_bytes());
    }
    push_padded(out, record.bytes);
    push_option(out, option::PACKET_FLAGS, &(record.direction as u32).to_ne_bytes());
    if let Some(comment) = comment {
        push_option(out, option::COMMENT, comment.as_bytes());
    }
    close_block(out, start);
}

/// Begin a block; its length is filled in when it is closed.
fn open_block(out: &mut Vec<u8>, kind: u32) -> usize {
    let start = out.len();
    out.extend(kind.to_ne_bytes());
    out.extend([0; 4]);
    start
}

/// End a block that has options: the end of them, and its length twice.
fn close_block(out: &mut Vec<u8>, start: usize) {
    out.extend([0; 4]);
    let len = ((out.len() - start + 4) as u32).to_ne_bytes();
    out.extend(len);
    out[start + 4..start + 8].copy_from_slice(&len);
}

fn push_option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = &value[..value.len().min(usize::from(u16::MAX))];
    out.extend(code.to_ne_bytes());
    out.extend((value.len() as u16).to_ne_bytes());
    push_padded(out, value);
}

/// Everything in a block takes a multiple of four bytes.
fn push_padded(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(bytes);
    out.resize(out.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(bytes: &[u8], at: usize) -> u32 {
        u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    fn record(bytes: &[u8]) -> Record<'_> {
        Record { at: 0x5_0000_0007, bytes, len: bytes.len() + 5, direction: Direction::Outbound }
    }

    #[test]
    fn a_pcap_file_is_what_qemu_writes() {
        let mut file = Vec::new();
        begin_pcap(&mut file, 65_536);
        assert_eq!(file.len(), 24);
        assert_eq!([number(&file, 0), number(&file, 16), number(&file, 20)], [0xa1b2_c3d4, 65_536, 1]);
        push_pcap(&mut file, &record(&[7; 61]));
        let seconds = 0x5_0000_0007_u64 / 1_000_000;
        assert_eq!(u64::from(number(&file, 24)), seconds);
        assert_eq!([number(&file, 32), number(&file, 36)], [61, 66]);
        assert_eq!(file.len(), 24 + 16 + 61);
    }

    proptest! {
        #[test]
        fn blocks_tell_their_length_at_both_ends_and_are_multiples_of_four(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..99), 0..5),
            name in "[a-z]{0,9}", comment: Option<String>,
        ) {
            let mut file = Vec::new();
            begin_pcapng(&mut file, 1000, &name);
            for frame in &frames {
                push_pcapng(&mut file, &record(frame), comment.as_deref());
            }
            let (mut at, mut kinds) = (0, Vec::new());
            while at < file.len() {
                let len = number(&file, at + 4) as usize;
                prop_assert!(len.is_multiple_of(4) && number(&file, at + len - 4) as usize == len);
                kinds.push(number(&file, at));
                at += len;
            }
            prop_assert_eq!(&kinds[..2], &[0x0a0d_0d0a, 1]);
            prop_assert!(kinds[2..].iter().all(|&kind| kind == 6) && kinds.len() == 2 + frames.len());
        }
    }

    #[test]
    fn a_packet_block_has_time_lengths_direction_and_comment() {
        let mut file = Vec::new();
        push_pcapng(&mut file, &record(&[7; 6]), Some("dropped"));
        let words: Vec<u32> = (0..file.len()).step_by(4).map(|at| number(&file, at)).collect();
        assert_eq!(words[2..7], [0, 5, 7, 6, 11]);
        assert_eq!(file[28..36], [7, 7, 7, 7, 7, 7, 0, 0]);
        assert_eq!(words[10], 2, "outbound");
        assert_eq!(&file[48..55], b"dropped");
    }
}
