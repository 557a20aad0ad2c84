//! A hash map that can itself be compared and hashed, so that a whole core can be a state of the model.

use rustc_hash::{FxBuildHasher, FxHasher};
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::ops::{Deref, DerefMut};

/// A hash map whose hash does not depend on the order of its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table<K: Eq + Hash, V>(HashMap<K, V, FxBuildHasher>);

impl<K: Eq + Hash, V> Default for Table<K, V> {
    fn default() -> Table<K, V> {
        Table(HashMap::default())
    }
}

impl<K: Eq + Hash, V> Deref for Table<K, V> {
    type Target = HashMap<K, V, FxBuildHasher>;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<K: Eq + Hash, V> DerefMut for Table<K, V> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl<K: Eq + Hash, V: Hash> Hash for Table<K, V> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_unordered(self.0.iter(), state);
    }
}

/// A hash of what is there, in whatever order it comes.
pub(crate) fn hash_unordered<H: Hasher>(items: impl Iterator<Item = impl Hash>, state: &mut H) {
    let (count, sum) = items.fold((0usize, 0u64), |(count, sum), item| {
        let mut hasher = FxHasher::default();
        item.hash(&mut hasher);
        (count + 1, sum.wrapping_add(hasher.finish()))
    });
    (count, sum).hash(state);
}
