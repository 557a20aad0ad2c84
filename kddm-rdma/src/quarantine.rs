//! Slots that became free soon after a peer was lost wait before they are used again.
//!
//! Without agreed views each node learns for itself that a peer is lost, and then lets go of what it has of the objects whose home that
//! was. Another node that does not know yet may READ such a slot, by a grant from before. A fabric that checks generations fails that READ;
//! where the memory itself is read and nobody asked, the slot must not have another object's bytes by then.
//!
//! How long: a node that is in session with us was heard of within [`SILENCE`] before the READ was posted, and, when it was heard of, had
//! heard of the lost peer within [`SILENCE`], or it would have known. So the READ is posted at most two silences after the loss, and a READ
//! takes no longer than queue pairs have patience.

use kddm_fabric::SILENCE;
use kddm_memory::Arena;
use kddm_object::SlotId;
use std::time::Duration;

/// From the loss of a peer until slots are used again.
const TIME: Duration = SILENCE.saturating_mul(2).saturating_add(Duration::from_secs(2));

/// The slots that wait.
#[derive(Default)]
pub(crate) struct Quarantine {
    until: Option<Duration>,
    slots: Vec<SlotId>,
}

impl Quarantine {
    /// A peer was lost. True if nobody waits for the end yet.
    pub(crate) fn begin(&mut self, now: Duration) -> bool {
        self.until.replace(now + TIME).is_none()
    }

    /// Frees a slot, now or at the end. True if now.
    pub(crate) fn release(&mut self, arena: &Arena, slot: SlotId) -> bool {
        match self.until {
            None => arena.release(slot),
            Some(_) => {
                arena.retire(slot);
                self.slots.push(slot);
            }
        }
        self.until.is_none()
    }

    /// The slots that wait.
    pub(crate) fn count(&self) -> usize {
        self.slots.len()
    }

    /// Whether it goes on, and until when; at its end the slots become free. Their size classes, a bit each, are added to `freed`.
    pub(crate) fn look(&mut self, arena: &Arena, now: Duration, freed: &mut u8) -> Option<Duration> {
        let until = self.until.filter(|&until| now < until);
        if until.is_none() {
            self.until = None;
            for slot in self.slots.drain(..) {
                *freed |= arena.reuse(slot).map_or(0, |class| 1 << class);
            }
        }
        until
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kddm_memory::ArenaConfig;
    use kddm_object::{ObjectKey, SetId};

    #[test]
    fn slots_wait_while_a_loss_is_fresh() {
        let arena = Arena::new(ArenaConfig { bytes: 64 << 10, slab_bytes: 64 << 10 }).unwrap();
        let key = |object| ObjectKey::new(SetId(7), object);
        let all = |arena: &Arena| {
            (0..16).map(|object| arena.allocate(key(object), 4096, true)).collect::<Option<Vec<_>>>()
        };
        let slots = all(&arena).unwrap();
        let mut quarantine = Quarantine::default();
        assert!(quarantine.release(&arena, slots[0]));
        let again = arena.allocate(key(0), 4096, true).unwrap();
        let generation = arena.generation(again);
        let mut freed = 0;

        assert!(quarantine.begin(Duration::from_secs(1)));
        assert!(!quarantine.begin(Duration::from_secs(5)), "the second loss only makes it longer");
        assert!(!quarantine.release(&arena, again));
        assert_ne!(arena.generation(again), generation, "whoever asks is told that it is over");
        assert_eq!(arena.lookup(key(0)), None);
        assert_eq!(arena.allocate(key(0), 4096, true), None, "there is no other slot");
        let end = quarantine.look(&arena, Duration::from_secs(14), &mut freed);
        assert_eq!((end, freed), (Some(Duration::from_secs(15)), 0));
        assert_eq!(quarantine.look(&arena, Duration::from_secs(15), &mut freed), None);
        assert_eq!(freed, 0b1000, "the class of 4 KiB");
        assert!(arena.allocate(key(0), 4096, true).is_some());
        assert!(quarantine.begin(Duration::from_secs(99)));
    }
}
