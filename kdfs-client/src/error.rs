//! Why something asked of a node was not done.

use kddm_ring::{Refusal, WindowFull, meeting::MeetingError};
use std::{path::PathBuf, sync::Arc};

/// Why something asked of a node was not done. Whatever it says, nothing was changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The server says no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The program has too much in hand.
    #[error(transparent)]
    Window(#[from] WindowFull),
    /// Too many requests are under way.
    #[error("{0} requests are under way, as many as there can be; wait for some first")]
    TooManyUnderWay(usize),
    /// Nobody answers, or not to this program.
    #[error("{}: {reason}", socket.display())]
    Attach {
        /// Where.
        socket: PathBuf,
        /// Why.
        reason: Arc<MeetingError>,
    },
    /// The attachment has ended, and all holds with it.
    #[error("this program is attached no more: {0}; attach anew")]
    Over(Arc<str>),
    /// This process is a child of the one that attached.
    #[error("a child process has no part in its parent's holds and files; attach it anew")]
    Child,
    /// The server says what this library does not understand.
    #[error("the server's answer cannot be: {0}; use a server of this library's version")]
    Answer(&'static str),
}

/// What is asked of a node, or why not.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// What the server said, if it was the server that said no.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Error::Refused(refusal) => Some(*refusal),
            _ => None,
        }
    }

    /// The errno that comes nearest.
    pub fn errno(&self) -> i32 {
        use nix::errno::Errno;
        let errno = match self {
            Error::Refused(refusal) => return refusal.errno(),
            Error::Window(_) => Errno::ENOBUFS,
            Error::TooManyUnderWay(_) => Errno::EAGAIN,
            Error::Attach { reason, .. } => match &**reason {
                MeetingError::System(error) => return error.raw_os_error().unwrap_or(Errno::EIO as i32),
                _ => Errno::EPROTO,
            },
            Error::Over(_) => Errno::ENOTCONN,
            Error::Child => Errno::EOWNERDEAD,
            Error::Answer(_) => Errno::EPROTO,
        };
        errno as i32
    }
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> std::io::Error {
        let kind = std::io::Error::from_raw_os_error(error.errno()).kind();
        std::io::Error::new(kind, error)
    }
}
