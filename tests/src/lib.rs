//! What the tests of this crate share: a cluster of real processes that is always taken down again.
#![forbid(unsafe_code)]

mod by_hand;
mod cluster;
mod command;
pub mod metrics;
mod stopped;

pub use by_hand::{ByHand, MOUNT_1, MOUNT_2};
pub use cluster::Cluster;
pub use command::{Shell, errno_of};
pub use stopped::Stopped;
