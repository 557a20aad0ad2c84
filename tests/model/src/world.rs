//! The world: nodes, links, READs, devices, threads.

mod check;
mod happen;
mod loss;
mod name;
mod threads;
mod views;

use crate::memory::{is_hashed, is_lock, policy, set_of};
use crate::{Action, Memory, Truth, Violation, Want};
use kddm_coherence::{
    Asked, Body, Config, Core, Effect, Input, LinkerCall, LinkerReply, Loss, Message, OpError, OpId,
    Operation, ReadToken, RequestKind, Store,
};
use kddm_object::{
    Durability, FirstTouch, Hold, Incarnation, Location, Mode, NodeId, ObjectKey, Refused, Release, Rid,
    SetId, SlotId,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use threads::{Doing, Thread};
use views::Membership;

/// How a world is made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Options {
    /// Nodes, 1 to 8.
    pub nodes: u8,
    /// Threads of each node.
    pub threads: usize,
    /// Operations of each thread.
    pub operations: usize,
    /// So many nodes, the last, start none: they are homes and members.
    pub idle: u8,
    /// Slots of each node.
    pub slots: usize,
    /// The objects: (home, durable); home 0: wherever the hash says.
    pub objects: Vec<(u8, bool)>,
    /// Volatile objects have no bytes, as far as the core knows.
    pub locks: bool,
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
    /// A node may find that there will be no slot.
    pub shortage: bool,
    /// Waiting threads may give up.
    pub cancels: bool,
    /// Programs may die at any point, so often.
    pub deaths: usize,
    /// A hit loads the word and swaps it, a put too and then tells: each a step of its own.
    pub word_steps: bool,
    /// Views are agreed upon; else each node deals alone with the loss of others.
    pub views: bool,
    /// So many of the nodes are no members at first.
    pub outsiders: u8,
    /// Nodes may leave in good order, so often.
    pub leaves: usize,
    /// Dead and expelled nodes do not return.
    pub stay_dead: bool,
    /// Locations that a node remembers for speculative READs.
    pub hints: usize,
    /// They post one whenever they remember one.
    pub eager: bool,
    /// The fault that the checks must see.
    pub unsound_keep_copies: bool,
    /// The mistake of the threads that they must see.
    pub unsound: Option<Unsound>,
    /// And any other.
    #[cfg(feature = "mutants")]
    pub mutant: Option<kddm_coherence::Mutant>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            nodes: 2,
            threads: 1,
            operations: 2,
            idle: 0,
            slots: 4,
            objects: vec![(1, false)],
            locks: false,
            inline: false,
            wants: vec![Want::Hold(Hold::Shared), Want::Hold(Hold::Exclusive)],
            kills: 0,
            device_fails: false,
            evictions: 0,
            repeats: 0,
            shortage: false,
            cancels: false,
            deaths: 0,
            word_steps: false,
            views: false,
            outsiders: 0,
            leaves: 0,
            stay_dead: false,
            hints: 0,
            eager: false,
            unsound_keep_copies: false,
            unsound: None,
            #[cfg(feature = "mutants")]
            mutant: None,
        }
    }
}

/// A mistake that the threads of a world make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unsound {
    /// The holds of a range are asked for together, and taken in the order in which they come.
    CrossedRanges,
    /// A put writes the word that it has loaded, whatever has become of it.
    BlindPut,
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
    membership: Membership,
    kills: usize,
    deaths: usize,
    leaves: usize,
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
            membership: Membership::default(),
            kills: options.kills,
            deaths: options.deaths,
            leaves: options.leaves,
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
            let threads = vec![Thread::new(world.options.operations); world.options.threads];
            world.nodes.insert(id, Node { incarnation: Incarnation(1), life: Some(life), threads });
        }
        if world.options.views {
            world.open_first_view();
        }
        world
    }

    fn new_life(&self, me: NodeId, incarnation: Incarnation) -> Life {
        let members = (1..=self.options.nodes).map(node_id).collect();
        let inline_max = if self.options.inline { 256 } else { 0 };
        let unsound_keep_copies = self.options.unsound_keep_copies;
        let loss = if self.options.views { Loss::Agreed } else { Loss::Local };
        let core = Core::new(Config {
            me,
            incarnation,
            members,
            loss,
            inline_max,
            hints: self.options.hints,
            eager: self.options.eager,
            unsound_keep_copies,
            #[cfg(feature = "mutants")]
            mutant: self.options.mutant,
        });
        let memory = Memory::new(self.options.slots, usize::from(self.options.slots > 3), incarnation);
        Life { core, memory, sessions: BTreeMap::new(), starving: false }
    }

    /// The objects of this world.
    pub fn keys(&self) -> Vec<ObjectKey> {
        let key = |(number, &(home, durable)): (usize, &(u8, bool))| {
            ObjectKey::new(set_of(home, durable, self.options.locks), number as u32)
        };
        self.options.objects.iter().enumerate().map(key).collect()
    }

    /// Everything that can happen now. With `draining`, only what brings the world to rest.
    pub fn actions(&self, draining: bool) -> Vec<Action> {
        let mut actions = Vec::new();
        for (&id, node) in &self.nodes {
            let Some(life) = &node.life else {
                if !self.options.views && !self.options.stay_dead && self.may_restart(id) {
                    actions.push(Action::Restart(id));
                }
                continue;
            };
            self.thread_actions(id, draining, &mut actions);
            // In the end nobody looks for room any more.
            let looks = life.starving && !(draining && self.options.shortage);
            if (self.evictions > 0 && !draining) || looks || self.moves_away(id) {
                let unheld = life.memory.indexed().filter(|(_, _, word)| !word.held());
                actions.extend(unheld.map(|(key, _, _)| Action::Evict(id, key)));
            }
            if self.options.shortage {
                let starved = self.keys().into_iter().filter(|&key| life.core.is_starved(key));
                actions.extend(starved.map(|key| Action::OutOfMemory(id, key)));
            }
            let may_die = self.options.views || self.may_die(id);
            if self.kills > 0 && !draining && may_die {
                actions.extend((0..3).map(|kept| Action::Kill(id, kept)));
            }
        }
        if self.options.views {
            actions.extend(self.view_actions(draining));
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

    /// Applies one action and checks the promises.
    ///
    /// # Errors
    /// The promise that was broken.
    pub fn apply(&mut self, action: Action, taken: &mut Transitions) -> Result<(), Violation> {
        match action {
            Action::Start(node, thread, key, want) => self.start(node, thread, key, want, taken)?,
            Action::Put(node, thread) => self.put(node, thread, taken)?,
            Action::Go(node, thread) => self.go(node, thread, taken)?,
            Action::Die(node, thread) => self.die(node, thread, taken)?,
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
            Action::OutOfMemory(node, key) => self.step(node, Input::OutOfMemory(key), taken)?,
            Action::Kill(node, kept) => self.kill(node, kept),
            Action::Restart(node) => self.restart(node),
            _ => self.change_view(action, taken)?,
        }
        self.check_modes()
    }

    fn step(&mut self, id: NodeId, input: Input, taken: &mut Transitions) -> Result<(), Violation> {
        let happened = name::name(&input);
        let keys = self.keys();
        let Some(life) = self.nodes.get_mut(&id).and_then(|node| node.life.as_mut()) else { return Ok(()) };
        let look = |life: &Life| -> Vec<(String, String)> {
            keys.iter()
                .map(|&key| (life.core.home_state(key), life.core.copy_state(key, &life.memory)))
                .collect()
        };
        let before = look(life);
        let view = life.core.view();
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
        let changed = life.core.view() != view;
        for effect in effects {
            self.effect(id, effect)?;
        }
        if changed {
            self.cut_reads(id, taken)?;
        }
        Ok(())
    }

    fn effect(&mut self, id: NodeId, effect: Effect) -> Result<(), Violation> {
        match effect {
            Effect::Send(to, message) => {
                if to == id {
                    return Err(Violation(format!("node {id} sent {message:?} to itself")));
                }
                self.note_end(id, to, &message)?;
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

    fn life(&mut self, id: NodeId) -> &mut Life {
        self.nodes.get_mut(&id).and_then(|node| node.life.as_mut()).expect("only living nodes act")
    }
}

/// The fixed home of an object; of one whose home moves, no node of any world.
fn home(key: ObjectKey) -> NodeId {
    if is_hashed(key.set) { node_id(254) } else { node_id((key.set.subject() >> 24) as u8) }
}

fn is_durable(key: ObjectKey) -> bool {
    policy(key.set).durability == Durability::WriteBack
}
