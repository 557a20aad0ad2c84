//! The world: nodes, links, READs, devices, threads.

use crate::{Action, Memory, Truth, Violation, Want};
use kddm_coherence::{
    Asked, Body, Config, Core, Effect, Input, LinkerCall, LinkerReply, Message, OpError, OpId, Operation,
    ReadToken, RequestKind, Store,
};
use kddm_object::{
    Durability, FirstTouch, Hold, Incarnation, Location, Mode, NodeId, ObjectKey, Release, Rid, SetId, SlotId,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How a world is made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Options {
    /// Nodes, 1 to 8.
    pub nodes: u8,
    /// Threads of each node.
    pub threads: usize,
    /// Operations of each thread.
    pub operations: usize,
    /// Slots of each node.
    pub slots: usize,
    /// The objects: (home, durable).
    pub objects: Vec<(u8, bool)>,
    /// Whether bytes ride in messages.
    pub inline: bool,
    /// What threads may want.
    pub wants: Vec<Want>,
    /// Nodes may die and return, so often.
    pub kills: usize,
    /// Linker calls may fail.
    pub device_fails: bool,
    /// Copies may be evicted at any time, so often.
    pub evictions: usize,
    /// READs may start over, so often.
    pub repeats: usize,
    /// Waiting threads may give up.
    pub cancels: bool,
    /// The fault that the checks must see.
    pub unsound_keep_copies: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            nodes: 2,
            threads: 1,
            operations: 2,
            slots: 4,
            objects: vec![(1, false)],
            inline: false,
            wants: vec![Want::Hold(Hold::Shared), Want::Hold(Hold::Exclusive)],
            kills: 0,
            device_fails: false,
            evictions: 0,
            repeats: 0,
            cancels: false,
            unsound_keep_copies: false,
        }
    }
}

/// Which transitions were taken, and how often: (side, before, what happened, after).
pub type Transitions = BTreeMap<(&'static str, String, &'static str, String), u64>;

/// Some nodes and everything between them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    options: Options,
    nodes: BTreeMap<NodeId, Node>,
    links: BTreeMap<(NodeId, NodeId), VecDeque<Item>>,
    reads: Vec<Read>,
    linkers: Vec<(NodeId, ObjectKey, LinkerCall)>,
    devices: BTreeMap<ObjectKey, u64>,
    truth: Truth,
    /// Grabs in the order in which their home got them, while no node dies.
    arrivals: BTreeMap<ObjectKey, VecDeque<(NodeId, Rid)>>,
    kills: usize,
    evictions: usize,
    repeats: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Node {
    incarnation: Incarnation,
    /// `None` while dead.
    life: Option<Life>,
    threads: Vec<Thread>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Life {
    core: Core,
    memory: Memory,
    /// Peers as this node knows them.
    sessions: BTreeMap<NodeId, Incarnation>,
    starving: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Thread {
    left: usize,
    doing: Doing,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Doing {
    Nothing,
    Waiting { key: ObjectKey, want: Want, before: u64 },
    Holding { key: ObjectKey, slot: SlotId, hold: Hold, value: u64 },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Item {
    Message(Box<Message>),
    Up(Incarnation),
    Down,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Read {
    reader: NodeId,
    token: ReadToken,
    source: Location,
    life: Incarnation,
    landing: SlotId,
    step: usize,
}

fn node_id(id: u8) -> NodeId {
    NodeId::new(id).expect("worlds have 1 to 8 nodes")
}

impl World {
    /// A world in which nothing has happened, and all nodes know of each other.
    pub fn new(options: Options) -> World {
        let ids: Vec<NodeId> = (1..=options.nodes).map(node_id).collect();
        let mut world = World {
            nodes: BTreeMap::new(),
            links: BTreeMap::new(),
            reads: Vec::new(),
            linkers: Vec::new(),
            devices: BTreeMap::new(),
            truth: Truth::default(),
            arrivals: BTreeMap::new(),
            kills: options.kills,
            evictions: options.evictions,
            repeats: options.repeats,
            options,
        };
        for &id in &ids {
            let mut life = world.new_life(id, Incarnation(1));
            for &peer in ids.iter().filter(|&&peer| peer != id) {
                life.core.step(Input::PeerUp(peer, Incarnation(1)), &mut life.memory, &mut Vec::new());
                life.sessions.insert(peer, Incarnation(1));
            }
            let thread = Thread { left: world.options.operations, doing: Doing::Nothing };
            let threads = vec![thread; world.options.threads];
            world.nodes.insert(id, Node { incarnation: Incarnation(1), life: Some(life), threads });
        }
        world
    }

    fn new_life(&self, me: NodeId, incarnation: Incarnation) -> Life {
        let members = (1..=self.options.nodes).map(node_id).collect();
        let inline_max = if self.options.inline { 256 } else { 0 };
        let unsound_keep_copies = self.options.unsound_keep_copies;
        let core = Core::new(Config { me, incarnation, members, inline_max, unsound_keep_copies });
        let memory = Memory::new(self.options.slots, usize::from(self.options.slots > 3));
        Life { core, memory, sessions: BTreeMap::new(), starving: false }
    }

    /// The objects of this world.
    pub fn keys(&self) -> Vec<ObjectKey> {
        let key = |(number, &(home, durable)): (usize, &(u8, bool))| {
            let set = SetId::from_parts(u8::from(durable), u32::from(home) << 24, 0);
            ObjectKey::new(set, number as u32)
        };
        self.options.objects.iter().enumerate().map(key).collect()
    }

    /// A node works when it has met all that are alive: what it asks may come from any of them.
    fn has_met_all(&self, id: NodeId) -> bool {
        let mut alive = self.nodes.iter().filter(|(other, node)| **other != id && node.life.is_some());
        let sessions = self.nodes[&id].life.as_ref().map(|life| &life.sessions);
        sessions
            .is_some_and(|sessions| alive.all(|(other, node)| sessions.get(other) == Some(&node.incarnation)))
    }

    /// Everything that can happen now. With `draining`, only what brings the world to rest.
    pub fn actions(&self, draining: bool) -> Vec<Action> {
        let mut actions = Vec::new();
        for (&id, node) in &self.nodes {
            let Some(life) = &node.life else {
                if self.may_restart(id) {
                    actions.push(Action::Restart(id));
                }
                continue;
            };
            for (place, thread) in node.threads.iter().enumerate() {
                match &thread.doing {
                    Doing::Nothing if draining || thread.left == 0 || !self.has_met_all(id) => {}
                    Doing::Nothing => {
                        for key in self.keys() {
                            actions.extend(
                                self.options.wants.iter().map(|&want| Action::Start(id, place, key, want)),
                            );
                        }
                    }
                    Doing::Waiting { .. } if self.options.cancels && !draining => {
                        actions.push(Action::Cancel(id, place))
                    }
                    Doing::Waiting { .. } => {}
                    Doing::Holding { .. } => actions.push(Action::Put(id, place)),
                }
            }
            if (self.evictions > 0 && !draining) || life.starving {
                let unheld = life.memory.indexed().filter(|(_, _, word)| !word.held());
                actions.extend(unheld.map(|(key, _, _)| Action::Evict(id, key)));
            }
            if self.kills > 0 && !draining && self.may_die(id) {
                actions.extend((0..3).map(|kept| Action::Kill(id, kept)));
            }
        }
        let full = self.links.iter().filter(|(_, items)| !items.is_empty());
        actions.extend(full.map(|(&(from, to), _)| Action::Deliver(from, to)));
        actions.extend((0..self.reads.len()).map(Action::Read));
        if self.repeats > 0 && !draining {
            let begun = self.reads.iter().enumerate().filter(|(_, read)| read.step > 0);
            actions.extend(begun.map(|(place, _)| Action::Repeat(place)));
        }
        actions.extend((0..self.linkers.len()).map(Action::Linker));
        if self.options.device_fails && !draining {
            actions.extend((0..self.linkers.len()).map(Action::LinkerFails));
        }
        actions
    }

    /// A home dies only when nobody else holds its objects: a hold outlives its home for less time than a start takes
    /// (docs/assumptions.md).
    fn may_die(&self, id: NodeId) -> bool {
        let holds_here = |thread: &Thread| match thread.doing {
            Doing::Holding { key, .. } => home(key) == id,
            _ => false,
        };
        let others = self.nodes.iter().filter(|(other, _)| **other != id);
        others.clone().all(|(_, node)| node.life.is_some())
            && !others.flat_map(|(_, node)| &node.threads).any(holds_here)
    }

    /// A node returns when its peers have noticed its end.
    fn may_restart(&self, id: NodeId) -> bool {
        let unread = |peer: NodeId| self.links.get(&(id, peer)).is_some_and(|items| !items.is_empty());
        let held = |node: &Node| {
            node.threads
                .iter()
                .any(|thread| matches!(thread.doing, Doing::Holding { key, .. } if home(key) == id))
        };
        self.nodes
            .iter()
            .filter(|(other, _)| **other != id)
            .all(|(&other, node)| node.life.is_some() && !unread(other) && !held(node))
    }

    /// Applies one action and checks the promises.
    ///
    /// # Errors
    /// The promise that was broken.
    pub fn apply(&mut self, action: Action, taken: &mut Transitions) -> Result<(), Violation> {
        match action {
            Action::Start(node, thread, key, want) => self.start(node, thread, key, want, taken)?,
            Action::Put(node, thread) => self.put(node, thread, taken)?,
            Action::Cancel(node, thread) => self.cancel(node, thread, taken)?,
            Action::Deliver(from, to) => self.deliver(from, to, taken)?,
            Action::Read(place) => self.read(place, taken)?,
            Action::Repeat(place) => {
                self.repeats -= 1;
                self.reads[place].step = 0;
            }
            Action::Linker(place) => self.linker(place, false, taken)?,
            Action::LinkerFails(place) => self.linker(place, true, taken)?,
            Action::Evict(node, key) => {
                self.evictions = self.evictions.saturating_sub(1);
                self.step(node, Input::Evict(key), taken)?;
            }
            Action::Kill(node, kept) => self.kill(node, kept),
            Action::Restart(node) => self.restart(node),
        }
        self.check_modes()
    }

    fn start(
        &mut self,
        id: NodeId,
        place: usize,
        key: ObjectKey,
        want: Want,
        taken: &mut Transitions,
    ) -> Result<(), Violation> {
        let op = OpId(place as u64);
        let hold = |hold, first_touch, try_only| Asked::Hold { hold, first_touch, try_only, reserve: false };
        let asked = match want {
            Want::Hold(it) => hold(it, FirstTouch::Make, false),
            Want::Try(it) => hold(it, FirstTouch::Make, true),
            Want::Existing(it) => hold(it, FirstTouch::Refuse, false),
            Want::Manual => hold(Hold::Exclusive, FirstTouch::Manual, false),
            Want::Prefetch => Asked::Prefetch,
            Want::Remove => Asked::Remove,
            Want::Sync => Asked::Sync,
            Want::Flush => Asked::Flush,
        };
        let before = match want {
            Want::Remove => self.truth.remove_begins(key),
            Want::Sync => self.truth.sync_begins(key),
            _ => 0,
        };
        let thread = self.thread(id, place);
        thread.left -= 1;
        thread.doing = Doing::Waiting { key, want, before };
        if let Asked::Hold { hold, .. } = asked {
            let life = self.life(id);
            if let Some(slot) = life.memory.lookup(key) {
                let word = life.memory.load(slot);
                if let Ok(new) = word.hold(hold) {
                    life.memory
                        .swap(slot, word, new)
                        .map_err(|_| Violation("a swap without a rival failed".into()))?;
                    return self.complete(id, op, Ok(Some(slot)));
                }
            }
        }
        self.step(id, Input::Begin(Operation { op, key, asked }), taken)
    }

    fn put(&mut self, id: NodeId, place: usize, taken: &mut Transitions) -> Result<(), Violation> {
        let Doing::Holding { key, slot, hold, value } = self.thread(id, place).doing.clone() else {
            return Err(Violation("put without a hold".into()));
        };
        self.thread(id, place).doing = Doing::Nothing;
        let written = (hold == Hold::Exclusive).then_some(value);
        self.truth.put(key, (id, place), written);
        let life = self.life(id);
        if let Some(value) = written {
            life.memory.poke(slot, 1, value);
        }
        let word = life.memory.load(slot);
        let Some((new, told)) = word.release(hold) else {
            return Err(Violation(format!(
                "node {id}: the word {word:?} of {key:?} does not know the hold that ends"
            )));
        };
        life.memory.swap(slot, word, new).map_err(|_| Violation("a swap without a rival failed".into()))?;
        match told {
            Release::Notify => self.step(id, Input::Released(key), taken),
            Release::Quiet => Ok(()),
        }
    }

    fn cancel(&mut self, id: NodeId, place: usize, taken: &mut Transitions) -> Result<(), Violation> {
        let Doing::Waiting { key, want, before } = self.thread(id, place).doing.clone() else {
            return Ok(());
        };
        if want == Want::Remove {
            // It may still be done, at any time: as if it never ended.
            let _ = before;
        }
        self.thread(id, place).doing = Doing::Nothing;
        self.step(id, Input::Cancel(key, OpId(place as u64)), taken)
    }

    fn deliver(&mut self, from: NodeId, to: NodeId, taken: &mut Transitions) -> Result<(), Violation> {
        let Some(item) = self.links.get_mut(&(from, to)).and_then(VecDeque::pop_front) else { return Ok(()) };
        match item {
            Item::Message(message) => {
                self.note_order(from, to, &message)?;
                self.step(to, Input::Message(from, *message), taken)
            }
            Item::Up(incarnation) => {
                self.life(to).sessions.insert(from, incarnation);
                self.step(to, Input::PeerUp(from, incarnation), taken)
            }
            Item::Down => {
                self.life(to).sessions.remove(&from);
                while let Some(place) =
                    self.reads.iter().position(|read| read.reader == to && read.source.node == from)
                {
                    let read = self.reads.remove(place);
                    self.step(to, Input::ReadDone(read.token, false), taken)?;
                }
                self.step(to, Input::PeerDown(from), taken)
            }
        }
    }

    /// Grabs of different nodes end in the order in which their home got them.
    fn note_order(&mut self, from: NodeId, to: NodeId, message: &Message) -> Result<(), Violation> {
        if self.options.kills > 0 || home(message.key) != to {
            return Ok(());
        }
        let line = self.arrivals.entry(message.key).or_default();
        match &message.body {
            Body::Request(request) if request.kind == RequestKind::Grab => {
                line.push_back((from, request.rid))
            }
            Body::Retrying { .. } => line.retain(|(node, _)| *node != from),
            Body::Done { .. } if line.iter().any(|(node, _)| *node == from) => {
                if line.pop_front().is_none_or(|(node, _)| node != from) {
                    return Err(Violation(format!("{from} was granted {:?} out of turn", message.key)));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn read(&mut self, place: usize, taken: &mut Transitions) -> Result<(), Violation> {
        let Read { reader, token, source, life, landing, step } = self.reads[place].clone();
        let node = &self.nodes[&source.node];
        let Some(from) = node.life.as_ref().filter(|_| node.incarnation == life) else {
            self.reads.remove(place);
            return self.step(reader, Input::ReadDone(token, false), taken);
        };
        if self.options.kills > 0 && from.memory.generation(source.slot) != source.generation {
            // Without agreed views a home's death lets slots go under READs whose requests die with it: the fabrics of
            // today see that by the generation (docs/assumptions.md).
            self.reads.remove(place);
            return self.step(reader, Input::ReadDone(token, false), taken);
        }
        let word = from.memory.peek(source.slot, step);
        self.life(reader).memory.poke(landing, step, word);
        if step == 0 {
            self.reads[place].step = 1;
            return Ok(());
        }
        self.reads.remove(place);
        self.step(reader, Input::ReadDone(token, true), taken)
    }

    fn linker(&mut self, place: usize, fails: bool, taken: &mut Transitions) -> Result<(), Violation> {
        let (id, key, call) = self.linkers.remove(place);
        if fails {
            return self.step(id, Input::LinkerDone(key, LinkerReply::Failed(5)), taken);
        }
        let device = self.devices.get(&key).copied();
        let memory = &mut self.life(id).memory;
        let mut fill = |slot, value| (0..2).for_each(|word| memory.poke(slot, word, value));
        let mut reply = LinkerReply::Ok;
        match (call, device) {
            (LinkerCall::Insert { slot, .. }, Some(value)) => fill(slot, value),
            (LinkerCall::Insert { slot, make: true } | LinkerCall::FirstTouch { slot }, _) => fill(slot, 0),
            (LinkerCall::Insert { .. }, None) => reply = LinkerReply::Absent,
            (LinkerCall::Sync { slot }, _) => {
                let words = [memory.peek(slot, 0), memory.peek(slot, 1)];
                if words[0] != words[1] {
                    return Err(Violation(format!("the device got torn bytes of {key:?}: {words:x?}")));
                }
                self.devices.insert(key, words[0]);
            }
            (LinkerCall::Remove, _) => {
                self.devices.remove(&key);
            }
        }
        self.step(id, Input::LinkerDone(key, reply), taken)
    }

    fn kill(&mut self, id: NodeId, kept: usize) {
        self.kills -= 1;
        let keys: BTreeSet<ObjectKey> =
            self.keys().into_iter().filter(|&key| self.may_lose(id, key)).collect();
        let devices = &self.devices;
        self.truth.node_dies(id, |key| keys.contains(&key), |key| devices.get(&key).copied().unwrap_or(0));
        if let Some(node) = self.nodes.get_mut(&id) {
            node.life = None;
            for thread in &mut node.threads {
                // A remove that it asked for may still be done.
                thread.doing = Doing::Nothing;
            }
        }
        self.reads.retain(|read| read.reader != id);
        self.linkers.retain(|(node, _, _)| *node != id);
        for (&(from, to), items) in &mut self.links {
            if to == id {
                items.clear();
            } else if from == id {
                items.truncate(kept);
            }
        }
        let peers: Vec<NodeId> = self.nodes.keys().copied().filter(|&peer| peer != id).collect();
        for peer in peers {
            self.links.entry((id, peer)).or_default().push_back(Item::Down);
        }
    }

    /// Whether the death of `id` may take what was put into `key` with it.
    fn may_lose(&self, id: NodeId, key: ObjectKey) -> bool {
        let Some(life) = &self.nodes[&id].life else { return false };
        // Wherever it is on its way to or from that node, or the directory that knows where it is.
        let word = life.memory.lookup(key).map(|slot| life.memory.load(slot));
        home(key) == id
            || word.is_some_and(|word| word.mode() == Mode::Exclusive)
            || self.reads.iter().any(|read| read.source.node == id)
            || !life.core.is_quiet()
            || self.nodes.values().flat_map(|node| &node.life).any(|other| !other.core.is_quiet())
            || self.is_owner(id, key)
    }

    /// Whether no loss of a node is still being dealt with.
    fn is_settled(&self) -> bool {
        let told = |items: &VecDeque<Item>| items.iter().all(|item| !matches!(item, Item::Down));
        self.links.values().all(told)
            && self.nodes.values().flat_map(|node| &node.life).all(|life| life.core.is_quiet())
    }

    fn is_owner(&self, id: NodeId, key: ObjectKey) -> bool {
        self.nodes[&id].life.as_ref().is_some_and(|life| life.core.is_named(key))
    }

    fn restart(&mut self, id: NodeId) {
        let peers: Vec<NodeId> = self.nodes.keys().copied().filter(|&peer| peer != id).collect();
        let incarnation = self.nodes[&id].incarnation.next();
        for key in self.keys().into_iter().filter(|&key| home(key) == id) {
            self.truth.home_returns(key, self.devices.get(&key).copied().unwrap_or(0));
        }
        let life = self.new_life(id, incarnation);
        if let Some(node) = self.nodes.get_mut(&id) {
            node.incarnation = incarnation;
            node.life = Some(life);
        }
        for peer in peers {
            self.links.entry((id, peer)).or_default().push_back(Item::Up(incarnation));
            let theirs = self.nodes[&peer].incarnation;
            self.links.entry((peer, id)).or_default().push_back(Item::Up(theirs));
        }
    }

    fn step(&mut self, id: NodeId, input: Input, taken: &mut Transitions) -> Result<(), Violation> {
        let happened = name(&input);
        let keys = self.keys();
        let Some(life) = self.nodes.get_mut(&id).and_then(|node| node.life.as_mut()) else { return Ok(()) };
        let look = |life: &Life| -> Vec<(String, String)> {
            keys.iter()
                .map(|&key| (life.core.home_state(key), life.core.copy_state(key, &life.memory)))
                .collect()
        };
        let before = look(life);
        let mut effects = Vec::new();
        life.core.step(input, &mut life.memory, &mut effects);
        for ((home_before, copy_before), (home_after, copy_after)) in before.into_iter().zip(look(life)) {
            for (side, before, after) in
                [("home", home_before, home_after), ("copy", copy_before, copy_after)]
            {
                if before != after {
                    *taken.entry((side, before, happened, after)).or_default() += 1;
                }
            }
        }
        life.starving = life.core.is_starving();
        for effect in effects {
            self.effect(id, effect)?;
        }
        Ok(())
    }

    fn effect(&mut self, id: NodeId, effect: Effect) -> Result<(), Violation> {
        match effect {
            Effect::Send(to, message) => {
                if to == id {
                    return Err(Violation(format!("node {id} sent {message:?} to itself")));
                }
                if let (Body::Nack { rid, .. }, Some(line)) =
                    (&message.body, self.arrivals.get_mut(&message.key))
                {
                    line.retain(|waiting| *waiting != (to, *rid));
                }
                let now = self.nodes[&to].incarnation;
                if self.life(id).sessions.get(&to) == Some(&now) {
                    self.links.entry((id, to)).or_default().push_back(Item::Message(Box::new(message)));
                }
            }
            Effect::Read { token, source, landing, .. } => {
                if source.node == id {
                    return Err(Violation(format!("node {id} READs from itself")));
                }
                let life = self.life(id).sessions.get(&source.node).copied();
                let life = life.unwrap_or(Incarnation(0));
                self.reads.push(Read { reader: id, token, source, life, landing, step: 0 });
            }
            Effect::Linker(key, call) => self.linkers.push((id, key, call)),
            Effect::Complete(op, result) => self.complete(id, op, result)?,
            Effect::NeedMemory(_) => {}
            Effect::Changed(key, before, after) => {
                if before == after {
                    return Err(Violation(format!(
                        "node {id} says that {key:?} changed from {before:?} to {after:?}"
                    )));
                }
            }
        }
        Ok(())
    }

    fn complete(
        &mut self,
        id: NodeId,
        op: OpId,
        result: Result<Option<SlotId>, OpError>,
    ) -> Result<(), Violation> {
        let place = op.0 as usize;
        let Doing::Waiting { key, want, before } = self.thread(id, place).doing.clone() else {
            return Err(Violation(format!(
                "node {id} completed {op:?}, for which nobody waits, with {result:?}"
            )));
        };
        self.thread(id, place).doing = Doing::Nothing;
        let hold = match want {
            Want::Hold(hold) | Want::Try(hold) | Want::Existing(hold) => Some(hold),
            Want::Manual => Some(Hold::Exclusive),
            _ => None,
        };
        self.check_result(id, key, want, hold, result)?;
        match (want, result) {
            (Want::Remove, _) => self.truth.remove_ends(key, before, result.is_ok()),
            (Want::Sync, Ok(_)) if is_durable(key) => {
                self.truth.sync_ends(key, before, self.devices.get(&key).copied().unwrap_or(0))?;
            }
            _ => {}
        }
        let (Some(hold), Ok(Some(slot))) = (hold, result) else { return Ok(()) };
        let memory = &self.life(id).memory;
        let seen = [memory.peek(slot, 0), memory.peek(slot, 1)];
        let settled = self.is_settled();
        self.truth.held(key, (id, place), hold, seen, settled)?;
        let mut value = 0;
        if hold == Hold::Exclusive {
            // Half a write: whoever reads now sees it.
            value = self.truth.next_value();
            self.life(id).memory.poke(slot, 0, value);
        }
        self.thread(id, place).doing = Doing::Holding { key, slot, hold, value };
        Ok(())
    }

    fn check_result(
        &self,
        id: NodeId,
        key: ObjectKey,
        want: Want,
        hold: Option<Hold>,
        result: Result<Option<SlotId>, OpError>,
    ) -> Result<(), Violation> {
        let crashes = self.options.kills > 0;
        let allowed = match result {
            Ok(slot) => slot.is_some() == hold.is_some(),
            Err(OpError::WouldBlock) => matches!(want, Want::Try(_)),
            Err(OpError::Absent) => matches!(want, Want::Existing(_)),
            Err(OpError::Device(_)) => self.options.device_fails,
            Err(OpError::PeerLost(_) | OpError::Lost) => crashes,
            Err(_) => false,
        };
        if allowed {
            Ok(())
        } else {
            Err(Violation(format!("node {id}: {want:?} of {key:?} ended with {result:?}")))
        }
    }

    /// One exclusive copy, or many shared ones.
    fn check_modes(&self) -> Result<(), Violation> {
        if self.options.unsound_keep_copies {
            return Ok(());
        }
        for key in self.keys() {
            let modes = self.nodes.iter().filter_map(|(id, node)| {
                let life = node.life.as_ref()?;
                let mode = life.memory.load(life.memory.lookup(key)?).mode();
                (mode != Mode::None && !life.core.is_forgetting(key)).then_some((*id, mode))
            });
            let modes: Vec<(NodeId, Mode)> = modes.collect();
            if modes.len() > 1 && modes.iter().any(|(_, mode)| *mode == Mode::Exclusive) {
                return Err(Violation(format!("{key:?} is exclusive beside other copies: {modes:?}")));
            }
        }
        Ok(())
    }

    /// Nothing can happen any more: then every operation has ended and every slot is accounted for.
    ///
    /// # Errors
    /// What is left over.
    pub fn check_rest(&self) -> Result<(), Violation> {
        for (id, node) in &self.nodes {
            if let Some(thread) = node.threads.iter().find(|thread| thread.doing != Doing::Nothing) {
                return Err(Violation(format!(
                    "node {id}: an operation never ends: {thread:?}; {}",
                    self.describe()
                )));
            }
            let Some(life) = &node.life else { continue };
            if !life.core.is_quiet() {
                return Err(Violation(format!("node {id} is not at rest: {}", self.describe())));
            }
            let copies = life.memory.indexed().count();
            if copies != life.memory.taken() {
                return Err(Violation(format!(
                    "node {id}: {} slots taken for {copies} copies",
                    life.memory.taken()
                )));
            }
        }
        Ok(())
    }

    /// The states by name, a line for each node that knows an object; for traces.
    pub fn outline(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (id, node) in &self.nodes {
            let Some(life) = &node.life else { continue };
            for key in self.keys() {
                let (home, copy) = (life.core.home_state(key), life.core.copy_state(key, &life.memory));
                let word = life
                    .memory
                    .lookup(key)
                    .map(|slot| (slot, life.memory.load(slot), life.memory.peek(slot, 0)));
                if !home.is_empty() || !copy.is_empty() {
                    lines.push(format!("   n{id} {key:?}  [{home}]  {copy}  {word:?}"));
                }
            }
        }
        lines
    }

    /// What the link would deliver next, or the READ or linker call would do; for traces.
    pub fn preview(&self, action: Action) -> String {
        match action {
            Action::Deliver(from, to) => match self.links.get(&(from, to)).and_then(VecDeque::front) {
                Some(Item::Message(message)) => {
                    format!("{from} -> {to}: {:?} {:?}", message.key, message.body)
                }
                other => format!("{from} -> {to}: {other:?}"),
            },
            Action::Read(place) | Action::Repeat(place) => format!("{action:?} {:?}", self.reads[place]),
            Action::Linker(place) | Action::LinkerFails(place) => {
                format!("{action:?} {:?}", self.linkers[place])
            }
            _ => format!("{action:?}"),
        }
    }

    /// All that the cores know, for people.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for (id, node) in &self.nodes {
            for key in self.keys() {
                let known = node.life.as_ref().map_or("dead".into(), |life| life.core.describe(key));
                text += &format!("\n  node {id} {key:?}: {known}");
            }
        }
        text
    }

    fn life(&mut self, id: NodeId) -> &mut Life {
        self.nodes.get_mut(&id).and_then(|node| node.life.as_mut()).expect("only living nodes act")
    }

    fn thread(&mut self, id: NodeId, place: usize) -> &mut Thread {
        &mut self.nodes.get_mut(&id).expect("the node is in this world").threads[place]
    }
}

fn home(key: ObjectKey) -> NodeId {
    node_id((key.set.subject() >> 24) as u8)
}

fn is_durable(key: ObjectKey) -> bool {
    crate::memory::policy(key.set).durability == Durability::WriteBack
}

fn name(input: &Input) -> &'static str {
    match input {
        Input::Begin(operation) => match operation.asked {
            Asked::Hold { hold: Hold::Shared, .. } => "get",
            Asked::Hold { hold: Hold::Exclusive, .. } => "grab",
            Asked::Prefetch => "prefetch",
            Asked::Remove => "remove",
            Asked::Sync => "sync",
            Asked::Flush => "flush",
        },
        Input::Cancel(..) => "cancel",
        Input::Released(_) => "put",
        Input::ReadDone(_, true) => "READ done",
        Input::ReadDone(_, false) => "READ failed",
        Input::LinkerDone(..) => "linker done",
        Input::Cleaned(_) => "cleaned",
        Input::Evict(_) => "evict",
        Input::MemoryFreed => "memory freed",
        Input::OutOfMemory(_) => "out of memory",
        Input::PeerUp(..) => "peer up",
        Input::PeerDown(_) => "peer down",
        Input::Message(_, message) => match &message.body {
            Body::Request(request) => match request.kind {
                RequestKind::Get => "REQ get",
                RequestKind::Grab => "REQ grab",
                RequestKind::Remove => "REQ remove",
                RequestKind::Sync => "REQ sync",
            },
            Body::Grant { .. } => "GRANT",
            Body::Nack { .. } => "NACK",
            Body::Finished { .. } => "FINISHED",
            Body::Invalidate { .. } => "INV",
            Body::Ack { .. } => "ACK",
            Body::Recall { .. } => "RECALL",
            Body::Refused { .. } => "REFUSED",
            Body::Hand { .. } => "HAND",
            Body::Shared { .. } => "SHARED",
            Body::Done { .. } => "DONE",
            Body::Fetched { .. } => "FETCHED",
            Body::Evict => "EVICT",
            Body::Drain { .. } => "DRAIN",
            Body::Drained { .. } => "DRAINED",
            Body::Free { .. } => "FREE",
            Body::Retry { .. } => "RETRY",
            Body::Restore { .. } => "RESTORE",
            Body::Retrying { .. } => "RETRYING",
            Body::Kept { .. } => "KEPT",
        },
    }
}
