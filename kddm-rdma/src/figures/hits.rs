//! Counting hits, without making threads wait for each other's cache lines; and of which sets they are, by samples.

use super::sketch::Sketch;
use kddm_object::{Hold, SetId};
use parking_lot::Mutex;
use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

/// Sets whose hits are told apart.
const SETS: usize = 64;
/// Hits between two samples of a thread, at most twice as many.
const RARELY: u64 = 512;
const STRIPES: usize = 16;

/// All hits of a node.
pub(crate) struct Hits {
    stripes: [Stripe; STRIPES],
    kinds: [AtomicU64; 256],
    sets: Mutex<Sketch<SetId, u64, SETS>>,
}

/// What the threads that were dealt here count.
#[derive(Default)]
#[repr(align(128))]
struct Stripe([Tally; 2]);

/// The hits of one kind.
#[derive(Default)]
struct Tally {
    count: AtomicU64,
    /// The count that is the next sample.
    next: AtomicU64,
    /// The count that was the last one: it stands for all since.
    sampled: AtomicU64,
}

thread_local! {
    /// Where this thread counts. Threads are dealt out when they first miss: a check here would cost every hit.
    static STRIPE: Cell<usize> = const { Cell::new(0) };
}

impl Default for Hits {
    fn default() -> Hits {
        Hits {
            stripes: std::array::from_fn(|_| Stripe::default()),
            kinds: std::array::from_fn(|_| AtomicU64::new(0)),
            sets: Mutex::new(Sketch::new()),
        }
    }
}

impl Hits {
    /// Counts one. True: it is a sample, for [`Hits::sample`].
    #[inline(always)]
    pub(crate) fn count(&self, hold: Hold) -> bool {
        let tally = self.tally(hold);
        // Load and store instead of an addition: threads that share a stripe may lose a count, and nobody waits.
        let count = tally.count.load(Relaxed).wrapping_add(1);
        tally.count.store(count, Relaxed);
        count >= tally.next.load(Relaxed)
    }

    #[inline(always)]
    fn tally(&self, hold: Hold) -> &Tally {
        &self.stripes[STRIPE.get() % STRIPES].0[hold as usize & 1]
    }

    /// A hit of `set`, which stands for all of this kind and thread since the last sample.
    #[cold]
    #[inline(never)]
    pub(crate) fn sample(&self, hold: Hold, set: SetId) {
        let tally = self.tally(hold);
        let count = tally.count.load(Relaxed);
        let weight = count.saturating_sub(tally.sampled.swap(count, Relaxed));
        tally.next.store(count + gap(count), Relaxed);
        self.kinds[usize::from(set.kind())].fetch_add(weight, Relaxed);
        // Whoever finds it taken goes without: nobody waits for the sake of a figure.
        if let Some(mut sets) = self.sets.try_lock() {
            *sets.add(set, weight) += weight;
        }
    }

    /// Gives this thread a stripe, if it has none.
    pub(crate) fn deal() {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        if STRIPE.get() == 0 {
            STRIPE.set(NEXT.fetch_add(1, Relaxed).max(1));
        }
    }

    /// How many there were.
    pub(crate) fn sum(&self, hold: Hold) -> u64 {
        self.stripes.iter().map(|stripe| stripe.0[hold as usize & 1].count.load(Relaxed)).sum()
    }

    /// How many there were of the sets of one kind, about.
    pub(crate) fn of_kind(&self, kind: u8) -> u64 {
        self.kinds[usize::from(kind)].load(Relaxed)
    }

    /// The sets with the most lately, and how many there were, about.
    pub(crate) fn of_sets(&self) -> Vec<(SetId, u64)> {
        let heaviest = self.sets.lock().heaviest(SETS);
        heaviest.into_iter().map(|place| (place.key, place.value)).collect()
    }

    pub(crate) fn fade(&self) {
        self.sets.lock().fade();
    }
}

/// From one sample to the next: each of the first hits, then ever fewer; never regular, since programs are.
fn gap(count: u64) -> u64 {
    let average = (count / 64).clamp(1, RARELY);
    // The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
    let mut random = count.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    random = (random ^ (random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    random = (random ^ (random >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    1 + (random ^ (random >> 31)) % (2 * average - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program that goes through sets in turn, as regularly as can be.
    #[test]
    fn samples_tell_sets_apart_however_regular_the_hits_are() {
        let hits = Hits::default();
        let sets = [SetId::from_parts(1, 0, 0), SetId::from_parts(2, 5, 0), SetId::from_parts(2, 6, 0)];
        let turns = 400_000;
        for turn in 0..turns {
            let set = sets[[0, 1, 0, 2][turn % 4]];
            if hits.count(Hold::Shared) {
                hits.sample(Hold::Shared, set);
            }
        }
        assert_eq!((hits.sum(Hold::Shared), hits.sum(Hold::Exclusive)), (turns as u64, 0));
        let near = |told: u64, share: f64| (told as f64 / turns as f64 - share).abs() < 0.1;
        assert!(near(hits.of_kind(1), 0.5) && near(hits.of_kind(2), 0.5));
        for (set, told) in hits.of_sets() {
            assert!(near(told, if set == sets[0] { 0.5 } else { 0.25 }), "{set:?}: {told} of {turns}");
        }
    }

    #[test]
    fn the_first_hits_are_all_told_apart() {
        let hits = Hits::default();
        for object in 0..64_u32 {
            let set = SetId::from_parts(1 + (object % 3) as u8, 0, 0);
            assert!(hits.count(Hold::Exclusive), "hit {object} is no sample");
            hits.sample(Hold::Exclusive, set);
        }
        assert_eq!([1, 2, 3].map(|kind| hits.of_kind(kind)), [22, 21, 21]);
    }
}
