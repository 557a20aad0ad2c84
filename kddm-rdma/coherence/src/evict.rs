//! Making room: ordinary copies go silently, a named one only after the home has another, the home's own to the device.

use crate::collect::Then;
use crate::copy::{Purpose, Waiter};
use crate::core::{Context, Core};
use crate::entry::{Entry, Holders, State, Transaction, Work};
use crate::mutant::Mutant;
use crate::revoke::take_mode;
use crate::{Body, Effect, Nack, OpId, Store};
use kddm_object::{FirstTouch, Hold, Mode, NodeId, NodeSet, ObjectKey, Rid, Seq};

impl Core {
    /// Drops or moves the local copy if nobody uses it. `flush`: who wants to hear of the end.
    pub(crate) fn evict<S: Store>(&mut self, key: ObjectKey, flush: Option<OpId>, cx: &mut Context<'_, S>) {
        let me = self.config.me;
        let home = self.home_of(key, cx.store).map(|(home, _)| home);
        let frozen = self.is_frozen(key, cx.store) && !self.planted(Mutant::ReportedIsDropped);
        let for_others = flush.is_none() && self.is_short_for_others();
        let usable = self
            .copies
            .get_mut(&key)
            .filter(|copy| copy.is_idle(cx.store) && copy.mode(cx.store) != Mode::None);
        let Some(copy) = usable.filter(|copy| copy.flush.is_none() && !frozen) else {
            if let Some(op) = flush {
                cx.effects.push(Effect::Complete(op, Ok(None)));
            }
            return;
        };
        copy.flush = flush;
        if !copy.named {
            self.drop_copy(key, cx);
        } else if home == Some(me) {
            self.evict_at_home(key, cx);
        } else if let Some(home) = home.filter(|_| !for_others)
            && !std::mem::replace(&mut copy.evicting, true)
        {
            self.send(home, key, Body::Evict, cx);
            if self.planted(Mutant::OwnerDropsAtEvict) {
                self.drop_copy(key, cx);
            }
        }
    }

    /// Whether memory is wanted for nothing but to take namings over. For that no other home is asked to do the same: nodes that are
    /// all short would pass it round for ever.
    fn is_short_for_others(&self) -> bool {
        let takes = |key: &ObjectKey| {
            let copy = self.copies.get(key).filter(|copy| copy.request.is_none());
            let first = copy.and_then(|copy| copy.waiters.first());
            first.is_some_and(|waiter| matches!(waiter.purpose, Purpose::Take(_))) && !self.fill_waits(*key)
        };
        !self.starved.is_empty() && !self.is_leaving() && self.starved.iter().all(takes)
    }

    /// Drops an idle copy that nobody else will READ.
    pub(crate) fn drop_copy<S: Store>(&mut self, key: ObjectKey, cx: &mut Context<'_, S>) -> bool {
        let Some(copy) = self.copies.get_mut(&key) else { return false };
        let Some(slot) = copy.slot else { return false };
        let gone = copy.is_idle(cx.store) && take_mode(key, slot, cx);
        if gone {
            copy.slot = None;
            copy.named = false;
            self.release(slot, cx);
        }
        self.end_evicting(key, cx);
        self.pump(key, cx);
        gone
    }

    /// The home's own named copy: to the device if that is behind, then away, from the other nodes first.
    pub(crate) fn evict_at_home<S: Store>(&mut self, key: ObjectKey, cx: &mut Context<'_, S>) {
        let me = self.config.me;
        let durable = self.home_of(key, cx.store).is_some_and(|(_, policy)| policy.durability.has_device());
        let idle = self.copies.get(&key).is_some_and(|copy| copy.is_idle(cx.store));
        let others: Option<Holders> = match self.directory.entry(key).filter(Entry::is_quiet) {
            Some(Entry { state: State::Shared { owner, copies, .. }, .. }) if owner.node == me => {
                Some(copies.iter().filter(|holder| holder.node != me).copied().collect())
            }
            Some(Entry { state: State::Exclusive { owner, .. }, .. }) if owner == me => Some(Holders::new()),
            _ => None,
        };
        let flushed = self.copies.get(&key).is_some_and(|copy| copy.flush.is_some());
        if let (false, true, false, Some(others)) = (durable, idle, flushed, &others) {
            return self.inject(key, others, cx);
        }
        let Some(others) = others.filter(|_| durable && idle) else {
            self.end_evicting(key, cx);
            return;
        };
        if self.dirty.contains_key(&key) {
            let tried =
                self.copies.get_mut(&key).is_some_and(|copy| std::mem::replace(&mut copy.evicting, true));
            if tried {
                // The device did not take it: it stays.
                self.end_evicting(key, cx);
            } else {
                self.sync_begin(me, key, Rid(0), cx);
            }
        } else if !others.is_empty() {
            self.collect(key, &others, Then::Purge, cx);
        } else if self.drop_copy(key, cx) {
            self.set_state(key, State::Uncached, cx);
            self.serve(key, cx);
        }
    }

    /// EVICT: `from` wants to be rid of the naming. The home takes it over, having got a copy first.
    pub(crate) fn rename<S: Store>(&mut self, from: NodeId, key: ObjectKey, cx: &mut Context<'_, S>) {
        let me = self.config.me;
        let Some(state) = self.directory.settled(key) else { return };
        let copies: Holders = match state {
            State::Shared { owner, copies, .. } if owner.node == from => copies.into(),
            State::Exclusive { owner, .. } if owner == from => Holders::new(),
            // It has given the object away since it asked.
            _ => return self.keep_naming(from, key, cx),
        };
        let ours = self
            .copies
            .get(&key)
            .is_some_and(|copy| copy.request.is_none() && copy.mode(cx.store) != Mode::None);
        if ours && copies.iter().any(|holder| holder.node == me) {
            let others = copies.iter().filter(|holder| holder.node != me && holder.node != from);
            let due: NodeSet = others.clone().map(|holder| holder.node).collect();
            let seq = self.start(key, Work::Drain { due });
            for holder in others {
                self.send(holder.node, key, Body::Drain { seq, after: holder.rid() }, cx);
            }
            self.try_drained(key, cx);
        } else {
            let (hold, first_touch) = (Hold::Shared, FirstTouch::Refuse);
            let waiter =
                Waiter { purpose: Purpose::Take(from), hold, first_touch, try_only: false, reserve: true };
            self.wait(key, waiter, cx);
        }
    }

    /// Answers EVICT: it came to nothing, and may be asked again.
    pub(crate) fn keep_naming<S: Store>(&mut self, owner: NodeId, key: ObjectKey, cx: &mut Context<'_, S>) {
        self.send(owner, key, Body::Nack { rid: Rid(0), why: Nack::WouldBlock }, cx);
    }

    pub(crate) fn home_drained<S: Store>(
        &mut self,
        from: NodeId,
        key: ObjectKey,
        seq: Seq,
        cx: &mut Context<'_, S>,
    ) {
        let Some((Transaction { seq: current, work: Work::Drain { due } }, _)) =
            self.directory.transaction_mut(key)
        else {
            return;
        };
        if *current == seq {
            due.remove(from);
            self.try_drained(key, cx);
        }
    }

    /// All READs of the old named copy are over: ours is the named one now.
    pub(crate) fn try_drained<S: Store>(&mut self, key: ObjectKey, cx: &mut Context<'_, S>) {
        let Some((Transaction { seq, work: Work::Drain { due } }, before)) =
            self.directory.transaction_mut(key)
        else {
            return;
        };
        let State::Shared { owner: old, copies, .. } = before else { return };
        if !due.is_empty() {
            return;
        }
        let (seq, copies) = (*seq, Holders::from(copies));
        let slot =
            self.copies.get(&key).filter(|copy| copy.mode(cx.store) != Mode::None).and_then(|copy| copy.slot);
        let owner = match slot {
            Some(slot) => {
                if let Some(copy) = self.copies.get_mut(&key) {
                    copy.named = true;
                }
                self.send(old.node, key, Body::Free { seq }, cx);
                self.location(slot, cx.store)
            }
            // Ours went under memory pressure in the meantime.
            None => {
                self.keep_naming(old.node, key, cx);
                old
            }
        };
        let since = self.begin_period();
        self.set_state(key, State::Shared { owner, copies: &copies, since }, cx);
        self.serve(key, cx);
        self.pump(key, cx);
    }

    /// FREE: our copy is an ordinary one now.
    pub(crate) fn freed_of_naming<S: Store>(&mut self, key: ObjectKey, cx: &mut Context<'_, S>) {
        let Some(copy) = self.copies.get_mut(&key) else { return };
        copy.named = false;
        if copy.evicting {
            self.drop_copy(key, cx);
        }
    }

    /// The copy is gone, or stays after all: an eviction of it is over.
    pub(crate) fn end_evicting<S: Store>(&mut self, key: ObjectKey, cx: &mut Context<'_, S>) {
        let Some(copy) = self.copies.get_mut(&key) else { return };
        copy.evicting = false;
        if let Some(op) = copy.flush.take() {
            cx.effects.push(Effect::Complete(op, Ok(None)));
        }
    }
}
