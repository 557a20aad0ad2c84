//! Every interleaving of a lookup with the writer's steps: see `tests/interleave`.

use super::*;
use crate::interleave::{Fault, explore, sees};
use loom::thread;
use std::sync::Arc;

/// All begin their search at the first place.
const CROWD: Fingerprint = Fingerprint(1);

/// An index where `slots` lie one after the other, in one run.
fn index(slots: u32) -> (Arc<Index>, Writer) {
    let (index, mut writer) = Index::new();
    for slot in 1..=slots {
        assert!(index.insert(&mut writer, CROWD, SlotId(slot)));
    }
    (Arc::new(index), writer)
}

/// A thread that looks for what is there all the time, while `change` goes on.
fn look_for(
    wanted: u32,
    (index, mut writer): (Arc<Index>, Writer),
    change: impl FnOnce(&Index, &mut Writer),
) {
    let reader = index.clone();
    let found = thread::spawn(move || reader.find(CROWD, |slot| (slot == SlotId(wanted)).then_some(())));
    change(&index, &mut writer);
    assert_eq!(found.join().unwrap(), Some(()), "slot {wanted} was there all the time and was not found");
}

/// What was before it in its run goes away.
fn moving() {
    look_for(2, index(2), |index, writer| assert!(index.remove(writer, CROWD, SlotId(1))));
}

/// It is moved, and another comes to the place where it was.
fn moving_and_reuse() {
    look_for(2, index(2), |index, writer| {
        assert!(index.remove(writer, CROWD, SlotId(1)));
        assert!(index.insert(writer, CROWD, SlotId(3)));
    });
}

/// The table becomes too small.
fn growth() {
    look_for(1, index(2), |index, writer| {
        assert!(index.insert(writer, CROWD, SlotId(3)));
        assert!(index.remove(writer, CROWD, SlotId(2)));
    });
}

#[test]
fn a_reader_misses_nothing_that_stays() {
    explore("index: an entry moves", 8, moving);
    sees(Fault::SilentMove, "index: an entry moves", 8, moving);
    explore("index: an entry moves, another comes", 8, moving_and_reuse);
    sees(Fault::SilentMove, "index: an entry moves, another comes", 8, moving_and_reuse);
    explore("index: the table grows", 8, growth);
    sees(Fault::RelaxedGrowth, "index: the table grows", 8, growth);
}
