//! The fixed layouts.

use std::mem::offset_of;
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{I32, U16, U32, U64},
};

/// Declares a layout and asserts its size and the offset of each field.
macro_rules! layout {
    ($(#[$doc:meta])* $name:ident, $size:literal { $($offset:literal $field:ident : $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
        #[repr(C)]
        pub(super) struct $name {
            $(pub(super) $field: $type,)*
        }

        const _: () = {
            assert!(size_of::<$name>() == $size);
            $(assert!(offset_of!($name, $field) == $offset);)*
        };
    };
}

layout!(
    /// Before every body.
    Head, 40 {
        0 kind: u8,
        1 zero: u8,
        2 length: U16,
        4 view: U32,
        8 incarnation: U64,
        16 clock: U64,
        24 set: U64,
        32 object: U32,
        36 zeros: U32,
    }
);

layout!(
    /// A location, or twelve zeros.
    Place, 12 {
        0 node: u8,
        1 zero: [u8; 3],
        4 slot: U32,
        8 generation: U32,
    }
);

layout!(
    /// REQ.
    Request, 28 {
        0 rid: U32,
        4 kind: u8,
        5 first_touch: u8,
        6 flags: u8,
        7 zero: u8,
        8 seen: U64,
        16 hint: Place,
    }
);

layout!(
    /// GRANT; bytes may follow.
    Grant, 56 {
        0 rid: U32,
        4 seq: U32,
        8 source: u8,
        9 exclusive: u8,
        10 owner: u8,
        11 zero: u8,
        12 location: Place,
        24 acks: [U64; 4],
    }
);

layout!(
    /// NACK.
    Nack, 12 {
        0 rid: U32,
        4 why: u8,
        5 node: u8,
        6 zero: [u8; 2],
        8 errno: I32,
    }
);

layout!(
    /// INV.
    Invalidate, 20 {
        0 seq: U32,
        4 after: U32,
        8 requester: u8,
        9 keep: u8,
        10 zero: [u8; 2],
        12 life: U64,
    }
);

layout!(
    /// KEPT.
    Kept, 16 {
        0 seq: U32,
        4 to: u8,
        5 zero: [u8; 3],
        8 life: U64,
    }
);

layout!(
    /// ACK.
    Ack, 24 {
        0 seq: U32,
        4 since: U32,
        8 of: u8,
        9 zero: [u8; 3],
        12 retained: Place,
    }
);

layout!(
    /// RECALL.
    Recall, 24 {
        0 seq: U32,
        4 rid: U32,
        8 after: U32,
        12 kind: u8,
        13 requester: u8,
        14 try_only: u8,
        15 zero: u8,
        16 life: U64,
    }
);

layout!(
    /// HAND; bytes may follow.
    Hand, 24 {
        0 seq: U32,
        4 rid: U32,
        8 source: u8,
        9 exclusive: u8,
        10 zero: [u8; 2],
        12 location: Place,
    }
);

layout!(
    /// SHARED, DONE.
    SeqPlace, 16 {
        0 seq: U32,
        4 place: Place,
    }
);

layout!(
    /// REPORT.
    Report, 36 {
        0 since_view: U32,
        4 since: U32,
        8 mode: u8,
        9 named: u8,
        10 zero: [u8; 2],
        12 copy: Place,
        24 kept: Place,
    }
);

layout!(
    /// KNEW.
    Knew, 8 {
        0 view: U32,
        4 what: u8,
        5 zero: [u8; 3],
    }
);

layout!(
    /// REPORTED.
    Reported, 8 {
        0 established: u8,
        1 zero: [u8; 3],
        4 settled: U32,
    }
);

layout!(
    /// DOUBT.
    Doubt, 72 {
        0 view: U32,
        4 zero: [u8; 4],
        8 homes: [U64; 4],
        40 gone: [U64; 4],
    }
);

layout!(
    /// DRAIN.
    SeqAfter, 8 {
        0 seq: U32,
        4 after: U32,
    }
);

layout!(
    /// RETRY, RETRYING.
    RidSeq, 8 {
        0 rid: U32,
        4 seq: U32,
    }
);

/// The sources of a GRANT or HAND.
pub(super) mod source {
    pub(crate) const COPY: u8 = 0;
    pub(crate) const READ: u8 = 1;
    pub(crate) const BYTES: u8 = 2;
    pub(crate) const MAKE: u8 = 3;
    pub(crate) const SPECULATED: u8 = 4;
}

/// The reasons of a NACK.
pub(super) mod why {
    pub(crate) const ABSENT: u8 = 1;
    pub(crate) const WOULD_BLOCK: u8 = 2;
    pub(crate) const NO_SET: u8 = 3;
    pub(crate) const DEVICE: u8 = 4;
    pub(crate) const LOST: u8 = 5;
    pub(crate) const PEER: u8 = 6;
    pub(crate) const AGAIN: u8 = 7;
    pub(crate) const DESTROYED: u8 = 8;
}

/// The flags of a REQ.
pub(super) mod flag {
    pub(crate) const TRY: u8 = 1;
    pub(crate) const HAVE: u8 = 2;
}
