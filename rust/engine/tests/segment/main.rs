//! Segmentation against a version that builds each segment from nothing, byte by byte.

mod cases;
mod naive;
mod properties;

use wirebay_engine::segment::{Capabilities, adapt};
use wirebay_wire::{DropReason, Frame, Offload};

type Sent = Vec<(Vec<u8>, Offload)>;

fn run(bytes: &[u8], offload: Offload, caps: &Capabilities) -> Result<Sent, DropReason> {
    let mut sent = Vec::new();
    let mut out = |frame: Frame<'_>| sent.push((frame.bytes.to_vec(), frame.offload));
    // What a former frame left behind must not matter.
    let result = adapt(&Frame { bytes, offload }, caps, &mut vec![0xdd; 99], &mut out);
    assert!(result.is_ok() || sent.is_empty(), "an error after frames went out");
    assert!(result.is_err() || result == Ok(sent.len()));
    result.map(|_| sent)
}

const EVERYTHING: Capabilities =
    Capabilities { checksum: true, tso4: true, tso6: true, uso: true, max_frame: 69_632 };
