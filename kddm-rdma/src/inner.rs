//! The node behind its public face: the engine's lock, and what is done outside it.

use crate::{
    Host, NodeError, NodeStatus, ObjectDump,
    calls::Instances,
    engine::{After, Afterwards, Engine, Told},
    event_loop::EventLoop,
    family::Families,
    figures::{FamilyFigures, Figures, Hits, LINKER_CALLS, Misses, SetFigures, Weighed},
    membership::Lease,
    pressure,
    sync::Mutex,
};
use kddm_coherence::{Input, LinkerReply, MessageKind};
use kddm_memory::Arena;
use kddm_object::{Hold, Mode, NodeId, ObjectKey, SetId, SlotId};
use std::{
    sync::{Arc, Weak},
    time::Duration,
};

/// A node. Nobody who holds the engine's lock calls a linker, wakes a task or puts a guard.
pub(crate) struct Inner {
    this: Weak<Inner>,
    pub(crate) me: NodeId,
    pub(crate) members: Vec<NodeId>,
    pub(crate) lease: Lease,
    pub(crate) arena: Arc<Arena>,
    pub(crate) host: Arc<dyn Host>,
    pub(crate) families: Families,
    pub(crate) instances: Instances,
    pub(crate) hits: Hits,
    engine: Mutex<Engine>,
    telling: Mutex<()>,
    event_loop: Option<EventLoop>,
}

impl Inner {
    #[allow(clippy::too_many_arguments, reason = "what a node is made of")]
    pub(crate) fn start(
        me: NodeId,
        members: Vec<NodeId>,
        lease: Lease,
        engine: Engine,
        arena: Arc<Arena>,
        host: Arc<dyn Host>,
        families: Families,
    ) -> Result<Arc<Inner>, NodeError> {
        let event_loop = engine.descriptor().map(EventLoop::new).transpose()?;
        let inner = Arc::new_cyclic(|this| Inner {
            this: this.clone(),
            me,
            members,
            lease,
            arena,
            host,
            families,
            instances: Instances::default(),
            hits: Hits::default(),
            engine: Mutex::new(engine),
            telling: Mutex::new(()),
            event_loop,
        });
        let weak = inner.this.clone();
        let released = move |key| {
            if let Some(node) = weak.upgrade() {
                node.enter(|engine| engine.released(&node, key));
            }
        };
        if !inner.arena.on_notify(Box::new(released)) {
            return Err(NodeError::ArenaTaken);
        }
        if inner.event_loop.is_some() {
            let node = inner.clone();
            let name = format!("kddm-node-{me}");
            inner.host.spawn_thread(&name, Box::new(move || node.sleep_and_turn()));
        }
        Ok(inner)
    }

    /// Does something with the engine, and then what that left to do outside the lock.
    pub(crate) fn enter<R>(&self, action: impl FnOnce(&mut Engine) -> R) -> R {
        let (result, mut after) = self.locked(action);
        while !after.is_empty() {
            let mut next = Afterwards::new();
            for item in after {
                next.extend(self.follow_up(item));
            }
            after = next;
        }
        result
    }

    fn locked<R>(&self, action: impl FnOnce(&mut Engine) -> R) -> (R, Afterwards) {
        let mut engine = self.engine.lock();
        let result = action(&mut engine);
        (result, engine.leave(self))
    }

    /// Never enters the engine more than one level deep: what follows is handed back.
    fn follow_up(&self, item: After) -> Afterwards {
        match item {
            After::Wake(waker) => waker.wake(),
            After::Call(key, call) => match self.families.linker(key.set) {
                Some(linker) if linker.blocks() => {
                    let node = self.this.upgrade();
                    let job = Box::new(move || {
                        if let Some(node) = node {
                            let reply = node.call_linker(key, call);
                            node.enter(|engine| engine.input(&node, Input::LinkerDone(key, reply)));
                        }
                    });
                    match linker.waits_for_others(key) {
                        true => self.host.spawn_thread("kddm-waits", job),
                        false => self.host.run_blocking(job),
                    }
                }
                _ => {
                    let reply = self.call_linker(key, call);
                    return self.locked(|engine| engine.input(self, Input::LinkerDone(key, reply))).1;
                }
            },
            After::MakeRoom(key) => return self.make_room(key),
            After::WatchShortage => self.watch_shortage(),
            After::WatchQuarantine => self.watch_quarantine(),
            After::MoveAway => self.move_away(),
            After::Tell => self.tell(),
        }
        Afterwards::new()
    }

    fn make_room(&self, key: ObjectKey) -> Afterwards {
        let Some(policy) = self.families.policy(key.set) else { return Afterwards::new() };
        let mut victims = Vec::with_capacity(pressure::VICTIMS);
        self.arena.victims(policy.object_size, pressure::VICTIMS, &mut victims);
        victims.retain(|&victim| !self.wants_to_keep(victim));
        self.locked(|engine| engine.evict(self, &victims)).1
    }

    /// Looks again and again until nobody waits for memory.
    fn watch_shortage(&self) {
        let Some(node) = self.this.upgrade() else { return };
        self.host.clone().spawn(Box::pin(async move {
            loop {
                node.host.sleep(pressure::LOOK_AGAIN).await;
                if !node.enter(|engine| engine.watch_shortage(&node)) {
                    return;
                }
            }
        }));
    }

    /// Sleeps until the slots that wait since a peer was lost may be used again.
    fn watch_quarantine(&self) {
        let (weak, host) = (self.this.clone(), self.host.clone());
        self.host.spawn(Box::pin(async move {
            let look = || {
                let node = weak.upgrade()?;
                node.enter(|engine| engine.watch_quarantine(&node))
            };
            while let Some(until) = look() {
                host.sleep(until.saturating_sub(host.now())).await;
            }
        }));
    }

    /// This node leaves: asks its copies to go, again and again until none is left. Those that are held go when they are put.
    fn move_away(&self) {
        let Some(node) = self.this.upgrade() else { return };
        self.host.clone().spawn(Box::pin(async move {
            while node.enter(|engine| engine.move_away(&node)) {
                node.host.sleep(pressure::LOOK_AGAIN).await;
            }
        }));
    }

    /// Tells linkers what they want to know, in the order in which it happened.
    fn tell(&self) {
        loop {
            // Whoever is telling looks again after it has let go.
            let Some(_turn) = self.telling.try_lock() else { return };
            let mut told = false;
            while let Some(news) = { self.engine.lock().next_told() } {
                told = true;
                match news {
                    Told::Changed(key, from, to) => self.tell_change(key, from, to),
                    Told::Put(key) => {
                        if let Some(linker) = self.families.linker(key.set) {
                            linker.put_object(key);
                        }
                    }
                }
            }
            if !told {
                return;
            }
        }
    }

    fn tell_change(&self, key: ObjectKey, from: Mode, to: Mode) {
        let Some(linker) = self.families.linker(key.set) else { return };
        linker.change_state(key, from, to);
        if from == Mode::None {
            linker.alloc_object(key);
        }
        if to > from {
            linker.import_object(key);
        } else if to < from {
            linker.export_object(key);
        }
    }

    /// Looks once at the network; true if something had happened.
    pub(crate) fn turn(&self) -> bool {
        self.enter(|engine| engine.poll_transport(self))
    }

    fn sleep_and_turn(&self) {
        if let Some(event_loop) = &self.event_loop {
            let arm = || self.engine.lock().arm();
            event_loop.run(&*self.host, || self.turn(), arm, || self.engine.lock().stopped());
        }
    }

    pub(crate) fn set_spin(&self, time: Duration) {
        if let Some(event_loop) = &self.event_loop {
            event_loop.set_spin(time);
        }
    }

    /// Ends a hold that nobody will use.
    pub(crate) fn put(&self, hold: Hold, slot: SlotId) {
        match hold {
            Hold::Shared => drop(self.arena.adopt_shared(slot)),
            Hold::Exclusive => drop(self.arena.adopt_exclusive(slot)),
        }
    }

    /// Zeros, as first touch has them.
    pub(crate) fn fill_with_zeros(&self, key: ObjectKey, slot: SlotId) -> LinkerReply {
        const ZEROS: [u8; 4096] = [0; 4096];
        let length = self.families.policy(key.set).map_or(0, |policy| policy.object_size as usize);
        for offset in (0..length).step_by(ZEROS.len()) {
            let piece = &ZEROS[..ZEROS.len().min(length - offset)];
            if !self.arena.copy_in(slot, offset, piece) {
                tracing::error!(set = %key.set, object = key.object, ?slot, "BUG: a first touch got a slot that is too small");
                return LinkerReply::Failed(nix::libc::EIO);
            }
        }
        LinkerReply::Ok
    }

    pub(crate) fn status(&self) -> NodeStatus {
        let engine = self.engine.lock();
        let (incarnation, (peers, mut counts, fabric)) = (engine.incarnation(), engine.observe());
        drop(engine);
        counts.hits = self.hits.sum(Hold::Shared) + self.hits.sum(Hold::Exclusive);
        NodeStatus {
            me: self.me,
            incarnation,
            members: self.members.clone(),
            peers,
            counts,
            fabric,
            memory: self.arena.usage(),
        }
    }

    pub(crate) fn figures(&self) -> Figures {
        let status = self.status();
        let hits_of_sets = self.hits.of_sets();
        let hits = [Hold::Shared, Hold::Exclusive].map(|hold| self.hits.sum(hold));
        let engine = self.engine.lock();
        let observed = engine.observed();
        let families = self.families.all().map(|(kind, name)| {
            let (hits, ends) = (self.hits.of_kind(kind), observed.of_kind(kind));
            FamilyFigures { kind, name: name.to_owned(), hits, ends }
        });
        let (sent, received) = observed.messages();
        Figures {
            status,
            hits,
            families: families.collect(),
            sets: sets(&hits_of_sets, observed.of_sets()),
            hottest: observed.hottest(),
            contended: observed.contended(),
            waiting: observed.waiting(),
            messages: MessageKind::ALL
                .iter()
                .zip(sent)
                .zip(received)
                .map(|((kind, sent), got)| (*kind, sent, got))
                .collect(),
            read_bytes: observed.read_bytes(),
            linker_calls: LINKER_CALLS.into_iter().zip(observed.linker_calls()).collect(),
            quarantined: engine.quarantined(),
            dirty: engine.dirty_count(),
            times: observed.all_times(),
        }
    }

    /// The home of an object, if these are the nodes that keep directories.
    pub(crate) fn home_of(&self, key: ObjectKey, homes: &[NodeId]) -> Option<NodeId> {
        self.families.policy(key.set).and_then(|policy| policy.home_of(key, homes))
    }

    pub(crate) fn dump(&self, key: ObjectKey) -> ObjectDump {
        let engine = self.engine.lock();
        let home = self.home_of(key, engine.homes());
        let word = self.arena.lookup(key).map(|slot| self.arena.load(slot));
        let waiting = engine.observed().waiting_for(key);
        ObjectDump { key, home, word, waiting, state: engine.describe(key) }
    }

    pub(crate) fn shutdown(&self) {
        if self.enter(|engine| engine.stop(self)) {
            self.uninstantiate_all();
        }
        match &self.event_loop {
            Some(event_loop) => event_loop.stop(),
            None => {
                self.turn();
            }
        }
    }
}

/// What is known of sets, of those that had hits and of those that had misses.
fn sets(hits: &[(SetId, u64)], misses: Vec<Weighed<SetId, Misses>>) -> Vec<SetFigures> {
    let hits_of = |set| hits.iter().find(|(other, _)| *other == set).map_or(0, |(_, hits)| *hits);
    let missed: Vec<SetFigures> = misses
        .into_iter()
        .map(|place| SetFigures { set: place.key, hits: hits_of(place.key), misses: place.value })
        .collect();
    let only_hit = hits.iter().filter(|(set, _)| missed.iter().all(|known| known.set != *set));
    let only_hit = only_hit.map(|&(set, hits)| SetFigures { set, hits, misses: Misses::default() });
    only_hit.chain(missed.iter().cloned()).collect()
}
