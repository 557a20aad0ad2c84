//! What programs and people attach to a node's server with.
//!
//! [`Session`] is for programs that use objects and files: it attaches them to their node's server. The rest is for those who look after
//! a cluster: [`Connection`] speaks to a server over its admin socket; [`mounting`] makes a mount and hands it to a server;
//! [`programs`] finds and starts the other programs of the project.
#![forbid(unsafe_code)]

mod connection;
mod error;
pub mod mount_options;
pub mod mount_table;
pub mod mounting;
pub mod programs;
pub mod session;
mod unix;

pub use connection::{Connection, Process};
pub use error::{Error, Result};
pub use kddm_ring::{Refusal, Wait};
pub use session::{
    Attach, Exclusive, File, HoldOptions, OnItsWay, OpenOptions, Pending, Session, Set, SetOptions, Shared,
    wait_any, wait_any_for,
};
