//! RDMA devices behind safe types: what kddm needs of libibverbs, and nothing else.
//!
//! ```text
//! Device ── Port, Gid          what there is; Endpoint: the one that was chosen, or why none can be
//! Domain ── Region             a slab of the arena, registered for remote reading
//!        ── Buffer             memory of its own, registered for messages
//! Completions                  one queue for everything, with a descriptor to sleep on
//! Receives                     buffers for the messages of all peers (a shared receive queue)
//! QueuePair ── Chain           reliable connected; work requests, posted many at a time
//! ```
//!
//! Nothing is ever registered for remote writing. `ibverbs` lists devices; all else goes through `ibverbs-sys`, because the safe crate
//! has no READ, no shared receive queue and no completion channel, and cannot register memory that is mapped already.
//!
//! Why the types are safe: a device touches memory only through keys, and refuses the keys of what is no longer registered; every
//! region keeps its memory mapped for as long as it is registered. What a READ lands on is for the arena to say
//! ([`Arena::landing`](kddm_memory::Arena::landing)), as it is for copies.

mod buffer;
mod chain;
mod choose;
mod completion;
mod device;
mod domain;
mod error;
mod queue_pair;
mod receive;

pub use buffer::Buffer;
pub use chain::{Chain, Landing, Source};
pub use choose::{Choice, Endpoint};
pub use completion::{Completion, Completions, Outcome};
pub use device::{Device, Gid, GidKind, Limits, Link, Port, devices};
pub use domain::{Domain, Region, check_memlock};
pub use error::VerbsError;
pub use queue_pair::{Address, QueuePair, QueuePairConfig};
pub use receive::{RECEIVE, Receives};
