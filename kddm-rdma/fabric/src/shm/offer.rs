//! What goes through the Unix socket between two ends of a session: descriptors, and what they are.

use crate::tcp::{decode_word, encode_word};
use bincode::{Decode, Encode};
use rustix::{
    io::Errno,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
    },
};
use std::{
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

/// Slabs offered at a time. unix(7): not more than 253 descriptors.
pub(super) const SLABS_AT_A_TIME: usize = 64;

/// Bytes of an offer, at most.
const OFFER_BYTES: usize = 128;

/// What is said over the control connection: come to the socket of this name, with this ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct Invitation {
    pub(super) name: [u8; 16],
    pub(super) ticket: [u8; 16],
}

/// What comes with descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) enum Offer {
    /// The first of either side. Two descriptors: the ring in which I take messages, and the bell that I ring.
    Ring {
        ticket: [u8; 16],
        /// Bytes of each of my slabs.
        slab_bytes: u32,
        /// Slabs that I may ever have.
        slab_limit: u16,
    },
    /// A descriptor for each: slabs of mine, numbered from this on.
    Slabs(u16),
}

/// Sends an offer; false if the socket has no room now.
pub(super) fn send(
    connection: impl AsFd,
    offer: Offer,
    descriptors: &[BorrowedFd<'_>],
) -> Result<bool, Errno> {
    let bytes = encode_word(&offer);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SLABS_AT_A_TIME))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    debug_assert!(descriptors.len() <= SLABS_AT_A_TIME && bytes.len() <= OFFER_BYTES);
    beside.push(SendAncillaryMessage::ScmRights(descriptors));
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    match sendmsg(connection, &[IoSlice::new(&bytes)], &mut beside, flags) {
        Ok(_) => Ok(true),
        Err(Errno::AGAIN | Errno::INTR) => Ok(false),
        Err(error) => Err(error),
    }
}

/// What came.
#[derive(Debug)]
pub(super) enum Received {
    /// An offer.
    Offer(Offer, Vec<OwnedFd>),
    /// Nothing yet.
    Nothing,
    /// The other end is closed.
    Closed,
    /// Something that is no offer.
    Junk,
}

/// Takes the next offer.
pub(super) fn receive(connection: impl AsFd) -> Received {
    let mut bytes = [0; OFFER_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SLABS_AT_A_TIME))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = rustix::io::retry_on_intr(|| {
        recvmsg(&connection, &mut [IoSliceMut::new(&mut bytes)], &mut beside, flags)
    });
    let received = match received {
        Ok(received) if received.bytes == 0 => return Received::Closed,
        Ok(received) => received,
        Err(Errno::AGAIN) => return Received::Nothing,
        Err(_) => return Received::Closed,
    };
    let mut descriptors = Vec::new();
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = message {
            descriptors.extend(passed);
        }
    }
    let whole = !received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC);
    match decode_word(&bytes[..received.bytes]) {
        Some(offer) if whole => Received::Offer(offer, descriptors),
        _ => Received::Junk,
    }
}
