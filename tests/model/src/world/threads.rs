//! What threads do: hits, puts, operations on several objects, and what is left when a program dies.

use super::*;
use kddm_object::Word;

/// A thread, or the program that it stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Thread {
    left: usize,
    pub doing: Doing,
    /// The holds of its range so far, in their order.
    lower: Vec<Doing>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Doing {
    Nothing,
    /// The word allows the hold, and is to be swapped.
    Hitting {
        key: ObjectKey,
        want: Want,
        slot: SlotId,
        word: Word,
    },
    Waiting {
        key: ObjectKey,
        want: Want,
        before: u64,
    },
    /// It has the lower holds of its range, and turns to the next.
    Ranging {
        key: ObjectKey,
        want: Want,
    },
    /// `void`: it outlived its node's lease.
    Holding {
        key: ObjectKey,
        slot: SlotId,
        hold: Hold,
        value: u64,
        void: bool,
    },
    /// The bytes are written, and the word is to be swapped.
    Putting {
        key: ObjectKey,
        slot: SlotId,
        hold: Hold,
        word: Word,
    },
    /// The word was swapped; the engine, which waits for that, does not know it yet.
    Telling {
        key: ObjectKey,
    },
}

impl Thread {
    pub fn new(operations: usize) -> Thread {
        Thread { left: operations, doing: Doing::Nothing, lower: Vec::new() }
    }

    /// The objects that its node's words say it holds.
    pub fn holds(&self) -> impl Iterator<Item = ObjectKey> + '_ {
        self.lower.iter().chain([&self.doing]).filter_map(|doing| match doing {
            Doing::Holding { key, .. } | Doing::Putting { key, .. } => Some(*key),
            _ => None,
        })
    }

    pub fn doings(&mut self) -> impl Iterator<Item = &mut Doing> {
        self.lower.iter_mut().chain([&mut self.doing])
    }

    /// Its node has ended.
    pub fn end(&mut self) {
        self.doing = Doing::Nothing;
        self.lower.clear();
    }

    /// The last hold has ended: what is left of the range is the next to be put.
    fn ended(&mut self) {
        self.doing = self.lower.pop().unwrap_or(Doing::Nothing);
    }
}

/// In the name of an operation that nobody waits for.
const DETACHED: u64 = 1 << 16;

/// The name of a thread's operation on the object of that place.
fn name(place: usize, object: usize) -> OpId {
    OpId(place as u64 | (object as u64) << 8)
}

fn hold_of(want: Want) -> Option<Hold> {
    match want {
        Want::Hold(hold) | Want::Try(hold) | Want::Existing(hold) | Want::Range(hold) => Some(hold),
        Want::Manual => Some(Hold::Exclusive),
        Want::Prefetch | Want::Remove | Want::Sync | Want::Flush | Want::Destroy => None,
    }
}

fn asked(want: Want) -> Asked {
    let hold = |hold, first_touch, try_only| Asked::Hold { hold, first_touch, try_only, reserve: false };
    match want {
        Want::Hold(it) | Want::Range(it) => hold(it, FirstTouch::Make, false),
        Want::Try(it) => hold(it, FirstTouch::Make, true),
        Want::Existing(it) => hold(it, FirstTouch::Refuse, false),
        Want::Manual => hold(Hold::Exclusive, FirstTouch::Manual, false),
        Want::Prefetch => Asked::Prefetch { hold: Hold::Shared, first_touch: FirstTouch::Refuse },
        Want::Remove => Asked::Remove,
        Want::Sync => Asked::Sync,
        Want::Flush => Asked::Flush,
        Want::Destroy => Asked::Destroy,
    }
}

impl World {
    pub(super) fn thread_actions(&self, id: NodeId, draining: bool, actions: &mut Vec<Action>) {
        let keys = self.keys();
        let idle = id.get() > self.options.nodes - self.options.idle;
        for (place, thread) in self.nodes[&id].threads.iter().enumerate() {
            match &thread.doing {
                Doing::Nothing if draining || idle || thread.left == 0 || !self.may_work(id) => continue,
                Doing::Nothing => {
                    for &key in &keys {
                        // Manual first touch vouches that the device has nothing, which nobody here can.
                        let may = |want: &&Want| match want {
                            Want::Manual | Want::Destroy => !is_durable(key),
                            Want::Range(_) => key == keys[0],
                            _ => true,
                        };
                        let wants = self.options.wants.iter().filter(may);
                        actions.extend(wants.map(|&want| Action::Start(id, place, key, want)));
                    }
                    continue;
                }
                Doing::Waiting { .. } if self.options.cancels && !draining => {
                    actions.push(Action::Cancel(id, place))
                }
                Doing::Waiting { .. } => {}
                Doing::Holding { .. } => actions.push(Action::Put(id, place)),
                _ => actions.push(Action::Go(id, place)),
            }
            if self.deaths > 0 && !draining {
                actions.push(Action::Die(id, place));
            }
        }
    }

    pub(super) fn start(
        &mut self,
        id: NodeId,
        place: usize,
        key: ObjectKey,
        want: Want,
        taken: &mut Transitions,
    ) -> Result<(), Violation> {
        self.thread(id, place).left -= 1;
        if let Want::Range(_) = want {
            return self.start_range(id, place, want, taken);
        }
        self.look(id, place, key, want, taken)
    }

    /// Brings copies of all objects on their way, then takes the first hold.
    fn start_range(
        &mut self,
        id: NodeId,
        place: usize,
        want: Want,
        taken: &mut Transitions,
    ) -> Result<(), Violation> {
        let crossed = self.options.unsound == Some(Unsound::CrossedRanges);
        let hold = hold_of(want).unwrap_or(Hold::Shared);
        let keys = self.keys();
        if crossed {
            self.thread(id, place).doing = Doing::Waiting { key: keys[0], want, before: 0 };
        }
        for (object, &key) in keys.iter().enumerate() {
            let OpId(op) = name(place, object);
            let copy = || Asked::Prefetch { hold, first_touch: FirstTouch::Make };
            let (op, asked) = if crossed { (op, asked(want)) } else { (op | DETACHED, copy()) };
            let memory = &self.life(id).memory;
            let word = memory.lookup(key).map(|slot| memory.load(slot));
            let hits = word.is_some_and(|word| word.grant(hold) != Err(Refused::Mode));
            if crossed || !hits {
                self.step(id, Input::Begin(Operation { op: OpId(op), key, asked }), taken)?;
            }
        }
        if crossed { Ok(()) } else { self.look(id, place, keys[0], want, taken) }
    }

    /// Looks at the word: a hit, or the engine is asked.
    fn look(
        &mut self,
        id: NodeId,
        place: usize,
        key: ObjectKey,
        want: Want,
        taken: &mut Transitions,
    ) -> Result<(), Violation> {
        if let Some(hold) = hold_of(want) {
            let life = self.life(id);
            let found = life.memory.lookup(key).filter(|_| life.core.may_hit());
            let found = found.map(|slot| (slot, life.memory.load(slot)));
            if let Some((slot, word)) = found.filter(|(_, word)| word.hold(hold).is_ok()) {
                self.thread(id, place).doing = Doing::Hitting { key, want, slot, word };
                return if self.options.word_steps { Ok(()) } else { self.go(id, place, taken) };
            }
        }
        if want == Want::Destroy {
            let forgotten = !self.is_over(key.set);
            self.truth.destroy_begins(key.set, forgotten);
        }
        let before = match want {
            Want::Remove => self.truth.remove_begins(key),
            Want::Sync | Want::Existing(_) => self.truth.certain(key),
            _ => 0,
        };
        self.thread(id, place).doing = Doing::Waiting { key, want, before };
        let op = name(place, self.object(key));
        self.step(id, Input::Begin(Operation { op, key, asked: asked(want) }), taken)
    }

    /// The next step of a hit, a put or a range.
    pub(super) fn go(&mut self, id: NodeId, place: usize, taken: &mut Transitions) -> Result<(), Violation> {
        match self.thread(id, place).doing.clone() {
            Doing::Hitting { key, want, slot, word } => {
                let life = self.life(id);
                let hit = hold_of(want).and_then(|hold| word.hold(hold).ok());
                let hit = hit.filter(|_| life.core.may_hit());
                if hit.is_some_and(|new| life.memory.swap(slot, word, new).is_ok()) {
                    self.thread(id, place).doing = Doing::Waiting { key, want, before: 0 };
                    let op = name(place, self.object(key));
                    return self.complete(id, op, Ok(Some(slot)));
                }
                // Somebody was faster.
                self.look(id, place, key, want, taken)
            }
            Doing::Ranging { key, want } => self.look(id, place, key, want, taken),
            Doing::Putting { key, slot, hold, word } => {
                let Some((new, told)) = word.release(hold) else {
                    return Err(Violation(format!(
                        "node {id}: the word {word:?} of {key:?} does not know the hold that ends"
                    )));
                };
                let memory = &mut self.life(id).memory;
                let now = memory.load(slot);
                let blind = self.options.unsound == Some(Unsound::BlindPut);
                let expected = if blind { now } else { word };
                if let Err(word) = self.life(id).memory.swap(slot, expected, new) {
                    self.thread(id, place).doing = Doing::Putting { key, slot, hold, word };
                    return Ok(());
                }
                self.thread(id, place).ended();
                match told {
                    Release::Quiet => Ok(()),
                    Release::Notify if self.options.word_steps => {
                        let thread = self.thread(id, place);
                        let next = std::mem::replace(&mut thread.doing, Doing::Telling { key });
                        thread.lower.extend((next != Doing::Nothing).then_some(next));
                        Ok(())
                    }
                    Release::Notify => self.step(id, Input::Released(key), taken),
                }
            }
            Doing::Telling { key } => {
                self.thread(id, place).ended();
                self.step(id, Input::Released(key), taken)
            }
            _ => Ok(()),
        }
    }

    pub(super) fn put(&mut self, id: NodeId, place: usize, taken: &mut Transitions) -> Result<(), Violation> {
        let Doing::Holding { key, slot, hold, value, void } = self.thread(id, place).doing.clone() else {
            return Err(Violation("put without a hold".into()));
        };
        let written = (hold == Hold::Exclusive).then_some(value);
        if !void {
            self.truth.put(key, (id, place), written);
        }
        let memory = &mut self.life(id).memory;
        if let Some(value) = written {
            memory.poke(slot, 1, value);
        }
        let word = memory.load(slot);
        self.thread(id, place).doing = Doing::Putting { key, slot, hold, word };
        if self.options.word_steps { Ok(()) } else { self.go(id, place, taken) }
    }

    /// A program dies. Its node ends its holds, with what it had written by then, and asks for nothing more on its behalf.
    pub(super) fn die(&mut self, id: NodeId, place: usize, taken: &mut Transitions) -> Result<(), Violation> {
        self.deaths -= 1;
        while self.thread(id, place).doing != Doing::Nothing {
            match self.thread(id, place).doing.clone() {
                Doing::Nothing => {}
                Doing::Waiting { .. } => self.cancel(id, place, taken)?,
                Doing::Hitting { .. } | Doing::Ranging { .. } => self.thread(id, place).ended(),
                Doing::Holding { key, slot, hold, value, void } => {
                    let memory = &self.life(id).memory;
                    let (word, second) = (memory.load(slot), memory.peek(slot, 1));
                    let written = (hold == Hold::Exclusive).then_some(value);
                    if written.is_some() {
                        self.truth.halve(value, second);
                    }
                    if !void {
                        self.truth.put(key, (id, place), written);
                    }
                    self.thread(id, place).doing = Doing::Putting { key, slot, hold, word };
                }
                Doing::Putting { .. } | Doing::Telling { .. } => self.go(id, place, taken)?,
            }
        }
        Ok(())
    }

    pub(super) fn cancel(
        &mut self,
        id: NodeId,
        place: usize,
        taken: &mut Transitions,
    ) -> Result<(), Violation> {
        let Doing::Waiting { key, want, .. } = self.thread(id, place).doing.clone() else {
            return Ok(());
        };
        // A remove may still be done, at any time: as if it never ended. And so may a loss be accepted.
        if want == Want::Manual {
            self.truth.will_accept_loss(key);
        }
        self.thread(id, place).ended();
        let op = name(place, self.object(key));
        self.step(id, Input::Cancel(key, op), taken)
    }

    /// An operation has ended.
    pub(super) fn complete(
        &mut self,
        id: NodeId,
        op: OpId,
        result: Result<Option<SlotId>, OpError>,
    ) -> Result<(), Violation> {
        if op.0 & DETACHED != 0 {
            return Ok(());
        }
        let (place, object) = ((op.0 & 0xff) as usize, (op.0 >> 8) as usize);
        let crossed = self.options.unsound == Some(Unsound::CrossedRanges);
        let waits = self.thread(id, place).doing.clone();
        let key = self.keys()[object];
        let (want, before) = match waits {
            Doing::Waiting { key: awaited, want, before } if awaited == key || crossed => (want, before),
            _ => {
                return Err(Violation(format!(
                    "node {id} completed {op:?}, for which nobody waits, with {result:?}"
                )));
            }
        };
        let hold = hold_of(want);
        self.check_result(id, key, want, hold, result)?;
        match (want, result) {
            // It may still be done, at any time: as if it never ended.
            (Want::Remove, Err(OpError::Expelled | OpError::PeerLost(_) | OpError::NoHome(_))) => {}
            (Want::Destroy, Ok(_)) => self.truth.destroy_ends(key.set),
            (Want::Remove, _) => self.truth.remove_ends(key, before, result.is_ok()),
            (Want::Sync, Ok(_)) if is_durable(key) => {
                self.truth.sync_ends(key, before, self.devices.get(&key).copied().unwrap_or(0))?;
            }
            (Want::Existing(_), Err(OpError::Absent)) => self.truth.absent(key, before)?,
            _ => {}
        }
        let (Some(hold), Ok(Some(slot))) = (hold, result) else {
            self.thread(id, place).ended();
            return Ok(());
        };
        let holding = self.hold(id, place, key, want, (hold, slot))?;
        let objects = self.options.objects.len();
        let next = self.keys().get(object + 1).copied();
        let thread = self.thread(id, place);
        match (want, next) {
            (Want::Range(_), _) if crossed => {
                thread.lower.push(holding);
                if thread.lower.len() == objects {
                    thread.ended();
                }
            }
            (Want::Range(_), Some(next)) => {
                thread.lower.push(holding);
                thread.doing = Doing::Ranging { key: next, want };
            }
            _ => thread.doing = holding,
        }
        Ok(())
    }

    /// A thread has got a hold: what it sees is judged, and it begins to write.
    fn hold(
        &mut self,
        id: NodeId,
        place: usize,
        key: ObjectKey,
        want: Want,
        (hold, slot): (Hold, SlotId),
    ) -> Result<Doing, Violation> {
        if self.is_over(key.set) {
            return Err(Violation(format!("node {id} holds {key:?}, whose set was destroyed")));
        }
        let memory = &self.life(id).memory;
        let seen = [memory.peek(slot, 0), memory.peek(slot, 1)];
        // A copy that is to be forgotten is not what remains.
        let settled = self.is_settled() && !self.life(id).core.is_forgetting(key);
        if want == Want::Manual {
            self.truth.accept_loss(key);
        }
        let device = self.devices.get(&key).copied().unwrap_or(0);
        self.truth.held(key, (id, place), hold, seen, device, settled)?;
        let mut value = 0;
        if hold == Hold::Exclusive {
            // Half a write: whoever reads now sees it.
            value = self.truth.next_value();
            self.life(id).memory.poke(slot, 0, value);
        }
        Ok(Doing::Holding { key, slot, hold, value, void: false })
    }

    /// The place of an object among those of this world.
    fn object(&self, key: ObjectKey) -> usize {
        self.keys().iter().position(|known| *known == key).expect("threads want what is in this world")
    }

    fn thread(&mut self, id: NodeId, place: usize) -> &mut Thread {
        &mut self.nodes.get_mut(&id).expect("the node is in this world").threads[place]
    }
}
