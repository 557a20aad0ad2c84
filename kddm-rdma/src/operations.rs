//! The table of operations that have not ended, or whose end nobody has fetched yet.

use kddm_coherence::{OpError, OpId};
use kddm_object::{Hold, ObjectKey, SlotId};
use std::task::Waker;

/// How an operation ends: a hold on a slot, or nothing to hold.
pub(crate) type Outcome = Result<Option<SlotId>, OpError>;

/// Slots that are used again and again; an [`OpId`] is a slot's index and how often it was used.
#[derive(Default)]
pub(crate) struct Operations {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

struct Slot {
    uses: u32,
    key: ObjectKey,
    hold: Option<Hold>,
    state: State,
}

enum State {
    Free,
    /// Somebody waits, or is about to.
    Waiting(Option<Waker>),
    /// Nobody wants to know the outcome.
    Detached,
    Ended(Outcome),
}

/// What an operation leaves behind that nobody waits for any more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Abandoned {
    /// The core has it still.
    Unfinished(ObjectKey),
    /// Nothing.
    Ended,
    /// A hold that nobody will use.
    Held(Hold, SlotId),
}

impl Operations {
    /// A new operation on `key` which, if `hold` is given, ends with a hold.
    pub(crate) fn begin(&mut self, key: ObjectKey, hold: Option<Hold>, detached: bool) -> OpId {
        let state = if detached { State::Detached } else { State::Waiting(None) };
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { uses: 0, key, hold, state: State::Free });
            self.slots.len() as u32 - 1
        });
        let slot = &mut self.slots[index as usize];
        // Never 0, so that no id is.
        let uses = slot.uses.checked_add(1).unwrap_or(1);
        *slot = Slot { uses, key, hold, state };
        OpId(u64::from(slot.uses) << 32 | u64::from(index))
    }

    /// The engine is done with it. Gives back the waker of who waits; `Err` if nobody has heard of the operation.
    pub(crate) fn end(&mut self, op: OpId, outcome: Outcome) -> Result<Option<Waker>, ()> {
        let slot = self.slot(op).ok_or(())?;
        match std::mem::replace(&mut slot.state, State::Ended(outcome)) {
            State::Waiting(waker) => Ok(waker),
            State::Detached => {
                self.discard(op);
                Ok(None)
            }
            State::Free | State::Ended(_) => Err(()),
        }
    }

    /// The outcome, once; until then `waker` is who to wake.
    pub(crate) fn poll(&mut self, op: OpId, waker: &Waker) -> Option<Outcome> {
        let slot = self.slot(op)?;
        match &mut slot.state {
            State::Ended(outcome) => {
                let outcome = *outcome;
                self.discard(op);
                return Some(outcome);
            }
            State::Waiting(Some(waiting)) => waiting.clone_from(waker),
            State::Waiting(waiting) => *waiting = Some(waker.clone()),
            State::Free | State::Detached => {}
        }
        None
    }

    /// Whoever waited for `op` does not any more.
    pub(crate) fn abandon(&mut self, op: OpId) -> Option<Abandoned> {
        let slot = self.slot(op)?;
        let abandoned = match (&slot.state, slot.hold) {
            (State::Ended(Ok(Some(place))), Some(hold)) => Abandoned::Held(hold, *place),
            (State::Ended(_), _) => Abandoned::Ended,
            _ => Abandoned::Unfinished(slot.key),
        };
        self.discard(op);
        Some(abandoned)
    }

    /// The operations that have not ended, with their objects, as far as `wanted` picks them by the object and by whether
    /// they are to end with a hold.
    pub(crate) fn unfinished(&self, wanted: impl Fn(ObjectKey, bool) -> bool) -> Vec<(OpId, ObjectKey)> {
        let waits = |slot: &Slot| {
            matches!(slot.state, State::Waiting(_) | State::Detached) && wanted(slot.key, slot.hold.is_some())
        };
        let named =
            |(index, slot): (usize, &Slot)| (OpId(u64::from(slot.uses) << 32 | index as u64), slot.key);
        self.slots.iter().enumerate().filter(|(_, slot)| waits(slot)).map(named).collect()
    }

    pub(crate) fn is_unfinished(&mut self, op: OpId) -> bool {
        self.slot(op).is_some_and(|slot| matches!(slot.state, State::Waiting(_) | State::Detached))
    }

    fn slot(&mut self, op: OpId) -> Option<&mut Slot> {
        let uses = (op.0 >> 32) as u32;
        self.slots
            .get_mut(op.0 as u32 as usize)
            .filter(|slot| slot.uses == uses && !matches!(slot.state, State::Free))
    }

    fn discard(&mut self, op: OpId) {
        if let Some(slot) = self.slot(op) {
            slot.state = State::Free;
            self.free.push(op.0 as u32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: ObjectKey = ObjectKey { set: kddm_object::SetId(7), object: 1 };

    #[test]
    fn an_outcome_is_fetched_once_and_the_slot_used_again() {
        let mut operations = Operations::default();
        let op = operations.begin(KEY, Some(Hold::Shared), false);
        assert_eq!(operations.poll(op, Waker::noop()), None);
        assert!(operations.end(op, Ok(Some(SlotId(9)))).is_ok_and(|waker| waker.is_some()));
        assert_eq!(operations.poll(op, Waker::noop()), Some(Ok(Some(SlotId(9)))));
        assert_eq!(operations.poll(op, Waker::noop()), None);
        let next = operations.begin(KEY, None, false);
        assert_ne!(next, op, "an old name must not reach a new operation");
        assert_eq!(operations.slots.len(), 1);
        assert!(operations.end(op, Ok(None)).is_err());
    }

    #[test]
    fn abandoning_tells_whether_a_hold_is_left() {
        let mut operations = Operations::default();
        let op = operations.begin(KEY, Some(Hold::Exclusive), false);
        assert_eq!(operations.abandon(op), Some(Abandoned::Unfinished(KEY)));
        let op = operations.begin(KEY, Some(Hold::Exclusive), false);
        operations.end(op, Ok(Some(SlotId(3)))).unwrap();
        assert_eq!(operations.abandon(op), Some(Abandoned::Held(Hold::Exclusive, SlotId(3))));
        assert_eq!(operations.abandon(op), None);
    }

    #[test]
    fn detached_ones_vanish_at_their_end() {
        let mut operations = Operations::default();
        let op = operations.begin(KEY, None, true);
        assert_eq!(operations.unfinished(|_, _| true), [(op, KEY)]);
        assert!(operations.end(op, Ok(None)).is_ok_and(|waker| waker.is_none()));
        assert_eq!(operations.unfinished(|_, _| true), []);
    }
}
