//! The coherence protocol as a pure state machine: no IO, clock, thread, randomness or unsafe.
//!
//! [`Core::step`] takes one [`Input`] and appends [`Effect`]s; memory is reached through [`Store`]. The same code is
//! model-checked, simulated and run. `docs/protocol.md` has the message table and the invariants.
#![forbid(unsafe_code)]

mod cancel;
mod chain;
mod collect;
mod copy;
mod core;
mod destroy;
mod directory;
mod effect;
mod entry;
mod error;
mod evict;
mod grant;
mod home;
mod inject;
mod kind;
mod loss;
mod message;
mod mutant;
mod objects;
mod rebuild;
mod revoke;
mod speculation;
mod store;
mod sync;
mod table;
mod view;

pub use crate::core::{Config, Core, Loss};
pub use effect::{Asked, Effect, Input, LinkerCall, LinkerReply, Member, OpId, Operation, ReadToken, View};
pub use error::OpError;
pub use kind::MessageKind;
pub use message::{Body, Inline, Keep, Knew, Message, Nack, RecallKind, Request, RequestKind, Source};
#[cfg(feature = "mutants")]
pub use mutant::Mutant;
pub use speculation::Speculations;
pub use store::Store;
