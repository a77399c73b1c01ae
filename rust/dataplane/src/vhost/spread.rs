//! Which of a guest's receive rings a frame goes to: all frames of a flow to the same one, so that none overtakes
//! another, and flows evenly over all (virtio 1.2 section 5.1.5.2 leaves the choice to the device).

use wirebay_wire::layout::Layout;

/// A ring of `rings` for this frame. What is no TCP or UDP goes to the first.
pub fn choose(frame: &[u8], rings: usize) -> usize {
    if rings <= 1 {
        return 0;
    }
    let Some(layout) = Layout::of(frame) else { return 0 };
    let addresses = if layout.is_v6 {
        layout.network + 8..layout.network + 40
    } else {
        layout.network + 12..layout.network + 20
    };
    let ports = layout.transport..layout.transport + 4;
    let words = [addresses, ports].into_iter().filter_map(|range| frame.get(range)).flat_map(|b| b.chunks(4));
    let mixed = words.fold(0x9e37_79b9_u32, |sum, word| {
        let word = word.iter().fold(0, |word, &byte| word << 8 | u32::from(byte));
        (sum ^ word).wrapping_mul(0x85eb_ca6b).rotate_left(13)
    });
    // The upper half: every bit of the input has reached it.
    (mixed >> 16) as usize % rings
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 42];
        frame[12..14].copy_from_slice(&[8, 0]);
        frame[14] = 0x45;
        frame[16..18].copy_from_slice(&(28 + payload.len() as u16).to_be_bytes());
        frame[23] = 17;
        frame[26..34].copy_from_slice(&[10, 0, 2, 2, 10, 0, 2, 15]);
        frame[34..36].copy_from_slice(&53_u16.to_be_bytes());
        frame[36..38].copy_from_slice(&port.to_be_bytes());
        frame.extend(payload);
        frame
    }

    #[test]
    fn flows_are_spread_evenly() {
        for rings in [2, 3, 8] {
            let mut counts = vec![0; rings];
            for port in 32_768..40_960 {
                counts[choose(&udp(port, b""), rings)] += 1;
            }
            let fair = 8192 / rings;
            assert!(counts.iter().all(|&count| count > fair * 3 / 4 && count < fair * 5 / 4), "{counts:?}");
        }
    }

    proptest! {
        #[test]
        fn all_frames_of_a_flow_go_to_one_ring(port: u16, payload in prop::collection::vec(any::<u8>(), 0..99)) {
            prop_assert_eq!(choose(&udp(port, &payload), 8), choose(&udp(port, b""), 8));
        }

        #[test]
        fn whatever_the_frame_the_ring_is_there(frame in prop::collection::vec(any::<u8>(), 0..99), rings in 1_usize..9) {
            prop_assert!(choose(&frame, rings) < rings);
        }
    }
}
