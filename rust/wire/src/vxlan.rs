//! VXLAN headers (RFC 7348 section 5): eight bytes that name the network a frame belongs to.

use crate::DropReason;

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 8;
/// The largest network identifier.
pub const MAX_VNI: u32 = (1 << 24) - 1;

/// The I flag: the header names a network. All other flags are reserved and ignored on receipt.
const VALID: u8 = 0x08;

/// The header of network `vni`, at most [`MAX_VNI`].
pub fn emit(vni: u32) -> [u8; HEADER_LEN] {
    let [_, a, b, c] = vni.to_be_bytes();
    [VALID, 0, 0, 0, a, b, c, 0]
}

/// The frame behind a header of network `vni`.
pub fn strip(vni: u32, message: &[u8]) -> Result<&[u8], DropReason> {
    let (header, frame) = message.split_first_chunk::<HEADER_LEN>().ok_or(DropReason::TunnelMalformed)?;
    if header[0] & VALID == 0 {
        return Err(DropReason::TunnelMalformed);
    }
    if header[4..7] != emit(vni)[4..7] {
        return Err(DropReason::TunnelForeign);
    }
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_header_is_that_of_the_rfc() {
        assert_eq!(emit(0x0012_3456), [8, 0, 0, 0, 0x12, 0x34, 0x56, 0]);
        assert_eq!(strip(1, &[0, 0, 0, 0, 0, 0, 1, 0, 9]), Err(DropReason::TunnelMalformed), "no I flag");
        assert_eq!(strip(1, &emit(1)[..7]), Err(DropReason::TunnelMalformed));
    }

    proptest! {
        #[test]
        fn a_frame_comes_back_from_its_own_network_alone(vni in 0..=MAX_VNI, other in 0..=MAX_VNI, frame: Vec<u8>) {
            let message = [&emit(vni)[..], &frame].concat();
            prop_assert_eq!(strip(vni, &message), Ok(&frame[..]));
            if other != vni {
                prop_assert_eq!(strip(other, &message), Err(DropReason::TunnelForeign));
            }
        }

        #[test]
        fn reserved_bits_are_ignored(flags: u8, reserved: [u8; 3], last: u8) {
            let mut message = emit(9).to_vec();
            message[0] |= flags;
            message[1..4].copy_from_slice(&reserved);
            message[7] = last;
            prop_assert_eq!(strip(9, &message), Ok(&[][..]));
        }
    }
}
