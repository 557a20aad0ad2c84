//! Hits: holds taken and ended by any thread, without a lock, an allocation or the engine.

use crate::Arena;
use crate::control::{Control, Missed};
use crate::fault::{Fault, planted};
use crate::index::Fingerprint;
use kddm_object::{Hold, ObjectKey, Release, SlotId, Word};

/// Why a hold was not a hit; the engine has to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    /// The node has no slot for the object.
    Absent,
    /// The copy's mode is too weak.
    Mode,
    /// Another thread of this node holds it, or the engine is revoking.
    Busy,
}

impl Arena {
    /// The slot that is indexed for `key`, now.
    #[inline]
    pub fn lookup(&self, key: ObjectKey) -> Option<SlotId> {
        self.index.find(Fingerprint::of(key), |slot| {
            let control = self.control(slot)?;
            let word = control.word();
            (control.is(key) && crate::control::tenanted(word.generation())).then_some(slot)
        })
    }

    /// Takes a hold of `key`'s slot, whoever else is at it. It ends with [`Arena::put`].
    ///
    /// # Errors
    /// Why the engine has to be asked.
    #[inline]
    pub fn try_hold(&self, key: ObjectKey, hold: Hold) -> Result<SlotId, Miss> {
        self.hit(key, hold).map(|(slot, ..)| slot)
    }

    // Else the hold goes through memory twice, which costs as much as taking it.
    #[inline(always)]
    pub(crate) fn hit(&self, key: ObjectKey, hold: Hold) -> Result<(SlotId, &Control, Word), Miss> {
        loop {
            let found = self.index.find(Fingerprint::of(key), |slot| {
                let control = self.control(slot)?;
                let early = planted(Fault::TagBeforeWord).then(|| control.is(key));
                let word = control.word();
                early.unwrap_or_else(|| control.is(key)).then_some((slot, control, word))
            });
            let (slot, control, word) = found.ok_or(Miss::Absent)?;
            match control.hold(word, hold) {
                Ok(held) => return Ok((slot, control, held)),
                Err(Missed::Refused(refused)) => return Err(refused.into()),
                // Another tenant: `key` may have another slot by now, or none.
                Err(Missed::Gone) => {}
            }
        }
    }

    /// Ends a hold of [`Arena::try_hold`], and says whether the engine waits to hear of it.
    ///
    /// # Panics
    /// With debug assertions: if there is no such hold. Without them, nothing is changed.
    #[inline]
    pub fn put(&self, slot: SlotId, hold: Hold) -> Release {
        match self.known(slot).put(hold, || ()) {
            Some(None) => Release::Quiet,
            Some(Some(())) => Release::Notify,
            None => {
                debug_assert!(false, "BUG: {slot:?} was put without a {hold:?} hold: {:?}", self.load(slot));
                Release::Quiet
            }
        }
    }
}
