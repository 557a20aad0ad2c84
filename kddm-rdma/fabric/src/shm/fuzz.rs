//! Doors for fuzz targets: invitations and offers, and a ring whose sender writes what it likes.

use super::{
    offer::{Invitation, Offer},
    ring::{Inbox, MEMORY_BYTES, Outlet, RING_BYTES},
};
use crate::tcp::{decode_word, encode_word};
use kddm_memory::SharedBytes;

/// Bytes of messages that a ring has room for, and where in its memory they begin.
pub const ROOM: usize = RING_BYTES;
/// See [`ROOM`].
pub const BEGIN: usize = MEMORY_BYTES - RING_BYTES;

/// The invitation in `bytes`, encoded again.
pub fn invitation(bytes: &[u8]) -> Option<Vec<u8>> {
    decode_word::<Invitation>(bytes).map(|word| encode_word(&word))
}

/// The offer in `bytes`, encoded again.
pub fn offer(bytes: &[u8]) -> Option<Vec<u8>> {
    decode_word::<Offer>(bytes).map(|word| encode_word(&word))
}

/// An invitation, and an offer of each kind.
pub fn words() -> Vec<Vec<u8>> {
    let ring = Offer::Ring { ticket: [7; 16], slab_bytes: 4 << 20, slab_limit: 64 };
    vec![
        encode_word(&Invitation { name: [1; 16], ticket: [7; 16] }),
        encode_word(&ring),
        encode_word(&Offer::Slabs(300)),
    ]
}

/// A ring in which we take messages, with the whole of its memory as the sender has it.
pub struct Taken {
    inbox: Inbox,
    sender: SharedBytes,
}

impl Taken {
    /// An empty ring.
    pub fn new() -> Taken {
        let (inbox, descriptor) = Inbox::new().expect("memory that can be shared");
        let sender = SharedBytes::map(&descriptor, MEMORY_BYTES).expect("our own memory");
        Taken { inbox, sender }
    }

    /// The sender writes `bytes` at `at` of the ring's memory, as far as they have room.
    pub fn write(&self, at: usize, bytes: &[u8]) {
        let at = at % MEMORY_BYTES;
        self.sender.write(at, &bytes[..bytes.len().min(MEMORY_BYTES - at)]);
    }

    /// The sender says that so many bytes were put, ever.
    pub fn put(&self, bytes: u64) {
        self.write(128, &bytes.to_ne_bytes());
    }

    /// Takes what there is.
    ///
    /// # Errors
    /// The sender counts wrong.
    pub fn take(&mut self, into: &mut Vec<u8>) -> Result<bool, String> {
        self.inbox.take(into)
    }
}

impl Default for Taken {
    fn default() -> Taken {
        Taken::new()
    }
}

/// A ring into which we write, with the whole of its memory as the receiver has it.
pub struct Written {
    outlet: Outlet,
    receiver: SharedBytes,
}

impl Written {
    /// An empty ring.
    pub fn new() -> Written {
        let (receiver, descriptor) = SharedBytes::new(MEMORY_BYTES).expect("memory that can be shared");
        let outlet = Outlet::map(&descriptor).expect("our own memory");
        Written { outlet, receiver }
    }

    /// The receiver says that so many bytes were taken, ever.
    pub fn taken(&self, bytes: u64) {
        self.receiver.write(0, &bytes.to_ne_bytes());
    }

    /// Writes a message and publishes it; false if there is no room.
    ///
    /// # Errors
    /// The receiver counts wrong.
    pub fn write(&mut self, message: &[u8]) -> Result<bool, String> {
        let written = self.outlet.write(message)?;
        self.outlet.publish();
        Ok(written)
    }
}

impl Default for Written {
    fn default() -> Written {
        Written::new()
    }
}
