//! Shortage of memory: who waits for a slot, since when, and when to give up.

use kddm_object::{ObjectKey, limits};
use std::time::Duration;

/// How long somebody waits while not a single slot of the class becomes free.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);
/// How often to look for victims while somebody waits: puts that were hits tell nobody.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// How many copies are asked to go at a time.
pub(crate) const VICTIMS: usize = 8;

/// The objects that wait for a slot, by size class.
#[derive(Default)]
pub(crate) struct Shortage {
    classes: [Class; limits::SLOT_SIZES.len()],
    watched: bool,
}

#[derive(Default)]
struct Class {
    keys: Vec<ObjectKey>,
    /// When the shortage began, or when a slot became free last.
    since: Option<Duration>,
}

/// What [`Shortage::note`] found.
pub(crate) struct Noted {
    /// Nobody else waits for a slot of this class: victims are to be looked for.
    pub(crate) first_of_class: bool,
    /// Nobody watches the shortage yet.
    pub(crate) first: bool,
}

impl Shortage {
    /// `key`, of `size` bytes, waits for a slot.
    pub(crate) fn note(&mut self, key: ObjectKey, size: u32, now: Duration) -> Noted {
        let Some(class) = limits::size_class(size).map(|class| &mut self.classes[class]) else {
            return Noted { first_of_class: false, first: false };
        };
        let first_of_class = class.keys.is_empty();
        if !class.keys.contains(&key) {
            class.keys.push(key);
        }
        class.since.get_or_insert(now);
        Noted { first_of_class, first: !std::mem::replace(&mut self.watched, true) }
    }

    /// Whether anybody waits for a slot, or did lately.
    pub(crate) fn is_there(&self) -> bool {
        self.watched
    }

    /// Slots became free, in the classes whose bits are set. The core has served who waited: those for whom there was none
    /// say so again.
    pub(crate) fn freed(&mut self, classes: u8, now: impl Fn() -> Duration) {
        for (index, class) in self.classes.iter_mut().enumerate() {
            if classes & (1 << index) != 0 && class.since.is_some() {
                class.since = Some(now());
                class.keys.clear();
            }
        }
    }

    /// Those who have waited too long.
    pub(crate) fn hopeless(&self, now: Duration) -> Vec<ObjectKey> {
        let late = |class: &&Class| class.since.is_some_and(|since| now.saturating_sub(since) >= PATIENCE);
        self.classes.iter().filter(late).flat_map(|class| class.keys.iter().copied()).collect()
    }

    /// Forgets who waits, so that they are noted, and victims looked for, anew.
    pub(crate) fn begin_round(&mut self) {
        self.classes.iter_mut().for_each(|class| class.keys.clear());
    }

    /// After everybody had the chance to be noted: true if somebody was.
    pub(crate) fn end_round(&mut self) -> bool {
        for class in self.classes.iter_mut().filter(|class| class.keys.is_empty()) {
            class.since = None;
        }
        self.watched = self.classes.iter().any(|class| class.since.is_some());
        self.watched
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kddm_object::SetId;

    const KEY: ObjectKey = ObjectKey { set: SetId(7), object: 1 };
    const OTHER: ObjectKey = ObjectKey { set: SetId(7), object: 2 };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn patience_begins_anew_with_every_slot_that_becomes_free() {
        let mut shortage = Shortage::default();
        let noted = shortage.note(KEY, 4096, seconds(1));
        assert!(noted.first && noted.first_of_class && shortage.is_there());
        let again = shortage.note(OTHER, 4096, seconds(1));
        assert!(!again.first && !again.first_of_class);
        assert_eq!(shortage.hopeless(seconds(3)), []);
        assert_eq!(shortage.hopeless(seconds(4)), [KEY, OTHER]);
        shortage.freed(0b1, || seconds(3));
        assert_eq!(shortage.hopeless(seconds(4)), [KEY, OTHER], "a slot of another class helps nobody");
        shortage.freed(0b1000, || seconds(3));
        shortage.note(KEY, 4096, seconds(3));
        assert_eq!(shortage.hopeless(seconds(5)), []);
        assert_eq!(shortage.hopeless(seconds(6)), [KEY]);
    }

    #[test]
    fn a_round_in_which_nobody_is_noted_ends_the_shortage() {
        let mut shortage = Shortage::default();
        shortage.note(KEY, 64, seconds(1));
        shortage.begin_round();
        shortage.note(KEY, 64, seconds(2));
        assert!(shortage.end_round());
        assert_eq!(shortage.hopeless(seconds(4)), [KEY], "waiting on counts from the beginning");
        shortage.begin_round();
        assert!(!shortage.end_round() && !shortage.is_there());
        assert!(shortage.note(KEY, 64, seconds(9)).first);
        assert_eq!(shortage.hopeless(seconds(11)), []);
    }
}
