//! The committed checkpoints that the native files do not have yet, one after the other in one file.
//!
//! The first is written under another name and committed by the rename; later ones, if they are small, are appended,
//! and committed when they are whole: a part of one ends the log for recovery. The file is removed when all that is in
//! it has been applied. Until then everything in it is known here, so that nothing it speaks of is changed in place by
//! others, and applying it anew, from its beginning, changes nothing.

use super::layer::{Known, Layer};
use kddm_object::ObjectKey;
use std::ops::Range;

/// Bytes of the log up to which another checkpoint is appended.
pub(crate) const LONG: u64 = 1 << 20;

#[derive(Default)]
pub(crate) struct Log {
    layers: Vec<Layer>,
    /// Where each begins and ends in the file.
    places: Vec<Range<u64>>,
    /// The bytes of all of them survive the loss of power.
    pub durable: bool,
    /// Those of some do, and were promised to.
    pub promised: bool,
    /// The file's name does.
    pub named: bool,
    /// Somebody is writing to the file: it must not go.
    pub pinned: bool,
}

impl Log {
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// Bytes of the file.
    pub fn length(&self) -> u64 {
        self.places.last().map_or(0, |place| place.end)
    }

    pub fn places(&self) -> &[Range<u64>] {
        &self.places
    }

    /// One that is committed, with its bytes at the end of the file.
    pub fn push(&mut self, layer: Layer) {
        let begin = self.length();
        self.places.push(begin..begin + layer.length());
        self.layers.push(layer);
    }

    /// All has been applied, and the file is gone.
    pub fn clear(&mut self) {
        *self = Log { pinned: self.pinned, ..Log::default() };
    }

    /// What is known of an object, and where its bytes are if they are here.
    pub fn find(&self, key: ObjectKey) -> (Known, Option<&Layer>) {
        for layer in self.layers.iter().rev() {
            match layer.find(key) {
                Known::Nothing => {}
                Known::Gone => return (Known::Gone, None),
                here => return (here, Some(layer)),
            }
        }
        (Known::Nothing, None)
    }
}
