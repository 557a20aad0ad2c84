//! Clusters of real processes over shm, and in part over tcp, driven through the mounts and the commands that people use.
//!
//! One cluster at a time; each test has one of its own, with an end to its time, and leaves nothing behind.
#![forbid(unsafe_code)]

mod alternation;
mod bad_input;
mod crash;
mod directories;
mod idle;
mod kinds;
mod peers;
mod programs;
mod tree;
mod users;
mod watching;
