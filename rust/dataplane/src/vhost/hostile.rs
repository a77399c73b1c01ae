//! Rings that hold anything at all: nothing panics, nothing runs for ever, nothing is written where the guest has not
//! offered it.

use super::memory::{Memory, Region};
use super::ring::{BUFFER, Ring, Taken};
use proptest::prelude::*;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use vm_memory::{Bytes, GuestAddress};

const BASE: u64 = 0x1_0000;
const SIZE: u64 = 0x1_0000;
/// A ring of eight: descriptor table, available ring, used ring; then memory that chains may point into.
const ENTRIES: u16 = 8;
const TABLE: u64 = BASE;
const AVAILABLE: u64 = BASE + 0x100;
const USED: u64 = BASE + 0x200;
const DATA: u64 = BASE + 0x400;

fn memory() -> Memory {
    let fd = memfd_create("guest", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&fd, SIZE).unwrap();
    let mut memory = Memory::default();
    memory.add(Region { guest: BASE, size: SIZE, user: BASE, offset: 0 }, fd).unwrap();
    memory
}

fn ring(memory: &Memory, event_idx: bool) -> Ring {
    let mut ring = Ring::new(true);
    assert!(ring.set_size(ENTRIES.into()));
    ring.addresses = Some([TABLE, USED, AVAILABLE]);
    assert!(ring.start(memory, event_idx));
    ring
}

#[derive(Clone, Debug)]
struct Descriptor(u64, u32, u16, u16);

/// Descriptors near the truth as often as far from it: in the memory or not, long or short, in circles or not.
fn descriptor() -> impl Strategy<Value = Descriptor> {
    let addr = prop_oneof![4 => DATA..BASE + SIZE, 1 => any::<u64>(), 1 => TABLE..DATA];
    let len = prop_oneof![4 => 0_u32..4096, 1 => any::<u32>()];
    (addr, len, 0_u16..8, 0..2 * ENTRIES)
        .prop_map(|(addr, len, flags, next)| Descriptor(addr, len, flags, next))
}

fn write(memory: &Memory, descriptors: &[Descriptor], heads: &[u16], index: u16, rest: &[u8]) {
    let guest = &memory.guest;
    guest.write_slice(rest, GuestAddress(DATA)).unwrap();
    for (at, Descriptor(addr, len, flags, next)) in descriptors.iter().enumerate() {
        let place = TABLE + 16 * at as u64;
        guest.write_obj(*addr, GuestAddress(place)).unwrap();
        guest.write_obj(*len, GuestAddress(place + 8)).unwrap();
        guest.write_obj(*flags, GuestAddress(place + 12)).unwrap();
        guest.write_obj(*next, GuestAddress(place + 14)).unwrap();
    }
    for (at, head) in heads.iter().enumerate() {
        guest.write_obj(*head, GuestAddress(AVAILABLE + 4 + 2 * at as u64)).unwrap();
    }
    guest.write_obj(index, GuestAddress(AVAILABLE + 2)).unwrap();
}

fn available() -> impl Strategy<Value = (Vec<u16>, u16)> {
    let heads = prop::collection::vec(0..ENTRIES + 1, ENTRIES as usize);
    (heads, prop_oneof![4 => 0..=ENTRIES, 1 => any::<u16>()])
}

proptest! {
    #[test]
    fn whatever_a_guest_sends_by_its_ring_is_taken_and_comes_to_an_end(
        descriptors in prop::collection::vec(descriptor(), ENTRIES as usize),
        (heads, index) in available(),
        rest in prop::collection::vec(any::<u8>(), 512),
        event_idx: bool,
    ) {
        let memory = memory();
        let mut ring = ring(&memory, event_idx);
        write(&memory, &descriptors, &heads, index, &rest);
        let (mut buf, mut taken) = (vec![0; BUFFER], 0);
        while ring.take(&memory.guest, &mut buf) != Taken::Empty {
            taken += 1;
            prop_assert!(taken <= ENTRIES);
        }
        ring.flush(&memory.guest);
        // Either it can be listened to and is silent, or it stands still.
        prop_assert!(!ring.listen(&memory.guest));
        if index > ENTRIES {
            prop_assert!(!ring.works() && taken == 0);
        }
        prop_assert_eq!(ring.room(&memory.guest), 0);
    }

    #[test]
    fn what_is_given_to_a_guest_lands_where_it_offered_room_and_nowhere_else(
        descriptors in prop::collection::vec(descriptor(), ENTRIES as usize),
        (heads, index) in available(),
        frames in prop::collection::vec(prop::collection::vec(1_u8.., 60..3000), 1..20),
        event_idx: bool,
        merge: bool,
    ) {
        let memory = memory();
        let mut ring = ring(&memory, event_idx);
        write(&memory, &descriptors, &heads, index, &[]);
        for frame in &frames {
            let mut header = [0xff; 12];
            let _ = ring.give(&memory.guest, &mut header, frame, merge);
            ring.listen_for_more(&memory.guest);
        }
        ring.flush(&memory.guest);
        let mut bytes = vec![0; SIZE as usize];
        memory.guest.read_slice(&mut bytes, GuestAddress(BASE)).unwrap();
        let is_ours = |at: u64| at < DATA || descriptors.iter().any(|d| d.2 & 2 != 0 && at >= d.0 && at - d.0 < d.1.into());
        for (at, &byte) in bytes.iter().enumerate() {
            prop_assert!(byte == 0 || is_ours(BASE + at as u64), "{at:#x} was written to");
        }
    }

    #[test]
    fn frames_for_an_honest_guest_arrive_in_order_or_are_refused_whole(
        lengths in prop::collection::vec(12_u32..2000, ENTRIES as usize),
        frames in prop::collection::vec(60_usize..4000, 1..12),
    ) {
        let memory = memory();
        let mut ring = ring(&memory, false);
        let descriptors: Vec<_> = (0_u64..).zip(&lengths).map(|(i, &len)| Descriptor(DATA + 2048 * i, len, 2, 0)).collect();
        write(&memory, &descriptors, &(0..ENTRIES).collect::<Vec<_>>(), ENTRIES, &[]);
        let mut chains = lengths.iter().map(|&len| len as usize);
        let (mut left, mut used): (Vec<_>, usize) = (chains.by_ref().collect(), 0);
        for len in frames {
            let needed = left.iter().scan(0, |sum, chain| { *sum += chain; Some(*sum) }).position(|sum| sum >= len + 12);
            let given = ring.give(&memory.guest, &mut [0; 12], &vec![1; len], true);
            prop_assert_eq!(given.is_ok(), needed.is_some());
            if let Some(last) = needed {
                left.drain(..=last);
                used += last + 1;
            }
        }
        let index: u16 = memory.guest.read_obj(GuestAddress(USED + 2)).unwrap();
        prop_assert_eq!(usize::from(index), used);
    }
}
