//! The fabric between nodes of one host: memory that they share.
//!
//! Peers meet over tcp ([`crate::tcp`]: the same authentication, sessions and heartbeats). There, and only there, one tells the other the
//! name of its Unix socket (`door`) and a ticket for it; through that socket go the descriptors of rings, bells and slabs (`offer`).
//!
//! 1. **Messages** go through a ring in the receiver's memory (`ring`). Whoever sends makes a system call only if the receiver sleeps.
//! 2. **READs** ask nobody: the reader copies from the peer's slab, which it has mapped read-only, word by word (`reads`). So a slot that was
//!    given to another object meanwhile is not noticed ([`Transport::checks_generations`]): the words that know of it are private, because
//!    they have addresses and holds of their process in them, and a copy of the generations for peers would cost every allocation.
//! 3. When an end ends a session, its ring says so at once, and the peer's READs that are not over by then fail; what it read before was
//!    not reused. This stands for the queue pairs that break, for a peer that was stopped and does not know yet that it was given up.
//! 4. Every number that another process can write is checked against our own, and all memory is sealed before it is mapped: a member that
//!    does wrong harms itself.
//! 5. A bell is made by who rings it, so that nobody makes us wait on a descriptor that is none.
//!
//! [`Transport::checks_generations`]: crate::Transport::checks_generations

mod bell;
mod config;
mod door;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
mod link;
mod offer;
mod reads;
mod ring;
mod slabs;
mod transport;

#[cfg(all(test, not(feature = "interleave")))]
mod tests;
#[cfg(all(test, not(feature = "interleave")))]
mod wake_up_tests;

pub use config::StartError;

use crate::{
    Counters, Event,
    tcp::{Tcp, TcpConfig, Told},
};
use door::Door;
use kddm_memory::Arena;
use kddm_object::NodeId;
use link::Link;
use std::{
    collections::VecDeque,
    os::fd::{AsFd, AsRawFd},
    sync::Arc,
};

/// A node's end of the shm fabric.
pub struct Shm {
    me: NodeId,
    tcp: Tcp,
    arena: Arc<Arena>,
    door: Door,
    /// By node id; so few that looking through all of them costs nothing.
    links: Vec<Option<Box<Link>>>,
    /// To whom something is to be published.
    unflushed: Vec<NodeId>,
    /// To whom something was written that can wait.
    lazy: Vec<NodeId>,
    /// Of whose memory something is to be READ.
    reading: VecDeque<NodeId>,
    told: VecDeque<Told>,
    news: News,
    /// Slabs of the arena that peers were told of, or will be.
    slabs: u16,
    /// Polls since the connections were looked at.
    polls: u32,
    sleep: Sleep,
    /// Senders ring, and whoever leaves something for the next poll has to wake it.
    asleep: bool,
}

/// Where the next poll is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sleep {
    /// Just before sleeping.
    Next,
    /// Just after it.
    Over,
    /// Among others.
    No,
}

/// What the next poll tells, and what was counted.
#[derive(Default)]
struct News {
    events: Vec<Event>,
    counters: Counters,
    /// What was taken from a ring; one for all, each is digested before the next.
    taken: Vec<u8>,
}

impl Shm {
    /// Listens, and begins to dial.
    ///
    /// # Errors
    /// A node of the list is on another host, the system refuses a socket, or see [`Tcp::start`]. Peers that are not there are no error.
    pub fn start(config: TcpConfig, arena: Arc<Arena>) -> Result<Shm, StartError> {
        config::check_host(&config)?;
        let me = config.me;
        let last = config.peers.iter().map(|(node, _)| node.get()).max().unwrap_or(0);
        let door = Door::open().map_err(StartError::Door)?;
        let tcp = Tcp::start_for("shm", config, arena.clone())?;
        tcp.watch(door.as_fd().as_raw_fd(), true).map_err(StartError::Door)?;
        Ok(Shm {
            me,
            tcp,
            slabs: arena.slabs(),
            arena,
            door,
            links: (0..=last).map(|_| None).collect(),
            unflushed: Vec::new(),
            lazy: Vec::new(),
            reading: VecDeque::new(),
            told: VecDeque::new(),
            news: News::default(),
            polls: 0,
            sleep: Sleep::Over,
            asleep: false,
        })
    }
}
