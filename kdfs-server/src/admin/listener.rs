//! The socket itself: one server a path, a thread for each client.

use super::{answer::answer, stream::Stream};
use crate::Server;
use kddm_rdma::Host;
use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, OFlag, open},
    sys::stat::{FchmodatFlags, Mode, fchmodat},
    unistd,
};
use std::{
    io,
    os::{
        fd::AsRawFd,
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::Arc,
};

/// The longest path that a socket's address holds.
const LONGEST_ADDRESS: usize = 107;

/// Why there is no admin socket.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Somebody answers there.
    #[error("{}: a server listens there already; each node of this host needs a socket of its own (kddm status shows them)", .0.display())]
    Taken(PathBuf),
    /// The system refused.
    #[error("{}: the socket cannot be made: {error}", path.display())]
    System {
        /// Where.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// A bound admin socket; dropped, its name goes.
#[derive(Debug)]
pub struct Listener {
    path: PathBuf,
    listener: UnixListener,
}

impl Listener {
    /// Listens at `path`, for the server's own user only. The name of a server that died is taken over.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn bind(path: &Path, host: &dyn Host) -> Result<Listener, AdminError> {
        let listener = bind(path, Mode::S_IRUSR | Mode::S_IWUSR, host)?;
        Ok(Listener { path: path.to_owned(), listener })
    }

    /// Answers clients from now on, each in a thread of its own.
    ///
    /// # Errors
    /// The system's.
    pub fn serve(&self, server: &Arc<Server>) -> io::Result<()> {
        let (listener, server) = (self.listener.try_clone()?, server.clone());
        let host = server.host().clone();
        host.spawn_thread("admin", Box::new(move || accept(&listener, &server)));
        Ok(())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Nothing depends on it: the next server takes over a name without a listener.
        let _ = unistd::unlink(&self.path);
    }
}

/// A Unix socket at `path` for those whom `mode` lets in. The name of a server that died is taken over.
pub fn bind(path: &Path, mode: Mode, host: &dyn Host) -> Result<UnixListener, AdminError> {
    let system = |error| AdminError::System { path: path.to_owned(), error };
    let directory = path.parent().ok_or_else(|| system(io::ErrorKind::InvalidInput.into()))?;
    host.disk().create_directory(directory).or_else(already).map_err(system)?;
    let (directory, short) = short_path(path).map_err(system)?;
    if UnixStream::connect(&short).is_ok() {
        return Err(AdminError::Taken(path.to_owned()));
    }
    match unistd::unlink(path) {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(error) => return Err(system(error.into())),
    }
    let listener = UnixListener::bind(&short).map_err(system)?;
    fchmodat(AT_FDCWD, path, mode, FchmodatFlags::FollowSymlink).map_err(|error| system(error.into()))?;
    drop(directory);
    Ok(listener)
}

fn accept(listener: &UnixListener, server: &Arc<Server>) {
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                let server = server.clone();
                let host = server.host().clone();
                host.spawn_thread("admin-client", Box::new(move || converse(stream, &server)));
            }
            Err(error) => {
                tracing::error!(reason = %error, "the admin socket fails; kddm and mount.kdfs cannot reach this server");
                return;
            }
        }
    }
}

fn converse(stream: UnixStream, server: &Arc<Server>) {
    let mut stream = Stream::new(stream);
    loop {
        let (request, descriptor) = match stream.receive() {
            Ok(Some(received)) => received,
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(reason = %error, "a client said something that is no request");
                return stream.refuse(&error);
            }
        };
        tracing::debug!(?request, "asked");
        let reply = answer(server, request, descriptor);
        let sent = stream.send(&reply);
        server.answered();
        if sent.is_err() {
            return;
        }
    }
}

/// A path too long for an address is reached through a descriptor of its directory, to be kept open meanwhile.
fn short_path(path: &Path) -> io::Result<(Option<std::os::fd::OwnedFd>, PathBuf)> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    if path.as_os_str().len() <= LONGEST_ADDRESS {
        return Ok((None, path.to_owned()));
    }
    let directory = open(directory, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name);
    Ok((Some(directory), short))
}

fn already(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) }
}
