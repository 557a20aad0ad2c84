//! What a server completes: 32 bytes.

use crate::{refusal::Refusal, submission::Tag};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The end of a request as it lies in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Completion {
    tag: Tag,
    value: u64,
    length: u32,
    detail: i32,
    /// 0: done.
    refusal: u16,
    zero: u16,
    /// The queue's.
    number: u32,
}

crate::queue::entry!(Completion);

const _: () = assert!(size_of::<Completion>() == 32 && align_of::<Completion>() == 8);

/// What a request that was done tells: see [`Request`](crate::Request).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// A hold, a set, a file, a count.
    pub value: u64,
    /// Bytes that went into the request's region.
    pub length: u32,
}

impl Completion {
    /// The end of the request `tag`.
    #[inline]
    pub fn new(tag: Tag, outcome: &Result<Done, Refusal>) -> Completion {
        let (done, (refusal, detail)) = match outcome {
            Ok(done) => (*done, (0, 0)),
            Err(refusal) => (Done::default(), refusal.parts()),
        };
        Completion { tag, value: done.value, length: done.length, detail, refusal, zero: 0, number: 0 }
    }

    /// Which request.
    #[inline]
    pub fn tag(&self) -> Tag {
        self.tag
    }

    /// How it ended.
    ///
    /// # Errors
    /// Why it was not done.
    #[inline]
    pub fn outcome(&self) -> Result<Done, Refusal> {
        match self.refusal {
            0 => Ok(Done { value: self.value, length: self.length }),
            number => Err(Refusal::of_parts(number, self.detail)),
        }
    }
}
