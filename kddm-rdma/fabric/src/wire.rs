//! [`Message`](kddm_coherence::Message) ⇄ bytes: fixed layouts, little-endian, nothing optional.
//!
//! A message is a head of 40 bytes, the body of its kind, and, in GRANT and HAND whose source is *bytes*, those
//! bytes (at most [`INLINE_MAX`]). All lengths in bytes:
//!
//! ```text
//! head    0 kind | 1 zero | 2..4 length of the whole message | 4..8 view | 8..16 incarnation | 16..24 clock
//!         24..32 set | 32..36 object | 36..40 zero
//!
//! kind  message     sender → receiver         body
//!  1    REQ         requester → home          0..4 rid | 4 request kind | 5 first touch | 6 flags: 1 try, 2 have | 7 zero
//!                                             8..16 seen | 16..28 hint
//!  2    GRANT       home → requester          0..4 rid | 4..8 seq | 8 source | 9 exclusive | 10 owner or 0 | 11 zero
//!                                             12..24 location | 24..56 acks | 56.. bytes
//!  3    NACK        home → requester          0..4 rid | 4 why | 5 node or 0 | 6..8 zero | 8..12 errno
//!  4    FINISHED    home → requester          0..4 rid
//!  5    INV         home → sharer             0..4 seq | 4..8 after | 8 requester | 9 keep | 10..12 zero | 12..20 life
//!  6    ACK         sharer → requester        0..4 seq | 4..8 since | 8 of | 9..12 zero | 12..24 retained
//!  7    RECALL      home → owner              0..4 seq | 4..8 rid | 8..12 after | 12 recall kind | 13 requester | 14 try | 15 zero
//!                                             16..24 life
//!  8    REFUSED     owner → home              0..4 seq
//!  9    HAND        holder → requester        0..4 seq | 4..8 rid | 8 source | 9 exclusive | 10..12 zero | 12..24 location | 24.. bytes
//! 10    SHARED      holder → home             0..4 seq | 4..16 location
//! 11    DONE        requester → home          0..4 seq | 4..16 location
//! 12    FETCHED     new owner → old owner     0..4 seq
//! 13    EVICT       owner → home
//! 14    DRAIN       home → copyset            0..4 seq | 4..8 after
//! 15    DRAINED     copyset → home            0..4 seq
//! 16    FREE        home → old owner          0..4 seq
//! 17    RETRY       home → requester          0..4 rid | 4..8 seq
//! 18    RETRYING    requester → home          0..4 rid | 4..8 seq
//! 19    RESTORE     home → holder             0..4 seq
//! 20    KEPT        holder → home             0..4 seq | 4 to | 5..8 zero | 8..16 life
//! 21    DISCARD     home → everybody          0..4 seq
//! 22    REPORT      holder → home             0..4 view | 4..8 seq | 8 mode | 9 named | 10..12 zero | 12..24 copy | 24..36 kept
//! 23    KNEW        home → next home          0..4 view | 4 what | 5..8 zero
//! 24    DOUBT       member → member           0..4 view | 4..8 zero | 8..40 homes | 40..72 gone
//! 25    REPORTED    member → member           0 established | 1..4 zero | 4..8 settled
//! 26    REBUILT     home → holder             0 keep
//! 27    OPENED      home → member
//! 28    CANCEL      requester → home          0..4 rid
//! 29    DESTROY     member → member           0..4 rid or 0
//! 30    ASK_ROOM    home → member
//! 31    ROOM        member → home             0..4 slots
//! 32    INJECT      home → member
//!
//! location (12): 0 node | 1..4 zero | 4..8 slot | 8..12 generation; twelve zeros where there is none
//! acks, homes, gone (32): a bit a node, lowest first; bits 0 and 255 are zero
//! source: 0 own copy, 1 READ the location, 2 the bytes that follow, 3 make, 4 the speculative READ of the location is good
//! ```
//!
//! Numbers of kinds that are retired stay reserved. There is one encoding of each message: zeros are zeros, flags are
//! 0 or 1, the length is exact; anything else is a [`WireError`]. Only syntax is checked here: whether a message makes
//! sense is for the core to say.

mod body;
mod decode;
mod encode;

pub use decode::{WireError, decode, take};
pub use encode::encode;

use kddm_object::limits::INLINE_MAX;

/// Bytes of the head.
pub const HEAD_BYTES: usize = size_of::<body::Head>();

/// The longest message: a GRANT with inline bytes.
pub const MAX_BYTES: usize = HEAD_BYTES + size_of::<body::Grant>() + INLINE_MAX;

/// The number of a message's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)] // the table above
pub enum Kind {
    Request = 1,
    Grant = 2,
    Nack = 3,
    Finished = 4,
    Invalidate = 5,
    Ack = 6,
    Recall = 7,
    Refused = 8,
    Hand = 9,
    Shared = 10,
    Done = 11,
    Fetched = 12,
    Evict = 13,
    Drain = 14,
    Drained = 15,
    Free = 16,
    Retry = 17,
    Retrying = 18,
    Restore = 19,
    /// KEPT.
    Kept = 20,
    Discard = 21,
    Report = 22,
    Knew = 23,
    Doubt = 24,
    Reported = 25,
    Rebuilt = 26,
    Opened = 27,
    Cancel = 28,
    Destroy = 29,
    AskRoom = 30,
    Room = 31,
    Inject = 32,
}

#[cfg(test)]
mod tests;
