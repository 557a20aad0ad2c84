//! The Unix socket to which peers come with their tickets. Its name is abstract (unix(7)): no file is left behind.
//!
//! Anybody on the host can find the name and connect. Whoever is not of this user, or does not show a ticket that was told over the encrypted
//! control connection, is shown out; those who say nothing are few, and the first of them goes when there are more.

use super::offer::{Offer, Received, receive};
use rustix::{
    io::Errno,
    net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen,
        socket_with, sockopt::socket_peercred,
    },
    process::geteuid,
    rand::{GetRandomFlags, getrandom},
};
use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

/// Connections that have not shown a ticket yet.
const STRANGERS: usize = 256;

/// A place to come to.
pub(super) struct Door {
    name: [u8; 16],
    listener: OwnedFd,
    strangers: VecDeque<OwnedFd>,
}

/// Somebody who came, and what he said first.
pub(super) struct Guest {
    pub(super) connection: OwnedFd,
    pub(super) offer: Offer,
    pub(super) descriptors: Vec<OwnedFd>,
}

impl Door {
    pub(super) fn open() -> io::Result<Door> {
        let name = random()?;
        let listener = socket()?;
        bind(&listener, &SocketAddrUnix::new_abstract_name(&name)?)?;
        listen(&listener, STRANGERS as i32)?;
        Ok(Door { name, listener, strangers: VecDeque::new() })
    }

    pub(super) fn name(&self) -> [u8; 16] {
        self.name
    }

    /// Lets in who came, and says of whom to hear: the descriptors are to be watched.
    pub(super) fn accept(&mut self, mut watch: impl FnMut(BorrowedFd<'_>) -> io::Result<()>) {
        loop {
            let stranger = match accept_with(&self.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(stranger) => stranger,
                Err(Errno::AGAIN) => return,
                Err(error) => {
                    return tracing::warn!(reason = %error, "the shm fabric's socket lets nobody in");
                }
            };
            if !is_of_this_user(&stranger) || watch(stranger.as_fd()).is_err() {
                continue;
            }
            if self.strangers.len() == STRANGERS {
                self.strangers.pop_front();
            }
            self.strangers.push_back(stranger);
        }
    }

    /// Who has shown something.
    pub(super) fn guests(&mut self) -> Vec<Guest> {
        let mut guests = Vec::new();
        for _ in 0..self.strangers.len() {
            let Some(connection) = self.strangers.pop_front() else { break };
            match receive(&connection) {
                Received::Offer(offer, descriptors) => {
                    guests.push(Guest { connection, offer, descriptors });
                }
                Received::Nothing => self.strangers.push_back(connection),
                Received::Closed | Received::Junk => {}
            }
        }
        guests
    }
}

impl AsFd for Door {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

/// Goes to a peer's door.
pub(super) fn come_to(name: &[u8; 16]) -> io::Result<OwnedFd> {
    let connection = socket()?;
    connect(&connection, &SocketAddrUnix::new_abstract_name(name)?)?;
    match is_of_this_user(&connection) {
        true => Ok(connection),
        false => Err(io::Error::other("its socket belongs to another user: run both servers as one")),
    }
}

/// Bits that nobody can guess.
pub(super) fn random() -> io::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    // getrandom(2): requests of up to 256 bytes are answered whole.
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(bytes)
}

fn socket() -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
}

fn is_of_this_user(connection: &OwnedFd) -> bool {
    socket_peercred(connection).is_ok_and(|there| there.uid == geteuid())
}
