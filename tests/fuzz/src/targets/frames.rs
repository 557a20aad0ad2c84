//! Records of the tcp fabric, which are frames (`kddm_fabric`'s tcp/frame.rs).

use super::{Target, numbered};
use crate::bound::bounded;
use kddm_fabric::tcp::fuzz::{frame, frames};

pub(super) const TARGET: Target = Target {
    name: "frames",
    what: "records of the tcp fabric, cut into frames",
    check,
    seeds,
    longest: 4096,
};

fn check(input: &[u8]) {
    // What the frames are kept in is the target's own: 24 bytes each, and room for as many again.
    match bounded(16 * input.len() + 256, || frames(input)) {
        Ok(found) => {
            let again: Vec<u8> = found.iter().flat_map(|&(kind, body)| frame(kind, body)).collect();
            assert_eq!(again, input, "another record");
        }
        Err(reason) => assert!(!reason.is_empty()),
    }
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let one = |kind: u8| frame(kind, &vec![kind; 4 * usize::from(kind)]);
    let mut records: Vec<Vec<u8>> = (1..=7).map(one).collect();
    records.push(records.concat());
    records.push(Vec::new());
    numbered("record", records)
}
