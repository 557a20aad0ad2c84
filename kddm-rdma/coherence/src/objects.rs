//! A map from objects to a few bytes each, for as many objects as memory holds: an index of numbers over chunks of places. It
//! never has more than one chunk of unused places, as a hash table that has just doubled has: only the index doubles, and
//! that is five bytes an object.

use hashbrown::HashTable;
use kddm_object::{ObjectKey, SetId};
use rustc_hash::FxBuildHasher;
use std::hash::BuildHasher;

/// Places a chunk.
const CHUNK: usize = 256;

#[derive(Clone, Debug)]
pub(crate) struct Objects<V> {
    index: HashTable<u32>,
    /// All but the last are full.
    chunks: Vec<Vec<Place<V>>>,
    vacant: Vec<u32>,
}

#[derive(Clone, Debug)]
struct Place<V> {
    key: PackedKey,
    value: V,
}

/// Four bytes less than a key with its padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PackedKey([u32; 3]);

impl<V> Default for Objects<V> {
    fn default() -> Objects<V> {
        Objects { index: HashTable::new(), chunks: Vec::new(), vacant: Vec::new() }
    }
}

impl<V: Default> Objects<V> {
    pub fn len(&self) -> usize {
        self.index.len()
    }

    pub fn contains(&self, key: ObjectKey) -> bool {
        self.find(key).is_some()
    }

    pub fn get(&self, key: ObjectKey) -> Option<&V> {
        self.find(key).map(|at| &place(&self.chunks, at).value)
    }

    pub fn get_mut(&mut self, key: ObjectKey) -> Option<&mut V> {
        self.find(key).map(|at| self.value_mut(at))
    }

    /// The value of `key`, made if there is none.
    pub fn get_or_default(&mut self, key: ObjectKey) -> &mut V {
        let at = match self.find(key) {
            Some(at) => at,
            None => self.insert(key),
        };
        self.value_mut(at)
    }

    pub fn remove(&mut self, key: ObjectKey) -> Option<V> {
        let packed = PackedKey::from(key);
        let Objects { index, chunks, vacant } = self;
        let found = index.find_entry(packed.hash(), |&at| place(chunks, at).key == packed).ok()?;
        let (at, _) = found.remove();
        vacant.push(at);
        Some(std::mem::take(self.value_mut(at)))
    }

    /// In no order.
    pub fn iter(&self) -> impl Iterator<Item = (ObjectKey, &V)> {
        let places = self.index.iter().map(|&at| place(&self.chunks, at));
        places.map(|place| (place.key.into(), &place.value))
    }

    fn find(&self, key: ObjectKey) -> Option<u32> {
        let packed = PackedKey::from(key);
        self.index.find(packed.hash(), |&at| place(&self.chunks, at).key == packed).copied()
    }

    fn insert(&mut self, key: ObjectKey) -> u32 {
        let packed = PackedKey::from(key);
        let new = Place { key: packed, value: V::default() };
        let Objects { index, chunks, vacant } = self;
        let at = match vacant.pop() {
            Some(at) => {
                chunks[at as usize / CHUNK][at as usize % CHUNK] = new;
                at
            }
            None => {
                if chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
                    chunks.push(Vec::new());
                }
                let last = chunks.len() - 1;
                chunks[last].push(new);
                (last * CHUNK + chunks[last].len() - 1) as u32
            }
        };
        index.insert_unique(packed.hash(), at, |&at| place(chunks, at).key.hash());
        at
    }

    fn value_mut(&mut self, at: u32) -> &mut V {
        &mut self.chunks[at as usize / CHUNK][at as usize % CHUNK].value
    }
}

fn place<V>(chunks: &[Vec<Place<V>>], at: u32) -> &Place<V> {
    &chunks[at as usize / CHUNK][at as usize % CHUNK]
}

impl PackedKey {
    fn hash(self) -> u64 {
        FxBuildHasher.hash_one(ObjectKey::from(self))
    }
}

impl From<ObjectKey> for PackedKey {
    fn from(key: ObjectKey) -> PackedKey {
        PackedKey([key.object, key.set.0 as u32, (key.set.0 >> 32) as u32])
    }
}

impl From<PackedKey> for ObjectKey {
    fn from(PackedKey([object, low, high]): PackedKey) -> ObjectKey {
        ObjectKey { set: SetId(u64::from(high) << 32 | u64::from(low)), object }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn it_is_a_map_whatever_is_inserted_and_removed() {
        let mut objects = Objects::<u64>::default();
        let mut truth = BTreeMap::new();
        // A generator of the textbook's kind: every key is met many times.
        let mut random = 1u64;
        for step in 0..100_000u64 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let key = ObjectKey::new(SetId(random >> 63 << 40 | 7), (random >> 33) as u32 % 1000);
            if (random >> 20).is_multiple_of(3) {
                assert_eq!(objects.remove(key), truth.remove(&key), "step {step}");
            } else {
                *objects.get_or_default(key) = step;
                truth.insert(key, step);
            }
            assert_eq!(objects.get(key), truth.get(&key), "step {step}");
            assert_eq!(objects.len(), truth.len(), "step {step}");
        }
        let all: BTreeMap<ObjectKey, u64> = objects.iter().map(|(key, value)| (key, *value)).collect();
        assert_eq!(all, truth);
        assert!(objects.chunks.len() <= 2000 / CHUNK + 1, "vacant places are not used again");
    }
}
