//! Unix sockets of any path.

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use std::{
    io,
    os::{fd::AsRawFd, unix::net::UnixStream},
    path::Path,
};

/// The longest path that a socket's address holds.
const LONGEST_ADDRESS: usize = 107;

/// Connects to `socket`. A path too long for an address is reached through a descriptor of its directory.
pub fn connect(socket: &Path) -> io::Result<UnixStream> {
    if socket.as_os_str().len() <= LONGEST_ADDRESS {
        return UnixStream::connect(socket);
    }
    let (Some(directory), Some(name)) = (socket.parent(), socket.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let directory = open(directory, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    UnixStream::connect(Path::new(&format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name))
}
