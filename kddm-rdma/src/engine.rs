//! What is under the engine's lock: the core, the fabric, the operations; and the carrying out of effects.

use crate::{
    PeerState, Standing,
    figures::{self, Observer},
    inner::Inner,
    operations::{Abandoned, Operations, Outcome},
    pressure::Shortage,
    quarantine::Quarantine,
    read_ahead::ReadAhead,
    status::Counts,
    store::Memory,
    trace::{Trace, Tracer},
};
use kddm_coherence::{
    Asked, Core, Effect, Input, LinkerCall, LinkerReply, Loss, OpError, OpId, Operation, Speculations,
};
use kddm_fabric::{Counters, Event, Transport};
use kddm_object::{FirstTouch, Hold, Incarnation, Mode, NodeId, NodeSet, ObjectKey, SlotId};
use smallvec::SmallVec;
use std::{
    collections::VecDeque,
    mem,
    task::{Context, Poll, Waker},
    time::Duration,
};

/// What is left to do when the lock is given back, because it runs code of others.
pub(crate) enum After {
    Wake(Waker),
    Call(ObjectKey, LinkerCall),
    MakeRoom(ObjectKey),
    WatchShortage,
    WatchQuarantine,
    MoveAway,
    Tell,
}

pub(crate) type Afterwards = SmallVec<[After; 4]>;

/// Something that a linker wants to be told.
pub(crate) enum Told {
    Changed(ObjectKey, Mode, Mode),
    Put(ObjectKey),
}

/// The engine. Whoever holds the lock steps the core and carries out what comes of it.
pub(crate) struct Engine {
    me: NodeId,
    core: Core,
    transport: Box<dyn Transport>,
    operations: Operations,
    shortage: Shortage,
    read_ahead: ReadAhead,
    most_ahead: u32,
    quarantine: Quarantine,
    inputs: VecDeque<Input>,
    effects: Vec<Effect>,
    events: Vec<Event>,
    /// By who holds the lock.
    polled: bool,
    after: Afterwards,
    told: VecDeque<Told>,
    up: NodeSet,
    waiting_for_peers: Vec<Waker>,
    /// Others go on without this life of the node. When all peers are down, it begins another.
    outlived: bool,
    /// Where the node stood when the lock was given back last, and who waits for that to change.
    stood: Standing,
    watching: Vec<Waker>,
    /// Members of the view whose connections have broken since it was adopted.
    lost: NodeSet,
    moves_away: bool,
    /// It was expelled, and has broken its connections.
    cut_off: bool,
    counts: Counts,
    observer: Observer,
    tracer: Tracer,
    stopped: bool,
}

impl Engine {
    pub(crate) fn new(me: NodeId, core: Core, mut transport: Box<dyn Transport>) -> Engine {
        if core.loss() == Loss::Local {
            transport.forbid_returns();
        }
        Engine {
            me,
            core,
            transport,
            operations: Operations::default(),
            shortage: Shortage::default(),
            read_ahead: ReadAhead::default(),
            most_ahead: u32::MAX,
            quarantine: Quarantine::default(),
            inputs: VecDeque::new(),
            effects: Vec::new(),
            events: Vec::new(),
            polled: false,
            after: Afterwards::new(),
            told: VecDeque::new(),
            up: NodeSet::EMPTY,
            waiting_for_peers: Vec::new(),
            outlived: false,
            stood: Standing::default(),
            watching: Vec::new(),
            lost: NodeSet::EMPTY,
            moves_away: false,
            cut_off: false,
            counts: Counts::default(),
            observer: Observer::default(),
            tracer: Tracer::default(),
            stopped: false,
        }
    }

    /// Before the lock is given back: what was queued to the network, and out with what others have to do.
    pub(crate) fn leave(&mut self, node: &Inner) -> Afterwards {
        let polled = mem::take(&mut self.polled);
        loop {
            // The node's own thread flushes the rest before it sleeps; who comes by goes away.
            match polled {
                true => self.transport.flush_urgent(),
                false => self.transport.flush(),
            }
            if !self.take_in(node, |transport, events| transport.finished(events)) {
                break;
            }
        }
        if !self.told.is_empty() {
            self.after.push(After::Tell);
        }
        if !self.watching.is_empty() && self.stood != self.standing(node) {
            self.after.extend(self.watching.drain(..).map(After::Wake));
        }
        mem::take(&mut self.after)
    }

    /// Begins an operation that somebody waits for.
    pub(crate) fn begin(
        &mut self,
        node: &Inner,
        key: ObjectKey,
        asked: Asked,
        hold: Option<Hold>,
    ) -> Result<OpId, OpError> {
        if self.stopped {
            return Err(OpError::PeerLost(self.me));
        }
        self.counts.misses += 1;
        let op = self.operations.begin(key, hold, false);
        self.observe_begin(node, op, key, asked);
        self.input(node, Input::Begin(Operation { op, key, asked }));
        if let Asked::Hold { hold: Hold::Shared, try_only: false, .. } = asked {
            self.go_ahead(node, key);
        }
        Ok(op)
    }

    /// Asks for what who got `key`, and missed, will get next. Not if memory is short.
    fn go_ahead(&mut self, node: &Inner, key: ObjectKey) {
        let most = node.families.read_ahead(key.set).min(self.most_ahead);
        if most == 0 || self.shortage.is_there() {
            return;
        }
        let copy = Asked::Prefetch { hold: Hold::Shared, first_touch: FirstTouch::Refuse };
        for object in self.read_ahead.missed(key, most) {
            let key = ObjectKey::new(key.set, object);
            if node.arena.lookup(key).is_none() {
                self.counts.read_ahead += 1;
                self.begin_detached(node, key, copy);
            }
        }
    }

    pub(crate) fn set_read_ahead(&mut self, most: u32) {
        self.most_ahead = most;
    }

    /// Begins an operation that nobody waits for.
    pub(crate) fn begin_detached(&mut self, node: &Inner, key: ObjectKey, asked: Asked) {
        if !self.stopped {
            let op = self.operations.begin(key, None, true);
            self.observe_begin(node, op, key, asked);
            self.input(node, Input::Begin(Operation { op, key, asked }));
        }
    }

    fn observe_begin(&mut self, node: &Inner, op: OpId, key: ObjectKey, asked: Asked) {
        let now = node.host.now();
        if self.observer.fade(now) {
            node.hits.fade();
        }
        self.observer.begin(op, key, asked, now);
    }

    pub(crate) fn poll_operation(&mut self, op: OpId, waker: &Waker) -> Option<Outcome> {
        self.operations.poll(op, waker)
    }

    /// Nobody waits for `op` any more, which counts as `how`. If it has left a hold, the caller ends that once the lock is given back.
    pub(crate) fn abandon(
        &mut self,
        node: &Inner,
        op: OpId,
        how: figures::Outcome,
    ) -> Option<(Hold, SlotId)> {
        match self.operations.abandon(op)? {
            Abandoned::Unfinished(key) => {
                self.observer.give_up(op, how, node.host.now());
                self.input(node, Input::Cancel(key, op));
            }
            Abandoned::Ended => {}
            Abandoned::Held(hold, slot) => return Some((hold, slot)),
        }
        None
    }

    /// Ends operations without the core.
    fn fail(&mut self, node: &Inner, operations: Vec<(OpId, ObjectKey)>, why: OpError) {
        for (op, key) in operations {
            // Cancelling one may have ended the next.
            if self.operations.is_unfinished(op) {
                self.input(node, Input::Cancel(key, op));
                self.complete(node, op, Err(why));
            }
        }
    }

    /// Looks once at the network; true if something had happened.
    pub(crate) fn poll_transport(&mut self, node: &Inner) -> bool {
        self.polled = true;
        self.take_in(node, |transport, events| transport.poll(events))
    }

    /// What the fabric tells; false if that is nothing.
    fn take_in(&mut self, node: &Inner, tell: impl FnOnce(&mut dyn Transport, &mut Vec<Event>)) -> bool {
        let mut events = mem::take(&mut self.events);
        tell(&mut *self.transport, &mut events);
        let any = !events.is_empty();
        for event in events.drain(..) {
            if let Some(input) = self.meet(node, event) {
                self.input(node, input);
            }
        }
        self.events = events;
        if self.outlived && self.up.is_empty() && !self.stopped {
            self.renew(node);
        }
        any
    }

    fn renew(&mut self, node: &Inner) {
        self.outlived = false;
        let life = self.core.incarnation().next();
        tracing::warn!(incarnation = %life, "this node begins a new life");
        self.input(node, Input::Renewed(life));
        self.transport.renew(life);
    }

    fn meet(&mut self, inner: &Inner, event: Event) -> Option<Input> {
        Some(match event {
            Event::Message(from, message) => {
                self.observer.received(from, &message, || inner.home_of(message.key, self.core.homes()));
                Input::Message(from, message)
            }
            Event::ReadDone(token, good) => Input::ReadDone(token, good),
            Event::PeerUp(node, incarnation) => {
                tracing::info!(peer = %node, %incarnation, "peer is there");
                self.up.insert(node);
                self.after.extend(self.waiting_for_peers.drain(..).map(After::Wake));
                Input::PeerUp(node, incarnation)
            }
            Event::PeerDown { node, certain, reason } => {
                if self.stopped {
                    tracing::debug!(peer = %node, "left behind");
                } else {
                    tracing::warn!(peer = %node, certain, reason, "peer is lost; what needs it fails until it is back");
                }
                self.up.remove(node);
                let unchecked = self.core.loss() == Loss::Local && !self.transport.checks_generations();
                if unchecked && self.quarantine.begin(inner.host.now()) {
                    self.after.push(After::WatchQuarantine);
                }
                if self.core.is_member(node) {
                    self.lost.insert(node);
                }
                Input::PeerDown(node)
            }
            Event::Outlived { by } => {
                tracing::warn!(peer = %by, "given up while it lived, or its peers were: what it had of theirs is gone");
                self.outlived = true;
                return None;
            }
            Event::Refused { node, reason } => {
                tracing::warn!(peer = node.map(NodeId::get), reason, "a connection was refused");
                return None;
            }
        })
    }

    /// Takes one step, and all that follow from it here and now.
    pub(crate) fn input(&mut self, node: &Inner, input: Input) {
        if self.core.may_hit() && !node.lease.has_time(&*node.host) {
            self.inputs.push_back(Input::Lease(false));
        }
        self.inputs.push_back(input);
        while let Some(input) = self.inputs.pop_front() {
            let mut freed = 0;
            let mut memory = Memory {
                arena: &node.arena,
                families: &node.families,
                quarantine: &mut self.quarantine,
                freed: &mut freed,
            };
            let view = self.core.view();
            if self.tracer.is_on() {
                self.tracer.before(&input, node.host.now());
            }
            self.core.step(input, &mut memory, &mut self.effects);
            if self.core.view() != view {
                self.lost = NodeSet::EMPTY;
            }
            if freed != 0 {
                self.shortage.freed(freed, || node.host.now());
            }
            let mut effects = mem::take(&mut self.effects);
            for effect in effects.drain(..) {
                self.carry_out(node, effect);
            }
            self.effects = effects;
            if self.tracer.is_on() {
                self.tracer.after(|key| self.core.outline(key), node.host.now());
            }
        }
        self.follow_view(node);
    }

    /// What an adopted view asks of the node itself.
    fn follow_view(&mut self, node: &Inner) {
        if self.core.is_expelled() && !mem::replace(&mut self.cut_off, true) {
            // Before anything of its memory is used again: who does not know yet must not READ it.
            node.lease.set(Duration::ZERO);
            self.transport.flush();
            self.transport.disconnect();
        }
        if self.core.is_leaving() && !mem::replace(&mut self.moves_away, true) {
            self.after.push(After::MoveAway);
        }
    }

    /// Until then the node may use what it has.
    pub(crate) fn lease(&mut self, node: &Inner, until: Duration) {
        if self.core.loss() == Loss::Local || self.core.is_expelled() {
            return;
        }
        let (had, has) = (self.core.may_hit(), node.host.now() < until);
        node.lease.set(until);
        if had != has {
            self.input(node, Input::Lease(has));
        }
    }

    /// Asks all copies to go; false if there is nothing more to do.
    pub(crate) fn move_away(&mut self, node: &Inner) -> bool {
        self.moves_away = self.core.is_leaving() && !self.stopped && !self.standing(node).drained;
        if self.moves_away {
            let copies = self.core.copied_keys();
            self.evict(node, &copies);
        }
        self.moves_away
    }

    pub(crate) fn standing(&self, node: &Inner) -> Standing {
        Standing {
            view: self.core.view(),
            settled: self.core.is_settled(),
            drained: self.core.is_leaving() && self.core.is_drained() && self.core.is_quiet(),
            expelled: self.core.is_expelled(),
            lost: self.lost,
            leased: self.core.may_hit() && node.lease.has_time(&*node.host),
        }
    }

    pub(crate) fn watch_standing(&mut self, node: &Inner, waker: Waker) {
        self.stood = self.standing(node);
        self.watching.push(waker);
    }

    /// The members of the view that keep directories.
    pub(crate) fn homes(&self) -> &[NodeId] {
        self.core.homes()
    }

    fn carry_out(&mut self, node: &Inner, effect: Effect) {
        self.observer.told(self.me, &effect, |slot| {
            let key = node.arena.key_of(slot)?;
            (node.home_of(key, self.core.homes()) == Some(self.me)).then_some(key)
        });
        if self.tracer.is_on() {
            self.tracer.effect(&effect, |slot| node.arena.key_of(slot), node.host.now());
        }
        match effect {
            Effect::Send(to, message) if message.can_wait() => self.transport.send_lazily(to, &message),
            Effect::Send(to, message) => self.transport.send(to, &message),
            Effect::Read { token, source, landing, length } => {
                self.transport.read(token, source, landing, length);
            }
            Effect::Linker(key, call) => self.call(node, key, call),
            Effect::Complete(op, outcome) => self.complete(node, op, outcome),
            Effect::NeedMemory(key) => self.need_memory(node, key),
            Effect::Changed(key, from, to) => {
                if node.notified(key) {
                    self.told.push_back(Told::Changed(key, from, to));
                }
            }
        }
    }

    /// A linker call runs without the lock; what needs none is done at once.
    fn call(&mut self, node: &Inner, key: ObjectKey, call: LinkerCall) {
        self.counts.linker_calls += 1;
        match (node.families.linker(key.set), call) {
            (Some(_), _) => self.after.push(After::Call(key, call)),
            (None, LinkerCall::FirstTouch { slot }) => {
                let reply = node.fill_with_zeros(key, slot);
                self.inputs.push_back(Input::LinkerDone(key, reply));
            }
            (None, LinkerCall::Insert { .. } | LinkerCall::Sync { .. } | LinkerCall::Remove) => {
                tracing::error!(set = %key.set, object = key.object, "the set's policy says write-back, but its family has no linker on this node");
                self.inputs.push_back(Input::LinkerDone(key, LinkerReply::Failed(nix::libc::ENODEV)));
            }
        }
    }

    fn complete(&mut self, node: &Inner, op: OpId, outcome: Outcome) {
        self.observer.end(op, outcome.map(drop), node.host.now());
        self.counts.failed += u64::from(outcome.is_err());
        match self.operations.end(op, outcome) {
            Ok(waker) => self.after.extend(waker.map(After::Wake)),
            Err(()) => tracing::error!(?op, ?outcome, "BUG: an operation ended that nobody began, or twice"),
        }
    }

    fn need_memory(&mut self, node: &Inner, key: ObjectKey) {
        let Some(size) = node.families.policy(key.set).map(|policy| policy.object_size) else { return };
        let noted = self.shortage.note(key, size, node.host.now());
        if noted.first_of_class {
            self.after.push(After::MakeRoom(key));
        }
        if noted.first {
            self.after.push(After::WatchShortage);
        }
    }

    /// Somebody may spare these.
    pub(crate) fn evict(&mut self, node: &Inner, victims: &[ObjectKey]) {
        for &victim in victims {
            self.counts.evictions += 1;
            self.input(node, Input::Evict(victim));
        }
    }

    /// Looks again at what memory is wanted for; false if there is nothing.
    pub(crate) fn watch_shortage(&mut self, node: &Inner) -> bool {
        for key in self.shortage.hopeless(node.host.now()) {
            tracing::warn!(set = %key.set, object = key.object, "no memory for it, and nothing that could be evicted");
            self.input(node, Input::OutOfMemory(key));
            // What was granted already waits on for a place to land, but nobody has to wait for it.
            let waiting = self.operations.unfinished(|other, hold| other == key && hold);
            self.fail(node, waiting, OpError::NoMemory);
        }
        // Who still waits says so again.
        self.shortage.begin_round();
        self.input(node, Input::MemoryFreed);
        self.shortage.end_round()
    }

    /// Ends the quarantine when it is time, or says until when to wait.
    pub(crate) fn watch_quarantine(&mut self, node: &Inner) -> Option<Duration> {
        let mut freed = 0;
        let until = self.quarantine.look(&node.arena, node.host.now(), &mut freed);
        if freed != 0 {
            self.shortage.freed(freed, || node.host.now());
            self.input(node, Input::MemoryFreed);
        }
        until
    }

    /// Makes the fabric ready for sleep; true if it has to be polled once more before.
    pub(crate) fn arm(&mut self) -> bool {
        self.transport.arm()
    }

    /// The last hold of an object that others wait for was put.
    pub(crate) fn released(&mut self, node: &Inner, key: ObjectKey) {
        self.observer.released(key);
        if node.notified(key) {
            self.told.push_back(Told::Put(key));
        }
        self.input(node, Input::Released(key));
    }

    pub(crate) fn next_told(&mut self) -> Option<Told> {
        self.told.pop_front()
    }

    pub(crate) fn poll_connected(&mut self, node: &Inner, context: &mut Context<'_>) -> Poll<()> {
        if self.stopped || node.members.iter().all(|&member| member == self.me || self.up.contains(member)) {
            return Poll::Ready(());
        }
        self.waiting_for_peers.push(context.waker().clone());
        Poll::Pending
    }

    pub(crate) fn dirty(&self) -> Vec<ObjectKey> {
        self.core.dirty().collect()
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.core.is_quiet()
            && !self.core.is_starving()
            && self.inputs.is_empty()
            && self.operations.unfinished(|_, _| true).is_empty()
    }

    pub(crate) fn is_known(&self, key: ObjectKey) -> bool {
        !self.core.home_state(key).is_empty()
    }

    pub(crate) fn describe(&self, key: ObjectKey) -> String {
        self.core.outline(key)
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        self.core.incarnation()
    }

    pub(crate) fn observe(&self) -> (Vec<PeerState>, Counts, Counters) {
        let Speculations { posted, good } = self.core.speculations();
        let counts = Counts { speculations: posted, good_speculations: good, ..self.counts };
        (self.transport.peers(), counts, self.transport.counters())
    }

    pub(crate) fn trace(&mut self, node: &Inner, key: ObjectKey, after: u64, limit: usize) -> Trace {
        let now = node.host.now();
        self.tracer.fetch(key, after, limit, now, |key| self.core.outline(key))
    }

    pub(crate) fn observed(&self) -> &Observer {
        &self.observer
    }

    pub(crate) fn dirty_count(&self) -> usize {
        self.core.dirty_count()
    }

    pub(crate) fn quarantined(&self) -> usize {
        self.quarantine.count()
    }

    pub(crate) fn descriptor(&self) -> Option<std::os::fd::RawFd> {
        self.transport.descriptor()
    }

    /// No operation begins any more, and those that wait fail. False if that was so already.
    pub(crate) fn stop(&mut self, node: &Inner) -> bool {
        if mem::replace(&mut self.stopped, true) {
            return false;
        }
        let waiting = self.operations.unfinished(|_, _| true);
        self.fail(node, waiting, OpError::PeerLost(self.me));
        self.after.extend(self.waiting_for_peers.drain(..).map(After::Wake));
        self.transport.flush();
        self.transport.disconnect();
        true
    }

    pub(crate) fn stopped(&self) -> bool {
        self.stopped
    }
}
