//! Fuzz targets: for everything that comes from outside a process, what must hold of any bytes.
//!
//! A [`Target`] takes bytes, has the decoder of its kind decode them, and panics if a property does not hold: nothing panics, memory is
//! bounded by the input's length, what is accepted encodes to the same bytes (or, in texts, to the same value), what is damaged is refused.
//! Its seeds are valid inputs of every kind. They, and every input that was once refused wrongly, lie in `corpus/`.
//!
//! The same targets run three ways (docs/fuzzing.md): `tests/smoke.rs` replays the corpus and changes it blindly for a second each;
//! `kddm-fuzz run` replays files; `make fuzz` lets libFuzzer change it, guided by coverage.
#![forbid(unsafe_code)]

mod bound;
pub mod change;
pub mod corpus;
mod input;
mod targets;

pub use targets::{TARGETS, Target, target};
