//! The contract of every fabric.

use kddm_coherence::{Message, ReadToken};
use kddm_object::{Incarnation, Location, NodeId, SlotId};
use std::os::fd::RawFd;

/// A node's end of a fabric.
///
/// A peer comes and goes in *sessions*: [`Event::PeerUp`], then messages and READs, then [`Event::PeerDown`]. Nothing
/// of one session is seen in another. Before the first session, and between two, whatever is sent is dropped and
/// whatever is read fails.
///
/// Who may touch a landing slot: its owner until [`Transport::read`], the fabric until [`Event::ReadDone`] of that
/// token has been polled, then its owner again; also after a failure.
pub trait Transport: Send {
    /// Sends a message: reliable and in order per peer, as long as the session lasts. To a peer that is down, or to
    /// this node itself, it is dropped: PeerDown was or will be reported.
    fn send(&mut self, to: NodeId, message: &Message);

    /// Reads `length` bytes at `source` into the slot `landing`. Completes exactly once, good or failed, also when
    /// the peer goes; before the session's PeerDown. Not ordered with messages.
    fn read(&mut self, token: ReadToken, source: Location, landing: SlotId, length: u32);

    /// [`Transport::send`] for a message that nobody waits for at once: it goes with the next to the same peer, and with
    /// [`Transport::flush`] or [`Transport::arm`] at the latest.
    fn send_lazily(&mut self, to: NodeId, message: &Message) {
        self.send(to, message);
    }

    /// Hands everything queued to the network.
    fn flush(&mut self);

    /// Hands what is urgent to the network, and what goes with it.
    fn flush_urgent(&mut self) {
        self.flush();
    }

    /// Appends what [`Transport::read`] and flushing have completed here and now, so that nobody has to be woken for it. To be asked after
    /// each flush, until it has nothing more; not asked, [`Transport::poll`] tells of it.
    fn finished(&mut self, _events: &mut Vec<Event>) {}

    /// Appends what has happened. Never blocks.
    fn poll(&mut self, events: &mut Vec<Event>);

    /// Readable when [`Transport::poll`] has something to do; `None` if somebody drives the fabric by hand.
    /// Where that has to be asked for, see [`Transport::arm`].
    fn descriptor(&self) -> Option<RawFd>;

    /// Before sleeping on the descriptor: makes it readable with whatever happens from now on. True: something may have happened
    /// meanwhile, poll once more. Fabrics whose descriptor needs no arming say false.
    fn arm(&mut self) -> bool {
        false
    }

    /// Whether a READ of a slot that was given to another object fails. Where the memory itself is read and nobody asked, it does not.
    fn checks_generations(&self) -> bool {
        true
    }

    /// What was moved so far.
    fn counters(&self) -> Counters;

    /// Every configured peer, by id: whether it is there and, if not, why.
    fn peers(&self) -> Vec<PeerState>;

    /// From now on a life of a node that was lost is over, whether its process lives or not. Of two that meet, of which one has lost the
    /// other in the life that it comes with, one has to begin a new life: the one with fewer peers, then the one with the larger id. See
    /// [`Event::Outlived`]. To be called before the first [`Transport::poll`]; fabrics that are not told so let lost lives return.
    fn forbid_returns(&mut self);

    /// After [`Event::Outlived`], when all its peers are down: the node is there again, in this life, and has lost nobody.
    fn renew(&mut self, life: Incarnation);

    /// Ends all sessions in good order: peers learn it at once. Nothing can be sent or read afterwards, and READs under
    /// way complete as failed with the next poll.
    fn disconnect(&mut self);
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // a message is not boxed: nothing is allocated on its way
pub enum Event {
    /// A message.
    Message(NodeId, Message),
    /// A READ landed, or failed: nothing is written to its slot any more.
    ReadDone(ReadToken, bool),
    /// A session with a peer begins, in this life of it.
    PeerUp(NodeId, Incarnation),
    /// The session with a peer has ended.
    PeerDown {
        /// The peer.
        node: NodeId,
        /// Whether its process is known to have ended or to have closed the session itself; otherwise it is silent.
        certain: bool,
        /// What was seen, for people.
        reason: String,
    },
    /// Others have lost this life of this node, or it has lost theirs, and it is this one that has to give way: its sessions end, and none
    /// begins before [`Transport::renew`].
    Outlived {
        /// Whom it met.
        by: NodeId,
    },
    /// Somebody was not let in, or did not let us in: wrong key, version, cluster, id, root. Once per change of the reason.
    Refused {
        /// The peer, if it is known which.
        node: Option<NodeId>,
        /// What, where, what to do.
        reason: String,
    },
}

/// What a fabric has moved since it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Counters {
    /// Messages sent.
    pub messages_sent: u64,
    /// Messages received.
    pub messages_received: u64,
    /// READs that this node issued.
    pub reads_issued: u64,
    /// READs of those that failed.
    pub reads_failed: u64,
    /// READs of this node's memory that peers were answered.
    pub reads_served: u64,
    /// Bytes handed to the network, everything included.
    pub bytes_sent: u64,
    /// Bytes that came from the network, everything included.
    pub bytes_received: u64,
}

/// A configured peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerState {
    /// Its id.
    pub node: NodeId,
    /// Its life, while a session with it lasts.
    pub up: Option<Incarnation>,
    /// Why there is no session; empty while there is one.
    pub reason: String,
    /// Whether it does not let this node in, or is not let in: waiting will not help.
    pub refused: bool,
}
