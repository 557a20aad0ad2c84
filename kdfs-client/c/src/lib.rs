//! libkddm: the client for programs in C. What each function does, and what its caller promises, is in `include/kddm.h`.
//!
//! ```text
//! pointers   what C passes by address: the only unsafe code
//! handles    what C has instead of values: names in a table
//! answer     results as C has them: errno, and a text
//! session, sets, options, holds, pending, files   the functions, in the order of kddm.h
//! ```
//!
//! 1. A handle is never an address: one that was given back, or never was, is found out and refused.
//! 2. Nothing waits while it has a lock of the table; only reads and writes at a file's place take turns, as in the kernel.
//! 3. No panic leaves this crate: it becomes -ENOTRECOVERABLE.
//! 4. A child process finds a new, empty table, and what it inherited is never dropped there.

#[cfg(not(target_pointer_width = "64"))]
compile_error!("handles have 64 bits");

mod answer;
mod files;
mod handles;
mod holds;
mod options;
mod pending;
mod pointers;
mod session;
mod sets;

pub use files::Entry;
pub use options::{AttachOptions, HoldOptions, SetOptions};
pub use sets::SetInfo;
