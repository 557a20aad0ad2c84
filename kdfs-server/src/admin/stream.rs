//! A client's connection: lines of JSON, and descriptors beside them.

use kddm_cluster::admin::{self, MAX_LINE, Reply, Request};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::{
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::net::UnixStream},
};

pub struct Stream {
    stream: UnixStream,
    /// Read, and not yet part of a request.
    read: Vec<u8>,
}

impl Stream {
    pub fn new(stream: UnixStream) -> Stream {
        Stream { stream, read: Vec::new() }
    }

    /// The next request and the descriptor that came with it; `None` if the client has hung up.
    pub fn receive(&mut self) -> io::Result<Option<(Request, Option<OwnedFd>)>> {
        let mut descriptor = None;
        loop {
            if let Some(end) = self.read.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return Ok(Some((serde_json::from_slice(&line)?, descriptor)));
            }
            if self.read.len() as u64 > MAX_LINE {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "an overlong line"));
            }
            if self.more(&mut descriptor)? == 0 {
                return Ok(None);
            }
        }
    }

    pub fn send(&mut self, reply: &Reply) -> io::Result<()> {
        admin::send(&mut self.stream, reply)
    }

    /// Says what was wrong; the connection ends with it.
    pub fn refuse(&mut self, error: &io::Error) {
        let reason = format!("that is no request of this version: {error}; use the kddm of the same version");
        // The client may be gone, and then need not know.
        let _ = self.send(&Reply::Failed { reason, errno: Some(nix::libc::EINVAL) });
    }

    fn more(&mut self, descriptor: &mut Option<OwnedFd>) -> io::Result<usize> {
        let mut bytes = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::io::retry_on_intr(|| {
            recvmsg(&self.stream, &mut [IoSliceMut::new(&mut bytes)], &mut beside, RecvFlags::CMSG_CLOEXEC)
        })?;
        for message in beside.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                // Of several, the last; the others are closed.
                *descriptor = descriptors.last().or(descriptor.take());
            }
        }
        self.read.extend_from_slice(&bytes[..received.bytes]);
        Ok(received.bytes)
    }
}
