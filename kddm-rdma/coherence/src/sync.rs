//! Sync: the home takes a shared hold of its own and has the linker write the bytes. And remove, which it shares the
//! requester's side with.

use crate::copy::{Purpose, Waiter};
use crate::core::{Call, Context, Core, swap};
use crate::entry::{Holder, State};
use crate::error::ENOMEM;
use crate::{Body, Effect, LinkerReply, Nack, OpError, OpId, Request, RequestKind, Store};
use kddm_object::{FirstTouch, Hold, Mode, NodeId, ObjectKey, Rid, SlotId};

impl Core {
    /// Asks the home for a remove or a sync.
    pub(crate) fn begin_call<S: Store>(
        &mut self,
        op: Option<OpId>,
        key: ObjectKey,
        kind: RequestKind,
        cx: &mut Context<'_, S>,
    ) {
        let rid = self.new_rid();
        self.calls.insert(rid, Call { op, key, kind });
        self.send_call(rid, cx);
    }

    /// Sends a remove or sync to its home. A view that changes sends it at its time.
    pub(crate) fn send_call<S: Store>(&mut self, rid: Rid, cx: &mut Context<'_, S>) {
        if !self.views.may_ask() {
            return;
        }
        let Some(&Call { key, kind, .. }) = self.calls.get(&rid) else { return };
        let error = match self.home_of(key, cx.store) {
            None => OpError::NoHome(key.set),
            Some((home, _)) if !self.is_reachable(home) => OpError::PeerLost(home),
            Some((home, _)) => {
                let first_touch = FirstTouch::Refuse;
                let request =
                    Request { kind, rid, first_touch, try_only: false, have: false, hint: None, seen: 0 };
                self.send(home, key, Body::Request(request), cx);
                return;
            }
        };
        self.finished(rid, Err(error), cx);
    }

    /// The home has done what was asked, or could not.
    pub(crate) fn finished<S>(
        &mut self,
        rid: Rid,
        result: Result<Option<SlotId>, OpError>,
        cx: &mut Context<'_, S>,
    ) {
        if let Some(op) = self.calls.remove(&rid).and_then(|call| call.op) {
            cx.effects.push(Effect::Complete(op, result));
        }
    }

    /// A node that leaves may go when it has nothing and waits for nothing. What it gives back to a home would count as gone with it
    /// until that has heard: the answer to a sync comes behind.
    pub(crate) fn stay_until_heard<S: Store>(&mut self, key: ObjectKey, cx: &mut Context<'_, S>) {
        if self.is_leaving() {
            self.begin_call(None, key, RequestKind::Sync, cx);
        }
    }

    /// A sync under way covers whoever joins it: what was put before the request came is in the bytes of a hold that is
    /// still to be taken or still held.
    pub(crate) fn sync_begin<S: Store>(
        &mut self,
        from: NodeId,
        key: ObjectKey,
        rid: Rid,
        cx: &mut Context<'_, S>,
    ) {
        if !self.dirty.contains_key(&key) {
            self.send(from, key, Body::Finished { rid }, cx);
            return;
        }
        self.directory.add_syncing(key, from, rid);
        let under_way = self.copies.get(&key).is_some_and(|copy| {
            copy.writing || copy.waiters.iter().any(|waiter| waiter.purpose == Purpose::Sync)
        });
        if !under_way {
            let (hold, first_touch) = (Hold::Shared, FirstTouch::Refuse);
            self.wait(
                key,
                Waiter { purpose: Purpose::Sync, hold, first_touch, try_only: false, reserve: true },
                cx,
            );
        }
    }

    /// The linker has written the bytes, or could not. Ends the hold that was taken for it.
    pub(crate) fn sync_done<S: Store>(
        &mut self,
        key: ObjectKey,
        reply: LinkerReply,
        cx: &mut Context<'_, S>,
    ) {
        if let LinkerReply::Ok | LinkerReply::Absent = reply {
            self.cleaned(key, cx);
        }
        if let Some(slot) = self.copies.get(&key).and_then(|copy| copy.slot) {
            swap(cx.store, slot, |word| word.release(Hold::Shared).map(|(word, _)| word));
        }
        let failure = match reply {
            LinkerReply::Failed(errno) => Some(Nack::Device(errno)),
            _ => None,
        };
        self.answer_syncs(key, failure, cx);
        self.pump(key, cx);
        if self.copies.get(&key).is_some_and(|copy| copy.evicting) {
            self.evict_at_home(key, cx);
        }
    }

    pub(crate) fn sync_failed<S: Store>(&mut self, key: ObjectKey, error: OpError, cx: &mut Context<'_, S>) {
        let failure = match error {
            OpError::Absent => None,
            OpError::Device(errno) => Some(Nack::Device(errno)),
            OpError::PeerLost(node) => Some(Nack::Peer(node)),
            OpError::NoMemory => Some(Nack::Device(ENOMEM)),
            _ => Some(Nack::Lost),
        };
        self.answer_syncs(key, failure, cx);
    }

    fn answer_syncs<S: Store>(&mut self, key: ObjectKey, failure: Option<Nack>, cx: &mut Context<'_, S>) {
        if !self.directory.contains(key) {
            return;
        }
        let waiting = self.directory.change(key, |underway| std::mem::take(&mut underway.syncing));
        for (node, rid) in waiting.unwrap_or_default() {
            let answer = match failure {
                None => Body::Finished { rid },
                Some(why) => Body::Nack { rid, why },
            };
            self.send(node, key, answer, cx);
        }
        self.serve(key, cx);
    }

    /// The device has the bytes that are held shared here. The next writer, on this node too, must ask the home, so that
    /// the home learns of it.
    pub(crate) fn cleaned<S: Store>(&mut self, key: ObjectKey, cx: &mut Context<'_, S>) {
        let me = self.config.me;
        let slot = self.copies.get(&key).and_then(|copy| copy.slot);
        match self.directory.settled(key) {
            // A transaction is under way: a writer may have its hold already, or get it before it asks.
            None => return,
            Some(State::Exclusive { owner, rid }) if owner == me => {
                let Some(slot) = slot else { return };
                let (old, shared) =
                    swap(cx.store, slot, |word| (!word.writer()).then_some(word.with_mode(Mode::Shared)));
                if !shared {
                    return;
                }
                if old.mode() != Mode::Shared {
                    cx.effects.push(Effect::Changed(key, old.mode(), Mode::Shared));
                }
                let owner = self.location(slot, cx.store);
                let since = self.begin_period();
                self.set_state(key, State::Shared { owner, copies: &[Holder::new(me, rid)], since }, cx);
            }
            // Somebody has it exclusive again: the caller's hold is over, and what it wrote may be old.
            Some(State::Exclusive { .. }) => return,
            Some(_) => {}
        }
        self.dirty.remove(&key);
    }
}
