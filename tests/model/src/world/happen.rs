//! What links, READs and linkers do.

use super::*;

impl World {
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
            LinkerCall::FirstTouch { .. } if is_hashed(key.set) && !is_lock(key.set) => self.truth.born(key),
            _ => 0,
        };
        let truth = &self.truth;
        let life = self.nodes.get_mut(&id).and_then(|node| node.life.as_mut());
        let memory = &mut life.expect("only living nodes act").memory;
        let mut fill = |slot, value| {
            truth
                .words(value)
                .into_iter()
                .enumerate()
                .for_each(|(word, bytes)| memory.poke(slot, word, bytes));
        };
        let mut reply = LinkerReply::Ok;
        match (call, device) {
            (LinkerCall::Insert { slot, .. }, Some(value)) => fill(slot, value),
            (LinkerCall::Insert { slot, make: true } | LinkerCall::FirstTouch { slot }, _) => {
                fill(slot, made)
            }
            (LinkerCall::Insert { .. }, None) => reply = LinkerReply::Absent,
            (LinkerCall::Sync { slot }, _) => {
                let words = [memory.peek(slot, 0), memory.peek(slot, 1)];
                if words != truth.words(words[0]) {
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
