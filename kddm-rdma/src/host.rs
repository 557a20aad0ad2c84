//! Everything outside the process that a node and the programs around it may touch: clock, disk, randomness, threads.
//!
//! One trait, so that the simulator can put its own world in the place of the operating system.

pub mod disk;
mod linux;

pub use disk::Disk;
pub use linux::LinuxHost;

use std::{future::Future, pin::Pin, time::Duration};

/// A future behind a pointer, as trait objects have to return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A piece of work that may block.
pub type Job = Box<dyn FnOnce() + Send>;

/// The world around a node.
pub trait Host: Send + Sync {
    /// Time since some moment before this host was made, the same for all hosts of a machine; never goes back.
    fn now(&self) -> Duration;

    /// Time since 1970, as the wall clock has it.
    fn wall(&self) -> Duration;

    /// Random bits, fit for keys.
    fn random(&self) -> u64;

    /// Runs a task beside the caller. It must not block.
    fn spawn(&self, task: BoxFuture<'static, ()>);

    /// Runs a job that may block, on a thread where that hurts nobody.
    fn run_blocking(&self, job: Job);

    /// Ends after `time`.
    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()>;

    /// The native file system.
    fn disk(&self) -> &dyn Disk;

    /// A thread of its own for something that runs as long as the node does.
    fn spawn_thread(&self, name: &str, body: Job);
}
