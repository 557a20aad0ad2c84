//! What is checked after each action and at rest, and what people see of a world.

use super::*;

impl World {
    /// A request comes to its home, which is to serve grabs of different nodes in this order.
    pub(super) fn note_arrival(&mut self, from: NodeId, message: &Message) {
        if !self.is_ordered() {
            return;
        }
        let line = self.arrivals.entry(message.key).or_default();
        match &message.body {
            Body::Request(request) if request.kind == RequestKind::Grab => {
                line.push_back((from, request.rid))
            }
            Body::Retrying { .. } => line.retain(|(node, _)| *node != from),
            _ => {}
        }
    }

    /// A node sends what ends a request, or the refusal of one.
    pub(super) fn note_end(&mut self, from: NodeId, to: NodeId, message: &Message) -> Result<(), Violation> {
        let Some(line) = self.arrivals.get_mut(&message.key) else { return Ok(()) };
        match &message.body {
            Body::Nack { rid, .. } => line.retain(|waiting| *waiting != (to, *rid)),
            Body::Done { .. } if line.iter().any(|(node, _)| *node == from) => {
                let next = line.pop_front();
                if next.is_none_or(|(node, _)| node != from) {
                    return Err(Violation(format!("{from} was granted {:?} out of turn", message.key)));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether the end of a set is known for good: without agreed views, who comes back may serve before it is told; and all who know
    /// may have gone.
    pub(super) fn is_over(&self, set: SetId) -> bool {
        let knows = |(id, node): (&NodeId, &Node)| {
            node.life.as_ref().is_some_and(|life| life.core.has_ended(set)) && !self.is_fenced(*id)
        };
        self.truth.is_destroyed(set)
            && (self.options.kills == 0 || self.options.views)
            && self.nodes.iter().any(knows)
    }

    /// Whether requests are asked once only.
    fn is_ordered(&self) -> bool {
        let Options { kills, leaves, outsiders, .. } = self.options;
        (kills, leaves, outsiders) == (0, 0, 0)
    }

    pub(super) fn check_result(
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
            Err(OpError::Destroyed(set)) => set == key.set && self.truth.is_ending(set),
            Err(OpError::WouldBlock) => matches!(want, Want::Try(_)),
            Err(OpError::Absent) => matches!(want, Want::Existing(_)),
            Err(OpError::Device(12) | OpError::NoMemory) => self.options.shortage,
            Err(OpError::Device(_)) => self.options.device_fails,
            Err(OpError::PeerLost(_) | OpError::Lost | OpError::NoHome(_) | OpError::Expelled) => crashes,
            Err(_) => false,
        };
        if allowed {
            Ok(())
        } else {
            Err(Violation(format!("node {id}: {want:?} of {key:?} ended with {result:?}")))
        }
    }

    /// One exclusive copy, or many shared ones.
    pub(super) fn check_modes(&self) -> Result<(), Violation> {
        if self.options.unsound_keep_copies {
            return Ok(());
        }
        for key in self.keys() {
            let modes = self.nodes.iter().filter_map(|(id, node)| {
                let life = node.life.as_ref()?;
                let mode = life.memory.load(life.memory.lookup(key)?).mode();
                (mode != Mode::None && !life.core.is_forgetting(key) && !self.is_fenced(*id))
                    .then_some((*id, mode))
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
            let left = |key: &ObjectKey| {
                self.is_over(key.set)
                    && (life.memory.lookup(*key).is_some() || !life.core.home_state(*key).is_empty())
            };
            if let Some(key) = self.keys().into_iter().find(left) {
                return Err(Violation(format!("node {id} still has {key:?}: {}", self.describe())));
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

    /// Whether no loss of a node is still being dealt with.
    pub(super) fn is_settled(&self) -> bool {
        let told = |items: &VecDeque<Item>| items.iter().all(|item| !matches!(item, Item::Down));
        self.links.values().all(told)
            && (!self.options.views || self.is_view_settled())
            && self.nodes.values().flat_map(|node| &node.life).all(|life| life.core.is_quiet())
    }
}
