//! A connection to a server's admin socket.

use crate::{mount_table::Mount, unix};
use anyhow::{Context, Result, bail};
use kddm_cluster::admin::{self, Reply, Request, Status};
use kddm_cluster::paths;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg, sockopt::socket_peercred},
    process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use std::{
    fs,
    io::{BufReader, IoSlice, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    time::Duration,
};

/// A server that answers.
#[derive(Debug)]
pub struct Connection {
    socket: PathBuf,
    stream: BufReader<UnixStream>,
}

impl Connection {
    /// Connects to the server that listens at `socket`.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn open(socket: &Path) -> Result<Connection> {
        let stream = unix::connect(socket).with_context(|| {
            format!("{}: no server answers there; is the node started?", socket.display())
        })?;
        Ok(Connection { socket: socket.to_owned(), stream: BufReader::new(stream) })
    }

    /// The server that serves `mount`, if it is one of those that are known here: an installed node, or a
    /// playground's whose directory the mount point lies in.
    pub fn of_mount(mount: &Mount) -> Option<Connection> {
        let playgrounds = mount.point.ancestors().skip(1).map(|directory| directory.join("run"));
        let mut runs = std::iter::once(PathBuf::from(paths::RUN_DIRECTORY)).chain(playgrounds);
        runs.find_map(|run| {
            let sockets = fs::read_dir(run).ok()?.filter_map(Result::ok).map(|entry| entry.path());
            let mut sockets = sockets.filter(|path| path.extension().is_some_and(|end| end == "sock"));
            sockets.find_map(|socket| {
                let mut server = Connection::open(&socket).ok()?;
                server.status().ok()?.mounts.contains(&mount.point).then_some(server)
            })
        })
    }

    /// Gives up on answers that take longer than `time`.
    ///
    /// # Errors
    /// The system's.
    pub fn set_patience(&mut self, time: Duration) -> Result<()> {
        Ok(self.stream.get_ref().set_read_timeout(Some(time))?)
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// The server's reason, or that the server went away.
    pub fn ask(&mut self, request: &Request) -> Result<Reply> {
        let socket = self.socket.clone();
        admin::send(self.stream.get_mut(), request).with_context(|| gone(&socket))?;
        self.answer()
    }

    /// Asks, with a descriptor beside the request.
    ///
    /// # Errors
    /// As [`Connection::ask`].
    pub fn ask_with(&mut self, request: &Request, descriptor: impl AsFd) -> Result<Reply> {
        let mut line = Vec::new();
        admin::send(&mut line, request)?;
        let descriptors = [descriptor.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        beside.push(SendAncillaryMessage::ScmRights(&descriptors));
        let stream = self.stream.get_mut();
        let sent = sendmsg(&*stream, &[IoSlice::new(&line)], &mut beside, SendFlags::NOSIGNAL)
            .with_context(|| gone(&self.socket))?;
        stream.write_all(&line[sent..])?;
        self.answer()
    }

    /// How the server describes itself.
    ///
    /// # Errors
    /// As [`Connection::ask`].
    pub fn status(&mut self) -> Result<Status> {
        match self.ask(&Request::Status)? {
            Reply::Status(status) => Ok(status),
            other => bail!("{}: an answer to another question: {other:?}", self.socket.display()),
        }
    }

    /// Where the server listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The server's process.
    ///
    /// # Errors
    /// The system's.
    pub fn process(&self) -> Result<Process> {
        let pid = socket_peercred(self.stream.get_ref())?.pid;
        let descriptor = pidfd_open(pid, PidfdFlags::empty()).with_context(|| gone(&self.socket))?;
        Ok(Process { pid: pid.as_raw_nonzero().get(), descriptor })
    }

    fn answer(&mut self) -> Result<Reply> {
        match admin::receive(&mut self.stream) {
            Ok(Some(Reply::Failed { reason, .. })) => bail!(reason),
            Ok(Some(reply)) => Ok(reply),
            Ok(None) => bail!("{}", gone(&self.socket)),
            Err(error) => Err(error).with_context(|| gone(&self.socket)),
        }
    }
}

/// A server's process, not to be mistaken for a later one of the same number.
#[derive(Debug)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    descriptor: OwnedFd,
}

impl Process {
    /// Waits at most `time` for its end. True: it has ended.
    ///
    /// # Errors
    /// The system's.
    pub fn wait(&self, time: Duration) -> Result<bool> {
        let mut watched = [PollFd::new(&self.descriptor, PollFlags::IN)];
        let time = Timespec::try_from(time)?;
        Ok(poll(&mut watched, Some(&time))? > 0)
    }

    /// Kills it, whatever it does.
    ///
    /// # Errors
    /// It belongs to somebody else.
    pub fn kill(&self) -> Result<()> {
        Ok(pidfd_send_signal(&self.descriptor, Signal::KILL)?)
    }
}

fn gone(socket: &Path) -> String {
    format!("{}: the server ended before it answered; its log says why", socket.display())
}
