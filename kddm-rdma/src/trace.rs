//! What happens to chosen objects, in order, for people who look for a fault: messages, READs, linker calls, operations, states.
//!
//! Under the engine's lock. As long as nothing is traced, a look at whether the list of watches is empty is all that it costs. Hits are
//! not seen, since they tell nobody: what they hold shows in the state words of the events around them.

mod describe;

use describe::{describe, home_of_bytes};
use kddm_coherence::{Effect, Input, LinkerCall, LinkerReply, Message, OpId, ReadToken};
use kddm_object::{NodeId, ObjectKey, SlotId};
use std::{collections::VecDeque, time::Duration};

/// Events of an object that are kept until somebody fetches them.
const EVENTS: usize = 4096;
/// Objects that can be traced at a time.
const WATCHES: usize = 16;
/// How long an object is traced after somebody has fetched its events last.
const LEASE: Duration = Duration::from_secs(10);

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceEvent {
    /// Larger than that of any event before, on this node.
    pub number: u64,
    /// When, by [`crate::Host::now`].
    pub at: Duration,
    /// What.
    pub what: Traced,
    /// The node that it was done with.
    pub peer: Option<NodeId>,
    /// The message's name.
    pub message: Option<&'static str>,
    /// The transaction, if there is one.
    pub seq: Option<u32>,
    /// The request, if there is one.
    pub rid: Option<u32>,
    /// More, for people.
    pub detail: String,
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Traced {
    Sent,
    Received,
    ReadPosted,
    ReadDone,
    LinkerCalled,
    LinkerDone,
    /// An operation begins that is no hit.
    Asked,
    /// It ends.
    Ended,
    /// The last hold ends for whose end somebody waited.
    Put,
    /// The copy's mode or the directory's entry has changed.
    State,
    PeerUp,
    PeerDown,
    /// The node begins a new life.
    Renewed,
}

impl Traced {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Traced::Sent => "sent",
            Traced::Received => "received",
            Traced::ReadPosted => "read_posted",
            Traced::ReadDone => "read_done",
            Traced::LinkerCalled => "linker_called",
            Traced::LinkerDone => "linker_done",
            Traced::Asked => "asked",
            Traced::Ended => "ended",
            Traced::Put => "put",
            Traced::State => "state",
            Traced::PeerUp => "peer_up",
            Traced::PeerDown => "peer_down",
            Traced::Renewed => "renewed",
        }
    }
}

/// What was traced of an object.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Trace {
    /// The events after the number that was asked for, in their order.
    pub events: Vec<TraceEvent>,
    /// Whether the object is traced only since now.
    pub fresh: bool,
    /// Events that nobody fetched in time.
    pub lost: u64,
    /// Everything that happened before this time of [`crate::Host::now`] is in the events, or was.
    pub now: Duration,
    /// Whether the object is not traced at all: too many others are.
    pub refused: bool,
}

/// The objects that are traced.
#[derive(Default)]
pub(crate) struct Tracer {
    watches: Vec<Watch>,
    numbered: u64,
}

struct Watch {
    key: ObjectKey,
    until: Duration,
    events: VecDeque<TraceEvent>,
    lost: u64,
    operations: Vec<OpId>,
    reads: Vec<ReadToken>,
    state: String,
}

impl Tracer {
    /// Whether anything is traced.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        !self.watches.is_empty()
    }

    /// Traces `key` for some time more, and gives what happened after event `after`, at most `limit` events.
    /// `outline` says what is known of the object, with which the events begin.
    pub(crate) fn fetch(
        &mut self,
        key: ObjectKey,
        after: u64,
        limit: usize,
        now: Duration,
        outline: impl FnOnce(ObjectKey) -> String,
    ) -> Trace {
        self.watches.retain(|watch| watch.until > now);
        let fresh = !self.watches.iter().any(|watch| watch.key == key);
        if fresh && self.watches.len() == WATCHES {
            return Trace { refused: true, now, ..Trace::default() };
        }
        if fresh {
            let mut watch = Watch::new(key);
            watch.note(outline(key), &mut self.numbered, now);
            self.watches.push(watch);
        }
        let Some(watch) = self.watches.iter_mut().find(|watch| watch.key == key) else {
            return Trace::default();
        };
        watch.until = now + LEASE;
        let wanted = watch.events.iter().filter(|event| event.number > after).take(limit);
        let events: Vec<TraceEvent> = wanted.cloned().collect();
        // What was left out is still to come, and nothing after it may be thought to be known.
        let now = if events.len() == limit { events.last().map_or(now, |event| event.at) } else { now };
        Trace { events, fresh, lost: watch.lost, now, refused: false }
    }

    /// What happens to the object that `input` is about.
    pub(crate) fn before(&mut self, input: &Input, now: Duration) {
        self.watches.retain(|watch| watch.until > now);
        for watch in &mut self.watches {
            if let Some(event) = watch.of_input(input) {
                watch.push(event, &mut self.numbered, now);
            }
        }
    }

    /// What the core says is to be done.
    pub(crate) fn effect(
        &mut self,
        effect: &Effect,
        key_of: impl Fn(SlotId) -> Option<ObjectKey>,
        now: Duration,
    ) {
        for watch in &mut self.watches {
            if let Some(event) = watch.of_effect(effect, &key_of) {
                watch.push(event, &mut self.numbered, now);
            }
        }
    }

    /// A step has ended: `outline` says what is known of an object now.
    pub(crate) fn after(&mut self, outline: impl Fn(ObjectKey) -> String, now: Duration) {
        for watch in &mut self.watches {
            watch.note(outline(watch.key), &mut self.numbered, now);
        }
    }
}

/// An event that has no number and no time yet.
struct Happened {
    what: Traced,
    peer: Option<NodeId>,
    message: Option<&'static str>,
    seq: Option<u32>,
    rid: Option<u32>,
    detail: String,
}

impl Happened {
    fn new(what: Traced) -> Happened {
        Happened { what, peer: None, message: None, seq: None, rid: None, detail: String::new() }
    }

    fn with(self, detail: impl Into<String>) -> Happened {
        Happened { detail: detail.into(), ..self }
    }

    fn of(self, peer: NodeId) -> Happened {
        Happened { peer: Some(peer), ..self }
    }

    fn message(what: Traced, peer: NodeId, message: &Message) -> Happened {
        let (seq, rid, detail) = describe(&message.body);
        let name = Some(message.body.kind().name());
        Happened { what, peer: Some(peer), message: name, seq, rid, detail }
    }
}

impl Watch {
    fn new(key: ObjectKey) -> Watch {
        let (until, events, lost, operations, reads, state) = Default::default();
        Watch { key, until, events, lost, operations, reads, state }
    }

    fn push(&mut self, happened: Happened, numbered: &mut u64, at: Duration) {
        let Happened { what, peer, message, seq, rid, detail } = happened;
        *numbered += 1;
        if self.events.len() == EVENTS {
            self.events.pop_front();
            self.lost += 1;
        }
        self.events.push_back(TraceEvent { number: *numbered, at, what, peer, message, seq, rid, detail });
    }

    /// What is known of the object now.
    fn note(&mut self, state: String, numbered: &mut u64, at: Duration) {
        if self.state != state {
            self.state.clone_from(&state);
            self.push(Happened::new(Traced::State).with(state), numbered, at);
        }
    }

    fn of_input(&mut self, input: &Input) -> Option<Happened> {
        match input {
            Input::Begin(operation) if operation.key == self.key => {
                self.operations.push(operation.op);
                Some(Happened::new(Traced::Asked).with(describe::asked(operation.asked)))
            }
            Input::Cancel(key, op) if *key == self.key => {
                self.forget(*op);
                Some(Happened::new(Traced::Ended).with("given up by who asked"))
            }
            Input::Released(key) if *key == self.key => Some(Happened::new(Traced::Put)),
            Input::Message(from, message) if message.key == self.key => {
                Some(Happened::message(Traced::Received, *from, message))
            }
            Input::ReadDone(token, good) => {
                let place = self.reads.iter().position(|read| read == token)?;
                self.reads.swap_remove(place);
                Some(Happened::new(Traced::ReadDone).with(if *good { "good" } else { "failed" }))
            }
            Input::LinkerDone(key, reply) if *key == self.key => {
                Some(Happened::new(Traced::LinkerDone).with(match reply {
                    LinkerReply::Ok => "done".to_owned(),
                    LinkerReply::Absent => "absent".to_owned(),
                    LinkerReply::Failed(errno) => std::io::Error::from_raw_os_error(*errno).to_string(),
                }))
            }
            Input::PeerUp(node, life) => {
                Some(Happened::new(Traced::PeerUp).of(*node).with(format!("life {}", life.0)))
            }
            Input::PeerDown(node) => Some(Happened::new(Traced::PeerDown).of(*node)),
            Input::Renewed(life) => Some(Happened::new(Traced::Renewed).with(format!("life {}", life.0))),
            _ => None,
        }
    }

    fn of_effect(
        &mut self,
        effect: &Effect,
        key_of: impl Fn(SlotId) -> Option<ObjectKey>,
    ) -> Option<Happened> {
        match effect {
            Effect::Send(to, message) if message.key == self.key => {
                Some(Happened::message(Traced::Sent, *to, message))
            }
            Effect::Read { token, source, landing, length } if key_of(*landing) == Some(self.key) => {
                self.reads.push(*token);
                let detail = format!("{length} bytes of {}", home_of_bytes(source));
                Some(Happened::new(Traced::ReadPosted).of(source.node).with(detail))
            }
            Effect::Linker(key, call) if *key == self.key => {
                Some(Happened::new(Traced::LinkerCalled).with(match call {
                    LinkerCall::Insert { .. } => "insert",
                    LinkerCall::FirstTouch { .. } => "first touch",
                    LinkerCall::Sync { .. } => "sync",
                    LinkerCall::Remove => "remove",
                }))
            }
            Effect::Complete(op, outcome) if self.forget(*op) => {
                Some(Happened::new(Traced::Ended).with(match outcome {
                    Ok(Some(_)) => "holds".to_owned(),
                    Ok(None) => "done".to_owned(),
                    Err(error) => error.to_string(),
                }))
            }
            Effect::NeedMemory(key) if *key == self.key => {
                Some(Happened::new(Traced::State).with("waits for memory"))
            }
            Effect::Changed(key, from, to) if *key == self.key => {
                Some(Happened::new(Traced::State).with(format!("copy: {from:?} → {to:?}").to_lowercase()))
            }
            _ => None,
        }
    }

    /// Whether the operation is one of this object.
    fn forget(&mut self, op: OpId) -> bool {
        let place = self.operations.iter().position(|known| *known == op);
        place.map(|place| self.operations.swap_remove(place)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kddm_object::SetId;

    const KEY: ObjectKey = ObjectKey { set: SetId(7), object: 1 };
    const OTHER: ObjectKey = ObjectKey { set: SetId(7), object: 2 };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// As if the object had never been heard of.
    fn fetch(tracer: &mut Tracer, key: ObjectKey, after: u64, limit: usize, now: Duration) -> Trace {
        tracer.fetch(key, after, limit, now, |_| String::new())
    }

    #[test]
    fn only_what_is_watched_is_kept_and_only_while_somebody_fetches() {
        let mut tracer = Tracer::default();
        assert!(!tracer.is_on());
        assert!(fetch(&mut tracer, KEY, 0, 10, at(1)).fresh && tracer.is_on());
        tracer.before(&Input::Released(KEY), at(2));
        tracer.before(&Input::Released(OTHER), at(3));
        let trace = fetch(&mut tracer, KEY, 0, 10, at(4));
        assert!(!trace.fresh && trace.now == at(4));
        assert_eq!(
            trace.events.iter().map(|event| (event.number, event.at)).collect::<Vec<_>>(),
            [(1, at(2))]
        );
        assert_eq!(fetch(&mut tracer, KEY, 1, 10, at(5)).events, []);
        tracer.before(&Input::Released(KEY), at(6) + LEASE);
        assert!(!tracer.is_on(), "nobody has fetched for too long");
    }

    #[test]
    fn memory_is_bounded_and_what_is_lost_is_counted() {
        let mut tracer = Tracer::default();
        fetch(&mut tracer, KEY, 0, 10, at(1));
        for _ in 0..EVENTS + 3 {
            tracer.before(&Input::Released(KEY), at(2));
        }
        let trace = fetch(&mut tracer, KEY, 0, usize::MAX, at(3));
        assert_eq!((trace.events.len(), trace.lost, trace.events[0].number), (EVENTS, 3, 4));
        for object in 0..WATCHES as u32 {
            fetch(&mut tracer, ObjectKey::new(SetId(9), object), 0, 1, at(3));
        }
        assert!(fetch(&mut tracer, OTHER, 0, 1, at(3)).refused);
    }

    #[test]
    fn nothing_is_known_beyond_a_part_of_the_events() {
        let mut tracer = Tracer::default();
        fetch(&mut tracer, KEY, 0, 10, at(1));
        for second in 2..5 {
            tracer.before(&Input::Released(KEY), at(second));
        }
        let part = fetch(&mut tracer, KEY, 0, 2, at(9));
        assert_eq!((part.events.len(), part.now), (2, at(3)));
        assert_eq!(fetch(&mut tracer, KEY, 2, 2, at(9)).now, at(9));
    }

    #[test]
    fn a_state_is_told_when_it_changes() {
        let mut tracer = Tracer::default();
        tracer.fetch(KEY, 0, 10, at(1), |_| "shared".to_owned());
        for state in ["shared", "shared", "exclusive"] {
            tracer.after(|_| state.to_owned(), at(2));
        }
        let told = fetch(&mut tracer, KEY, 0, 10, at(3)).events;
        assert_eq!(
            told.iter().map(|event| event.detail.as_str()).collect::<Vec<_>>(),
            ["shared", "exclusive"]
        );
    }
}
