//! What threads, links, READs and linkers do.

use super::*;

impl World {
    pub(super) fn start(
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
            if let Some(slot) = life.memory.lookup(key).filter(|_| life.core.may_hit()) {
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

    pub(super) fn put(&mut self, id: NodeId, place: usize, taken: &mut Transitions) -> Result<(), Violation> {
        let Doing::Holding { key, slot, hold, value, void } = self.thread(id, place).doing.clone() else {
            return Err(Violation("put without a hold".into()));
        };
        self.thread(id, place).doing = Doing::Nothing;
        let written = (hold == Hold::Exclusive).then_some(value);
        if !void {
            self.truth.put(key, (id, place), written);
        }
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

    pub(super) fn cancel(
        &mut self,
        id: NodeId,
        place: usize,
        taken: &mut Transitions,
    ) -> Result<(), Violation> {
        let Doing::Waiting { key, want, before } = self.thread(id, place).doing.clone() else {
            return Ok(());
        };
        // A remove may still be done, at any time: as if it never ended. And so may a loss be accepted.
        let _ = before;
        if want == Want::Manual {
            self.truth.will_accept_loss(key);
        }
        self.thread(id, place).doing = Doing::Nothing;
        self.step(id, Input::Cancel(key, OpId(place as u64)), taken)
    }

    pub(super) fn deliver(
        &mut self,
        from: NodeId,
        to: NodeId,
        taken: &mut Transitions,
    ) -> Result<(), Violation> {
        let Some(item) = self.links.get_mut(&(from, to)).and_then(VecDeque::pop_front) else { return Ok(()) };
        match item {
            Item::Message(message) => {
                self.note_arrival(from, &message);
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

    pub(super) fn read(&mut self, place: usize, taken: &mut Transitions) -> Result<(), Violation> {
        let Read { reader, token, source, life, landing, step } = self.reads[place].clone();
        let node = &self.nodes[&source.node];
        // Who knows that it was expelled has broken its connections.
        let there = |from: &&Life| node.incarnation == life && !from.core.is_expelled();
        let Some(from) = node.life.as_ref().filter(there) else {
            self.reads.remove(place);
            return self.step(reader, Input::ReadDone(token, false), taken);
        };
        if self.options.kills > 0
            && !self.options.views
            && from.memory.generation(source.slot) != source.generation
        {
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

    pub(super) fn linker(
        &mut self,
        place: usize,
        fails: bool,
        taken: &mut Transitions,
    ) -> Result<(), Violation> {
        let (id, key, call) = self.linkers.remove(place);
        if fails {
            return self.step(id, Input::LinkerDone(key, LinkerReply::Failed(5)), taken);
        }
        let device = self.devices.get(&key).copied();
        let made = match call {
            LinkerCall::FirstTouch { .. } if key.set.kind() == crate::memory::HASHED => self.truth.born(key),
            _ => 0,
        };
        let memory = &mut self.life(id).memory;
        let mut fill = |slot, value| (0..2).for_each(|word| memory.poke(slot, word, value));
        let mut reply = LinkerReply::Ok;
        match (call, device) {
            (LinkerCall::Insert { slot, .. }, Some(value)) => fill(slot, value),
            (LinkerCall::Insert { slot, make: true } | LinkerCall::FirstTouch { slot }, _) => {
                fill(slot, made)
            }
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
}
