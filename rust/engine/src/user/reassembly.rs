//! Putting the fragments of guests' packets together again.
//!
//! # Theory of operation
//!
//! Fragments wait here until their packet is whole (RFC 791 section 3.2, RFC 8200 section 4.5). A packet is known by
//! its source, destination, protocol and identification, and by the station that sends it, so that no guest spoils
//! another's packets by inventing sources. Its pieces lie in order and never overlap: it is whole when its end is known
//! and that many bytes are held.
//!
//! - **Contradictions.** A piece that overlaps another, reaches behind the end, or moves the end spoils the packet: what
//!   is held is freed, and what still comes is dropped until the packet's time is over (RFC 5722, here for IPv4 as
//!   well). The same piece once more does no harm.
//! - **Bounds** ([`Limits`]) on bytes and packets, of one station and of all, and on the pieces of one packet. A station
//!   at its bound loses its own oldest packet. When all together are at theirs, the station that holds the most loses
//!   its oldest: a guest that floods does not push out what another one sends.
//! - **Time**: 30 seconds for an IPv4 packet and 60 for an IPv6 one, from its first piece to arrive. If the piece with
//!   the headers is there by then, its sender should be told ([`Expired`]).

use crate::counters::Drops;
use crate::time::Time;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use wirebay_wire::fragment::{self, Fragment};
use wirebay_wire::{DropReason, Mac};

/// How long an IPv4 packet may take to become whole, as with Linux.
pub const TIMEOUT_V4: Duration = Duration::from_secs(30);
/// How long an IPv6 packet may (RFC 8200 section 4.5).
pub const TIMEOUT_V6: Duration = Duration::from_mins(1);

/// What a piece costs beside its bytes, and a packet beside its pieces: about what the allocator and the table take.
const PIECE_COST: usize = 64;
const PACKET_COST: usize = 256;

/// How much may wait. Costs are in bytes and count the bookkeeping as well.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Cost of everything together.
    pub cost: usize,
    /// Packets of all stations.
    pub packets: usize,
    /// Cost of what one station holds.
    pub station_cost: usize,
    /// Packets of one station.
    pub station_packets: usize,
    /// Pieces of one packet.
    pub pieces: usize,
}

impl Default for Limits {
    /// A station has room for fifteen of the longest packets, and a packet may be cut for a link of 576 bytes.
    fn default() -> Self {
        Limits { cost: 4 << 20, packets: 1024, station_cost: 1 << 20, station_packets: 64, pieces: 128 }
    }
}

/// A packet that did not become whole in time, though its first fragment came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expired {
    /// Its sender.
    pub src: IpAddr,
    /// The station that sent its first fragment.
    pub mac: Mac,
    /// The first fragment, from its IP header on, for quoting.
    pub first: Box<[u8]>,
}

struct Piece {
    offset: usize,
    /// The piece; the first one with the headers before it.
    bytes: Box<[u8]>,
    head: usize,
}

impl Piece {
    fn payload(&self) -> &[u8] {
        &self.bytes[self.head..]
    }

    fn end(&self) -> usize {
        self.offset + self.payload().len()
    }
}

/// What the first fragment tells about the whole packet.
#[derive(Clone, Copy)]
struct Head {
    len: usize,
    next_header: (usize, u8),
}

/// A packet that is not whole yet.
struct Packet {
    deadline: Time,
    pieces: Vec<Piece>,
    held: usize,
    cost: usize,
    head: Option<Head>,
    end: Option<usize>,
    spoiled: Option<DropReason>,
}

/// Where a fragment belongs among the pieces.
enum Place {
    /// As the piece of this number.
    At(usize),
    /// It is there already.
    Known,
    /// It contradicts what is there.
    Nowhere,
}

impl Packet {
    fn new(deadline: Time) -> Self {
        let (pieces, cost) = (Vec::new(), PACKET_COST);
        Packet { deadline, pieces, held: 0, cost, head: None, end: None, spoiled: None }
    }

    /// Where the fragment belongs.
    fn place(&self, fragment: &Fragment<'_>) -> Place {
        let at = self.pieces.partition_point(|piece| piece.offset < fragment.offset);
        let (before, after) = (at.checked_sub(1).map(|i| &self.pieces[i]), self.pieces.get(at));
        let same =
            after.filter(|piece| piece.offset == fragment.offset && piece.payload() == fragment.payload);
        if same.is_some() && fragment.more == (self.end != Some(fragment.end())) {
            return Place::Known;
        }
        let overlaps = before.is_some_and(|piece| piece.end() > fragment.offset)
            || after.is_some_and(|piece| piece.offset < fragment.end());
        let ends_twice = !fragment.more && (self.end.is_some() || after.is_some());
        let behind_end = self.end.is_some_and(|end| fragment.end() >= end);
        let contradicts = overlaps || ends_twice || behind_end || !self.stays_packet(fragment);
        if contradicts { Place::Nowhere } else { Place::At(at) }
    }

    /// Whether the packet will be one that can be, as far as that is known with this fragment.
    fn stays_packet(&self, fragment: &Fragment<'_>) -> bool {
        let head =
            if fragment.offset == 0 { Some(fragment.head_len) } else { self.head.map(|head| head.len) };
        let end = if fragment.more { self.end } else { Some(fragment.end()) };
        head.zip(end).is_none_or(|(head, end)| fragment::whole_fits(fragment.packet, head, end))
    }

    fn put(&mut self, at: usize, fragment: &Fragment<'_>) {
        let is_first = fragment.offset == 0;
        if is_first {
            self.head = Some(Head { len: fragment.head_len, next_header: fragment.next_header });
        }
        if !fragment.more {
            self.end = Some(fragment.end());
        }
        let bytes: Box<[u8]> = if is_first { fragment.packet.into() } else { fragment.payload.into() };
        let head = bytes.len() - fragment.payload.len();
        self.held += fragment.payload.len();
        self.cost += cost_of(fragment);
        self.pieces.insert(at, Piece { offset: fragment.offset, bytes, head });
    }

    /// The whole packet, if it is all there.
    fn assemble(&self) -> Option<Vec<u8>> {
        let (head, first) = (self.head?, self.pieces.first()?);
        if self.end != Some(self.held) {
            return None;
        }
        let mut whole = Vec::with_capacity(head.len + self.held);
        whole.extend(&first.bytes[..head.len]);
        for piece in &self.pieces {
            whole.extend(piece.payload());
        }
        fragment::make_whole(&mut whole, head.next_header);
        Some(whole)
    }
}

/// What keeping a fragment costs.
fn cost_of(fragment: &Fragment<'_>) -> usize {
    let kept = if fragment.offset == 0 { fragment.packet.len() } else { fragment.payload.len() };
    kept + PIECE_COST
}

type Key = (Mac, fragment::Key);

/// All packets that are not whole yet.
pub struct Reassembly {
    limits: Limits,
    /// Those of one station are neighbours.
    packets: BTreeMap<Key, Packet>,
    cost: usize,
    /// No deadline is nearer than this; it may be that of a packet that has gone.
    next: Time,
}

impl Default for Reassembly {
    fn default() -> Self {
        Reassembly::new(Limits::default())
    }
}

impl Reassembly {
    /// Nothing waits.
    pub fn new(limits: Limits) -> Self {
        Reassembly { limits, packets: BTreeMap::new(), cost: 0, next: Time::NEVER }
    }

    /// What waits costs so much: its bytes and the bookkeeping.
    pub fn cost(&self) -> usize {
        self.cost
    }

    /// So many packets wait, spoiled ones among them.
    pub fn packets(&self) -> usize {
        self.packets.len()
    }

    /// The station `mac` has sent a fragment; the whole packet if this was what it lacked. Other fragments that are lost
    /// by it are counted in `drops`, the fragment itself is the caller's to count.
    pub fn input(
        &mut self,
        now: Time,
        mac: Mac,
        fragment: &Fragment<'_>,
        drops: &mut Drops,
    ) -> Result<Option<Vec<u8>>, DropReason> {
        if fragment.is_whole() {
            let mut whole = [&fragment.packet[..fragment.head_len], fragment.payload].concat();
            fragment::make_whole(&mut whole, fragment.next_header);
            return Ok(Some(whole));
        }
        let key = (mac, fragment.key);
        let Some(packet) = self.packets.get(&key) else { return self.keep(now, &key, 0, fragment, drops) };
        if let Some(reason) = packet.spoiled {
            return Err(reason);
        }
        match packet.place(fragment) {
            Place::Known => Err(DropReason::FragmentDuplicate),
            Place::Nowhere => Err(self.spoil(&key, DropReason::FragmentOverlap, drops)),
            Place::At(_) if packet.pieces.len() >= self.limits.pieces => {
                Err(self.spoil(&key, DropReason::FragmentLimit, drops))
            }
            Place::At(at) => self.keep(now, &key, at, fragment, drops),
        }
    }

    /// Free what is held of a packet, and drop what still comes.
    fn spoil(&mut self, key: &Key, reason: DropReason, drops: &mut Drops) -> DropReason {
        if let Some(packet) = self.packets.get_mut(key) {
            drops.add(reason, packet.pieces.len());
            self.cost -= packet.cost - PACKET_COST;
            *packet = Packet { spoiled: Some(reason), ..Packet::new(packet.deadline) };
        }
        reason
    }

    fn keep(
        &mut self,
        now: Time,
        key: &Key,
        at: usize,
        fragment: &Fragment<'_>,
        drops: &mut Drops,
    ) -> Result<Option<Vec<u8>>, DropReason> {
        self.make_room(key, cost_of(fragment), drops)?;
        let timeout = if fragment.key.src.is_ipv4() { TIMEOUT_V4 } else { TIMEOUT_V6 };
        let packet = self.packets.entry(*key).or_insert_with(|| {
            self.cost += PACKET_COST;
            self.next = self.next.min(now + timeout);
            Packet::new(now + timeout)
        });
        packet.put(at, fragment);
        self.cost += cost_of(fragment);
        let whole = packet.assemble();
        if whole.is_some() {
            self.remove(key);
        }
        Ok(whole)
    }

    fn remove(&mut self, key: &Key) -> Option<Packet> {
        let packet = self.packets.remove(key)?;
        self.cost -= packet.cost;
        if self.packets.is_empty() {
            self.next = Time::NEVER;
        }
        Some(packet)
    }

    /// Drop old packets until one more piece of this cost, of the packet `key`, keeps all bounds. An error if that would
    /// cost the packet itself.
    fn make_room(&mut self, key: &Key, cost: usize, drops: &mut Drops) -> Result<(), DropReason> {
        let known = self.packets.contains_key(key);
        let (cost, packets) = if known { (cost, 0) } else { (cost + PACKET_COST, 1) };
        let limits = self.limits;
        loop {
            let own = self.held_by(key.0);
            let victim =
                if own.cost + cost > limits.station_cost || own.packets + packets > limits.station_packets {
                    own.oldest
                } else if self.cost + cost > limits.cost || self.packets.len() + packets > limits.packets {
                    self.heaviest().oldest
                } else {
                    return Ok(());
                };
            let (_, victim) = victim.ok_or(DropReason::FragmentLimit)?;
            let lost = self.remove(&victim).map_or(0, |packet| packet.pieces.len());
            drops.add(DropReason::FragmentLimit, lost);
            if victim == *key {
                return Err(DropReason::FragmentLimit);
            }
        }
    }

    fn held_by(&self, station: Mac) -> Holding {
        let nowhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let least = fragment::Key { src: nowhere, dst: nowhere, protocol: 0, ident: 0 };
        let mut holding = Holding::default();
        for (key, packet) in self.packets.range((station, least)..).take_while(|(key, _)| key.0 == station) {
            holding.add(key, packet);
        }
        holding
    }

    /// What the station that holds the most holds.
    fn heaviest(&self) -> Holding {
        let (mut heaviest, mut holding, mut station) = (Holding::default(), Holding::default(), None);
        for (key, packet) in &self.packets {
            if station != Some(key.0) {
                (holding, station) = (Holding::default(), Some(key.0));
            }
            holding.add(key, packet);
            if holding.cost > heaviest.cost {
                heaviest = holding;
            }
        }
        heaviest
    }

    /// When [`Reassembly::expire`] wants to be called.
    pub fn next_deadline(&self) -> Option<Time> {
        (self.next != Time::NEVER).then_some(self.next)
    }

    /// Give up on the packets whose time is over; those whose senders should be told.
    pub fn expire(&mut self, now: Time, drops: &mut Drops) -> Vec<Expired> {
        if now < self.next {
            return Vec::new();
        }
        let late = self.packets.extract_if(.., |_, packet| packet.deadline <= now);
        let mut expired = Vec::new();
        for ((mac, key), packet) in late {
            self.cost -= packet.cost;
            drops.add(DropReason::FragmentTimeout, packet.pieces.len());
            let first = packet.head.and(packet.pieces.into_iter().next());
            expired.extend(first.map(|piece| Expired { src: key.src, mac, first: piece.bytes }));
        }
        self.next = self.packets.values().map(|packet| packet.deadline).min().unwrap_or(Time::NEVER);
        expired
    }
}

/// What one station holds.
#[derive(Clone, Copy, Default)]
struct Holding {
    cost: usize,
    packets: usize,
    oldest: Option<(Time, Key)>,
}

impl Holding {
    /// One more packet of the station. Adding the last of them, which is the one that makes it heaviest, completes it.
    fn add(&mut self, key: &Key, packet: &Packet) {
        self.cost += packet.cost;
        self.packets += 1;
        let this = (packet.deadline, *key);
        self.oldest = Some(self.oldest.map_or(this, |oldest| oldest.min(this)));
    }
}
