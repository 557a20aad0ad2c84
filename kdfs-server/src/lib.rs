//! The kDFS daemon of a node: its partition, its mounts, its admin socket.
//!
//! [`start()`] makes a [`Server`] of the parts: cluster file, key, [`partition`], arena, fabric, node, file system.
#![forbid(unsafe_code)]

mod admin;
mod counted;
mod fuse;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
pub mod log;
mod metrics;
mod mounts;
pub mod partition;
mod reaper;
mod ring;
mod server;
mod start;

pub use admin::{AdminError, Listener};
pub use fuse::SessionError;
pub use server::Server;
pub use start::{Options, start};
