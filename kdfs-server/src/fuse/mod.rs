//! The FUSE interface linker: the name space as a mount of this host.
//!
//! ```text
//! session ── introduces itself, threads that read ──┐
//! device, abi, request, answer: the kernel's frames  ├─ dispatch ── operations ── kdfs-fs
//! pending: what waits, and processes being killed   ┘
//! ```
//!
//! Coherence first: no time-outs on names or attributes, direct I/O on every open, locks asked for and refused. So the
//! kernel answers nothing by itself but what is mapped.
//!
//! The protocol is spoken directly, because the rules of coherence need what a binding would hide: signals of waiting
//! processes, node ids with generations, and later the order of invalidations and answers.

pub(crate) mod abi;
mod answer;
mod device;
mod dispatch;
mod figures;
mod handles;
mod operations;
mod pending;
pub(crate) mod request;
mod session;

pub use figures::OPERATIONS;
pub use operations::Operations;
pub use pending::groups_of;
pub use session::{Session, SessionError};
