//! Connecting from the node's own address, so that the peer can tell who is coming before it hears a word.

use mio::net::TcpStream;
use nix::{
    errno::Errno,
    sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, socket},
};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd,
};

/// Begins to connect to `to` from `from`; the stream becomes writable when that has succeeded or failed.
pub(super) fn dial(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let descriptor = socket(family, SockType::Stream, flags, None)?;
    bind(descriptor.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(from, 0)))?;
    match connect(descriptor.as_raw_fd(), &SockaddrStorage::from(to)) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(TcpStream::from_std(descriptor.into())),
        Err(error) => Err(error.into()),
    }
}
