//! A program that is attached to its node's server.

mod call;
mod file;
mod guard;
mod pending;
mod requests;
mod set;
mod state;

pub use file::{Directory, DirectoryEntry, File, Metadata, OpenOptions};
pub use guard::{Exclusive, Guard, Shared};
pub use pending::{OnItsWay, Pending, wait_any, wait_any_for};
pub use set::{HoldOptions, Local, Set, SetOptions, SetSummary};

use crate::{Error, error::Result, unix};
use kddm_ring::{Hello, Request, meeting};
use requests::Requests;
use std::{
    os::fd::{AsFd, BorrowedFd},
    path::Path,
    sync::Arc,
    time::Duration,
};

/// A program's attachment to its node's server: through it, objects of the whole cluster are as near as the node's memory.
///
/// Clones are the same attachment, and all threads of the program may use it. When the last clone, guard and file has gone, or the process
/// ends in whatever way, all holds end, and nothing else changes. A child process (fork(2)) has no part in it.
#[derive(Clone, Debug)]
pub struct Session {
    requests: Arc<Requests>,
}

/// Readable, for poll(2), when the attachment has ended. Nobody else may read it.
impl AsFd for Session {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.requests.stream().as_fd()
    }
}

/// How to attach.
#[derive(Clone, Debug, Default)]
pub struct Attach {
    name: Option<String>,
    window: Option<u32>,
    spin: Option<Duration>,
}

impl Session {
    /// Attaches to the server whose ring has its door at `socket`: /run/kdfs/ID.ring, or DIR/run/ID.ring of a playground.
    ///
    /// # Errors
    /// Nobody answers there, or the server has another version, or as many programs as it can.
    pub fn attach(socket: impl AsRef<Path>) -> Result<Session> {
        Attach::default().to(socket)
    }

    /// The server's node.
    pub fn node(&self) -> u8 {
        self.requests.node()
    }

    /// Asks the server for nothing but an answer: a round trip of the ring.
    ///
    /// # Errors
    /// The attachment has ended.
    pub fn ping(&self) -> Result<()> {
        self.requests.order(Request::Nothing).map(|_| ())
    }

    /// Lets threads that wait look for an answer for up to `time` before they sleep; how long in fact follows from how long answers take.
    /// It pays where a core is to spare.
    pub fn spin(&self, time: Duration) {
        self.requests.spin(time);
    }
}

impl Attach {
    /// What people see of the program (`kddm top`); else the name of its executable.
    #[must_use]
    pub fn name(mut self, name: &str) -> Attach {
        self.name = Some(name.to_owned());
        self
    }

    /// Bytes of the window: what the program holds and reads at the same time has to fit. Whole pages, at most 64 MiB; 4 MiB unless set.
    #[must_use]
    pub fn window(mut self, bytes: u32) -> Attach {
        self.window = Some(bytes);
        self
    }

    /// As [`Session::spin`].
    #[must_use]
    pub fn spin(mut self, time: Duration) -> Attach {
        self.spin = Some(time);
        self
    }

    /// [`Session::attach`].
    ///
    /// # Errors
    /// As there.
    pub fn to(self, socket: impl AsRef<Path>) -> Result<Session> {
        let socket = socket.as_ref();
        let failed = |reason| Error::Attach { socket: socket.to_owned(), reason: Arc::new(reason) };
        let mut stream = unix::connect(socket).map_err(|error| failed(error.into()))?;
        let hello = Hello::new(&self.name.unwrap_or_else(own_name), self.window);
        let met = meeting::greet(&mut stream, &hello).map_err(failed)?;
        let requests = Requests::new(met, stream).map_err(|error| failed(error.into()))?;
        if let Some(time) = self.spin {
            requests.spin(time);
        }
        Ok(Session { requests })
    }
}

fn own_name() -> String {
    let own = std::env::current_exe().ok();
    own.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned())).unwrap_or_default()
}
