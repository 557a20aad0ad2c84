//! What the engine sees pass: which operations took how long and why, and how much went to and fro. Under the engine's lock.

use super::{
    Distribution, OperationKind, Outcome,
    sketch::{Sketch, Weighed},
};
use kddm_coherence::{Asked, Body, Effect, LinkerCall, Message, MessageKind, OpError, OpId, Source};
use kddm_object::{Mode, NodeId, ObjectKey, SetId, SlotId};
use rustc_hash::FxHashMap;
use std::time::Duration;

/// What is lately: weights are halved this often.
const FADING: Duration = Duration::from_secs(10);
/// Objects among which the hottest and the most contended are.
const OBJECTS: usize = 128;
/// Sets that are told apart.
const SETS: usize = 64;

/// Operations of one set, but for hits.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Misses {
    /// How long they took.
    pub times: Distribution,
    /// How many did not end as they were meant to.
    pub failed: u64,
}

/// How operations of one kind of sets ended.
type Ends = [u64; Outcome::ALL.len()];

pub(crate) struct Observer {
    times: Vec<Distribution>,
    kinds: Vec<Ends>,
    sets: Sketch<SetId, Misses, SETS>,
    hottest: Sketch<ObjectKey, (), OBJECTS>,
    contended: Sketch<ObjectKey, (), OBJECTS>,
    begun: Vec<Begun>,
    under_way: FxHashMap<ObjectKey, UnderWay>,
    waiting: usize,
    /// When weights were halved last; none before the first operation.
    faded: Option<Duration>,
    sent: Vec<u64>,
    received: Vec<u64>,
    read_bytes: u64,
    linker_calls: Calls,
}

/// An operation, at the place that its id names.
#[derive(Clone, Copy)]
struct Begun {
    key: ObjectKey,
    kind: OperationKind,
    at: Duration,
    ended: bool,
}

/// An object for which operations are under way.
#[derive(Default)]
struct UnderWay {
    operations: u32,
    /// Where its bytes came from, since the last of them ended.
    route: Option<Outcome>,
}

/// Calls of linkers, by [`LINKER_CALLS`].
type Calls = [u64; LINKER_CALLS.len()];

/// The names of linker calls.
pub(crate) const LINKER_CALLS: [&str; 4] = ["insert", "first_touch", "sync", "remove"];

impl Default for Observer {
    fn default() -> Observer {
        let outcomes = OperationKind::ALL.len() * Outcome::ALL.len();
        Observer {
            times: vec![Distribution::default(); outcomes],
            kinds: vec![Ends::default(); 256],
            sets: Sketch::new(),
            hottest: Sketch::new(),
            contended: Sketch::new(),
            begun: Vec::new(),
            under_way: FxHashMap::default(),
            waiting: 0,
            faded: None,
            sent: vec![0; MessageKind::ALL.len()],
            received: vec![0; MessageKind::ALL.len()],
            read_bytes: 0,
            linker_calls: Calls::default(),
        }
    }
}

impl Observer {
    pub(crate) fn begin(&mut self, op: OpId, key: ObjectKey, asked: Asked, now: Duration) {
        let kind = OperationKind::of(asked);
        let begun = Begun { key, kind, at: now, ended: false };
        let place = op.0 as u32 as usize;
        if self.begun.len() <= place {
            self.begun.resize(place + 1, begun);
        }
        self.begun[place] = begun;
        self.under_way.entry(key).or_default().operations += 1;
        self.waiting += 1;
        if kind.fetches() {
            self.hottest.add(key, 1);
        }
        self.sets.add(key.set, 1);
    }

    pub(crate) fn end(&mut self, op: OpId, result: Result<(), OpError>, now: Duration) {
        let Some(begun) = self.take(op) else { return };
        let route = self.leave(begun.key);
        let outcome = match result {
            Err(error) => Outcome::of_error(error),
            Ok(()) if begun.kind.fetches() => route.unwrap_or(Outcome::Waited),
            Ok(()) => Outcome::Done,
        };
        self.count(begun, outcome, now);
    }

    /// Nobody waits for it any more: its time was over, or it was dropped.
    pub(crate) fn give_up(&mut self, op: OpId, outcome: Outcome, now: Duration) {
        if let Some(begun) = self.take(op) {
            self.leave(begun.key);
            self.count(begun, outcome, now);
        }
    }

    fn take(&mut self, op: OpId) -> Option<Begun> {
        let begun = self.begun.get_mut(op.0 as u32 as usize).filter(|begun| !begun.ended)?;
        begun.ended = true;
        self.waiting = self.waiting.saturating_sub(1);
        Some(*begun)
    }

    /// One operation less for `key`: what brought its bytes counts for this one alone, whoever is next has waited for it.
    fn leave(&mut self, key: ObjectKey) -> Option<Outcome> {
        let under_way = self.under_way.get_mut(&key)?;
        let route = under_way.route.take();
        under_way.operations = under_way.operations.saturating_sub(1);
        if under_way.operations == 0 {
            self.under_way.remove(&key);
        }
        route
    }

    fn count(&mut self, begun: Begun, outcome: Outcome, now: Duration) {
        let Begun { key, kind, at, .. } = begun;
        let time = now.saturating_sub(at);
        self.times[place(kind, outcome)].record(time);
        self.kinds[usize::from(key.set.kind())][outcome as usize] += 1;
        if let Some(misses) = self.sets.get_mut(key.set) {
            misses.times.record(time);
            misses.failed += u64::from(!outcome.is_good());
        }
        if matches!(outcome, Outcome::Waited | Outcome::WouldBlock) {
            self.contended.add(key, 1);
        }
    }

    /// A hold ended for which somebody waited.
    pub(crate) fn released(&mut self, key: ObjectKey) {
        self.contended.add(key, 1);
    }

    pub(crate) fn received(
        &mut self,
        from: NodeId,
        message: &Message,
        home: impl FnOnce() -> Option<NodeId>,
    ) {
        self.received[message.body.kind() as usize] += 1;
        let route = match &message.body {
            Body::Grant { source, .. } => match source {
                Source::Copy => Outcome::Upgraded,
                Source::Make => Outcome::Made,
                Source::Bytes(_) => Outcome::Home,
                Source::Read(at) | Source::Speculated(at) => bytes_of(at.node, Some(from)),
            },
            Body::Hand { .. } => bytes_of(from, home()),
            _ => return,
        };
        self.found(message.key, route);
    }

    /// What the core says is to be done, `me` being this node. `landing` finds the object of a slot.
    pub(crate) fn told(
        &mut self,
        me: NodeId,
        effect: &Effect,
        landing: impl FnOnce(SlotId) -> Option<ObjectKey>,
    ) {
        match effect {
            Effect::Send(_, message) => self.sent[message.body.kind() as usize] += 1,
            Effect::Read { source, landing: slot, length, .. } => {
                self.read_bytes += u64::from(*length);
                // Other homes say in their grant where the bytes are.
                if let Some(key) = landing(*slot) {
                    self.found(key, bytes_of(source.node, Some(me)));
                }
            }
            Effect::Linker(key, call) => {
                let (number, route) = match call {
                    LinkerCall::Insert { .. } => (0, Some(Outcome::Device)),
                    LinkerCall::FirstTouch { .. } => (1, Some(Outcome::Made)),
                    LinkerCall::Sync { .. } => (2, None),
                    LinkerCall::Remove => (3, None),
                };
                self.linker_calls[number] += 1;
                route.into_iter().for_each(|route| self.found(*key, route));
            }
            // What this node grants itself is no message. Without bytes from anywhere, they were here, or are made by who asked.
            Effect::Changed(key, from, to) if to > from => {
                if let Some(under_way) = self.under_way.get_mut(key) {
                    let made = *from == Mode::None;
                    under_way.route.get_or_insert(if made { Outcome::Made } else { Outcome::Upgraded });
                }
            }
            Effect::Complete(..) | Effect::NeedMemory(_) | Effect::Changed(..) => {}
        }
    }

    fn found(&mut self, key: ObjectKey, route: Outcome) {
        if let Some(under_way) = self.under_way.get_mut(&key) {
            under_way.route = Some(route);
        }
    }

    /// Halves what was lately, if it is time; says whether it was.
    pub(crate) fn fade(&mut self, now: Duration) -> bool {
        if now.saturating_sub(*self.faded.get_or_insert(now)) < FADING {
            return false;
        }
        self.faded = Some(now);
        self.sets.fade();
        self.hottest.fade();
        self.contended.fade();
        true
    }
}

/// What is told of it.
impl Observer {
    pub(crate) fn all_times(&self) -> Vec<Distribution> {
        self.times.clone()
    }

    pub(crate) fn of_kind(&self, kind: u8) -> Ends {
        self.kinds[usize::from(kind)]
    }

    pub(crate) fn of_sets(&self) -> Vec<Weighed<SetId, Misses>> {
        self.sets.heaviest(SETS)
    }

    pub(crate) fn hottest(&self) -> Vec<Weighed<ObjectKey>> {
        self.hottest.heaviest(OBJECTS)
    }

    pub(crate) fn contended(&self) -> Vec<Weighed<ObjectKey>> {
        self.contended.heaviest(OBJECTS)
    }

    /// Operations under way; those of one object.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    pub(crate) fn waiting_for(&self, key: ObjectKey) -> u32 {
        self.under_way.get(&key).map_or(0, |under_way| under_way.operations)
    }

    pub(crate) fn messages(&self) -> (Vec<u64>, Vec<u64>) {
        (self.sent.clone(), self.received.clone())
    }

    pub(crate) fn read_bytes(&self) -> u64 {
        self.read_bytes
    }

    pub(crate) fn linker_calls(&self) -> Calls {
        self.linker_calls
    }
}

/// Where the times of operations of that kind that ended so are kept.
pub(crate) fn place(kind: OperationKind, outcome: Outcome) -> usize {
    kind as usize * Outcome::ALL.len() + outcome as usize
}

fn bytes_of(node: NodeId, home: Option<NodeId>) -> Outcome {
    if Some(node) == home { Outcome::Home } else { Outcome::Owner }
}
