//! A node's registered memory: slabs, slots, the object index, hits.
//!
//! ```text
//! Arena ── index      (set, object) → slot              lookups take no lock
//!       ── space      memfds, mapped ── bytes of slots
//!                     private        ── control blocks  state word, tag
//!       ── pool       free slots by class               under the arena's lock
//! ```
//!
//! 1. A slot belongs to a tenant in odd generations and is free in even ones; its word carries the generation.
//! 2. Words change by compare-and-swap with `kddm-object`'s pure transitions, generations by allocate and release alone.
//! 3. What a thread may do with a slot's bytes is what the word says: nothing else locks them.
//! 4. Slabs, once mapped, stay mapped: any slot number, however stale, leads to memory that exists.
//!
//! The hits' orderings are explained in `control.rs`, the index's in `index.rs`. Both run in every interleaving in
//! `tests/interleave` (the feature `interleave`: `sync.rs` then has loom's types, `space/heap.rs` takes the place of the
//! mappings, `fault.rs` plants mistakes), and under miri and ThreadSanitizer in `tests/sanitize`.

mod arena;
mod bytes;
mod control;
mod error;
pub mod fault;
mod fork;
mod guard;
mod hit;
mod index;
#[cfg(feature = "interleave")]
pub mod interleave;
mod local;
mod pool;
mod shared;
#[cfg_attr(any(feature = "interleave", miri), path = "space/heap.rs")]
mod space;
mod sync;
mod usage;
mod victims;

pub use arena::{Arena, ArenaConfig};
pub use error::MemoryError;
pub use fork::ForkMark;
pub use guard::{Exclusive, Shared};
pub use hit::Miss;
pub use shared::{PeerSlab, SharedBytes, Unshareable};
pub use usage::{ClassUsage, Holds, Usage};
