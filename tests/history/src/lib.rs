//! Whether what programs saw of objects can be explained by one order.
//!
//! A [`History`] records, per object, what was begun when, and what came of it when. [`History::check`] looks for an order of
//! all operations of an object that agrees with real time (what had ended before another began comes first) and in which
//! each saw what it should have seen: one writer or many readers, no byte older than the last put, nothing after a
//! remove (Herlihy and Wing, *Linearizability*, TOPLAS 1990). Objects are independent of each other, so each is checked alone.
//!
//! The search takes the events as they happened and keeps every state in which the object may be, with the operations that
//! have taken effect and not ended yet (Lowe, *Testing for linearizability*, CCPE 2017, "just in time"). What it keeps is
//! as large as what is under way at a time, not as the history.
//!
//! What a crash leaves unknown is an *open* operation: it may take effect at any time after it began, or never, until it
//! is [closed](History::close).
#![forbid(unsafe_code)]

mod check;
mod history;
mod object;

pub use check::{Explored, Violation};
pub use history::{Call, Ended, History, Who};
pub use object::{Content, Mode, Touch};
