//! Several cores of the protocol in one thread and in virtual time: the real state machine, without fabric or memory.
//!
//! A message takes one unit of time, a READ two (there and back), and what a node does takes none. What happens at the same
//! time happens in the order in which it was begun, so a run is the same every time.

mod slots;

pub use slots::{Kind, Slots, placed, spread};

use kddm_coherence::{
    Asked, Config, Core, Effect, Input, LinkerReply, Loss, Message, OpError, OpId, Operation, ReadToken,
    Speculations,
};
use kddm_object::{FirstTouch, Hold, Incarnation, NodeId, ObjectKey, Release, SlotId};
use std::collections::VecDeque;

/// One-way latencies since the beginning.
pub type Time = u64;

/// A message's way, and half of a READ's.
const ONE_WAY: Time = 1;

/// What the nodes said and read so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Messages handled.
    pub messages: u64,
    /// READs done.
    pub reads: u64,
    /// Bytes of the messages as they go over the wire, if they are weighed.
    pub bytes: u64,
}

impl Traffic {
    /// What has come since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Traffic) -> Traffic {
        Traffic {
            messages: self.messages - earlier.messages,
            reads: self.reads - earlier.reads,
            bytes: self.bytes - earlier.bytes,
        }
    }
}

/// An operation that ended.
#[derive(Debug)]
pub struct Completion {
    /// When.
    pub at: Time,
    /// On which node.
    pub node: NodeId,
    /// Which.
    pub op: OpId,
    /// How.
    pub result: Result<Option<SlotId>, OpError>,
}

struct Node {
    core: Core,
    slots: Slots,
}

/// What is on its way: when it arrives, and its turn among what arrives at the same time.
struct Due<T> {
    at: Time,
    turn: u64,
    what: T,
}

struct Sent {
    from: NodeId,
    to: NodeId,
    message: Message,
}

struct Reading {
    reader: NodeId,
    token: ReadToken,
    source: NodeId,
}

/// Nodes 1 to n.
pub struct Cores {
    nodes: Vec<Option<Node>>,
    now: Time,
    turn: u64,
    next_op: u64,
    // All messages take as long, and so do all READs: each line is in the order of arrival by itself.
    messages: VecDeque<Due<Sent>>,
    reads: VecDeque<Due<Reading>>,
    linkers: VecDeque<(NodeId, ObjectKey)>,
    effects: Vec<Effect>,
    completions: VecDeque<Completion>,
    traffic: Traffic,
    scales: Option<Vec<u8>>,
}

fn node_id(id: u8) -> NodeId {
    NodeId::new(id).expect("BUG: nodes are numbered from 1 to 254")
}

impl Cores {
    /// `count` nodes that have met. Objects of up to `inline_max` bytes ride in messages.
    pub fn new(count: u8, inline_max: u32) -> Cores {
        Cores::speculating(count, inline_max, 0)
    }

    /// The same, each of which remembers so many locations.
    pub fn speculating(count: u8, inline_max: u32, hints: usize) -> Cores {
        let members: Vec<NodeId> = (1..=count).map(node_id).collect();
        let nodes = members.iter().map(|&me| {
            let core = Core::new(Config {
                me,
                incarnation: Incarnation(1),
                members: members.clone(),
                loss: Loss::Local,
                inline_max,
                hints,
                eager: false,
                unsound_keep_copies: false,
            });
            Some(Node { core, slots: Slots::default() })
        });
        let mut cores = Cores {
            nodes: nodes.collect(),
            now: 0,
            turn: 0,
            next_op: 0,
            messages: VecDeque::new(),
            reads: VecDeque::new(),
            linkers: VecDeque::new(),
            effects: Vec::new(),
            completions: VecDeque::new(),
            traffic: Traffic::default(),
            scales: None,
        };
        for &node in &members {
            for &peer in members.iter().filter(|&&peer| peer != node) {
                cores.step(node, Input::PeerUp(peer, Incarnation(1)));
            }
        }
        cores
    }

    /// Weighs messages from now on.
    pub fn weigh(&mut self) {
        self.scales = Some(Vec::new());
    }

    /// The time.
    pub fn now(&self) -> Time {
        self.now
    }

    /// All messages and READs so far.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// READs that all nodes have posted beside their requests, and those that were good.
    pub fn speculations(&self) -> Speculations {
        let each = self.nodes.iter().flatten().map(|node| node.core.speculations());
        each.fold(Speculations::default(), |sum, it| Speculations {
            posted: sum.posted + it.posted,
            good: sum.good + it.good,
        })
    }

    /// The protocol's state on a node; everything else goes.
    pub fn into_core(mut self, node: u8) -> Core {
        let node = self.nodes[usize::from(node) - 1].take();
        node.expect("BUG: the node is lost").core
    }

    /// A get or grab on node `node`, and whatever follows from it. The slot, and how long the hold took to come; the caller puts.
    ///
    /// # Errors
    /// What the core says.
    pub fn hold(&mut self, node: u8, key: ObjectKey, hold: Hold) -> Result<(SlotId, Time), OpError> {
        let begin = self.now;
        if let Some(slot) = self.node_mut(node_id(node)).slots.hit(key, hold) {
            return Ok((slot, 0));
        }
        let op = self.begin(node, key, hold);
        self.settle();
        let ended = self.completions.pop_front().filter(|ended| ended.op == op);
        let Completion { at, result, .. } = ended.expect("BUG: the operation did not end");
        Ok((result?.expect("BUG: a hold without a slot"), at - begin))
    }

    /// The same, put at once: how long the hold took to come.
    ///
    /// # Errors
    /// What the core says.
    pub fn touch(&mut self, node: u8, key: ObjectKey, hold: Hold) -> Result<Time, OpError> {
        let (slot, time) = self.hold(node, key, hold)?;
        self.put(node, key, slot, hold);
        self.settle();
        Ok(time)
    }

    /// Begins a get or grab that is known to miss.
    pub fn begin(&mut self, node: u8, key: ObjectKey, hold: Hold) -> OpId {
        self.next_op += 1;
        let op = OpId(self.next_op);
        let asked = Asked::Hold { hold, first_touch: FirstTouch::Make, try_only: false, reserve: false };
        self.step(node_id(node), Input::Begin(Operation { op, key, asked }));
        op
    }

    /// Ends a hold.
    pub fn put(&mut self, node: u8, key: ObjectKey, slot: SlotId, hold: Hold) {
        let id = node_id(node);
        if self.node_mut(id).slots.put(slot, hold) == Release::Notify {
            self.step(id, Input::Released(key));
        }
    }

    /// Drops a node's copy, if it is an ordinary one that nobody holds.
    pub fn evict(&mut self, node: u8, key: ObjectKey) {
        self.step(node_id(node), Input::Evict(key));
    }

    /// The next operation that ended, letting time go on until there is one. `None` if nothing is under way any more.
    pub fn next_completion(&mut self) -> Option<Completion> {
        while self.completions.is_empty() && self.advance() {}
        self.completions.pop_front()
    }

    /// Lets time go on until nothing is under way.
    pub fn settle(&mut self) {
        while self.advance() {}
    }

    /// The end of a node, which all others notice at once.
    pub fn lose(&mut self, lost: u8) {
        let lost = node_id(lost);
        self.nodes[usize::from(lost.get()) - 1] = None;
        self.messages.retain(|sent| sent.what.to != lost);
        let (failed, left): (Vec<_>, Vec<_>) =
            self.reads.drain(..).partition(|read| read.what.source == lost || read.what.reader == lost);
        self.reads.extend(left);
        for Due { what: Reading { reader, token, .. }, .. } in failed {
            if reader != lost {
                self.step(reader, Input::ReadDone(token, false));
            }
        }
        for id in 1..=self.nodes.len() as u8 {
            // Nothing happens on those that are lost.
            self.step(node_id(id), Input::PeerDown(lost));
        }
    }

    /// Takes what arrives next. False if nothing is on its way.
    fn advance(&mut self) -> bool {
        let due = |line: Option<(Time, u64)>| line.unwrap_or((Time::MAX, u64::MAX));
        let message = due(self.messages.front().map(|sent| (sent.at, sent.turn)));
        let read = due(self.reads.front().map(|read| (read.at, read.turn)));
        if message < read {
            let Some(Due { at, what: Sent { from, to, message }, .. }) = self.messages.pop_front() else {
                return false;
            };
            self.now = at;
            self.traffic.messages += 1;
            if let Some(scales) = &mut self.scales {
                scales.clear();
                kddm_fabric::wire::encode(&message, scales);
                self.traffic.bytes += scales.len() as u64;
            }
            self.step(to, Input::Message(from, message));
        } else {
            let Some(Due { at, what: Reading { reader, token, source }, .. }) = self.reads.pop_front() else {
                return false;
            };
            self.now = at;
            self.traffic.reads += 1;
            let good = self.nodes[usize::from(source.get()) - 1].is_some();
            self.step(reader, Input::ReadDone(token, good));
        }
        true
    }

    fn step(&mut self, id: NodeId, input: Input) {
        let Some(node) = self.nodes[usize::from(id.get()) - 1].as_mut() else { return };
        let mut effects = std::mem::take(&mut self.effects);
        node.core.step(input, &mut node.slots, &mut effects);
        let now = self.now;
        for effect in effects.drain(..) {
            self.turn += 1;
            let turn = self.turn;
            match effect {
                Effect::Send(to, message) => {
                    let what = Sent { from: id, to, message };
                    self.messages.push_back(Due { at: now + ONE_WAY, turn, what });
                }
                Effect::Read { token, source, .. } => {
                    let what = Reading { reader: id, token, source: source.node };
                    self.reads.push_back(Due { at: now + 2 * ONE_WAY, turn, what });
                }
                Effect::Complete(op, result) => {
                    self.completions.push_back(Completion { at: now, node: id, op, result });
                }
                // Volatile sets have one linker call: the first touch, which takes no time.
                Effect::Linker(key, _) => self.linkers.push_back((id, key)),
                Effect::Changed(..) | Effect::NeedMemory(_) => {}
            }
        }
        self.effects = effects;
        if let Some((id, key)) = self.linkers.pop_front() {
            self.step(id, Input::LinkerDone(key, LinkerReply::Ok));
        }
    }

    fn node_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes[usize::from(id.get()) - 1].as_mut().expect("BUG: the node is lost")
    }
}
