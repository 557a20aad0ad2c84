//! What a fabric whose peers meet over tcp, and that moves messages and bytes itself, asks of it.

use super::{
    COMPLETIONS, NEWS, Tcp,
    shared::{End, Told},
};
use crate::{Counters, PeerState, Transport};
use kddm_object::NodeId;
use mio::{Interest, unix::SourceFd};
use std::{collections::VecDeque, os::fd::RawFd};

impl Tcp {
    /// [`Transport::poll`], for a fabric that is built on this one; true if its device has news.
    pub(crate) fn poll_control(&mut self, told: &mut VecDeque<Told>) -> bool {
        self.look();
        told.extend(self.shared.told.drain(..));
        std::mem::take(&mut self.news)
    }

    /// Says something to a peer's fabric, in the order of sessions and of what was said before; false if there is no session.
    pub(crate) fn say(&mut self, to: NodeId, word: &[u8]) -> bool {
        self.in_session(to, |session, channel, _| session.say(word, channel))
    }

    /// The session with `node` has ended before its peer was there: nothing was lost with it.
    pub(crate) fn never_was(&mut self, node: NodeId) {
        self.shared.lost.remove(node);
    }

    /// Ends the session with `node`, which did what it must not, or cannot be reached.
    pub(crate) fn fault(&mut self, node: NodeId, reason: String) {
        if let Some((place, _)) = self.peer(node).and_then(|peer| peer.session) {
            self.break_later(place, End::Fault(reason));
        }
    }

    /// Makes the fabric's descriptor readable whenever `descriptor` becomes so; [`Tcp::poll_control`] tells of it if it has `news`.
    pub(crate) fn watch(&self, descriptor: RawFd, news: bool) -> std::io::Result<()> {
        let (token, interest) = match news {
            true => (NEWS, Interest::READABLE | Interest::WRITABLE),
            false => (COMPLETIONS, Interest::READABLE),
        };
        self.poll.registry().register(&mut SourceFd(&descriptor), token, interest)
    }

    /// Ends [`Tcp::watch`]. Closing does so, too, where no other process has the descriptor.
    pub(crate) fn unwatch(&self, descriptor: RawFd) {
        if let Err(error) = self.poll.registry().deregister(&mut SourceFd(&descriptor)) {
            tracing::error!(reason = %error, "BUG: a descriptor that was not watched");
        }
    }

    /// What that fabric has moved, and the bytes of the connections.
    pub(crate) fn counters_beside(&self, moved: Counters) -> Counters {
        let control = self.counters();
        Counters {
            bytes_sent: moved.bytes_sent + control.bytes_sent,
            bytes_received: moved.bytes_received + control.bytes_received,
            ..moved
        }
    }

    /// [`Transport::peers`], where a peer that has met this node is not there until the fabric `is_up`: `until` says what that waits for.
    pub(crate) fn peers_beside(&self, is_up: impl Fn(NodeId) -> bool, until: &str) -> Vec<PeerState> {
        let mut peers = self.peers();
        for peer in peers.iter_mut().filter(|peer| peer.up.is_some() && !is_up(peer.node)) {
            peer.up = None;
            peer.reason = until.to_owned();
        }
        peers
    }
}
