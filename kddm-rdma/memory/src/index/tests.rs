use super::*;
use kddm_object::SetId;
use proptest::prelude::*;
use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::thread;

fn key(set: u64, object: u32) -> ObjectKey {
    ObjectKey::new(SetId(set), object)
}

/// An index, and the tags that control blocks have in the arena.
struct Tagged {
    index: Index,
    writer: Writer,
    tags: Vec<Option<ObjectKey>>,
}

impl Tagged {
    fn new() -> Tagged {
        let (index, writer) = Index::new();
        Tagged { index, writer, tags: Vec::new() }
    }

    fn insert(&mut self, key: ObjectKey) -> SlotId {
        let slot = SlotId(self.tags.len() as u32);
        self.tags.push(Some(key));
        assert!(self.index.insert(&mut self.writer, Fingerprint::of(key), slot));
        slot
    }

    fn find(&self, key: ObjectKey) -> Option<SlotId> {
        self.index
            .find(Fingerprint::of(key), |slot| (self.tags[slot.0 as usize] == Some(key)).then_some(slot))
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(ObjectKey),
    Remove(ObjectKey),
    Find(ObjectKey),
}

/// Few keys, so that they meet; enough to grow the first table twice.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = (0u64..4, 0u32..700).prop_map(|(set, object)| key(set << 24, object));
    let step = (0..8, key).prop_map(|(kind, key)| match kind {
        0..5 => Step::Insert(key),
        5..7 => Step::Remove(key),
        _ => Step::Find(key),
    });
    prop::collection::vec(step, 0..if cfg!(miri) { 200 } else { 6000 })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 48 }))]

    #[test]
    fn it_is_a_map(steps in steps()) {
        let mut tagged = Tagged::new();
        let mut model = HashMap::new();
        for step in steps {
            match step {
                Step::Insert(key) => {
                    model.entry(key).or_insert_with(|| tagged.insert(key));
                }
                Step::Remove(key) => {
                    let slot = model.remove(&key);
                    let removed = slot.is_some_and(|slot| {
                        tagged.index.remove(&mut tagged.writer, Fingerprint::of(key), slot)
                    });
                    prop_assert_eq!(removed, slot.is_some());
                }
                Step::Find(key) => prop_assert_eq!(tagged.find(key), model.get(&key).copied()),
            }
            prop_assert_eq!(tagged.index.size(&tagged.writer).1, model.len());
        }
        for (key, slot) in &model {
            prop_assert_eq!(tagged.find(*key), Some(*slot));
        }
    }
}

#[test]
fn what_is_not_there_is_not_removed() {
    let mut tagged = Tagged::new();
    let slot = tagged.insert(key(1, 1));
    assert!(!tagged.index.remove(&mut tagged.writer, Fingerprint::of(key(1, 2)), slot));
    assert!(!tagged.index.remove(&mut tagged.writer, Fingerprint::of(key(1, 1)), SlotId(99)));
    assert_eq!(tagged.find(key(1, 1)), Some(slot));
}

#[test]
fn keys_of_one_fingerprint_are_told_apart() {
    let (index, mut writer) = Index::new();
    let fp = Fingerprint(u32::MAX);
    // The last place of the table: the others wrap around.
    for slot in 0..4 {
        assert!(index.insert(&mut writer, fp, SlotId(slot)));
    }
    let find = |wanted| index.find(fp, |slot| (slot == SlotId(wanted)).then_some(slot.0));
    assert_eq!((find(0), find(3), find(4)), (Some(0), Some(3), None));
    assert!(index.remove(&mut writer, fp, SlotId(1)));
    assert_eq!((find(0), find(1), find(2), find(3)), (Some(0), None, Some(2), Some(3)));
}

#[test]
#[cfg_attr(miri, ignore = "one thread, no unsafe code, and long")]
fn keys_as_file_systems_make_them_spread() {
    // Many files of a few pages, and a file of many pages.
    let files = (0..1000).flat_map(|file| (0..16).map(move |page| (file, page)));
    for keys in [files.collect::<Vec<_>>(), (0..16000).map(|page| (1, page)).collect()] {
        let mut tagged = Tagged::new();
        for &(file, page) in &keys {
            tagged.insert(ObjectKey::new(SetId::from_parts(3, 0x0100_0000 | file, 1), page));
        }
        let table = tagged.index.current();
        let entries: Vec<u64> = (0..=table.mask()).map(|place| table.at(place).load(Relaxed)).collect();
        let runs = entries.split(|&entry| entry == 0).map(<[u64]>::len);
        let longest = runs.max().unwrap_or(0);
        assert!(longest < 80, "{longest} entries without a gap in a table half full");
    }
}

/// Lookups of keys that are always there, while their entries move and the table grows.
#[test]
fn a_reader_misses_nothing_that_stays() {
    const KEYS: u32 = if cfg!(miri) { 6 } else { 300 };
    const ROUNDS: u32 = if cfg!(miri) { 2 } else { 100 };
    // They make the table grow, but for miri, which takes too long for so many.
    const GUESTS: u32 = if cfg!(miri) { 10 } else { 1000 };
    let (index, mut writer) = Index::new();
    // A slot's key is its number modulo KEYS. Fingerprints crowd into a few places, so that most removals move entries.
    let fp = |key: u32| Fingerprint((key % 4) << 28 | key << 4 | 1);
    let find = |key| index.find(fp(key), |slot| (slot.0 % KEYS == key).then_some(()));
    for key in 0..KEYS {
        assert!(index.insert(&mut writer, fp(key), SlotId(key)));
    }
    let end = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut rounds = 0u64;
                    while !end.load(Relaxed) {
                        let missed: Vec<u32> = (0..KEYS).filter(|&key| find(key).is_none()).collect();
                        assert_eq!(missed, [], "in round {rounds}");
                        rounds += 1;
                    }
                    rounds
                })
            })
            .collect();
        // Also when an assertion below fails, or the readers would go on for ever.
        let stop = Stop(&end);
        for round in 1..=ROUNDS {
            for key in 0..KEYS {
                // A second entry at the end of the run, then the first goes and those behind it move.
                assert!(index.insert(&mut writer, fp(key), SlotId(round * KEYS + key)));
                assert!(index.remove(&mut writer, fp(key), SlotId((round - 1) * KEYS + key)));
            }
            if round == ROUNDS / 2 {
                for guest in 0..GUESTS {
                    assert!(index.insert(&mut writer, Fingerprint(guest << 20 | 0xf_0001), SlotId(u32::MAX)));
                }
            }
        }
        drop(stop);
        for reader in readers {
            assert!(reader.join().unwrap() > 0);
        }
    });
    let entries = if cfg!(miri) { 1024 } else { 4096 };
    assert_eq!(index.size(&writer), (entries, (KEYS + GUESTS) as usize));
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}
