//! What the protocol costs on clusters of 2 to 250 nodes: messages, hops, directory memory, hand-overs, the loss of a node.
//!
//! The running core of each node, joined in virtual time ([`kddm_bench::cores`]): a message takes one unit, a READ two, a step
//! none. Nothing is random and nothing depends on the machine.
#![forbid(unsafe_code)]

pub mod costs;
pub mod directory;
pub mod hand_over;
pub mod loss;
pub mod pictures;

/// Bytes of an object that is READ.
pub const PAGE: u32 = 4096;
/// Bytes of an object that rides in messages.
pub const SMALL: u32 = 64;
/// Bytes up to which objects ride, as a server has it.
pub const INLINE_MAX: u32 = 256;
/// Locations that a node remembers.
pub const HINTS: usize = 256;
/// Cluster sizes.
pub const SIZES: [u8; 4] = [2, 8, 64, 250];
