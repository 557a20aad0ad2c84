//! The admin socket: what the `kddm` command and mount.kdfs ask of a server.

mod answer;
mod listener;
pub(crate) mod stream;
mod top;
mod trace;

pub(crate) use listener::bind;
pub use listener::{AdminError, Listener};
