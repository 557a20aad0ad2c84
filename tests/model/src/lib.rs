//! The running protocol core in a small world.
//!
//! A [`World`] is some nodes with their real cores and small memories, the links between them, READs under way, devices, and
//! threads that get, grab and put. It says which [`Action`]s are possible and applies one; after each it checks what
//! `docs/protocol.md` promises. The random schedules draw actions from a seed, the model explores all of them.
#![forbid(unsafe_code)]

mod action;
mod memory;
mod truth;
mod world;

pub use action::{Action, Want};
pub use memory::{Memory, policy, set_of};
pub use truth::{Truth, Violation};
pub use world::{Options, Transitions, Unsound, World};
