//! Reassembly as one would write it without a thought for cost or bounds: every byte that any fragment brought, in one
//! array.

use std::collections::HashMap;
use std::time::Duration;
use wirebay_engine::Time;
use wirebay_wire::fragment::Fragment;

/// What becomes of a fragment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    Waits,
    Duplicate,
    Overlap,
    /// The payload of the whole packet.
    Whole(Vec<u8>),
}

struct Packet {
    since: Time,
    pieces: Vec<(usize, Vec<u8>, bool)>,
    spoiled: bool,
}

#[derive(Default)]
pub struct Naive(HashMap<(bool, u32), Packet>);

impl Naive {
    /// Packets whose time is over are forgotten.
    pub fn expire(&mut self, now: Time) {
        let limit = |is_v6: bool| Duration::from_secs(if is_v6 { 60 } else { 30 });
        self.0.retain(|&(is_v6, _), packet| now.since(packet.since) < limit(is_v6));
    }

    pub fn input(&mut self, now: Time, fragment: &Fragment<'_>) -> Fate {
        let key = (fragment.key.src.is_ipv6(), fragment.key.ident);
        let new = || Packet { since: now, pieces: Vec::new(), spoiled: false };
        let packet = self.0.entry(key).or_insert_with(new);
        let piece = (fragment.offset, fragment.payload.to_vec(), fragment.more);
        if packet.spoiled {
            return Fate::Overlap;
        }
        if packet.pieces.contains(&piece) {
            return Fate::Duplicate;
        }
        packet.pieces.push(piece);
        match whole(&packet.pieces) {
            Err(()) => {
                packet.spoiled = true;
                Fate::Overlap
            }
            Ok(None) => Fate::Waits,
            Ok(Some(whole)) => {
                self.0.remove(&key);
                Fate::Whole(whole)
            }
        }
    }
}

/// All bytes, if they are all there; an error if the pieces cannot be those of one packet.
fn whole(pieces: &[(usize, Vec<u8>, bool)]) -> Result<Option<Vec<u8>>, ()> {
    let mut bytes = vec![None; 70_000];
    for (offset, payload, _) in pieces {
        for (i, &byte) in payload.iter().enumerate() {
            if bytes[offset + i].replace(byte).is_some() {
                return Err(());
            }
        }
    }
    let furthest = bytes.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
    let ends: Vec<_> = pieces.iter().filter(|piece| !piece.2).map(|piece| piece.0 + piece.1.len()).collect();
    match ends[..] {
        [] => Ok(None),
        [end] if end == furthest => Ok(bytes[..end].iter().copied().collect()),
        _ => Err(()),
    }
}
