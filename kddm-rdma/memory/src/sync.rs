//! What threads of a node share, from one place: the feature `interleave` puts types there that explore all interleavings and all
//! that the memory model allows (the `loom` crate), under the very code that runs.

#[cfg(not(feature = "interleave"))]
mod atomics {
    pub(crate) use parking_lot::Mutex;
    pub(crate) use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64, fence};
}

#[cfg(feature = "interleave")]
mod atomics {
    pub(crate) use crate::interleave::Mutex;
    pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64, fence};
}

pub(crate) use atomics::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Mutex, fence};
