//! The contract between a node's server and a program that is attached to it.
//!
//! ```text
//! hello        what both say first; `meeting` is how they say it, over a Unix socket: the answer brings memory and two bells
//! layout       what is where in that memory
//! queue        entries in shared memory, one sender, one receiver, and who must be woken
//! submission   program → server: 64 bytes; `request` is what they mean
//! completion   server → program: 32 bytes; `refusal` is why something was not done
//! facts        what a server tells of sets and files, in the window
//! window       bytes of objects, names and files; the program hands out its parts
//! spin         how long to look before sleeping
//! ends         the two ends of an attachment: what the server and the program make of all this
//! mock         a program for tests of servers, a server for tests of programs
//! ```
//!
//! 1. The server believes nothing that a program can write: it copies a submission once, checks the copy, and counts by its own numbers.
//! 2. The program believes its server, which is the node's own daemon.
//! 3. A part of the window belongs to the server from the submission that names it to that submission's completion, and to the program
//!    otherwise.
//! 4. No more requests are under way than there are completions to tell of their ends.

mod bell;
mod completion;
mod ends;
mod facts;
mod hello;
mod layout;
pub mod meeting;
pub mod mock;
mod queue;
mod refusal;
mod request;
mod spin;
mod submission;
mod window;

pub use bell::Bell;
pub use completion::{Completion, Done};
pub use ends::{Completions, ProgramEnd, ServerEnd, ServerWindow, Submissions};
pub use facts::{EntryFacts, FileFacts, SetFacts, push_named, split_named};
pub use hello::{HELLO_BYTES, Hello, HelloError, WELCOME_BYTES, Welcome};
pub use layout::{DEFAULT_WINDOW, LAYOUT_VERSION, Layout, MAX_ENTRIES, MAX_WINDOW};
pub use queue::Corrupt;
pub use refusal::Refusal;
pub use request::{HoldId, Malformed, Region, Request, SetDetails, Wait};
pub use spin::Spin;
pub use submission::{Submission, Tag};
pub use window::{Piece, Window, WindowFull};
