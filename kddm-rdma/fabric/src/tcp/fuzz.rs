//! Doors for fuzz targets: what comes over a connection, decoded and encoded again; a caller that is heard; a session that is spoken to.

use super::{
    Greeting, TcpConfig,
    channel::Channel,
    codec::{Control, Hello, Standing},
    frame::{self, Kind},
    noise::{HANDSHAKE_BYTES, Handshake, Sealed},
    opening::{Opening, Step},
    session::Session,
    shared::{End, Shared, TCP, Told},
};
use crate::{Counters, Event};
use kddm_cluster::{ClusterId, Key};
use kddm_coherence::ReadToken;
use kddm_memory::{Arena, ArenaConfig};
use kddm_object::{Generation, Incarnation, Location, NodeId, ObjectKey, SetId, SlotId};
use mio::net::TcpStream;
use std::{
    io::{Read, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::{Arc, OnceLock},
    time::Instant,
};
use zerocopy::IntoBytes;

const VERSION: u32 = 1;

/// The frames of a record, each with its kind's number.
///
/// # Errors
/// It is none.
pub fn frames(mut record: &[u8]) -> Result<Vec<(u8, &[u8])>, String> {
    let mut frames = Vec::new();
    while let Some((kind, body)) = frame::take(&mut record)? {
        frames.push((kind as u8, body));
    }
    Ok(frames)
}

/// A frame, of the kind with this number (7 if there is none).
pub fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let kind = match kind {
        1 => Kind::Message,
        2 => Kind::Read,
        3 => Kind::Data,
        4 => Kind::NoData,
        5 => Kind::Heartbeat,
        6 => Kind::Control,
        _ => Kind::Fabric,
    };
    let mut frame = Vec::new();
    frame::append(&mut frame, kind, |out| out.extend_from_slice(body));
    frame
}

/// The control message in `bytes`, encoded again.
pub fn control(bytes: &[u8]) -> Option<Vec<u8>> {
    Control::decode(VERSION, bytes).ok().map(|control| encoded(&control))
}

/// A control message of each kind, the Hello of node 2 and Ready first.
pub fn controls() -> Vec<Vec<u8>> {
    let hello = Hello { node: 2, ..config().hello(Incarnation(9), TCP) };
    let alone = Standing { lost: false, peers: 0 };
    let lost = Control::Ready(Standing { lost: true, peers: 2 });
    let other = Hello { root: Some(0x0100_0001), fabric: "verbs".to_owned(), ..hello.clone() };
    let goodbye = Control::goodbye(true, "this node leaves");
    let controls = [
        Control::Hello(hello),
        Control::Ready(alone),
        Control::Hello(other),
        Control::refuse("no"),
        goodbye,
        lost,
    ];
    controls.iter().map(encoded).collect()
}

fn encoded(control: &Control) -> Vec<u8> {
    let mut bytes = Vec::new();
    control.encode(VERSION, &mut bytes);
    bytes
}

/// Node 1, which node 2 may call.
fn config() -> TcpConfig {
    let node = |id| NodeId::new(id).expect("a node id");
    TcpConfig {
        me: node(1),
        incarnation: Incarnation(1),
        listen: ([127, 0, 0, 1], 5336).into(),
        peers: vec![(node(2), ([127, 0, 0, 2], 5336).into())],
        cluster: ClusterId([1; 16]),
        key: Key::from_bytes([5; 32]),
        greeting: Greeting { protocol_version: VERSION, format_version: 1, root: None },
    }
}

fn shared(arena: Arc<Arena>) -> Shared {
    Shared { forbids_returns: true, ..Shared::new(config(), arena, TCP) }
}

/// One for all callers, of which nobody takes anything.
fn arena() -> Arc<Arena> {
    static ARENA: OnceLock<Arc<Arena>> = OnceLock::new();
    ARENA.get_or_init(|| Arc::new(Arena::new(ArenaConfig::new(8 << 20)).expect("memory"))).clone()
}

/// A connection whose other end the caller has.
fn connection() -> (Channel, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("two descriptors");
    for end in [&ours, &theirs] {
        end.set_nonblocking(true).expect("a socket can be told not to block");
    }
    let stream = std::net::TcpStream::from(OwnedFd::from(ours));
    (Channel::new(TcpStream::from_std(stream), Instant::now()), theirs)
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing was wrong; more has to come.
    Waiting,
    /// A session with this node began.
    Open(u8),
    /// None does before this node begins a new life: this node has lost it, or it this one.
    Outlived(u8),
    /// It was refused, or broke a rule.
    Ended(String),
}

/// Hears a caller from node 2's address that says `bytes`, without the key.
pub fn stranger(bytes: &[u8]) -> Heard {
    let mut call = Call::new();
    call.says(bytes);
    call.heard()
}

/// Hears a caller from node 2's address that has the key, and seals `records` as they are.
pub fn caller<'a>(records: impl Iterator<Item = &'a [u8]>) -> Heard {
    let mut call = Call::new();
    let mut sealed = call.shakes_hands();
    for record in records {
        let mut bytes = Vec::new();
        if sealed.seal(record, &mut bytes).is_ok() {
            call.says(&bytes);
        }
    }
    call.heard()
}

struct Call {
    channel: Channel,
    caller: UnixStream,
    shared: Shared,
    opening: Opening,
    ended: Option<Heard>,
}

impl Call {
    fn new() -> Call {
        let (channel, caller) = connection();
        let shared = shared(arena());
        let remote = [127, 0, 0, 2].into();
        let opening = Opening::called(remote, shared.now, &shared).expect("the pattern is known");
        Call { channel, caller, shared, opening, ended: None }
    }

    fn says(&mut self, bytes: &[u8]) {
        let Call { channel, caller, shared, opening, ended } = self;
        if ended.is_some() {
            return;
        }
        caller.write_all(bytes).expect("a socket has room for some kilobytes");
        let _ = channel.fill(false, shared.now, &mut shared.counters);
        *ended = loop {
            match opening.step(channel, shared) {
                Ok(Step::Wait) => break None,
                Ok(Step::More) => {}
                Ok(Step::Outlived(node)) => break Some(Heard::Outlived(node.get())),
                Ok(Step::Open(node, _)) => break Some(Heard::Open(node.get())),
                Err(end) => break Some(Heard::Ended(reason(end))),
            }
        };
    }

    fn shakes_hands(&mut self) -> Sealed {
        let mut handshake = Handshake::dialling(&self.shared.config.key).expect("the pattern is known");
        let first = handshake.write().expect("a first message");
        self.says(&[frame::Preamble::new(frame::word::HANDSHAKE).as_bytes(), &first].concat());
        let mut answer = [0; 8 + HANDSHAKE_BYTES];
        self.caller.read_exact(&mut answer).expect("the handshake is answered");
        handshake.read(&answer[8..]).expect("the other side has the key");
        handshake.finish().expect("both messages were exchanged")
    }

    fn heard(self) -> Heard {
        self.ended.unwrap_or(Heard::Waiting)
    }
}

fn reason(end: End) -> String {
    match end {
        End::Closed { reason, .. } | End::Fault(reason) | End::Refused { reason, .. } => reason,
        End::Silent(time) => format!("silent for {time:?}"),
    }
}

/// A session of node 1 with node 2, in which two READs of 4096 and 65536 bytes are under way.
pub struct Spoken {
    session: Session,
    channel: Channel,
    shared: Shared,
    peer: UnixStream,
    /// Before and behind the slots in which the READs land: nothing lands there.
    beside: Vec<(SlotId, u32)>,
    /// Where they land.
    landings: Vec<(ReadToken, SlotId, u32)>,
}

/// What fills the slots in which nothing lands.
const UNTOUCHED: u8 = 0xe7;

impl Spoken {
    /// A session, after a handshake.
    pub fn new() -> Spoken {
        let mut call = Call::new();
        call.shakes_hands();
        let Call { channel, caller: peer, .. } = call;
        let arena = Arc::new(Arena::new(ArenaConfig::new(8 << 20)).expect("memory"));
        let shared = shared(arena);
        let session = Session::new(NodeId::new(2).expect("a node id"));
        let (beside, landings) = Default::default();
        let mut spoken = Spoken { session, channel, shared, peer, beside, landings };
        spoken.take_slots();
        spoken.begin();
        spoken
    }

    /// Another session over the same connection, with the same READs: a handshake takes longer than all the rest.
    pub fn begin(&mut self) {
        self.session = Session::new(self.session.node());
        for &(token, landing, length) in &self.landings {
            let node = self.session.node();
            let source = Location { node, slot: SlotId(0), generation: Generation(1) };
            let asked = self.session.read(token, source, landing, length, &mut self.channel);
            asked.expect("two READs can be asked for");
        }
    }

    fn take_slots(&mut self) {
        for (object, length) in [(0, 4096), (1, 4096), (2, 4096), (3, 65536), (4, 65536), (5, 65536)] {
            let key = ObjectKey::new(SetId(5), object);
            let slot = self.shared.arena.allocate(key, length, true).expect("room");
            assert!(self.shared.arena.copy_in(slot, 0, &vec![UNTOUCHED; length as usize]));
            match object % 3 {
                1 => self.landings.push((ReadToken(object.into()), slot, length)),
                _ => self.beside.push((slot, length)),
            }
        }
    }

    /// The peer says `record`: what was told of it, and, if it broke a rule, which.
    pub fn hear(&mut self, record: &[u8]) -> (Vec<Event>, Option<String>) {
        let Spoken { session, channel, shared, .. } = self;
        let heard = session.receive(record, channel, shared).and_then(|()| session.answer(channel, shared));
        let ended = heard.err().map(reason);
        let _ = channel.flush(shared.now, &mut Counters::default());
        self.drain();
        let told = std::mem::take(&mut self.shared.told);
        let events = told.into_iter().filter_map(|told| match told {
            Told::Event(event) => Some(event),
            Told::Said(..) => None,
        });
        (events.collect(), ended)
    }

    /// Bytes that wait for the peer, which takes what it gets.
    pub fn backlog(&self) -> usize {
        self.channel.backlog()
    }

    /// Whether nothing landed where nothing was to land.
    pub fn landed_in_place(&self) -> bool {
        self.beside.iter().all(|&(slot, length)| {
            let mut bytes = vec![0; length as usize];
            let there = self.shared.arena.copy_out(slot, self.shared.arena.generation(slot), &mut bytes);
            there && bytes.iter().all(|&byte| byte == UNTOUCHED)
        })
    }

    fn drain(&mut self) {
        let mut bytes = [0; 64 << 10];
        while matches!(self.peer.read(&mut bytes), Ok(1..)) {}
    }
}

impl Default for Spoken {
    fn default() -> Spoken {
        Spoken::new()
    }
}
