//! What two ends of a verbs link say to each other (`kddm_fabric`'s verbs/exchange.rs), and what is believed of it.

use super::{Target, numbered};
use crate::{
    bound::bounded,
    input::{Input, add_piece},
};
use kddm_fabric::verbs::fuzz::{Told, word, words};
use kddm_object::{Generation, Location, NodeId, SlotId};

pub(super) const TARGET: Target = Target {
    name: "verbs-word",
    what: "words of the verbs fabric: queue pairs, slabs",
    check,
    seeds,
    longest: 2048,
};

fn check(input: &[u8]) {
    one(input);
    // The input's pieces are words, heard one after the other; what is left says where a READ goes.
    let (mut told, mut pieces) = (Told::default(), Input(input));
    while let Some(bytes) = pieces.piece() {
        one(bytes);
        told.hear(bytes);
        let mut place = Input(bytes);
        let slot = SlotId(u32::from_le_bytes(place.array()) & 0x0003_ffff);
        let length = u32::from_le_bytes(place.array());
        for length in [length, length & 0xffff, 64] {
            assert!(told.stays_inside(slot, location(), length), "{length} bytes at {slot:?} leave the slab");
        }
    }
}

fn location() -> Location {
    Location { node: NodeId::new(2).expect("a node id"), slot: SlotId(0), generation: Generation(0) }
}

/// One encoding of each. A slab takes sixteen bytes, of at least two in the input; the answer is encoded into a vector that doubles.
fn one(bytes: &[u8]) {
    if let Some(again) = bounded(16 * bytes.len() + 4096, || word(bytes)) {
        assert_eq!(again, bytes, "another encoding of a word");
    }
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let words = words();
    let mut conversation = Vec::new();
    words.iter().for_each(|word| add_piece(&mut conversation, word));
    let mut seeds = numbered("word", words);
    seeds.push(("conversation".to_owned(), conversation));
    seeds
}
