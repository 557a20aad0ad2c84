//! The admin socket: what the `kddm` command and mount.kdfs ask of a server.

mod answer;
mod listener;
mod stream;

pub use listener::{AdminError, Listener};
