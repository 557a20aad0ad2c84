//! Nodes that die and return.

use super::*;

impl World {
    /// A home dies only when nobody else holds its objects: a hold outlives its home for less time than a start takes
    /// (docs/assumptions.md).
    pub(super) fn may_die(&self, id: NodeId) -> bool {
        let holds_here = |thread: &Thread| thread.holds().any(|key| home(key) == id);
        let others = self.nodes.iter().filter(|(other, _)| **other != id);
        others.clone().all(|(_, node)| node.life.is_some())
            && !others.flat_map(|(_, node)| &node.threads).any(holds_here)
    }

    /// A node returns when its peers have noticed its end.
    pub(super) fn may_restart(&self, id: NodeId) -> bool {
        let unread = |peer: NodeId| self.links.get(&(id, peer)).is_some_and(|items| !items.is_empty());
        let held = |node: &Node| node.threads.iter().flat_map(Thread::holds).any(|key| home(key) == id);
        self.nodes
            .iter()
            .filter(|(other, _)| **other != id)
            .all(|(&other, node)| node.life.is_some() && !unread(other) && !held(node))
    }

    /// Whether the node's threads start something new.
    pub(super) fn may_work(&self, id: NodeId) -> bool {
        if self.options.views { !self.is_leaving(id) } else { self.has_met_all(id) }
    }

    /// A node works when it has met all that are alive: what it asks may come from any of them.
    pub(super) fn has_met_all(&self, id: NodeId) -> bool {
        let mut alive = self.nodes.iter().filter(|(other, node)| **other != id && node.life.is_some());
        let sessions = self.nodes[&id].life.as_ref().map(|life| &life.sessions);
        sessions
            .is_some_and(|sessions| alive.all(|(other, node)| sessions.get(other) == Some(&node.incarnation)))
    }

    pub(super) fn kill(&mut self, id: NodeId, kept: usize) {
        // An expelled node that starts again has paid for it.
        if !self.options.views || self.is_member(id) {
            self.kills -= 1;
        }
        self.forget_node(id);
        self.end(id, kept);
    }

    /// The node's process ends; so many of its messages still arrive at each peer.
    pub(super) fn end(&mut self, id: NodeId, kept: usize) {
        self.unlist(id);
        if let Some(node) = self.nodes.get_mut(&id) {
            node.life = None;
            for thread in &mut node.threads {
                // A remove that it asked for may still be done.
                thread.end();
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
        let living = self.nodes.iter().filter(|(peer, node)| **peer != id && node.life.is_some());
        let peers: Vec<NodeId> = living.map(|(peer, _)| *peer).collect();
        for peer in peers {
            self.links.entry((id, peer)).or_default().push_back(Item::Down);
        }
    }

    /// Whether the death of `id` may take what was put into `key` with it.
    pub(super) fn may_lose(&self, id: NodeId, key: ObjectKey) -> bool {
        let Some(life) = &self.nodes[&id].life else { return false };
        if self.is_fenced(id) {
            return false;
        }
        if self.options.views && home(key) != id {
            return !self.is_safe_without(id, key);
        }
        // Wherever it is on its way to or from that node, or the directory that knows where it is.
        let word = life.memory.lookup(key).map(|slot| life.memory.load(slot));
        home(key) == id
            || word.is_some_and(|word| word.mode() == Mode::Exclusive)
            || self.reads.iter().any(|read| read.source.node == id)
            || !life.core.is_quiet()
            || self.nodes.values().flat_map(|node| &node.life).any(|other| !other.core.is_quiet())
            || self.is_owner(id, key)
    }

    pub(super) fn is_owner(&self, id: NodeId, key: ObjectKey) -> bool {
        self.nodes[&id].life.as_ref().is_some_and(|life| life.core.is_named(key))
    }

    pub(super) fn restart(&mut self, id: NodeId) {
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
}
