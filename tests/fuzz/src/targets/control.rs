//! Control messages of the tcp fabric (`kddm_fabric`'s tcp/codec.rs).

use super::{Target, numbered};
use crate::bound::bounded;
use kddm_fabric::tcp::fuzz::{control, controls};

pub(super) const TARGET: Target = Target {
    name: "control",
    what: "control messages of the tcp fabric: Hello, Ready, Refuse, Goodbye",
    check,
    seeds,
    longest: 2304,
};

fn check(input: &[u8]) {
    one(input);
    // The same from a sender of our version.
    if let Some(rest) = input.get(4..) {
        one(&[&1u32.to_le_bytes()[..], rest].concat());
    }
}

/// One encoding of each. A text that says it is long has room up to the limit of a message, and what is encoded is in vectors that double.
fn one(bytes: &[u8]) {
    if let Some(again) = bounded(6 * bytes.len() + 8192, || control(bytes)) {
        assert_eq!(again, bytes, "another encoding of a control message");
    }
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    numbered("control", controls())
}
