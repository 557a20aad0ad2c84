//! Where programs come in: a Unix socket that everybody may connect to. Who it is, the kernel says.

use super::limits::MAX_STRANGERS;
use crate::admin::{AdminError, bind};
use kddm_rdma::Host;
use kddm_ring::{HELLO_BYTES, Hello};
use kdfs_fs::Caller;
use nix::sys::stat::Mode;
use rustix::{
    net::sockopt::socket_peercred,
    process::{PidfdFlags, pidfd_open},
};
use std::{
    collections::VecDeque,
    io::{self, Read},
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};
use zerocopy::FromBytes;

/// A bound door; dropped, its name goes.
#[derive(Debug)]
pub struct Door {
    path: PathBuf,
    pub listener: UnixListener,
}

/// Who has come.
#[derive(Debug)]
pub struct Credentials {
    /// User and groups.
    pub caller: Caller,
    /// The process.
    pub pid: i32,
    /// Becomes readable when the process ends.
    pub process: OwnedFd,
}

/// A connection that has not said hello.
#[derive(Debug)]
pub struct Stranger {
    pub token: usize,
    pub stream: UnixStream,
    said: Vec<u8>,
}

/// Connections that have not said hello, the oldest first.
#[derive(Debug, Default)]
pub struct Strangers(VecDeque<Stranger>);

impl Door {
    /// Listens at `path` for every user. The name of a server that died is taken over.
    pub fn open(path: &Path, host: &dyn Host) -> Result<Door, AdminError> {
        let everybody = Mode::from_bits_truncate(0o666);
        let listener = bind(path, everybody, host)?;
        let system = |error| AdminError::System { path: path.to_owned(), error };
        listener.set_nonblocking(true).map_err(system)?;
        Ok(Door { path: path.to_owned(), listener })
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // Nothing depends on it: the next server takes over a name without a listener.
        let _ = nix::unistd::unlink(&self.path);
    }
}

impl Credentials {
    /// Of who is at the other end.
    pub fn of(stream: &UnixStream) -> io::Result<Credentials> {
        let peer = socket_peercred(stream)?;
        let process = pidfd_open(peer.pid, PidfdFlags::empty())?;
        let pid = peer.pid.as_raw_nonzero().get();
        let groups = crate::fuse::groups_of(pid.unsigned_abs());
        let caller = Caller { uid: peer.uid.as_raw(), gid: peer.gid.as_raw(), groups };
        Ok(Credentials { caller, pid, process })
    }
}

impl Strangers {
    /// One more. If there are too many, the oldest is sent away, and given back.
    pub fn come(&mut self, token: usize, stream: UnixStream) -> Option<Stranger> {
        self.0.push_back(Stranger { token, stream, said: Vec::with_capacity(HELLO_BYTES) });
        if self.0.len() > MAX_STRANGERS { self.0.pop_front() } else { None }
    }

    /// What `token` says, if it has said it all. Whoever hangs up is forgotten.
    pub fn hear(&mut self, token: usize) -> Option<(UnixStream, Hello)> {
        let place = self.0.iter().position(|stranger| stranger.token == token)?;
        match self.0[place].read() {
            Ok(None) => None,
            heard => {
                let stranger = self.0.remove(place)?;
                Some((stranger.stream, heard.ok().flatten()?))
            }
        }
    }
}

impl Stranger {
    fn read(&mut self) -> io::Result<Option<Hello>> {
        let mut bytes = [0; HELLO_BYTES];
        loop {
            let wanted = HELLO_BYTES - self.said.len();
            match self.stream.read(&mut bytes[..wanted]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(more) => self.said.extend_from_slice(&bytes[..more]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if self.said.len() == HELLO_BYTES {
                return Ok(Hello::read_from_bytes(&self.said).ok());
            }
        }
    }
}
