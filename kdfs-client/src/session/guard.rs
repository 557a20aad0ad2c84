//! Holds as values: bytes while they live, a put when they are dropped.

use super::{call::Answer, requests::Requests};
use crate::error::Result;
use kddm_ring::{HoldId, Piece, Request};
use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::Arc,
};

/// A shared hold. Until it is put (dropped), nobody changes the object, anywhere.
pub struct Shared(Held);

/// An exclusive hold. Until it is put (dropped), nobody else has any hold of the object, anywhere. What was changed through it
/// is the object's with the put; a program that ends before has changed nothing.
pub struct Exclusive {
    held: Held,
    changed: bool,
}

/// [`Shared`] or [`Exclusive`].
#[allow(private_bounds, reason = "there are these two")]
pub trait Guard: Sized + Made {}

impl Guard for Shared {}
impl Guard for Exclusive {}

pub(crate) trait Made: Sized {
    /// From a hold and where its bytes are.
    fn made(requests: Arc<Requests>, object: u32, hold: HoldId, piece: Piece) -> Self;

    /// From the answer that brought it.
    fn of(requests: Arc<Requests>, object: u32, mut answer: Answer) -> Result<Self> {
        let piece = answer.piece(0)?;
        Ok(Self::made(requests, object, HoldId(answer.done.value), piece))
    }
}

struct Held {
    requests: Arc<Requests>,
    hold: HoldId,
    object: u32,
    /// `None`: it was put.
    piece: Option<Piece>,
}

impl Held {
    fn bytes(&self) -> &[u8] {
        self.piece.as_deref().unwrap_or_default()
    }

    fn put(&mut self, changed: bool) {
        if let Some(piece) = self.piece.take() {
            self.requests.put(self.hold, changed, piece);
        }
    }

    fn put_and_wait(&mut self, changed: bool) -> Result<()> {
        let Some(piece) = self.piece.take() else { return Ok(()) };
        let request = Request::Put { hold: self.hold, changed: changed.then(|| piece.region()) };
        self.requests.ask(request, [piece]).map(|_| ())
    }
}

impl Made for Shared {
    fn made(requests: Arc<Requests>, object: u32, hold: HoldId, piece: Piece) -> Shared {
        Shared(Held { requests, hold, object, piece: Some(piece) })
    }
}

impl Made for Exclusive {
    fn made(requests: Arc<Requests>, object: u32, hold: HoldId, piece: Piece) -> Exclusive {
        Exclusive { held: Held { requests, hold, object, piece: Some(piece) }, changed: false }
    }
}

impl Shared {
    /// The object.
    pub fn object(&self) -> u32 {
        self.0.object
    }

    /// Puts it. Dropping does so as well; this returns when the server has done it.
    ///
    /// # Errors
    /// The attachment has ended, and the hold before.
    pub fn put(mut self) -> Result<()> {
        self.0.put_and_wait(false)
    }
}

impl Exclusive {
    /// The object.
    pub fn object(&self) -> u32 {
        self.held.object
    }

    /// Puts it, with what was changed. Dropping does so as well; this returns when the server has done it.
    ///
    /// # Errors
    /// The attachment has ended, and the hold before: nothing was changed.
    pub fn put(mut self) -> Result<()> {
        let changed = self.changed;
        self.held.put_and_wait(changed)
    }

    /// Says whether the put takes over what is here. It does once the bytes were seen as `&mut`, unless this says otherwise.
    pub fn set_changed(&mut self, changed: bool) {
        self.changed = changed;
    }

    /// Puts it as it was: what was changed here is forgotten.
    pub fn forget_changes(mut self) {
        self.changed = false;
    }
}

impl Drop for Exclusive {
    fn drop(&mut self) {
        self.held.put(self.changed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.put(false);
    }
}

impl Deref for Shared {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.0.bytes()
    }
}

impl Deref for Exclusive {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.held.bytes()
    }
}

impl DerefMut for Exclusive {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.changed = true;
        self.held.piece.as_deref_mut().unwrap_or_default()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shared").field(&self.0.object).finish()
    }
}

impl fmt::Debug for Exclusive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Exclusive").field(&self.held.object).finish()
    }
}
