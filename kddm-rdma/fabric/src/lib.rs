//! Fabrics: where messages and object bytes move between nodes.
//!
//! [`Transport`] is the contract.
#![forbid(unsafe_code)]

pub mod tcp;
mod transport;
pub mod wire;

pub use transport::{Counters, Event, PeerState, Transport};
