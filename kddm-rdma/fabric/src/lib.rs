//! Fabrics: where messages and object bytes move between nodes.
//!
//! [`Transport`] is the contract; `verbs` moves bytes by RDMA, [`shm`] through memory that the nodes of one host share, [`tcp`] over any
//! network, [`sim`] in the memory of one process, from a seed.
//! [`wire`] is how messages look as bytes, in every fabric.
#![forbid(unsafe_code)]

pub mod shm;
pub mod sim;
pub mod tcp;
#[cfg(test)]
mod tests;
mod transport;
#[cfg(feature = "verbs")]
pub mod verbs;
pub mod wire;

pub use tcp::SILENCE;
pub use transport::{Counters, Event, PeerState, Transport};
