//! Invitations and offers of the shm fabric (`kddm_fabric`'s shm/offer.rs).

use super::{Target, numbered};
use crate::bound::bounded;
use kddm_fabric::shm::fuzz::{invitation, offer, words};

pub(super) const TARGET: Target = Target {
    name: "shm-offer",
    what: "invitations and offers of the shm fabric",
    check,
    seeds,
    longest: 129,
};

fn check(input: &[u8]) {
    for decode in [invitation, offer] {
        if let Some(again) = bounded(256, || decode(input)) {
            assert_eq!(again, input, "another encoding");
        }
    }
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    numbered("word", words())
}
