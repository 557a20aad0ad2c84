//! The life of connections: accepted or dialled, driven by what comes, ended.

use super::{
    FIRST_CONNECTION, Tcp,
    channel::{Channel, Filled},
    codec::Control,
    dial::dial,
    noise::MAX_RECORD,
    opening::{Opening, Step},
    session::{Session, Turn},
    shared::{End, Shared},
};
use crate::Event;
use kddm_object::{Incarnation, NodeId, NodeSet};
use mio::{Interest, Token, net::TcpStream};
use std::{
    io::ErrorKind,
    net::IpAddr,
    time::{Duration, Instant},
};

/// A connection must be a session after this.
const OPENING_TIME: Duration = Duration::from_secs(2);

/// Callers that are being heard at a time; one more, and the oldest goes.
const CALLERS: usize = 64;

/// Callers that are accepted in one turn: few enough that an honest one is heard before a flood has pushed it out.
const CALLERS_A_TURN: usize = 16;

/// Connections are heard in turns of so many full inboxes.
const FILLS_A_TURN: usize = 8;

/// After accepting has failed.
const ACCEPT_RETRY: Duration = Duration::from_secs(1);

/// What a connection is at.
pub(super) enum Phase {
    Opening(Opening),
    Session(Session),
}

pub(super) struct Connection {
    pub(super) channel: Channel,
    pub(super) phase: Phase,
    /// It is in the list of those to flush.
    pub(super) unflushed: bool,
    /// It has ended; nobody has been told yet.
    pub(super) broken: Option<End>,
}

impl Connection {
    /// The other side hears it if the network takes it at once.
    pub(super) fn last_word(&mut self, control: &Control, shared: &mut Shared) {
        if self.channel.control(shared.config.greeting.protocol_version, control).is_ok() {
            let _ = shared.flush(&mut self.channel); // it ends in any case
        }
    }
}

impl Tcp {
    /// Hears new callers.
    pub(super) fn accept(&mut self) {
        self.accept_at = None;
        for _ in 0..CALLERS_A_TURN {
            let Some(listener) = &self.listener else { return };
            match listener.accept() {
                Ok((stream, remote)) => self.called(stream, remote.ip()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error)
                    if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                Err(error) => {
                    tracing::warn!(reason = %error, "a caller could not be accepted; trying again in a second");
                    self.accept_at = Some(self.shared.now + ACCEPT_RETRY);
                    self.retime = true;
                    return;
                }
            }
        }
        // There may be more, but the poller has told of this edge.
        self.accept_at = Some(self.shared.now);
        self.retime = true;
    }

    fn called(&mut self, stream: TcpStream, remote: IpAddr) {
        if !self.peers.iter().any(|peer| peer.address.ip() == remote) {
            let reason = format!("{remote} called, but no node of the cluster has that address");
            let news = self.strangers.refuse(remote, &reason);
            self.shared.tell_if(news);
            return;
        }
        if self.parted {
            return; // it will call again
        }
        self.make_room();
        match Opening::called(remote, self.shared.now + OPENING_TIME, &self.shared) {
            Ok(opening) => drop(self.add(stream, opening)),
            Err(end) => tracing::error!(?end, "a caller cannot be answered"),
        }
    }

    /// This life of the node is over: `by` has lost it, or was lost in it.
    fn part(&mut self, by: NodeId) {
        if std::mem::replace(&mut self.parted, true) {
            return;
        }
        self.shared.tell(Event::Outlived { by });
        let reason = format!("node {} begins a new life", self.shared.config.me);
        for place in 0..self.connections.len() {
            let Some(mut connection) = self.connections[place].take() else { continue };
            connection.last_word(&Control::goodbye(false, &reason), &mut self.shared);
            let reason = "this node begins a new life: others have given it up".to_owned();
            self.ended(connection, End::Closed { certain: false, reason });
        }
        self.peers.iter_mut().for_each(|peer| peer.dial_at = None);
        self.wake();
    }

    /// [`Transport::renew`](crate::Transport::renew).
    pub(super) fn begin_life(&mut self, life: Incarnation) {
        self.shared.life = life;
        self.shared.lost = NodeSet::EMPTY;
        if std::mem::take(&mut self.parted) {
            let (me, now) = (self.shared.config.me, Instant::now());
            self.peers.iter_mut().filter(|peer| peer.node < me).for_each(|peer| peer.dial_at = Some(now));
            self.retime = true;
            self.timer_fired = true;
            self.wake();
        }
    }

    /// Ends the oldest call that is being heard, if there are too many.
    fn make_room(&mut self) {
        let calls = || {
            self.connections.iter().enumerate().filter_map(|(place, connection)| {
                match &connection.as_ref()?.phase {
                    Phase::Opening(opening) if opening.dialled.is_none() => Some((opening.deadline, place)),
                    _ => None,
                }
            })
        };
        if calls().count() >= CALLERS
            && let Some((_, oldest)) = calls().min()
        {
            self.connections[oldest] = None;
        }
    }

    pub(super) fn dial(&mut self, node: NodeId) {
        let (from, deadline) = (self.shared.config.listen.ip(), self.shared.now + OPENING_TIME);
        let parted = self.parted;
        let Some(peer) = self.peer(node) else { return };
        peer.dial_at = None;
        if parted {
            return;
        }
        let address = peer.address;
        let opening = Opening::dialled(node, address.ip(), deadline);
        let dialled = dial(from, address).and_then(|stream| self.add(stream, opening));
        if let Err(error) = dialled {
            self.dial_failed(node, error.to_string());
        }
    }

    fn dial_failed(&mut self, node: NodeId, what: String) {
        let (me, now) = (self.shared.config.me, self.shared.now);
        let Some(peer) = self.peer(node) else { return };
        let reason = format!("no connection to {}: {what}; is its server running?", peer.address);
        peer.failed(me, reason, now);
        self.retime = true;
    }

    fn add(&mut self, mut stream: TcpStream, opening: Opening) -> std::io::Result<()> {
        let free = self.connections.iter().position(Option::is_none);
        let place = free.unwrap_or(self.connections.len());
        let token = Token(FIRST_CONNECTION + place);
        self.poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        stream.set_nodelay(true)?;
        let channel = Channel::new(stream, self.shared.now);
        let phase = Phase::Opening(opening);
        let connection = Box::new(Connection { channel, phase, unflushed: false, broken: None });
        match self.connections.get_mut(place) {
            Some(room) => *room = Some(connection),
            None => self.connections.push(Some(connection)),
        }
        self.retime = true;
        Ok(())
    }

    /// Does what the connection at `place` can do now.
    pub(super) fn drive(&mut self, place: usize, closing: bool) {
        let Some(mut connection) = self.connections.get_mut(place).and_then(Option::take) else { return };
        let turn = match connection.broken.take() {
            Some(end) => Err(end),
            None => self.advance(&mut connection, place, closing),
        };
        match turn {
            Ok(turn) => {
                if turn == Turn::Again {
                    self.again.push(place);
                }
                self.connections[place] = Some(connection);
            }
            Err(end) => self.ended(connection, end),
        }
    }

    fn advance(&mut self, connection: &mut Connection, place: usize, closing: bool) -> Result<Turn, End> {
        let mut again = Turn::Again;
        for _ in 0..FILLS_A_TURN {
            if let Phase::Opening(opening) = &mut connection.phase
                && opening.is_connecting()
                && opening.step(&mut connection.channel, &mut self.shared)? == Step::Wait
            {
                return Ok(Turn::Over);
            }
            let filled = connection.channel.fill(closing, self.shared.now, &mut self.shared.counters);
            self.digest(connection, place)?;
            match filled.map_err(|error| End::network(&error))? {
                Filled::Full => {}
                Filled::Drained => {
                    again = Turn::Over;
                    break;
                }
                Filled::Closed => {
                    let reason = "it closed the connection: its server ended".to_owned();
                    return Err(End::Closed { certain: true, reason });
                }
            }
        }
        let Connection { channel, phase, .. } = connection;
        if let Phase::Session(session) = phase
            && session.answer(channel, &mut self.shared)? == Turn::Again
        {
            again = Turn::Again;
        }
        self.shared.flush(channel)?;
        Ok(again)
    }

    /// Parses everything that is complete.
    fn digest(&mut self, connection: &mut Connection, place: usize) -> Result<(), End> {
        let mut plain = std::mem::take(&mut self.plain);
        plain.resize(MAX_RECORD, 0);
        let parsed = self.digest_into(connection, place, &mut plain);
        self.plain = plain;
        parsed
    }

    fn digest_into(
        &mut self,
        connection: &mut Connection,
        place: usize,
        plain: &mut [u8],
    ) -> Result<(), End> {
        loop {
            let Connection { channel, phase, .. } = &mut *connection;
            match phase {
                Phase::Opening(opening) => match opening.step(channel, &mut self.shared)? {
                    Step::Wait => return Ok(()),
                    Step::More => {}
                    Step::Open(node, incarnation) => {
                        self.open(node, incarnation, place);
                        connection.phase = Phase::Session(Session::new(node));
                    }
                    Step::Outlived(by) => {
                        self.part(by);
                        let reason = "this node begins a new life".to_owned();
                        return Err(End::Closed { certain: false, reason });
                    }
                },
                Phase::Session(session) => {
                    let Some(length) = channel.record(plain).map_err(End::Fault)? else { return Ok(()) };
                    session.receive(&plain[..length], channel, &mut self.shared)?;
                    session.answer(channel, &mut self.shared)?;
                }
            }
        }
    }

    /// A session with `node` begins on the connection at `place`; an older one ends before.
    fn open(&mut self, node: NodeId, incarnation: Incarnation, place: usize) {
        if let Some((old, life)) = self.peer(node).and_then(|peer| peer.session)
            && let Some(connection) = self.connections.get_mut(old).and_then(Option::take)
        {
            let certain = incarnation > life;
            let reason = if certain { "its server was restarted" } else { "it connected anew" };
            self.ended(connection, End::Closed { certain, reason: reason.to_owned() });
        }
        if let Some(peer) = self.peer(node) {
            peer.up(place, incarnation);
        }
        self.shared.lives.insert(node, incarnation);
        self.shared.up.insert(node);
        self.shared.lost.remove(node);
        self.shared.tell(Event::PeerUp(node, incarnation));
        self.retime = true;
    }

    /// A connection, taken out of its place, has ended.
    pub(super) fn ended(&mut self, mut connection: Box<Connection>, end: End) {
        self.retime = true;
        match &end {
            End::Fault(reason) => connection.last_word(&Control::goodbye(false, reason), &mut self.shared),
            End::Refused { reason, tell: true } => {
                connection.last_word(&Control::refuse(reason), &mut self.shared);
            }
            End::Silent(_) => {
                let goodbye = Control::goodbye(false, "nothing was heard from this node for too long");
                connection.last_word(&goodbye, &mut self.shared);
            }
            End::Refused { .. } | End::Closed { .. } => {}
        }
        match connection.phase {
            Phase::Opening(opening) => self.opening_ended(&opening, end),
            Phase::Session(session) => self.session_ended(session, end),
        }
    }

    fn opening_ended(&mut self, opening: &Opening, end: End) {
        let (me, now, remote) = (self.shared.config.me, self.shared.now, opening.remote);
        let reason = match end {
            End::Closed { reason, .. } => {
                if let Some(node) = opening.dialled {
                    self.dial_failed(node, reason);
                }
                return; // a caller that changes its mind is no news
            }
            End::Refused { reason, .. } => reason,
            End::Silent(_) => return,
            End::Fault(reason) => format!("{remote} broke the protocol before the session: {reason}"),
        };
        let peer = self.peers.iter_mut().find(|peer| match opening.dialled {
            Some(node) => peer.node == node,
            None => peer.address.ip() == remote,
        });
        let Some(peer) = peer else { return };
        // While the peer is there, it is somebody else at its address.
        let news = match peer.session {
            None => peer.refuse(&reason),
            Some(_) => self.strangers.refuse(remote, &reason),
        };
        self.shared.tell_if(news);
        if opening.dialled.is_some() {
            peer.failed(me, reason, now);
        }
    }

    fn session_ended(&mut self, mut session: Session, end: End) {
        let (certain, reason) = match end {
            End::Closed { certain, reason } => (certain, reason),
            End::Fault(reason) => (false, format!("its connection was closed, for what it sent: {reason}")),
            End::Silent(time) => (false, format!("nothing was heard from it for {} s", time.as_secs())),
            End::Refused { reason, .. } => (false, reason),
        };
        session.fail_reads(&mut self.shared);
        self.shared.up.remove(session.node());
        self.shared.lost.insert(session.node());
        let (me, now, node) = (self.shared.config.me, self.shared.now, session.node());
        if let Some(peer) = self.peer(node) {
            peer.down(me, &reason, now);
        }
        self.shared.tell(Event::PeerDown { node, certain, reason });
    }
}
