//! Fabrics: where messages and object bytes move between nodes.
//!
//! [`Transport`] is the contract; `verbs` moves bytes by RDMA, [`tcp`] over any network, [`sim`] in the memory of one process, from
//! a seed.
//! [`wire`] is how messages look as bytes, in every fabric.
#![forbid(unsafe_code)]

pub mod sim;
// What peers say to each other for another fabric is said by verbs alone.
#[cfg_attr(not(feature = "verbs"), allow(dead_code))]
pub mod tcp;
mod transport;
#[cfg(feature = "verbs")]
pub mod verbs;
pub mod wire;

pub use tcp::SILENCE;
pub use transport::{Counters, Event, PeerState, Transport};
