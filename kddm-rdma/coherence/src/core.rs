//! The core: its state, and the door through which everything enters.

use crate::chain::Chain;
use crate::collect::Kept;
use crate::copy::{LocalCopy, Order, Purpose, Since};
use crate::destroy::Ends;
use crate::directory::Directory;
use crate::entry::Holder;
use crate::inject::Rooms;
use crate::mutant::Mutant;
use crate::rebuild::{Doubt, Reported};
use crate::speculation::Speculation;
use crate::table::Table;
use crate::view::Views;
use crate::{Asked, Body, Effect, Input, Message, OpError, OpId, Operation, ReadToken, RequestKind, Store};
use kddm_object::{
    Incarnation, Location, Mode, NodeId, ObjectKey, Rid, Seq, SetPolicy, SlotId, ViewId, Word,
};
use std::collections::{BTreeMap, VecDeque};

/// How the loss of a node is dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Loss {
    /// Each node alone, as it notices ([`Input::PeerDown`]): the view is the configured list, and leases are infinite.
    Local,
    /// By agreed views ([`Input::View`]): until the first, nothing is granted.
    Agreed,
}

/// What a core is told at birth.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    /// This node.
    pub me: NodeId,
    /// This life of it.
    pub incarnation: Incarnation,
    /// The configured nodes, this one among them: the members of the view, unless views are agreed upon.
    pub members: Vec<NodeId>,
    /// How the loss of a node is dealt with.
    pub loss: Loss,
    /// Objects up to this size ride in messages; at most [`kddm_object::limits::INLINE_MAX`].
    pub inline_max: u32,
    /// How many locations are remembered for speculative READs. 0: nothing is speculated, and nobody else's speculation is good.
    pub hints: usize,
    /// Post a READ on every hint, even where that promises nothing: the model has more to see.
    pub eager: bool,
    /// UNSOUND, for showing that a test sees stale bytes: acknowledge invalidations without dropping the copy.
    pub unsound_keep_copies: bool,
    /// The mistake that is planted.
    #[cfg(feature = "mutants")]
    pub mutant: Option<crate::Mutant>,
}

/// The protocol's state on one node: its copies, and the directory of the objects that have their home here.
///
/// Invariants, for every object, over all nodes of the view (checked by the model and the random schedules):
/// 1. a node whose word is exclusive is the only one whose word is not `None`;
/// 2. a hold is only ever taken by a swap of a word that allows it;
/// 3. a node has at most one request outstanding, and at most one order of the home parked;
/// 4. a slot that a granted READ may still touch is neither released nor written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Core {
    pub(crate) config: Config,
    pub(crate) view: ViewId,
    /// The members of the view that keep directories, ascending.
    pub(crate) homes: Vec<NodeId>,
    pub(crate) views: Views,
    /// The other members of the view that are up, and their lives.
    pub(crate) up: BTreeMap<NodeId, Incarnation>,
    pub(crate) copies: Table<ObjectKey, LocalCopy>,
    pub(crate) directory: Directory,
    /// Objects homed here that the device may not have, and the first transaction since it had them.
    pub(crate) dirty: BTreeMap<ObjectKey, Since>,
    pub(crate) reads: Table<ReadToken, Reading>,
    /// Removes and syncs under way at their homes.
    pub(crate) calls: BTreeMap<Rid, Call>,
    /// Objects whose request or fill waits for a free slot.
    pub(crate) starved: VecDeque<ObjectKey>,
    /// What a home told us to say to lives of peers that we have not met.
    pub(crate) unmet: Vec<Unmet>,
    /// What follows the transactions of busy entries.
    pub(crate) chains: Table<ObjectKey, Chain>,
    /// Who was told to go on keeping a slot for a dead node, because its death may need the bytes.
    pub(crate) keepers: BTreeMap<ObjectKey, Vec<Keeper>>,
    /// The last life of each peer that we have met.
    pub(crate) met: BTreeMap<NodeId, Incarnation>,
    pub(crate) speculation: Speculation,
    pub(crate) ends: Ends,
    pub(crate) rooms: Rooms,
    /// Messages to this node itself, handled before the step ends.
    loopback: VecDeque<Message>,
    /// Empty between steps; there to be used again.
    pub(crate) others: Vec<Holder>,
    /// A slot was released in this step.
    pub(crate) freed: bool,
    next_rid: Rid,
    next_seq: Seq,
    next_read: ReadToken,
}

/// A remove or sync at its home.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Call {
    /// `None`: of a node that wants to leave, and waits for the answer.
    pub op: Option<OpId>,
    pub key: ObjectKey,
    pub kind: RequestKind,
}

/// A READ under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Reading {
    pub key: ObjectKey,
    pub landing: SlotId,
    /// Its request was given up; at its end, that node may release the slot it kept for that transaction.
    pub abandoned: Option<(NodeId, Seq)>,
}

/// Something to say to a life of a peer that we have not met yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Unmet {
    pub to: NodeId,
    pub life: Incarnation,
    pub key: ObjectKey,
    pub body: Body,
}

/// A node that keeps a slot of a transaction for a dead one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Keeper {
    pub node: NodeId,
    pub seq: Seq,
    pub dead: (NodeId, Incarnation),
}

/// What a step may touch beside the core.
pub(crate) struct Context<'a, S> {
    pub store: &'a mut S,
    pub effects: &'a mut Vec<Effect>,
}

impl<S> Context<'_, S> {
    pub fn complete(&mut self, purpose: Purpose, result: Result<Option<SlotId>, OpError>) {
        if let Purpose::Hold(op) | Purpose::Prefetch(op) = purpose {
            self.effects.push(Effect::Complete(op, result));
        }
    }
}

impl Core {
    /// A node that knows no object yet. All peers are down until [`Input::PeerUp`].
    pub fn new(mut config: Config) -> Core {
        config.members.sort_unstable();
        config.members.dedup();
        let start = config.incarnation.first_number();
        let (view, homes) = match config.loss {
            Loss::Local => (ViewId(1), config.members.clone()),
            Loss::Agreed => (ViewId(0), Vec::new()),
        };
        Core {
            view,
            homes,
            views: Views::new(config.loss),
            speculation: Speculation::new(config.hints),
            config,
            up: BTreeMap::new(),
            copies: Table::default(),
            directory: Directory::default(),
            dirty: BTreeMap::new(),
            reads: Table::default(),
            calls: BTreeMap::new(),
            starved: VecDeque::new(),
            unmet: Vec::new(),
            chains: Table::default(),
            keepers: BTreeMap::new(),
            met: BTreeMap::new(),
            ends: Ends::default(),
            rooms: Rooms::default(),
            loopback: VecDeque::new(),
            others: Vec::new(),
            freed: false,
            next_rid: Rid(start),
            next_seq: Seq(start),
            next_read: ReadToken(0),
        }
    }

    /// One step: takes `input`, changes words and slots through `store`, appends what is to be done.
    pub fn step<S: Store>(&mut self, input: Input, store: &mut S, effects: &mut Vec<Effect>) {
        let cx = &mut Context { store, effects };
        match input {
            Input::Begin(operation) => self.begin(operation, cx),
            Input::Cancel(key, op) => self.cancel(key, op, cx),
            Input::Released(key) => self.pump(key, cx),
            Input::Message(from, message) => self.receive(from, message, cx),
            Input::ReadDone(token, good) => self.read_done(token, good, cx),
            Input::LinkerDone(key, reply) => self.linker_done(key, reply, cx),
            Input::Cleaned(key) => self.cleaned(key, cx),
            Input::Evict(key) => self.evict(key, None, cx),
            Input::OutOfMemory(key) => self.out_of_memory(key, cx),
            Input::MemoryFreed => self.freed = true,
            Input::PeerUp(node, incarnation) => self.peer_up(node, incarnation, cx),
            Input::PeerDown(node) => self.peer_down(node, cx),
            Input::Renewed(life) => self.renewed(life),
            Input::View(view) => self.next_view(view, cx),
            Input::Fenced(view) => self.fenced(view, cx),
            Input::Lease(there) => self.lease(there, cx),
        }
        self.settle(cx);
        if self.views.is_changing() {
            self.try_report(cx);
            self.settle(cx);
        }
    }

    /// This life of the node.
    pub fn incarnation(&self) -> Incarnation {
        self.config.incarnation
    }

    /// The objects homed here that differ, or may differ, from what the device has; ascending.
    pub fn dirty(&self) -> impl Iterator<Item = ObjectKey> + '_ {
        self.dirty.keys().copied()
    }

    /// How many they are.
    pub fn dirty_count(&self) -> usize {
        self.dirty.len()
    }

    /// What this node knows of an object, for people: the copy, and the directory entry if this is the home.
    pub fn describe(&self, key: ObjectKey) -> String {
        match (self.copies.get(&key), self.directory.entry(key)) {
            (None, None) => "nothing known".into(),
            (Some(copy), None) => format!("copy {copy:?}"),
            (None, Some(entry)) => format!("entry {entry:?}"),
            (Some(copy), Some(entry)) => format!("entry {entry:?}; copy {copy:?}"),
        }
    }

    /// The same for administrators: who owns it, who may have copies, who waits.
    pub fn outline(&self, key: ObjectKey) -> String {
        let entry = self.directory.entry(key).map(|entry| format!("entry {}", entry.outline()));
        let copy = self.copies.get(&key).map(|copy| {
            let owner = if copy.named { "owner's copy" } else { "copy" };
            let waiting = copy.waiters.len();
            format!(
                "{owner}{}{}",
                copy.flags(),
                if waiting > 0 { format!(", {waiting} waiting") } else { String::new() }
            )
        });
        let dirty =
            if self.dirty.contains_key(&key) { Some("newer than the device".to_string()) } else { None };
        let known: Vec<String> = [entry, copy, dirty].into_iter().flatten().collect();
        if known.is_empty() { "nothing known".into() } else { known.join("; ") }
    }

    /// Whether nothing is under way: no request, no transaction, no order parked, nobody waiting.
    pub fn is_quiet(&self) -> bool {
        self.copies.values().all(LocalCopy::is_quiet)
            && self.directory.is_quiet()
            && self.reads.is_empty()
            && self.calls.is_empty()
            && self.ends.is_quiet()
            && self.views.is_quiet()
    }

    /// Whether hits may be answered: this node is a member, and its lease has not run out.
    pub fn may_hit(&self) -> bool {
        self.views.leased && !self.views.is_expelled()
    }

    /// Whether this node has no object any more: a member that leaves may go.
    pub fn is_drained(&self) -> bool {
        self.copies.is_empty()
    }

    /// The directory entry's state by name; empty if there is none.
    pub fn home_state(&self, key: ObjectKey) -> String {
        self.directory.entry(key).map_or(String::new(), |entry| entry.name())
    }

    /// The copy's state by name; empty if there is none.
    pub fn copy_state<S: Store>(&self, key: ObjectKey, store: &S) -> String {
        self.copies.get(&key).map_or(String::new(), |copy| copy.name(store))
    }

    /// Whether ours is the copy that others READ.
    pub fn is_named(&self, key: ObjectKey) -> bool {
        self.copies.get(&key).is_some_and(|copy| copy.named)
    }

    /// Whether the copy is left from a home that is gone, and ends with its last hold.
    pub fn is_forgetting(&self, key: ObjectKey) -> bool {
        self.copies.get(&key).is_some_and(LocalCopy::is_forgetting)
    }

    /// Whether a request or fill waits for a free slot.
    pub fn is_starving(&self) -> bool {
        !self.starved.is_empty()
    }

    /// Whether one of this object does.
    pub fn is_starved(&self, key: ObjectKey) -> bool {
        self.starved.contains(&key)
    }

    fn begin<S: Store>(&mut self, operation: Operation, cx: &mut Context<'_, S>) {
        let Operation { op, key, asked } = operation;
        let refused = if self.views.is_expelled() {
            Some(OpError::Expelled)
        } else if self.ends.is_over(key.set) && matches!(asked, Asked::Hold { .. } | Asked::Prefetch { .. }) {
            Some(OpError::Destroyed(key.set))
        } else {
            cx.store.policy(key.set).is_none().then_some(OpError::NoSet(key.set))
        };
        if let Some(error) = refused {
            cx.effects.push(Effect::Complete(op, Err(error)));
            return;
        }
        match asked {
            Asked::Hold { .. } | Asked::Prefetch { .. } => self.begin_hold(op, key, asked, cx),
            Asked::Remove => self.begin_call(Some(op), key, RequestKind::Remove, cx),
            Asked::Sync => self.begin_call(Some(op), key, RequestKind::Sync, cx),
            Asked::Flush => self.evict(key, Some(op), cx),
            Asked::Destroy => self.begin_destroy(op, key.set, cx),
        }
    }

    fn receive<S: Store>(&mut self, from: NodeId, message: Message, cx: &mut Context<'_, S>) {
        if message.view > self.view && self.config.loss == Loss::Agreed {
            self.views.later.push((from, message));
            return;
        }
        // A message of an earlier life or view says nothing about this one.
        let old = self.planted(Mutant::OldMessages) && self.up.contains_key(&from);
        if old || message.view == self.view && self.up.get(&from) == Some(&message.incarnation) {
            self.handle(from, message, cx);
        }
    }

    pub(crate) fn handle<S: Store>(&mut self, from: NodeId, message: Message, cx: &mut Context<'_, S>) {
        let key = message.key;
        self.speculation.hear(from, message.clock);
        match message.body {
            // at the home
            Body::Request(request) => self.home_request(from, key, request, cx),
            Body::Done { seq, location } => self.home_done(from, key, seq, location, cx),
            Body::Shared { seq, location } => self.home_shared(from, key, seq, location, cx),
            Body::Refused { seq } => self.home_refused(from, key, seq, cx),
            Body::Cancel { rid } => self.home_cancel(from, key, rid, cx),
            Body::Evict => self.home_evict(from, key, cx),
            Body::Room { slots } => self.told_room(from, key, slots, cx),
            Body::Drained { seq } => self.home_drained(from, key, seq, cx),
            Body::Kept { seq, to, life } => self.home_kept(from, key, seq, (to, life), cx),
            Body::Retrying { rid, seq } => self.home_retrying(from, key, rid, seq, cx),
            Body::Report { mode, named, copy, kept, since_view, since } => {
                let report = Reported { node: from, mode, named, copy, kept, since: (since_view, since) };
                self.reported_copy(key, report);
            }
            Body::Knew { what, view } => self.told_of(key, view, what),
            // at every member
            Body::Doubt { view, homes, gone } => self.doubt(Doubt { view, homes, gone }),
            Body::Reported { established, settled } => self.reported(from, established, settled, cx),
            Body::Opened => self.opened(from, cx),
            Body::Destroy { rid } => self.destroyed(from, key.set, rid, cx),
            // at the requester
            Body::Grant { rid, seq, source, acks, owner, exclusive } => {
                self.granted(key, rid, seq, source, acks, owner, exclusive, cx);
            }
            Body::Hand { seq, rid, source, exclusive } => {
                self.granted(key, rid, seq, source, Default::default(), Some(from), exclusive, cx);
            }
            Body::Ack { seq, of, retained, since } => {
                let kept = retained.map(|location| Kept { location, since: (self.view, since) });
                self.acked(of, key, seq, kept, cx);
            }
            Body::Nack { rid, why } => self.refused(key, rid, why, cx),
            Body::Finished { rid } if self.has_heard(from, rid, cx) => {}
            Body::Finished { rid } => self.finished(rid, Ok(None), cx),
            Body::Retry { rid, seq } => self.retry(key, rid, seq, cx),
            // at any member
            Body::AskRoom => self.tell_room(from, key, cx),
            Body::Inject => self.injected(from, key, cx),
            // at a holder
            Body::Invalidate { seq, requester, life, after, keep } => {
                let to = (requester, life);
                self.park(key, after, Order::Invalidate { seq, to, keep }, cx);
            }
            Body::Recall { seq, kind, requester, life, rid, after, try_only } => {
                let order = Order::Recall { seq, kind, to: (requester, life), rid };
                self.recall(key, after, order, try_only, cx);
            }
            Body::Drain { seq, after } => self.park(key, after, Order::Drain { seq }, cx),
            Body::Fetched { seq } => self.fetched(key, seq, cx),
            Body::Free { .. } => self.freed_of_naming(key, cx),
            Body::Restore { seq } => self.restore(key, seq, cx),
            Body::Discard { seq } => self.discard(from, key, seq, cx),
            Body::Rebuilt { keep } => self.rebuilt(key, keep, cx),
        }
    }

    /// Handles what this node said to itself and serves who waited for memory, until nothing is left.
    fn settle<S: Store>(&mut self, cx: &mut Context<'_, S>) {
        loop {
            while let Some(message) = self.loopback.pop_front() {
                self.handle(self.config.me, message, cx);
            }
            if !std::mem::take(&mut self.freed) || self.starved.is_empty() {
                return;
            }
            for key in std::mem::take(&mut self.starved) {
                self.retry_fill(key, cx);
                self.retry_land(key, cx);
                self.pump(key, cx);
            }
        }
    }

    // What the exchanges share.

    pub(crate) fn send<S>(&mut self, to: NodeId, key: ObjectKey, body: Body, cx: &mut Context<'_, S>) {
        let Config { me, incarnation, .. } = self.config;
        let message = Message { view: self.view, incarnation, clock: self.speculation.clock, key, body };
        if to == me {
            self.loopback.push_back(message);
        } else if self.up.contains_key(&to) {
            cx.effects.push(Effect::Send(to, message));
        }
    }

    /// Sends to a requester that the home named. It may have met the home before us.
    pub(crate) fn send_to_life<S>(
        &mut self,
        (to, life): (NodeId, Incarnation),
        key: ObjectKey,
        body: Body,
        cx: &mut Context<'_, S>,
    ) {
        if to == self.config.me || self.up.get(&to) == Some(&life) {
            self.send(to, key, body, cx);
        } else if self.met.get(&to).is_none_or(|met| *met < life) {
            self.unmet.push(Unmet { to, life, key, body });
        }
    }

    /// The life of a node that is up, ours included.
    pub(crate) fn life_of(&self, node: NodeId) -> Incarnation {
        if node == self.config.me {
            self.config.incarnation
        } else {
            self.up.get(&node).copied().unwrap_or_default()
        }
    }

    /// This node and all that are up.
    pub(crate) fn everyone(&self) -> Vec<NodeId> {
        self.up.keys().copied().chain([self.config.me]).collect()
    }

    pub(crate) fn is_reachable(&self, node: NodeId) -> bool {
        node == self.config.me || self.up.contains_key(&node)
    }

    pub(crate) fn home_of<S: Store>(&self, key: ObjectKey, store: &S) -> Option<(NodeId, SetPolicy)> {
        let policy = store.policy(key.set)?;
        Some((policy.home_of(key, &self.homes)?, policy))
    }

    pub(crate) fn new_rid(&mut self) -> Rid {
        self.next_rid = self.next_rid.next();
        if self.next_rid == Rid(0) {
            self.next_rid = Rid(1);
        }
        self.next_rid
    }

    pub(crate) fn new_seq(&mut self) -> Seq {
        self.next_seq = self.next_seq.next();
        if self.next_seq == Seq(0) {
            self.next_seq = Seq(1);
        }
        self.next_seq
    }

    pub(crate) fn read<S>(
        &mut self,
        key: ObjectKey,
        source: Location,
        landing: SlotId,
        length: u32,
        cx: &mut Context<'_, S>,
    ) -> ReadToken {
        self.next_read = ReadToken(self.next_read.0.wrapping_add(1));
        self.reads.insert(self.next_read, Reading { key, landing, abandoned: None });
        if let Some(request) = self.request_mut(key) {
            request.source = Some(source.node);
        }
        cx.effects.push(Effect::Read { token: self.next_read, source, landing, length });
        self.next_read
    }

    pub(crate) fn location<S: Store>(&self, slot: SlotId, store: &S) -> Location {
        Location { node: self.config.me, slot, generation: store.generation(slot) }
    }

    pub(crate) fn release<S: Store>(&mut self, slot: SlotId, cx: &mut Context<'_, S>) {
        cx.store.release(slot);
        self.freed = true;
    }

    pub(crate) fn starve<S: Store>(&mut self, key: ObjectKey, cx: &mut Context<'_, S>) {
        if !self.starved.contains(&key) {
            self.starved.push_back(key);
        }
        cx.effects.push(Effect::NeedMemory(key));
    }
}

/// Changes a word by `change` unless that says no; gives the word as it was and whether it was changed.
pub(crate) fn swap<S: Store>(
    store: &mut S,
    slot: SlotId,
    change: impl Fn(Word) -> Option<Word>,
) -> (Word, bool) {
    let mut old = store.load(slot);
    loop {
        let Some(new) = change(old) else { return (old, false) };
        if new == old {
            return (old, true);
        }
        match store.swap(slot, old, new) {
            Ok(()) => return (old, true),
            Err(now) => old = now,
        }
    }
}

/// Sets the mode of a copy, whatever holds it has, and says so.
pub(crate) fn set_mode<S: Store>(key: ObjectKey, slot: SlotId, mode: Mode, cx: &mut Context<'_, S>) {
    let (old, _) = swap(cx.store, slot, |word| Some(word.with_mode(mode)));
    if old.mode() != mode {
        cx.effects.push(Effect::Changed(key, old.mode(), mode));
    }
}
