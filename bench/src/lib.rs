//! Programs that show kDDM and kDFS at work and measure them beside their floors.
//!
//! The parts are a library so that the cluster tests drive the same code that `make demo` shows.
#![deny(unsafe_code)]

pub mod allocations;
pub mod alternate;
pub mod core_speed;
pub mod cores;
pub mod counter;
pub mod demo;
pub mod fs_latency;
pub mod idle;
pub mod interrupt;
pub mod latency;
pub mod pages;
pub mod playground;
pub mod plot;
pub mod processors;
pub mod programs;
pub mod progress;
pub mod random;
pub mod report;
pub mod ring;
pub mod tree;
