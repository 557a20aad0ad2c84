//! Commands on objects and their sets.

pub mod bench;
pub mod get;
pub mod grab;
mod named;
pub mod put;
pub mod set;
mod text;
pub mod watch;

pub use named::{group, user};
