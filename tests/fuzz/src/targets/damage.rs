//! What checksums promise: an input whose checksum is right is met behind it, and damage to it is refused.

use crate::input::Input;

/// Makes the CRC-32 field at `offset` right: of all the bytes, where the field itself counts as zeros.
pub(super) fn seal(bytes: &mut [u8], offset: usize) {
    bytes[offset..offset + 4].fill(0);
    let checksum = crc32fast::hash(bytes);
    bytes[offset..offset + 4].copy_from_slice(&checksum.to_le_bytes());
}

/// What was read is written as it was: `again` is `read`.
///
/// # Panics
/// Where they differ.
pub(super) fn same(again: &[u8], read: &[u8], what: &str) {
    if let Some(at) = again.iter().zip(read).position(|(again, read)| again != read) {
        panic!("another {what} is written than was read: {} instead of {} at {at}", again[at], read[at]);
    }
    assert_eq!(again.len(), read.len(), "{what} of another length");
}

/// A copy of `sealed` with one to three other bits, chosen by `input`: CRC-32 tells all such from the original, up to 11 KiB.
pub(super) fn damaged<const N: usize>(sealed: &[u8; N], input: &[u8]) -> [u8; N] {
    const { assert!(N <= 11 << 10) };
    let mut bits = Input(input);
    let mut chosen: Vec<usize> =
        (0..3).map(|_| usize::from(u16::from_le_bytes(bits.array())) % (N * 8)).collect();
    chosen.dedup();
    chosen.truncate(1 + input.len() % 3);
    chosen.sort();
    chosen.dedup();
    let mut copy = *sealed;
    for bit in chosen {
        copy[bit / 8] ^= 1 << (bit % 8);
    }
    copy
}
