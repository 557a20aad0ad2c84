//! The home takes every copy of an object in: to remove it, to make room, or to find bytes that survived a node.

use crate::copy::{Since, later};
use crate::core::{Context, Core};
use crate::entry::{Holder, Holders, Pending, State, Transaction, Work};
use crate::mutant::Mutant;
use crate::revoke::take_mode;
use crate::{Body, Effect, Keep, LinkerCall, LinkerReply, Nack, Request, Store};
use kddm_object::{Location, NodeId, ObjectKey, Rid, Seq};
use smallvec::SmallVec;

/// What a collection is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Then {
    /// REMOVE by that node.
    Remove(NodeId, Rid),
    /// That remove is done but for what nodes keep: all but the newest, on that node, first.
    Discard(NodeId, Rid, Option<NodeId>),
    /// The home's own named copy leaves its memory.
    Purge,
    /// A node died; the newest bytes that were kept become the object. Then the request is served, or refused because
    /// of that node.
    Salvage(Option<(NodeId, Request)>, Option<Nack>),
}

/// A slot that a node keeps readable, and since which transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Kept {
    pub location: Location,
    pub since: Since,
}

/// Who keeps what.
pub(crate) type KeptCopies = SmallVec<[(NodeId, Kept); 1]>;

impl Core {
    pub(crate) fn home_remove<S: Store>(
        &mut self,
        from: NodeId,
        key: ObjectKey,
        rid: Rid,
        cx: &mut Context<'_, S>,
    ) {
        let copies: Holders = match self.directory.settled(key) {
            None => return,
            Some(State::Uncached | State::Untouched | State::Lost) => Holders::new(),
            Some(State::Shared { copies, .. }) => copies.into(),
            Some(State::Exclusive { owner, rid }) => [Holder::new(owner, rid)].into_iter().collect(),
        };
        self.collect(key, &copies, Then::Remove(from, rid), cx);
    }

    /// Begins to collect `copies`.
    pub(crate) fn collect<S: Store>(
        &mut self,
        key: ObjectKey,
        copies: &[Holder],
        then: Then,
        cx: &mut Context<'_, S>,
    ) {
        let mut due: Holders =
            copies.iter().copied().filter(|holder| self.is_reachable(holder.node)).collect();
        if matches!(then, Then::Remove(..)) && self.planted(Mutant::RemoveDoesNotWait) {
            due.clear();
        }
        let keep = then != Then::Purge;
        if matches!(then, Then::Salvage(..)) {
            self.let_ask_anew(key, copies, cx);
        }
        let seq = self.start(key, Work::Collect { due, kept: SmallVec::new(), then });
        let (requester, life) = (self.config.me, self.config.incarnation);
        for holder in copies {
            let after = holder.rid();
            self.send(holder.node, key, Body::Invalidate { seq, requester, life, after, keep }, cx);
        }
        self.try_collected(key, cx);
    }

    /// An ACK: true if it belongs to a collection of ours.
    pub(crate) fn collected<S: Store>(
        &mut self,
        of: NodeId,
        key: ObjectKey,
        seq: Seq,
        slot: Option<Kept>,
        cx: &mut Context<'_, S>,
    ) -> bool {
        let Some((Transaction { seq: current, work: Work::Collect { due, kept, .. } }, _)) =
            self.directory.transaction_mut(key)
        else {
            return false;
        };
        if *current != seq {
            return false;
        }
        if let Some(place) = due.iter().position(|holder| holder.node == of) {
            due.remove(place);
            if let Some(slot) = slot.filter(|slot| slot.location.node == of) {
                kept.push((of, slot));
            }
        }
        self.try_collected(key, cx);
        true
    }

    pub(crate) fn try_collected<S: Store>(&mut self, key: ObjectKey, cx: &mut Context<'_, S>) {
        let Some(Transaction { seq, work: Work::Collect { due, kept, then } }) =
            self.directory.transaction(key)
        else {
            return;
        };
        if !due.is_empty() {
            return;
        }
        let (seq, kept, then) = (*seq, kept.clone(), then.clone());
        match then {
            Then::Remove(by, rid) => self.remove_everywhere(by, key, rid, seq, kept, cx),
            Then::Discard(by, rid, newest) => self.discarded(key, seq, kept, (by, rid), newest, cx),
            Then::Purge => self.purged(key, cx),
            Then::Salvage(request, why) => self.salvaged(key, seq, &kept, request, why, cx),
        }
        self.serve(key, cx);
        self.pump(key, cx);
    }

    /// All who keep a slot, but `except`, may let it go.
    fn let_go<S: Store>(
        &mut self,
        key: ObjectKey,
        seq: Seq,
        kept: &[(NodeId, Kept)],
        except: Option<NodeId>,
        cx: &mut Context<'_, S>,
    ) {
        for &(node, kept) in kept.iter().filter(|(node, _)| Some(*node) != except) {
            let reported = Body::Rebuilt { keep: Keep::Ordinary };
            let body = if kept.since.0 < self.view { reported } else { Body::Fetched { seq } };
            self.send(node, key, body, cx);
        }
    }

    /// No node can use the object any more: now the device, if there is one.
    fn remove_everywhere<S: Store>(
        &mut self,
        by: NodeId,
        key: ObjectKey,
        rid: Rid,
        seq: Seq,
        kept: KeptCopies,
        cx: &mut Context<'_, S>,
    ) {
        if self.is_durable(key, cx.store) {
            self.directory.start(key, Transaction { seq, work: Work::Device { by, rid, kept } });
            cx.effects.push(Effect::Linker(key, LinkerCall::Remove));
        } else if !self.planted(Mutant::NoDiscard) {
            // Should a node die later, what somebody still keeps for a READ that is long over must not be taken for the object.
            let newest = kept.iter().max_by(|a, b| later(a.1.since, b.1.since)).map(|(node, _)| *node);
            let then = Then::Discard(by, rid, newest);
            let due: Vec<NodeId> = self.everyone().into_iter().filter(|node| Some(*node) != newest).collect();
            self.ask_to_discard(key, seq, due, kept, then, cx);
        } else {
            self.removed(by, key, rid, seq, &kept, LinkerReply::Ok, cx);
        }
    }

    pub(crate) fn ask_to_discard<S: Store>(
        &mut self,
        key: ObjectKey,
        seq: Seq,
        asked: impl IntoIterator<Item = NodeId>,
        kept: KeptCopies,
        then: Then,
        cx: &mut Context<'_, S>,
    ) {
        let asked = asked.into_iter().filter(|&node| self.is_reachable(node));
        let due: Holders = asked.map(|node| Holder::new(node, Rid(0))).collect();
        let work = Work::Collect { due: due.clone(), kept, then };
        self.directory.start(key, Transaction { seq, work });
        for Holder { node, .. } in due {
            self.send(node, key, Body::Discard { seq }, cx);
        }
        self.try_collected(key, cx);
    }

    fn discarded<S: Store>(
        &mut self,
        key: ObjectKey,
        seq: Seq,
        kept: KeptCopies,
        (by, rid): (NodeId, Rid),
        newest: Option<NodeId>,
        cx: &mut Context<'_, S>,
    ) {
        match newest {
            Some(node) => self.ask_to_discard(key, seq, [node], kept, Then::Discard(by, rid, None), cx),
            None => self.removed(by, key, rid, seq, &[], LinkerReply::Ok, cx),
        }
    }

    /// The device has forgotten the object, or could not: then the object is as it was before.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn removed<S: Store>(
        &mut self,
        by: NodeId,
        key: ObjectKey,
        rid: Rid,
        seq: Seq,
        kept: &[(NodeId, Kept)],
        reply: LinkerReply,
        cx: &mut Context<'_, S>,
    ) {
        if let LinkerReply::Failed(errno) = reply {
            self.revive(key, seq, kept, cx);
            self.send(by, key, Body::Nack { rid, why: Nack::Device(errno) }, cx);
        } else {
            self.dirty.remove(&key);
            self.let_go(key, seq, kept, None, cx);
            self.set_state(key, State::Uncached, cx);
            self.send(by, key, Body::Finished { rid }, cx);
        }
        self.serve(key, cx);
        self.pump(key, cx);
    }

    /// The others have dropped their copies: ours may go, if nobody here took it up again.
    fn purged<S: Store>(&mut self, key: ObjectKey, cx: &mut Context<'_, S>) {
        let me = self.config.me;
        let Some(copy) = self.copies.get_mut(&key) else { return self.set_state(key, State::Uncached, cx) };
        let Some(slot) = copy.slot else { return self.set_state(key, State::Uncached, cx) };
        let gone = copy.is_idle(cx.store) && !self.dirty.contains_key(&key) && take_mode(key, slot, cx);
        if gone {
            if let Some(copy) = self.copies.get_mut(&key) {
                copy.slot = None;
                copy.named = false;
            }
            self.release(slot, cx);
            self.set_state(key, State::Uncached, cx);
        } else {
            let owner = self.location(slot, cx.store);
            let since = self.begin_period();
            self.set_state(key, State::Shared { owner, copies: &[Holder::new(me, Rid(0))], since }, cx);
        }
        self.end_evicting(key, cx);
    }

    fn salvaged<S: Store>(
        &mut self,
        key: ObjectKey,
        seq: Seq,
        kept: &[(NodeId, Kept)],
        request: Option<(NodeId, Request)>,
        why: Option<Nack>,
        cx: &mut Context<'_, S>,
    ) {
        self.revive(key, seq, kept, cx);
        let Some((by, request)) = request.filter(|(by, _)| self.is_reachable(*by)) else { return };
        match why {
            Some(why) => self.send(by, key, Body::Nack { rid: request.rid, why }, cx),
            None => self.directory.line_up_first(key, Pending::Request(by, request)),
        }
    }

    /// The newest of the kept copies is the object again; without one, what the device has.
    fn revive<S: Store>(
        &mut self,
        key: ObjectKey,
        seq: Seq,
        kept: &[(NodeId, Kept)],
        cx: &mut Context<'_, S>,
    ) {
        let known = kept.iter().filter(|(_, slot)| self.is_newer_than_device(key, slot.since, cx.store));
        let best = known.max_by(|a, b| later(a.1.since, b.1.since)).copied();
        self.let_go(key, seq, kept, best.map(|(node, _)| node), cx);
        match best {
            Some((node, slot)) => {
                let reported = slot.since.0 < self.view;
                // Here at once: the requests that are served next look at our copy.
                match (reported, node == self.config.me) {
                    (false, true) => self.restore(key, seq, cx),
                    (false, false) => self.send(node, key, Body::Restore { seq }, cx),
                    (true, true) => self.rebuilt(key, Keep::Newest, cx),
                    (true, false) => self.send(node, key, Body::Rebuilt { keep: Keep::Newest }, cx),
                }
                let (copies, since) = (&[Holder::new(node, Rid(0))], self.begin_period());
                self.set_state(key, State::Shared { owner: slot.location, copies, since }, cx);
            }
            None => {
                self.dirty.remove(&key);
                let losable = !self.is_durable(key, cx.store) && !self.is_empty_object(key, cx.store);
                self.set_state(key, if losable { State::Lost } else { State::Uncached }, cx);
            }
        }
    }

    /// Whether bytes kept since that transaction are not older than the device's.
    pub(crate) fn is_newer_than_device<S: Store>(&self, key: ObjectKey, since: Since, store: &S) -> bool {
        if !self.is_durable(key, store) || self.planted(Mutant::KeptBeatsDevice) {
            return true;
        }
        self.dirty.get(&key).is_some_and(|&first| later(since, first).is_ge())
    }

    pub(crate) fn is_durable<S: Store>(&self, key: ObjectKey, store: &S) -> bool {
        store.policy(key.set).is_some_and(|policy| policy.durability.has_device())
    }

    /// Whether the object has no bytes that could be lost.
    pub(crate) fn is_empty_object<S: Store>(&self, key: ObjectKey, store: &S) -> bool {
        store.policy(key.set).is_some_and(|policy| policy.object_size == 0)
    }

    /// Ends the transaction, if there is one: the object is `state` now.
    pub(crate) fn set_state<S: Store>(&mut self, key: ObjectKey, state: State<'_>, cx: &Context<'_, S>) {
        // Of a set that has ended nobody asks any more.
        let known = state == State::Uncached
            && !self.ends.is_over(key.set)
            && (!self.views.settled || self.is_doubtful(key, cx.store));
        self.directory.settle(key, if known { State::Untouched } else { state });
    }
}
