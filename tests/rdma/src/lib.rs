//! Nodes and file systems over real RDMA, in guests that `soft-roce/run` boots.
//!
//! The program of this crate is started in every guest at once, and finds the others by the environment ([`Place`]); [`here`] starts
//! it so on one host, over shm or tcp. `load` has nodes work on the same objects, and [`judge`] explains what they saw; `files` mounts
//! kDFS in each guest; `serve` is a node that does as it is told on its standard input.
#![forbid(unsafe_code)]

pub mod clocks;
pub mod counters;
pub mod files;
pub mod here;
pub mod judge;
pub mod load;
mod meeting;
pub mod nodes;
mod place;
pub mod ports;
pub mod run;
pub mod serve;
pub mod standing;
pub mod values;
mod watched;

pub use meeting::{Meeting, PATIENCE};
pub use place::Place;
pub use watched::Seen;
