//! Fabrics: where messages and object bytes move between nodes.
//!
//! [`Transport`] is the contract; [`tcp`] moves bytes over any network, [`sim`] in the memory of one process, from a seed.
//! [`wire`] is how messages look as bytes, in every fabric.
#![forbid(unsafe_code)]

pub mod sim;
pub mod tcp;
mod transport;
pub mod wire;

pub use transport::{Counters, Event, PeerState, Transport};
