//! Injection: a home that is short of memory gives an object without a device to a node that has room.
//!
//! The home asks how much room the others have, and bids the one with most of it take the object, which that node does by a grab as any
//! other: so the home's slot lasts until the bytes are fetched, and whoever else wants the object meanwhile is served in turn. Who has no
//! room says so; then the object stays. A node with room gives half of it away, so that nodes that fill up do not pass objects round.

use crate::copy::{Purpose, Waiter};
use crate::core::{Context, Core};
use crate::entry::Holder;
use crate::mutant::Mutant;
use crate::{Body, Store};
use kddm_object::{FirstTouch, Hold, Mode, NodeId, NodeSet, ObjectKey};
use std::collections::BTreeMap;

/// How much room other nodes have, as they said last.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct Rooms {
    /// For objects of this size.
    size: u32,
    asked: NodeSet,
    slots: BTreeMap<NodeId, u32>,
}

impl Rooms {
    /// The node with most room, one slot of which is taken now.
    fn take_most(&mut self) -> Option<NodeId> {
        let (node, slots) = self.slots.iter_mut().rev().max_by_key(|(_, slots)| **slots)?;
        *slots = slots.checked_sub(1)?;
        Some(*node)
    }

    pub fn forget(&mut self, node: NodeId) {
        self.asked.remove(node);
        self.slots.remove(&node);
    }

    pub fn forget_all(&mut self) {
        *self = Rooms::default();
    }
}

impl Core {
    /// The home's named copy of an object without a device goes to another node; rather to one that has a copy.
    pub(crate) fn inject<S: Store>(&mut self, key: ObjectKey, others: &[Holder], cx: &mut Context<'_, S>) {
        if self.copies.get(&key).is_none_or(|copy| copy.evicting) {
            return;
        }
        let sharer = others.iter().map(|holder| holder.node).find(|&node| self.is_reachable(node));
        let Some(to) = sharer.or_else(|| self.most_room(key, cx)) else { return };
        if let Some(copy) = self.copies.get_mut(&key) {
            copy.evicting = true;
        }
        self.send(to, key, Body::Inject, cx);
        if self.planted(Mutant::InjectedIsFree) {
            self.drop_copy(key, cx);
        }
    }

    /// If nobody has said that he has room, all are asked.
    fn most_room<S: Store>(&mut self, key: ObjectKey, cx: &mut Context<'_, S>) -> Option<NodeId> {
        let size = cx.store.policy(key.set)?.object_size;
        if self.rooms.size != size {
            self.rooms = Rooms { size, ..Rooms::default() };
        }
        let most = self.rooms.take_most();
        if most.is_none() && self.rooms.asked.is_empty() {
            self.rooms.slots.clear();
            self.rooms.asked = self.up.keys().copied().collect();
            for node in { self.rooms.asked }.iter() {
                self.send(node, key, Body::AskRoom, cx);
            }
        }
        most
    }

    /// ASK_ROOM.
    pub(crate) fn tell_room<S: Store>(&mut self, from: NodeId, key: ObjectKey, cx: &mut Context<'_, S>) {
        let slots = self.room(key, cx.store);
        self.send(from, key, Body::Room { slots }, cx);
    }

    /// Who leaves takes nothing any more.
    fn room<S: Store>(&self, key: ObjectKey, store: &S) -> u32 {
        let policy = store.policy(key.set).filter(|_| !self.is_leaving());
        policy.map_or(0, |policy| store.room(policy.object_size))
    }

    /// ROOM: the answer to ASK_ROOM; or to INJECT, which has come to nothing.
    pub(crate) fn told_room<S: Store>(
        &mut self,
        from: NodeId,
        key: ObjectKey,
        slots: u32,
        cx: &mut Context<'_, S>,
    ) {
        self.rooms.asked.remove(from);
        self.rooms.slots.insert(from, slots);
        if !self.is_durable(key, cx.store) {
            self.end_evicting(key, cx);
        }
    }

    /// INJECT: takes the object from its home, if there is room and nothing else is under way here.
    pub(crate) fn injected<S: Store>(&mut self, from: NodeId, key: ObjectKey, cx: &mut Context<'_, S>) {
        let slots = self.room(key, cx.store);
        let copy = self.copies.get(&key);
        let has = copy.is_some_and(|copy| copy.mode(cx.store) != Mode::None);
        let busy = copy.is_some_and(|copy| !copy.is_quiet());
        if busy || self.is_leaving() || slots == 0 && !has {
            return self.send(from, key, Body::Room { slots }, cx);
        }
        let (hold, first_touch) = (Hold::Exclusive, FirstTouch::Refuse);
        let waiter =
            Waiter { purpose: Purpose::Inject(from), hold, first_touch, try_only: false, reserve: false };
        self.wait(key, waiter, cx);
    }
}
