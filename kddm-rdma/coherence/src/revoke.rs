//! The holder's side: what the home orders is parked until our own request and holds allow it, then done.

use crate::collect::Kept;
use crate::copy::{LocalCopy, Order, Parked, Retained, later};
use crate::core::{Context, Core, Loss, set_mode, swap};
use crate::mutant::Mutant;
use crate::{Body, Effect, RecallKind, Source, Store};
use kddm_object::{Incarnation, Mode, NodeId, ObjectKey, Rid, Seq, SlotId, ViewId};

/// Whom a transaction is for, and which of its lives.
type Requester = (NodeId, Incarnation);

impl Core {
    pub(crate) fn recall<S: Store>(
        &mut self,
        key: ObjectKey,
        after: Rid,
        order: Order,
        try_only: bool,
        cx: &mut Context<'_, S>,
    ) {
        let Order::Recall { seq, kind, .. } = order else { return };
        if try_only && self.copies.get(&key).is_none_or(|copy| in_use(copy, kind, cx.store)) {
            if let Some((home, _)) = self.home_of(key, cx.store) {
                self.send(home, key, Body::Refused { seq }, cx);
            }
            return;
        }
        self.park(key, after, order, cx);
    }

    /// The after-rule: an order that follows our outstanding request waits for it; one that is older does not.
    pub(crate) fn park<S: Store>(
        &mut self,
        key: ObjectKey,
        after: Rid,
        order: Order,
        cx: &mut Context<'_, S>,
    ) {
        let no_rule = self.planted(Mutant::NoAfterRule);
        let any = self.planted(Mutant::AfterAnyRequest);
        let copy = self.copies.entry(key).or_default();
        let followed = copy.request.as_ref().filter(|request| request.rid == after || any);
        let wait = followed.is_some() && !no_rule;
        copy.parked = Some(Parked { wait, order });
        self.pump(key, cx);
    }

    /// Executes the parked order, which no longer waits for a request. False if a hold stands against it.
    pub(crate) fn execute<S: Store>(&mut self, key: ObjectKey, cx: &mut Context<'_, S>) -> bool {
        let Some(copy) = self.copies.get(&key) else { return false };
        let Some(parked) = &copy.parked else { return false };
        let order = parked.order.clone();
        let done = match order {
            Order::Invalidate { seq, to, keep } => self.execute_invalidate(key, seq, to, keep, cx),
            Order::Recall { seq, .. } if !self.has_valid(key, cx.store) => {
                self.cannot_hand_over(key, seq, cx)
            }
            Order::Recall { seq, kind: RecallKind::Share, to, rid } => self.share(key, seq, to, rid, cx),
            Order::Recall { seq, kind: RecallKind::Yield, to, rid } => self.yield_to(key, seq, to, rid, cx),
            Order::Drain { seq } => {
                if let Some((home, _)) = self.home_of(key, cx.store) {
                    self.send(home, key, Body::Drained { seq }, cx);
                }
                true
            }
            Order::Forget { tell } => self.forget(key, tell, cx),
        };
        if done && let Some(copy) = self.copies.get_mut(&key) {
            copy.parked = None;
        }
        done
    }

    fn execute_invalidate<S: Store>(
        &mut self,
        key: ObjectKey,
        seq: Seq,
        to: Requester,
        keep: bool,
        cx: &mut Context<'_, S>,
    ) -> bool {
        let Some(copy) = self.copies.get_mut(&key) else { return true };
        let valid = copy.slot.filter(|&slot| cx.store.load(slot).mode() != Mode::None);
        let mut kept = None;
        if let Some(slot) = valid {
            let retain = copy.named || keep;
            if self.config.unsound_keep_copies && !retain {
                self.send_to_life(
                    to,
                    key,
                    Body::Ack { seq, of: self.config.me, retained: None, since: seq },
                    cx,
                );
                return true;
            }
            if !take_mode(key, slot, cx) {
                return false;
            }
            let Some(copy) = self.copies.get_mut(&key) else { return true };
            copy.named = false;
            if retain {
                copy.retained.push(Retained::new((self.view, seq), slot, to));
                copy.slot = None;
                cx.store.retain(slot);
                kept = Some(Kept { location: self.location(slot, cx.store), since: (self.view, seq) });
            } else if copy.request.is_none() {
                copy.slot = None;
                self.release(slot, cx);
            }
            self.end_evicting(key, cx);
        } else if keep {
            // What we gave to a node that died since: the newest of it.
            let valid = copy.retained.iter_mut().filter(|retained| !retained.void);
            if let Some(newest) = valid.max_by(|a, b| later(a.since, b.since)) {
                (newest.seq, newest.to) = (seq, to);
                let (slot, since) = (newest.slot, newest.since);
                kept = Some(Kept { location: self.location(slot, cx.store), since });
            }
        }
        self.leaves(key, to.0, cx);
        let (retained, since) = kept.map_or((None, seq), |kept| (Some(kept.location), kept.since.1));
        self.send_to_life(to, key, Body::Ack { seq, of: self.config.me, retained, since }, cx);
        true
    }

    fn has_valid<S: Store>(&self, key: ObjectKey, store: &S) -> bool {
        self.copies.get(&key).is_some_and(|copy| copy.mode(store) != Mode::None)
    }

    /// We gave back what we were to hand over: the home has to know that this order, too, is done with.
    fn cannot_hand_over<S: Store>(&mut self, key: ObjectKey, seq: Seq, cx: &mut Context<'_, S>) -> bool {
        if let Some((home, _)) = self.home_of(key, cx.store).filter(|_| self.config.loss == Loss::Agreed) {
            self.send(home, key, Body::Refused { seq }, cx);
        }
        true
    }

    /// "Share with the requester": we keep a shared copy and stay the named owner.
    fn share<S: Store>(
        &mut self,
        key: ObjectKey,
        seq: Seq,
        to: Requester,
        rid: Rid,
        cx: &mut Context<'_, S>,
    ) -> bool {
        let Some(slot) = self.copies.get(&key).and_then(|copy| copy.slot) else { return true };
        let (old, done) =
            swap(cx.store, slot, |word| (!word.writer()).then_some(word.with_mode(Mode::Shared)));
        if !done {
            return false;
        }
        if old.mode() != Mode::Shared {
            cx.effects.push(Effect::Changed(key, old.mode(), Mode::Shared));
        }
        let source = self.source(key, slot, cx);
        let location = self.location(slot, cx.store);
        self.send_to_life(to, key, Body::Hand { seq, rid, source, exclusive: false }, cx);
        if let Some((home, _)) = self.home_of(key, cx.store) {
            self.send(home, key, Body::Shared { seq, location }, cx);
        }
        true
    }

    /// "Your successor is the requester": we keep the slot until it has fetched it.
    fn yield_to<S: Store>(
        &mut self,
        key: ObjectKey,
        seq: Seq,
        to: Requester,
        rid: Rid,
        cx: &mut Context<'_, S>,
    ) -> bool {
        let Some(slot) = self.copies.get(&key).and_then(|copy| copy.slot) else { return true };
        if !take_mode(key, slot, cx) {
            return false;
        }
        let source = self.source(key, slot, cx);
        cx.store.retain(slot);
        if let Some(copy) = self.copies.get_mut(&key) {
            copy.named = false;
            copy.slot = None;
            copy.retained.push(Retained::new((self.view, seq), slot, to));
        }
        self.end_evicting(key, cx);
        if self.planted(Mutant::GivenAwayIsFree) {
            self.fetched(key, seq, cx);
        }
        self.send_to_life(to, key, Body::Hand { seq, rid, source, exclusive: true }, cx);
        true
    }

    fn forget<S: Store>(
        &mut self,
        key: ObjectKey,
        tell: Option<(NodeId, Seq)>,
        cx: &mut Context<'_, S>,
    ) -> bool {
        let Some(copy) = self.copies.get_mut(&key) else { return true };
        if let Some(slot) = copy.slot {
            let valid = cx.store.load(slot).mode() != Mode::None;
            if !take_mode(key, slot, cx) {
                return false;
            }
            copy.slot = None;
            if valid && self.views.is_changing() && tell.is_none() {
                // A member that has not adopted the view may still READ it.
                let (since, to) =
                    ((ViewId(self.view.0 - 1), Seq(0)), (self.config.me, self.config.incarnation));
                copy.retained.push(Retained::new(since, slot, to));
                cx.store.retain(slot);
            } else {
                self.release(slot, cx);
            }
        }
        if let Some(copy) = self.copies.get_mut(&key) {
            copy.named = false;
        }
        if let Some((home, seq)) = tell {
            self.send(home, key, Body::Ack { seq, of: self.config.me, retained: None, since: seq }, cx);
        }
        true
    }

    /// FETCHED: the new owner has the bytes, and nobody else reads the slot.
    pub(crate) fn fetched<S: Store>(&mut self, key: ObjectKey, seq: Seq, cx: &mut Context<'_, S>) {
        let view = self.view;
        let Some(copy) = self.copies.get_mut(&key) else { return };
        if let Some(place) = copy.retained.iter().position(|it| it.seq == seq && it.since.0 == view) {
            let slot = copy.retained.remove(place).slot;
            self.release(slot, cx);
            self.pump(key, cx);
        }
    }

    /// RESTORE: the bytes that we gave away came back to life as the named shared copy.
    pub(crate) fn restore<S: Store>(&mut self, key: ObjectKey, seq: Seq, cx: &mut Context<'_, S>) {
        let Some(copy) = self.copies.get_mut(&key) else { return };
        let Some(place) = copy.retained.iter().position(|retained| retained.seq == seq) else { return };
        let slot = copy.retained.remove(place).slot;
        copy.named = true;
        self.drop_speculation(key, cx);
        let Some(copy) = self.copies.get_mut(&key) else { return };
        if let Some(landing) = copy.slot.replace(slot) {
            self.release(landing, cx);
        }
        cx.store.restore(slot);
        set_mode(key, slot, Mode::Shared, cx);
        self.pump(key, cx);
    }

    /// The bytes themselves if they are few, else where they lie.
    fn source<S: Store>(&self, key: ObjectKey, slot: SlotId, cx: &mut Context<'_, S>) -> Source {
        let size = cx.store.policy(key.set).map_or(0, |policy| policy.object_size);
        if size <= self.config.inline_max {
            Source::Bytes(cx.store.take(slot, size))
        } else {
            Source::Read(self.location(slot, cx.store))
        }
    }
}

/// Takes the mode of an unheld copy. False if it is held.
pub(crate) fn take_mode<S: Store>(key: ObjectKey, slot: SlotId, cx: &mut Context<'_, S>) -> bool {
    let (old, done) = swap(cx.store, slot, |word| (!word.held()).then_some(word.with_mode(Mode::None)));
    if done && old.mode() != Mode::None {
        cx.effects.push(Effect::Changed(key, old.mode(), Mode::None));
    }
    done
}

/// Whether a recall would have to wait.
fn in_use<S: Store>(copy: &LocalCopy, kind: RecallKind, store: &S) -> bool {
    let Some(slot) = copy.slot else { return true };
    let word = store.load(slot);
    let held = match kind {
        RecallKind::Share => word.writer(),
        RecallKind::Yield => word.held(),
    };
    held || copy.request.is_some() || copy.parked.is_some() || copy.turn > 0
}
