use super::*;
use proptest::prelude::*;

const KIB: usize = 1024;

fn pool(slabs: usize) -> Pool {
    Pool::new(64 * KIB, slabs)
}

fn take(pool: &mut Pool, class: usize, reserve: bool) -> Option<SlotId> {
    pool.take(class, reserve, None, |_, _| true)
}

/// Takes all that can be had.
fn exhaust(pool: &mut Pool, class: usize, reserve: bool) -> Vec<SlotId> {
    std::iter::from_fn(|| take(pool, class, reserve)).collect()
}

fn class_of(size: u32) -> usize {
    size_class(size).unwrap()
}

#[test]
fn the_reserve_is_for_those_who_free_memory() {
    let mut pool = pool(16);
    let pages = class_of(4096);
    // Three small classes have nothing yet: three slabs wait for them.
    let ordinary = exhaust(&mut pool, pages, false);
    assert_eq!(ordinary.len(), 13 * 16 - 13);
    let reserved = exhaust(&mut pool, pages, true);
    assert_eq!(ordinary.len() + reserved.len(), 16 * 16);
    assert_eq!(take(&mut pool, pages, true), None);
}

#[test]
fn a_small_class_without_a_slab_finds_one() {
    let mut pool = pool(16);
    assert!(!exhaust(&mut pool, class_of(4096), false).is_empty());
    for size in [0, 256, 1024] {
        assert!(take(&mut pool, class_of(size), false).is_some(), "objects of {size} bytes");
    }
}

#[test]
fn very_few_slabs_serve_several_classes() {
    let mut pool = pool(4);
    assert!(exhaust(&mut pool, class_of(4096), false).len() >= 16);
    assert!(take(&mut pool, class_of(64), false).is_some());
    assert!(take(&mut pool, class_of(256), false).is_some());
}

#[test]
fn a_sixteenth_is_kept_back_at_least_four_at_most_half() {
    assert_eq!([0, 1, 2, 6, 16, 64, 160, 4096].map(kept_back), [0, 0, 1, 3, 4, 4, 10, 256]);
}

#[test]
fn a_slab_of_one_slot_can_be_had() {
    let mut pool = pool(2);
    let class = class_of(65536);
    assert!(take(&mut pool, class, false).is_some());
    assert_eq!(take(&mut pool, class_of(1 << 20), true), None, "larger than a slab");
}

#[test]
fn neighbours_lie_side_by_side_if_they_can() {
    let mut pool = pool(16);
    let class = class_of(4096);
    let first = take(&mut pool, class, false).unwrap();
    let other = take(&mut pool, class, false).unwrap();
    let near = |slot: SlotId| Some(SlotId::new(slot.slab(), slot.index() + 1));
    let second = pool.take(class, false, near(other), |_, _| true).unwrap();
    assert_eq!(Some(second), near(other));
    let third = pool.take(class, false, near(first), |_, _| true).unwrap();
    assert!(![first, other, second].contains(&third), "the place beside the first is taken");
}

#[test]
fn an_empty_slab_serves_another_class() {
    let mut pool = pool(4);
    let pages: Vec<_> = exhaust(&mut pool, class_of(4096), true);
    assert_eq!((pages.len(), take(&mut pool, class_of(64), true)), (64, None));
    for slot in pages.iter().filter(|slot| slot.slab() == 2) {
        pool.give(*slot);
    }
    assert_eq!(take(&mut pool, class_of(64), false), None, "16 free pages are the pages' reserve");
    for slot in pages.iter().filter(|slot| slot.slab() == 1) {
        pool.give(*slot);
    }
    let slot = take(&mut pool, class_of(64), false).unwrap();
    assert_eq!((slot.slab(), pool.class(class_of(64)).slots), (1, KIB));
    assert_eq!(pool.class(class_of(4096)).slots, 48);
}

#[test]
fn a_drained_slab_goes_to_who_wanted_it() {
    let mut pool = pool(4);
    let pages = exhaust(&mut pool, class_of(4096), true);
    let large = class_of(65536);
    assert_eq!(take(&mut pool, large, false), None);
    pool.start_drain(3, large);
    for slot in pages.iter().filter(|slot| slot.slab() == 3) {
        pool.give(*slot);
        assert_eq!(take(&mut pool, class_of(4096), true), None, "nothing is put into a slab that is drained");
    }
    assert_eq!(take(&mut pool, class_of(64), true), None, "it is kept for who wanted it");
    assert_eq!(take(&mut pool, large, false), Some(SlotId::new(3, 0)));
    assert_eq!(pool.draining_for(large), None);
}

#[test]
fn a_drain_that_is_given_up_leaves_an_ordinary_slab() {
    let mut pool = pool(4);
    let class = class_of(4096);
    let pages = exhaust(&mut pool, class, true);
    pool.start_drain(pages[0].slab(), class_of(65536));
    pool.give(pages[0]);
    assert_eq!(pool.class(class).free, 0);
    pool.stop_drain();
    assert_eq!(pool.class(class).free, 1);
    assert_eq!(take(&mut pool, class, true), Some(pages[0]));
}

#[test]
fn a_drain_that_nobody_asks_for_any_more_ends() {
    let mut pool = pool(4);
    let (class, large) = (class_of(4096), class_of(65536));
    let pages = exhaust(&mut pool, class, true);
    pool.start_drain(0, large);
    pool.give(pages[0]);
    for asked_again in [true, false] {
        (0..PATIENCE).for_each(|_| pool.short_of(class));
        assert_eq!(pool.draining_for(large), Some(0));
        if asked_again {
            pool.short_of(large);
        }
    }
    pool.short_of(class);
    assert_eq!((pool.draining_for(large), pool.class(class).free), (None, 1));
}

#[test]
fn a_slab_that_the_kernel_refuses_is_none() {
    let mut pool = pool(4);
    assert_eq!(pool.take(0, true, None, |_, _| false), None);
    assert_eq!(pool.created(), 0);
    assert!(take(&mut pool, 0, true).is_some());
}

#[derive(Clone, Debug)]
enum Step {
    Take(usize, bool),
    Give(usize),
    Drain(u16, usize),
    Stop,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (3usize..5, any::<bool>()).prop_map(|(class, reserve)| Step::Take(class, reserve)),
        1 => (0usize..3, any::<bool>()).prop_map(|(class, reserve)| Step::Take(class, reserve)),
        4 => any::<usize>().prop_map(Step::Give),
        1 => (0u16..6, 0usize..CLASSES).prop_map(|(slab, class)| Step::Drain(slab, class)),
        1 => Just(Step::Stop),
    ];
    prop::collection::vec(step, 0..600)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// No slot is given twice, no two overlap, and in the end all come back.
    #[test]
    fn slots_are_conserved(steps in steps()) {
        let mut pool = pool(6);
        let mut taken: Vec<(SlotId, usize)> = Vec::new();
        for step in steps {
            match step {
                Step::Take(class, reserve) => {
                    if let Some(slot) = take(&mut pool, class, reserve) {
                        prop_assert!(usize::from(slot.index()) < pool.slots_per_slab(class));
                        let same = taken.iter().find(|(other, of)| {
                            other.slab() == slot.slab() && (*other == slot || *of != class)
                        });
                        prop_assert_eq!(same, None);
                        taken.push((slot, class));
                    }
                }
                Step::Give(which) if !taken.is_empty() => {
                    let (slot, _) = taken.swap_remove(which % taken.len());
                    pool.give(slot);
                }
                Step::Give(_) => {}
                Step::Drain(slab, class) if usize::from(slab) < pool.created() => pool.start_drain(slab, class),
                Step::Drain(..) => {}
                Step::Stop => pool.stop_drain(),
            }
            for class in 0..CLASSES {
                let used = taken.iter().filter(|(_, of)| *of == class).count();
                let of = pool.class(class);
                prop_assert!(of.free + used <= of.slots);
                prop_assert_eq!(of.slots, of.slabs.len() * pool.slots_per_slab(class));
            }
        }
        for (slot, _) in taken {
            pool.give(slot);
        }
        pool.stop_drain();
        prop_assert!((0..CLASSES).all(|class| pool.class(class).slots == 0));
        prop_assert_eq!(exhaust(&mut pool, 3, true).len(), 6 * 16);
    }
}
