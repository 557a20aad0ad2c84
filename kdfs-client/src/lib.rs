//! What programs and people attach to a node's server with.
//!
//! [`Connection`] speaks to a server over its admin socket; [`mounting`] makes a mount and hands it to a server;
//! [`programs`] finds and starts the other programs of the project.
#![forbid(unsafe_code)]

mod connection;
pub mod mount_options;
pub mod mount_table;
pub mod mounting;
pub mod programs;

pub use connection::{Connection, Process};
