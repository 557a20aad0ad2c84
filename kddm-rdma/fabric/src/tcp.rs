//! The fabric over any network: one encrypted connection per pair of nodes.
//!
//! Of two nodes the one with the larger id dials, from its own address, again and again until a session stands. A
//! connection is *opened* in three exchanges (Noise handshake with the cluster key; Hello, in which versions, cluster, ids
//! and root must agree; Ready) and then is a *session* until either side ends, breaks a rule, or is silent for four seconds.
//!
//! Everything happens in the thread that calls: [`Transport::poll`] reads, answers READs from the arena and keeps the timers,
//! [`Transport::flush`] writes. Nothing blocks; what the network does not take waits in bounded buffers.
//!
//! [`Transport::poll`]: crate::Transport::poll
//! [`Transport::flush`]: crate::Transport::flush

mod channel;
mod codec;
mod config;
mod connections;
mod control;
mod dial;
mod due;
mod frame;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
mod greeting;
mod noise;
mod opening;
mod peer;
mod session;
mod shared;
mod timer;
mod transport;

#[cfg(test)]
mod tests;

pub(crate) use codec::{decode_word, encode_word};
pub use config::{FabricError, Greeting, TcpConfig};
pub use due::SILENCE;

use connections::Connection;
use kddm_memory::Arena;
use kddm_object::NodeId;
use mio::{Events, Interest, Poll, Token, Waker, net::TcpListener, unix::SourceFd};
use peer::{Peer, Strangers};
use shared::Shared;
pub(crate) use shared::Told;
use std::{io, sync::Arc, time::Instant};
use timer::Timer;

/// Readiness that one call of epoll_wait reports.
const READY: usize = 256;

const LISTENER: Token = Token(0);
const TIMER: Token = Token(1);
const WAKER: Token = Token(2);
const COMPLETIONS: Token = Token(3);
const NEWS: Token = Token(4);
const FIRST_CONNECTION: usize = 5;

/// A node's end of the tcp fabric.
pub struct Tcp {
    shared: Shared,
    poll: Poll,
    ready: Events,
    listener: Option<TcpListener>,
    /// Accepting failed; again then.
    accept_at: Option<Instant>,
    timer: Timer,
    timer_fired: bool,
    /// The device of the fabric that is built on this one has something to tell.
    news: bool,
    /// Deadlines have changed.
    retime: bool,
    waker: Waker,
    /// By id.
    peers: Vec<Peer>,
    strangers: Strangers,
    /// This life is over, and no other has begun.
    parted: bool,
    /// A record, opened. One for all: each is digested before the next.
    plain: Vec<u8>,
    /// By token. Boxed, so that one can be taken out while it is worked on.
    connections: Vec<Option<Box<Connection>>>,
    /// Places in `connections` that have something to flush.
    unflushed: Vec<usize>,
    /// Places that have something to flush that can wait.
    lazy: Vec<usize>,
    /// Places that have more to do although nothing new comes.
    again: Vec<usize>,
}

impl Tcp {
    /// Listens, and begins to dial.
    ///
    /// # Errors
    /// The address cannot be listened on, or the list of peers is not possible. Peers that are not there, or that do not
    /// fit, are no error: see [`Event::Refused`](crate::Event::Refused) and
    /// [`Transport::peers`](crate::Transport::peers).
    pub fn start(config: TcpConfig, arena: Arc<Arena>) -> Result<Tcp, FabricError> {
        Tcp::start_for(shared::TCP, config, arena)
    }

    /// [`Tcp::start`] for `fabric`, whose peers meet here, and say to each other what they need.
    pub(crate) fn start_for(
        fabric: &'static str,
        config: TcpConfig,
        arena: Arc<Arena>,
    ) -> Result<Tcp, FabricError> {
        config.check()?;
        let system = |what| move |error| FabricError::System { what, error };
        let mut listener = TcpListener::bind(config.listen).map_err(|error| FabricError::Listen {
            me: config.me,
            address: config.listen,
            error,
        })?;
        let poll = Poll::new().map_err(system("no descriptor for epoll"))?;
        let timer = Timer::new().map_err(system("no descriptor for a timer"))?;
        let waker = Waker::new(poll.registry(), WAKER).map_err(system("no descriptor to wake up by"))?;
        let register = |poll: &Poll, listener: &mut TcpListener| -> io::Result<()> {
            poll.registry().register(listener, LISTENER, Interest::READABLE)?;
            poll.registry().register(&mut SourceFd(&timer.descriptor()), TIMER, Interest::READABLE)
        };
        register(&poll, &mut listener).map_err(system("epoll refuses a descriptor"))?;

        let now = Instant::now();
        let mut peers: Vec<Peer> =
            config.peers.iter().map(|&(node, address)| Peer::new(config.me, node, address, now)).collect();
        peers.sort_by_key(|peer| peer.node);
        let shared = Shared::new(config, arena, fabric);
        let tcp = Tcp {
            shared,
            poll,
            ready: Events::with_capacity(READY),
            listener: Some(listener),
            accept_at: None,
            timer,
            timer_fired: true,
            news: false,
            retime: true,
            waker,
            peers,
            strangers: Strangers::default(),
            parted: false,
            plain: Vec::new(),
            connections: Vec::new(),
            unflushed: Vec::new(),
            lazy: Vec::new(),
            again: Vec::new(),
        };
        tcp.wake();
        Ok(tcp)
    }

    /// Makes the descriptor readable: there is something to do or to tell.
    pub(crate) fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            tracing::error!(reason = %error, "the fabric cannot wake its poller; it goes on with the next event");
        }
    }

    fn peer(&mut self, node: NodeId) -> Option<&mut Peer> {
        let place = self.peers.binary_search_by_key(&node, |peer| peer.node).ok()?;
        self.peers.get_mut(place)
    }
}
