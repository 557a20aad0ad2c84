//! Programs that are attached: the interface linker behind `kddm-ring`.
//!
//! ```text
//! door       where programs come in: a Unix socket that everybody may connect to
//! serve      the ring thread: doors, bells and deaths, in one place to sleep
//! program    one program: what it has submitted, holds and has open; its end
//! work       what each request does: `objects`, `sets`, `files`
//! figures    what programs ask for, counted
//! refusals   errors of the node as refusals of the ring
//! ```
//!
//! 1. What a program can write is copied once and checked; a program whose ring cannot be is ended, and nobody else notices.
//! 2. A program's holds and open files end with it, whatever was under way: they are in its [`program::Program`], and nowhere else.
//! 3. What one program can have is bounded (`limits`).

mod door;
mod figures;
mod files;
mod limits;
mod objects;
mod program;
mod refusals;
mod serve;
mod sets;
mod work;

pub(crate) use figures::RingTold;
pub(crate) use serve::Rings;
