//! Read-ahead: who gets the objects of a set one after the other finds the next ones here.
//!
//! Only gets that miss are looked at, so that a hit costs what it did. A get of the object after the last one, or of one that was asked
//! for ahead and has not come yet, goes on with a run; the window, how far ahead of it copies are asked for, doubles from get to get.

use kddm_object::{ObjectKey, SetId};
use std::ops::Range;

/// How many runs a node follows at once.
const RUNS: usize = 8;
/// The first window of a run.
const FIRST: u32 = 4;

/// What was got in order lately.
#[derive(Default)]
pub(crate) struct ReadAhead {
    /// The most recent first.
    runs: Vec<Run>,
}

struct Run {
    set: SetId,
    /// The last object that was got and missed.
    last: u32,
    /// The first object that was not asked for ahead.
    next: u32,
    window: u32,
}

impl ReadAhead {
    /// A get of `key` missed: the objects that are to be brought now, with windows of at most `most`.
    pub(crate) fn missed(&mut self, key: ObjectKey, most: u32) -> Range<u32> {
        let ObjectKey { set, object } = key;
        let goes_on = |run: &Run| run.set == set && run.last < object && object <= run.next;
        let Some(place) = self.runs.iter().position(goes_on) else {
            self.runs.truncate(RUNS - 1);
            self.runs.insert(0, Run { set, last: object, next: object.saturating_add(1), window: 0 });
            return 0..0;
        };
        self.runs[..=place].rotate_right(1);
        let run = &mut self.runs[0];
        run.last = object;
        if run.next.saturating_sub(object) > run.window / 2 && run.window > 0 {
            // Enough is on its way.
            return 0..0;
        }
        run.window = (run.window * 2).clamp(FIRST, most.max(FIRST)).min(most);
        let from = run.next.max(object.saturating_add(1));
        run.next = object.saturating_add(1).saturating_add(run.window).max(from);
        from..run.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SET: SetId = SetId(7);
    const OTHER: SetId = SetId(8);

    /// Gets objects in that order, each of which misses unless it was brought before; what was brought, and how many missed.
    fn get(order: impl IntoIterator<Item = (SetId, u32)>, most: u32) -> (Vec<(SetId, u32)>, usize) {
        let (mut ahead, mut brought, mut missed) = (ReadAhead::default(), Vec::new(), 0);
        for (set, object) in order {
            if !brought.contains(&(set, object)) {
                missed += 1;
                let range = ahead.missed(ObjectKey::new(set, object), most);
                assert!(range.len() <= most as usize);
                brought.extend(range.map(|object| (set, object)));
            }
        }
        (brought, missed)
    }

    #[test]
    fn the_window_doubles() {
        let mut ahead = ReadAhead::default();
        let mut ranges = vec![];
        let mut object = 10;
        for _ in 0..7 {
            let range = ahead.missed(ObjectKey::new(SET, object), 32);
            object = range.end.max(object + 1);
            ranges.push(range);
        }
        assert_eq!(ranges, [0..0, 12..16, 17..25, 26..42, 43..75, 76..108, 109..141]);
    }

    #[test]
    fn nothing_is_brought_twice_or_without_order() {
        let order = |object: u32| (SET, object.wrapping_mul(2_654_435_769) % 5000);
        assert_eq!(get((0..200).map(order), 32).0, []);
        assert_eq!(get((0..200).rev().map(|object| (SET, object)), 32).0, []);
        let (mut brought, missed) = get((0..1000).map(|object| (SET, object)), 32);
        assert!(missed < 40, "{missed} of 1000 in order missed");
        let all = brought.len();
        brought.dedup();
        assert_eq!(brought.len(), all);
    }

    #[test]
    fn runs_beside_each_other_are_told_apart() {
        let order = (0..500).flat_map(|object| [(SET, object), (OTHER, object), (SET, 10_000 + object)]);
        let (_, missed) = get(order, 32);
        assert!(missed < 3 * 25, "{missed} of 1500 missed");
    }

    #[test]
    fn who_is_faster_than_the_network_keeps_it_busy() {
        // Every get misses, for what was asked for has not come yet.
        let mut ahead = ReadAhead::default();
        let mut brought = Vec::new();
        for object in 0..400 {
            brought.extend(ahead.missed(ObjectKey::new(SET, object), 32));
            assert!(object < 20 || brought.last().is_some_and(|last| (object..=object + 32).contains(last)));
        }
        assert!(brought.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn the_end_of_the_numbers_and_no_window_are_no_surprise() {
        let (brought, missed) = get((0..100).map(|object| (SET, u32::MAX - 99 + object)), 32);
        assert!(missed < 20 && brought.is_sorted(), "{missed} missed");
        assert_eq!(get((0..100).map(|object| (SET, object)), 0).0, []);
    }
}
