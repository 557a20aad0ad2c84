//! A real source tree: chosen on this machine, copied through one directory, compared through another.

mod choose;
mod compare;
mod copy;
pub mod fabrics;

pub use choose::{Tree, stage};
pub use compare::compare;
pub use copy::copy;
