//! Commands on the files of kDFS, without a mount.

pub mod cat;
pub mod cp;
pub mod ls;
pub mod mkdir;
pub mod mv;
mod path;
pub mod rm;
