//! The mutexes that a node's operations pass, from one place: the feature `interleave` puts some there that explore all interleavings.

#[cfg(feature = "interleave")]
pub(crate) use kddm_memory::interleave::Mutex;
#[cfg(not(feature = "interleave"))]
pub(crate) use parking_lot::Mutex;
