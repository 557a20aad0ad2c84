//! What every part of kDDM agrees on: ids, limits, set policies and the state word.
//!
//! Nothing here does IO, allocates or knows a thread. The crate imports nothing of the project.
#![forbid(unsafe_code)]

mod home;
mod id;
pub mod limits;
mod node_set;
mod policy;
mod word;

pub use home::{Home, HomeFunction};
pub use id::{
    Generation, Incarnation, Location, NodeId, NodeIdError, ObjectKey, Rid, Seq, SetId, SlotId, ViewId,
};
pub use node_set::NodeSet;
pub use policy::{Durability, FirstTouch, SetPolicy};
pub use word::{Hold, Mode, Refused, Release, Word};
