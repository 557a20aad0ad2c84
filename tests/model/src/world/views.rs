//! Agreed views: nodes that die, are expelled while alive, return, join and leave, and the one who decides.

use super::*;
use kddm_coherence::{Member, View};
use kddm_object::ViewId;

/// The membership, as whoever agrees upon views knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub(super) struct Membership {
    members: Vec<Member>,
    number: u32,
    /// What each node was told last.
    told: BTreeMap<NodeId, ViewId>,
    fenced: BTreeMap<NodeId, ViewId>,
    /// Living nodes that were expelled, and still have a lease.
    leased: BTreeSet<NodeId>,
}

impl Membership {
    fn has(&self, node: NodeId, life: Incarnation) -> bool {
        self.members.iter().any(|member| (member.node, member.life) == (node, life))
    }

    fn leaving(&self, node: NodeId) -> bool {
        self.members.iter().any(|member| member.node == node && member.leaving)
    }
}

impl World {
    /// The first view, agreed and open on its members before anything happens.
    pub(super) fn open_first_view(&mut self) {
        let insiders = self.options.nodes - self.options.outsiders;
        self.membership.number = 1;
        self.membership.members = (1..=insiders)
            .map(|id| Member { node: node_id(id), life: Incarnation(1), leaving: false })
            .collect();
        loop {
            let tell: Vec<Action> = self
                .view_actions(true)
                .into_iter()
                .filter(|action| !matches!(action, Action::Admit(_)))
                .collect();
            let links = self.links.iter().filter(|(_, items)| !items.is_empty());
            let deliver = links.map(|(&(from, to), _)| Action::Deliver(from, to));
            let Some(action) = tell.into_iter().chain(deliver).next() else { return };
            self.apply(action, &mut Transitions::new()).expect("nothing has happened yet");
        }
    }

    pub(super) fn is_member(&self, id: NodeId) -> bool {
        self.membership.has(id, self.nodes[&id].incarnation)
    }

    /// Whether all members serve the newest view, and nobody else uses anything.
    pub(super) fn is_view_settled(&self) -> bool {
        let settled = |member: &Member| {
            let life = self.nodes[&member.node].life.as_ref();
            life.is_some_and(|life| life.core.view().0 == self.membership.number && life.core.is_settled())
        };
        self.membership.leased.is_empty() && self.membership.members.iter().all(settled)
    }

    pub(super) fn is_leaving(&self, id: NodeId) -> bool {
        self.options.views && self.membership.leaving(id)
    }

    /// Whether the node is leaving, and somebody stays to whom its copies can go.
    pub(super) fn moves_away(&self, id: NodeId) -> bool {
        self.is_leaving(id) && self.membership.members.iter().any(|member| !member.leaving)
    }

    /// Whether the cluster has done with a living node that does not know it yet.
    pub(super) fn is_fenced(&self, id: NodeId) -> bool {
        self.options.views && !self.is_member(id) && !self.membership.leased.contains(&id)
    }

    pub(super) fn view_actions(&self, draining: bool) -> Vec<Action> {
        let mut actions = Vec::new();
        let living = |node: &Node| node.life.is_some();
        let healthy =
            self.membership.members.iter().filter(|it| !it.leaving && living(&self.nodes[&it.node])).count();
        let now = ViewId(self.membership.number);
        let served = self.is_view_settled();
        for (&id, node) in &self.nodes {
            let Some(life) = &node.life else {
                if self.membership.members.iter().any(|member| member.node == id) {
                    actions.push(Action::Expel(id));
                }
                if self.nodes.iter().all(|(other, node)| *other == id || living(node))
                    && !self.options.stay_dead
                {
                    actions.push(Action::Restart(id));
                }
                continue;
            };
            let told = self.membership.told.get(&id).copied().unwrap_or_default();
            let member = self.is_member(id);
            if told < now && (member || told > ViewId(0)) {
                actions.push(Action::TellView(id));
            }
            let fenced = self.membership.fenced.get(&id).copied().unwrap_or_default();
            if member && fenced < now && self.membership.leased.is_empty() {
                actions.push(Action::TellFenced(id));
            }
            if self.membership.leased.contains(&id) {
                actions.push(Action::LeaseEnds(id));
            }
            if !member && told == ViewId(0) {
                actions.push(Action::Admit(id));
            }
            if !member && told == now && !draining && !self.options.stay_dead {
                // It knows that it was expelled, and starts again.
                actions.push(Action::Kill(id, 2));
            }
            if member && !draining && self.kills > 0 && healthy > 1 && !self.is_leaving(id) {
                actions.push(Action::Expel(id));
            }
            if member && !draining && self.leaves > 0 && healthy > 1 && !self.is_leaving(id) {
                actions.push(Action::Leave(id));
            }
            let idle = node.threads.iter().all(|thread| thread.doing == Doing::Nothing);
            if self.is_leaving(id)
                && healthy > 0
                && served
                && life.core.is_drained()
                && life.core.is_quiet()
                && idle
            {
                actions.push(Action::Left(id));
            }
        }
        actions
    }

    pub(super) fn change_view(&mut self, action: Action, taken: &mut Transitions) -> Result<(), Violation> {
        match action {
            Action::Expel(id) => {
                if self.nodes[&id].life.is_some() {
                    self.kills -= 1;
                    self.membership.leased.insert(id);
                }
                self.next_view(|members| members.retain(|member| member.node != id));
            }
            Action::Admit(id) => {
                // It has never heard of a view, so it has done nothing in one.
                self.membership.leased.remove(&id);
                let member = Member { node: id, life: self.nodes[&id].incarnation, leaving: false };
                self.next_view(|members| {
                    members.retain(|member| member.node != id);
                    members.push(member);
                });
            }
            Action::Leave(id) => {
                self.leaves -= 1;
                let leave = |member: &mut Member| member.leaving |= member.node == id;
                self.next_view(|members| members.iter_mut().for_each(leave));
            }
            Action::Left(id) => {
                self.next_view(|members| members.retain(|member| member.node != id));
                self.end(id, usize::MAX);
            }
            Action::LeaseEnds(id) => {
                self.forget_node(id);
                self.membership.leased.remove(&id);
                self.step(id, Input::Lease(false), taken)?;
            }
            Action::TellFenced(id) => {
                let view = ViewId(self.membership.number);
                self.membership.fenced.insert(id, view);
                self.step(id, Input::Fenced(view), taken)?;
            }
            Action::TellView(id) => {
                let view = View {
                    id: ViewId(self.membership.number),
                    members: self.membership.members.clone(),
                    founding: self.membership.number == 1,
                };
                self.membership.told.insert(id, view.id);
                if !self.is_member(id) && self.membership.leased.contains(&id) {
                    self.forget_node(id);
                    self.membership.leased.remove(&id);
                }
                self.step(id, Input::View(view), taken)?;
                if self.is_member(id) && !self.life(id).core.may_hit() {
                    self.step(id, Input::Lease(true), taken)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn next_view(&mut self, change: impl FnOnce(&mut Vec<Member>)) {
        change(&mut self.membership.members);
        self.membership.members.sort_unstable_by_key(|member| member.node);
        self.membership.number += 1;
    }

    /// The life of a node is over as far as the membership is concerned.
    pub(super) fn unlist(&mut self, id: NodeId) {
        self.membership.leased.remove(&id);
        self.membership.told.remove(&id);
        self.membership.fenced.remove(&id);
    }

    /// What a node does from now on counts no more: its holds are over, and what only it had is gone.
    pub(super) fn forget_node(&mut self, id: NodeId) {
        let lost: BTreeSet<ObjectKey> =
            self.keys().into_iter().filter(|&key| self.may_lose(id, key)).collect();
        let devices = &self.devices;
        // What has a home that moves is never made anew from nothing: it is lost, and says so, if it can be.
        let anew = |key: ObjectKey| !is_hashed(key.set) || is_lock(key.set);
        let left = |key: ObjectKey| anew(key).then(|| devices.get(&key).copied().unwrap_or(0));
        self.truth.node_dies(id, |key| lost.contains(&key), left);
        // A grab that begins before the loss is known drops the other copies, and READs the one that is gone.
        for key in self.keys() {
            if self.options.views && self.is_owner(id, key) {
                self.truth.will_accept_loss(key);
                self.truth.may_fall_back(key);
            }
        }
        let threads = self.nodes.get_mut(&id).into_iter().flat_map(|node| &mut node.threads);
        for doing in threads.flat_map(Thread::doings) {
            if let Doing::Holding { key, value, void, .. } = doing {
                *void = true;
                // What it goes on to write may still reach its own device, or a node that has not adopted the view.
                self.truth.may_become(*key, *value);
            }
        }
    }

    /// A node that has adopted a view READs from its members alone.
    pub(super) fn cut_reads(&mut self, id: NodeId, taken: &mut Transitions) -> Result<(), Violation> {
        let gone = |world: &World, read: &Read| {
            read.reader == id && !world.membership.has(read.source.node, read.life)
        };
        while let Some(place) = self.reads.iter().position(|read| gone(self, read)) {
            let read = self.reads.remove(place);
            self.step(id, Input::ReadDone(read.token, false), taken)?;
        }
        Ok(())
    }

    /// Whether some other node is certain to keep the value that counts, whatever is under way.
    pub(super) fn is_safe_without(&self, id: NodeId, key: ObjectKey) -> bool {
        let Some(value) = self.truth.value(key) else { return true };
        let home =
            |member: &Member| member.node != id && !member.leaving && self.nodes[&member.node].life.is_some();
        if !self.membership.members.iter().any(home) {
            return false;
        }
        self.nodes.iter().filter(|(other, _)| **other != id && !self.is_fenced(**other)).any(
            |(&other, node)| {
                let Some(life) = node.life.as_ref().filter(|life| life.core.may_hit()) else { return false };
                let valid = life.memory.lookup(key).is_some_and(|slot| {
                    life.memory.load(slot).mode() != Mode::None
                        && (0..2).all(|word| life.memory.peek(slot, word) == self.truth.words(value)[word])
                });
                let ordered = life.core.copy_state(key, &life.memory).contains("parked")
                    || self.links.iter().any(|((_, to), items)| {
                        *to == other
                            && items.iter().any(|item| match item {
                                Item::Message(message) => {
                                    message.key == key
                                        && matches!(
                                            message.body,
                                            Body::Invalidate { .. } | Body::Recall { .. }
                                        )
                                }
                                _ => false,
                            })
                    });
                valid && !ordered
            },
        )
    }
}
