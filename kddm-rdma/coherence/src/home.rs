//! The home's side: what it does with requests, and with the answers of those whom it sent for.

use crate::copy::LocalCopy;
use crate::core::{Context, Core, set_mode, swap};
use crate::entry::{Holder, Holders, Pending, State, Transaction, Work};
use crate::mutant::Mutant;
use crate::speculation::Since;
use crate::{Body, Effect, LinkerCall, LinkerReply, Nack, RecallKind, Request, RequestKind, Source, Store};
use kddm_object::{Durability, FirstTouch, Hold, Location, Mode, NodeId, NodeSet, ObjectKey, Rid, Seq};
use smallvec::SmallVec;

impl Core {
    pub(crate) fn home_request<S: Store>(
        &mut self,
        from: NodeId,
        key: ObjectKey,
        request: Request,
        cx: &mut Context<'_, S>,
    ) {
        if self.home_of(key, cx.store).is_none_or(|(home, _)| home != self.config.me) {
            self.send(from, key, Body::Nack { rid: request.rid, why: Nack::NoSet }, cx);
            return;
        }
        if self.refuses(key, &request) {
            self.send(from, key, Body::Nack { rid: request.rid, why: Nack::Destroyed }, cx);
            return;
        }
        if !self.views.may_grant() {
            self.directory.line_up(key, Pending::Request(from, request));
            return;
        }
        if request.kind == RequestKind::Sync {
            self.sync_begin(from, key, request.rid, cx);
            return;
        }
        if request.try_only && self.directory.is_engaged(key) {
            self.send(from, key, Body::Nack { rid: request.rid, why: Nack::WouldBlock }, cx);
            return;
        }
        let overtakes =
            request.kind == RequestKind::Remove && self.planted(Mutant::RemoveOvertakesFirstTouch);
        if let (true, Some(Work::FirstTouch { .. })) =
            (overtakes, self.directory.transaction(key).map(|transaction| &transaction.work))
        {
            self.directory.settle(key, State::Uncached);
        }
        self.serve_in_turn(key, Pending::Request(from, request), cx);
    }

    pub(crate) fn home_evict<S: Store>(&mut self, from: NodeId, key: ObjectKey, cx: &mut Context<'_, S>) {
        self.serve_in_turn(key, Pending::Evict(from), cx);
    }

    fn serve_in_turn<S: Store>(&mut self, key: ObjectKey, pending: Pending, cx: &mut Context<'_, S>) {
        if !self.views.may_grant() || self.directory.is_engaged(key) {
            self.directory.line_up(key, pending);
            self.serve(key, cx);
        } else {
            self.directory.touch(key);
            self.serve_from(Some(pending), key, cx);
        }
    }

    /// Takes from the line whatever can be started.
    pub(crate) fn serve<S: Store>(&mut self, key: ObjectKey, cx: &mut Context<'_, S>) {
        self.serve_from(None, key, cx);
    }

    /// The same, `first` before those in line.
    fn serve_from<S: Store>(&mut self, mut first: Option<Pending>, key: ObjectKey, cx: &mut Context<'_, S>) {
        if !self.views.may_grant() {
            return;
        }
        if !self.keepers.is_empty() {
            self.dismiss_keepers(key, cx);
        }
        let may_be_lost = self.is_doubtful(key, cx.store) && !self.is_empty_object(key, cx.store);
        while let Some(state) = self.directory.settled(key) {
            if may_be_lost && state == State::Uncached {
                self.directory.set(key, State::Lost);
            }
            let Some(next) = first.take().or_else(|| self.directory.next_in_line(key)) else {
                self.directory.forget_if_empty(key);
                return;
            };
            match next {
                Pending::Evict(from) => self.rename(from, key, cx),
                Pending::Request(from, request) if self.refuses(key, &request) => {
                    self.send(from, key, Body::Nack { rid: request.rid, why: Nack::Destroyed }, cx);
                }
                Pending::Request(from, request) => match request.kind {
                    RequestKind::Get => self.home_get(from, key, request, cx),
                    RequestKind::Grab => self.home_grab(from, key, request, cx),
                    RequestKind::Remove => self.home_remove(from, key, request.rid, cx),
                    RequestKind::Sync => self.sync_begin(from, key, request.rid, cx),
                },
            }
        }
        self.extend_chain(key, cx);
    }

    /// Serves the line of a home that could not grant. The tries in it waited for that, and for nothing else.
    pub(crate) fn serve_at_last<S: Store>(&mut self, key: ObjectKey, cx: &mut Context<'_, S>) {
        self.serve(key, cx);
        let mut refused: SmallVec<[(NodeId, Rid); 1]> = SmallVec::new();
        self.directory.retain_in_line(key, |pending| match pending {
            Pending::Request(by, request) if request.try_only => {
                refused.push((*by, request.rid));
                false
            }
            _ => true,
        });
        for (by, rid) in refused {
            self.send(by, key, Body::Nack { rid, why: Nack::WouldBlock }, cx);
        }
    }

    fn home_get<S: Store>(
        &mut self,
        from: NodeId,
        key: ObjectKey,
        request: Request,
        cx: &mut Context<'_, S>,
    ) {
        let (rid, life) = (request.rid, self.life_of(from));
        let Some(state) = self.directory.settled(key) else { return };
        match state {
            State::Uncached | State::Untouched => self.first(from, key, request, cx),
            State::Lost => self.send(from, key, Body::Nack { rid, why: Nack::Lost }, cx),
            State::Shared { owner, since, .. } => {
                let known = self.directory.admit(key, from, rid);
                let has = known && request.have || owner.node == from;
                let source = self.source_for(from, key, (owner, since), has, &request, cx);
                let (acks, seq) = (NodeSet::EMPTY, Seq(0));
                self.send(
                    from,
                    key,
                    Body::Grant { rid, seq, source, acks, owner: None, exclusive: false },
                    cx,
                );
            }
            State::Exclusive { owner, rid: after } => {
                let try_only = request.try_only;
                let seq = self.start(key, Work::Share { by: from, request, retry: false });
                let kind = RecallKind::Share;
                self.send(
                    owner,
                    key,
                    Body::Recall { seq, kind, requester: from, life, rid, after, try_only },
                    cx,
                );
            }
        }
    }

    fn home_grab<S: Store>(
        &mut self,
        from: NodeId,
        key: ObjectKey,
        request: Request,
        cx: &mut Context<'_, S>,
    ) {
        let (rid, life) = (request.rid, self.life_of(from));
        let Some(state) = self.directory.settled(key) else { return };
        self.speculation.clock += u64::from(self.planted(Mutant::PeriodFromInvalidation));
        match state {
            State::Uncached | State::Untouched => self.first(from, key, request, cx),
            State::Lost if request.first_touch == FirstTouch::Manual => self.first(from, key, request, cx),
            State::Lost => self.send(from, key, Body::Nack { rid, why: Nack::Lost }, cx),
            State::Shared { owner, copies, since } => {
                let mut others = std::mem::take(&mut self.others);
                others.extend(copies.iter().filter(|holder| holder.node != from));
                let kept = others.len() < copies.len() || self.planted(Mutant::UpgradeKeepsCopy);
                let has = request.have && kept || owner.node == from;
                self.grab_shared(from, key, request, (owner, since, has), &others, cx);
                others.clear();
                self.others = others;
            }
            State::Exclusive { owner, rid: after } => {
                let try_only = request.try_only;
                let seq = self.start(key, Work::Grab { by: from, request, retry: false });
                self.mark_dirty(key, seq, cx.store);
                let kind = RecallKind::Yield;
                self.send(
                    owner,
                    key,
                    Body::Recall { seq, kind, requester: from, life, rid, after, try_only },
                    cx,
                );
            }
        }
    }

    /// Grants a shared object. `has`: the requester's copy is as good as the owner's; `others`: who else may have copies.
    fn grab_shared<S: Store>(
        &mut self,
        from: NodeId,
        key: ObjectKey,
        request: Request,
        (owner, since, has): (Location, Since, bool),
        others: &[Holder],
        cx: &mut Context<'_, S>,
    ) {
        let (rid, life) = (request.rid, self.life_of(from));
        if request.try_only && others.iter().any(|holder| !self.is_unused_here(holder.node, key, cx.store)) {
            self.send(from, key, Body::Nack { rid, why: Nack::WouldBlock }, cx);
            return;
        }
        let source = self.source_for(from, key, (owner, since), has, &request, cx);
        let seq = self.start(key, Work::Grab { by: from, request, retry: false });
        self.mark_dirty(key, seq, cx.store);
        let acks = others.iter().map(|holder| holder.node).collect();
        let giver = Some(owner.node).filter(|&owner| owner != from);
        self.send(from, key, Body::Grant { rid, seq, source, acks, owner: giver, exclusive: true }, cx);
        for holder in others {
            let after = holder.rid();
            let invalidate = Body::Invalidate { seq, requester: from, life, after, keep: false };
            self.send(holder.node, key, invalidate, cx);
        }
    }

    /// Nobody has the object: the device fills it here, or the requester makes it.
    fn first<S: Store>(&mut self, from: NodeId, key: ObjectKey, request: Request, cx: &mut Context<'_, S>) {
        let rid = request.rid;
        let durable = cx.store.policy(key.set).is_some_and(|policy| policy.durability.has_device());
        let exclusive = request.kind == RequestKind::Grab;
        if durable && !(exclusive && request.first_touch == FirstTouch::Manual) {
            self.start(key, Work::Fill { by: from, request, started: false });
            self.retry_fill(key, cx);
        } else if request.first_touch == FirstTouch::Refuse {
            self.send(from, key, Body::Nack { rid, why: Nack::Absent }, cx);
        } else {
            let lost = self.directory.settled(key) == Some(State::Lost);
            let seq = self.start(key, Work::FirstTouch { by: from, request, lost });
            if exclusive {
                self.mark_dirty(key, seq, cx.store);
            }
            let (source, acks) = (Source::Make, NodeSet::EMPTY);
            self.send(from, key, Body::Grant { rid, seq, source, acks, owner: None, exclusive }, cx);
        }
    }

    /// Calls the linker for a fill that waits, if there is a slot for it.
    pub(crate) fn retry_fill<S: Store>(&mut self, key: ObjectKey, cx: &mut Context<'_, S>) {
        let Some((Transaction { work: Work::Fill { request, started, .. }, .. }, _)) =
            self.directory.transaction_mut(key)
        else {
            return;
        };
        if *started {
            return;
        }
        let make = request.first_touch != FirstTouch::Refuse;
        let size = cx.store.policy(key.set).map_or(0, |policy| policy.object_size);
        let copy = self.copies.entry(key).or_default();
        let slot = copy.slot.or_else(|| cx.store.allocate(key, size, true));
        copy.slot = slot;
        match slot {
            Some(slot) => {
                *started = true;
                cx.effects.push(Effect::Linker(key, LinkerCall::Insert { slot, make }));
            }
            None => self.starve(key, cx),
        }
    }

    /// Whether a fill waits for a slot: the linker has not been called.
    pub(crate) fn fill_waits(&self, key: ObjectKey) -> bool {
        let transaction = self.directory.transaction(key);
        matches!(transaction, Some(Transaction { work: Work::Fill { started: false, .. }, .. }))
    }

    pub(crate) fn is_filling(&self, key: ObjectKey) -> bool {
        let transaction = self.directory.transaction(key);
        matches!(transaction, Some(Transaction { work: Work::Fill { .. }, .. }))
    }

    /// A linker call ended: a first touch of ours, a fill, a removal or a sync, of which only one can be under way.
    pub(crate) fn linker_done<S: Store>(
        &mut self,
        key: ObjectKey,
        reply: LinkerReply,
        cx: &mut Context<'_, S>,
    ) {
        if self.request_mut(key).is_some_and(|request| request.data == crate::copy::Data::Making) {
            self.made(key, reply, cx);
            return;
        }
        if self.copies.get_mut(&key).is_some_and(|copy| std::mem::take(&mut copy.writing)) {
            // Whatever has become of the entry, the hold ends.
            self.sync_done(key, reply, cx);
            return;
        }
        let Some(Transaction { seq, work }) = self.directory.transaction(key) else { return };
        match work {
            Work::Fill { started: true, .. } => self.fill_ended(key, reply, cx),
            Work::Device { by, rid, kept } => {
                let (seq, by, rid, kept) = (*seq, *by, *rid, kept.clone());
                self.removed(by, key, rid, seq, &kept, reply, cx);
            }
            _ => {}
        }
    }

    pub(crate) fn fill_ended<S: Store>(
        &mut self,
        key: ObjectKey,
        reply: LinkerReply,
        cx: &mut Context<'_, S>,
    ) {
        let Some(Transaction { work: Work::Fill { by, request, .. }, .. }) = self.directory.transaction(key)
        else {
            return;
        };
        let (by, request) = (*by, request.clone());
        self.directory.end(key);
        self.filled(by, key, request, reply, cx);
    }

    fn filled<S: Store>(
        &mut self,
        by: NodeId,
        key: ObjectKey,
        request: Request,
        reply: LinkerReply,
        cx: &mut Context<'_, S>,
    ) {
        let me = self.config.me;
        let grab = request.kind == RequestKind::Grab && by != me;
        let try_only = request.try_only && grab;
        let why = match reply {
            // Others have joined the line here. What the linker may have made for the try, nobody has seen yet.
            LinkerReply::Ok if try_only && !self.is_unused_here(me, key, cx.store) => Some(Nack::WouldBlock),
            // Who asked is gone, or asks anew: what the linker may have made was not made for those who are next.
            LinkerReply::Ok if request.rid == Rid(0) => Some(Nack::Again),
            LinkerReply::Ok => None,
            LinkerReply::Absent => Some(Nack::Absent),
            LinkerReply::Failed(errno) => Some(Nack::Device(errno)),
        };
        let slot = self.copies.get(&key).and_then(|copy| copy.slot);
        match (why, slot) {
            (None, Some(slot)) => {
                // No hit of a thread here may come between this and the grab's turn: what was made for it is not there before it is.
                swap(cx.store, slot, |word| Some(word.with_revoke(word.revoke() || grab)));
                set_mode(key, slot, Mode::Shared, cx);
                let owner = self.location(slot, cx.store);
                if let Some(copy) = self.copies.get_mut(&key) {
                    copy.named = true;
                }
                let (copies, since) = (&[Holder::new(owner.node, Rid(0))], self.begin_period());
                self.directory.set(key, State::Shared { owner, copies, since });
                if self.is_reachable(by) {
                    self.directory.line_up_first(key, Pending::Request(by, request));
                    if grab {
                        // Nor a hold of those who wait here: the invalidation that is on its way serves them.
                        return self.serve(key, cx);
                    }
                }
            }
            (why, _) => {
                if let Some(copy) = self.copies.get_mut(&key).filter(|copy| copy.request.is_none())
                    && let Some(slot) = copy.slot.take()
                {
                    self.release(slot, cx);
                }
                let why = why.unwrap_or(Nack::Device(5));
                if request.rid != Rid(0) {
                    self.send(by, key, Body::Nack { rid: request.rid, why }, cx);
                }
            }
        }
        self.serve(key, cx);
        self.pump(key, cx);
    }

    pub(crate) fn home_done<S: Store>(
        &mut self,
        from: NodeId,
        key: ObjectKey,
        seq: Seq,
        location: Location,
        cx: &mut Context<'_, S>,
    ) {
        let any = self.planted(Mutant::AnyDone);
        self.catch_up(key, seq);
        let Some(Transaction { seq: current, work }) = self.directory.transaction(key) else { return };
        if *current != seq && !any {
            return;
        }
        let (rid, exclusive) = match work {
            Work::Grab { by, request, .. } if *by == from || any => (request.rid, true),
            Work::FirstTouch { by, request, .. } if *by == from => {
                (request.rid, request.kind == RequestKind::Grab)
            }
            // Its giver died after it had given: the answer to RETRY.
            Work::Share { by, request, .. } if *by == from => (request.rid, false),
            _ => return,
        };
        if exclusive {
            self.next_link(key, (from, rid));
        } else {
            let (copies, since) = (&[Holder::new(from, rid)], self.begin_period());
            self.directory.settle(key, State::Shared { owner: location, copies, since });
        }
        self.serve(key, cx);
    }

    pub(crate) fn home_shared<S: Store>(
        &mut self,
        from: NodeId,
        key: ObjectKey,
        seq: Seq,
        location: Location,
        cx: &mut Context<'_, S>,
    ) {
        self.catch_up(key, seq);
        let Some((Transaction { seq: current, work: Work::Share { by, request, .. } }, before)) =
            self.directory.transaction_mut(key)
        else {
            return;
        };
        let State::Exclusive { owner, rid } = before else { return };
        if *current != seq || owner != from || location.node != from {
            return;
        }
        let mut copies: Holders = [Holder::new(owner, rid)].into_iter().collect();
        if *by != from && (*by == self.config.me || self.up.contains_key(by)) {
            copies.push(Holder::new(*by, request.rid));
        }
        let since = self.begin_period();
        self.directory.settle(key, State::Shared { owner: location, copies: &copies, since });
        self.serve(key, cx);
    }

    /// The owner refused a try: everything is as before. Or who was to hand over in a chain has given its grant back.
    pub(crate) fn home_refused<S: Store>(
        &mut self,
        from: NodeId,
        key: ObjectKey,
        seq: Seq,
        cx: &mut Context<'_, S>,
    ) {
        if let Some(given_back) = self.break_chain(key, seq) {
            return self.home_retrying(from, key, Rid(0), given_back, cx);
        }
        let Some((Transaction { seq: current, work }, before)) = self.directory.transaction_mut(key) else {
            return;
        };
        let (Work::Share { by, request, .. } | Work::Grab { by, request, .. }) = work else { return };
        let (by, rid) = (*by, request.rid);
        let State::Exclusive { owner, .. } = before else { return };
        if *current != seq || owner != from {
            return;
        }
        self.directory.end(key);
        if self.planted(Mutant::RefusedTryOwns) {
            self.set_state(key, State::Exclusive { owner: by, rid }, cx);
        }
        self.send(by, key, Body::Nack { rid, why: Nack::WouldBlock }, cx);
        self.serve(key, cx);
    }

    /// Makes the entry busy with `work`, under a new number.
    pub(crate) fn start(&mut self, key: ObjectKey, work: Work) -> Seq {
        let seq = self.new_seq();
        self.directory.start(key, Transaction { seq, work });
        seq
    }

    pub(crate) fn mark_dirty<S: Store>(&mut self, key: ObjectKey, seq: Seq, store: &S) {
        if store.policy(key.set).is_some_and(|policy| policy.durability == Durability::WriteBack) {
            self.dirty.entry(key).or_insert((self.view, seq));
        }
    }

    /// Where `to` finds the bytes of a settled shared object.
    fn source_for<S: Store>(
        &self,
        to: NodeId,
        key: ObjectKey,
        (owner, since): (Location, Since),
        has: bool,
        request: &Request,
        cx: &mut Context<'_, S>,
    ) -> Source {
        let me = self.config.me;
        let mine = self.copies.get(&key).filter(|copy| copy.mode(cx.store) != Mode::None);
        if has || to == me && mine.is_some() {
            return Source::Copy;
        }
        let size = cx.store.policy(key.set).map_or(0, |policy| policy.object_size);
        match mine.and_then(|copy| copy.slot) {
            Some(slot) if owner.node == me && size <= self.config.inline_max => {
                Source::Bytes(cx.store.take(slot, size))
            }
            _ => self.shared_source(owner, since, request),
        }
    }

    /// Whether `node` is this one and nobody here holds or waits for the object: a try may take it away.
    fn is_unused_here<S: Store>(&self, node: NodeId, key: ObjectKey, store: &S) -> bool {
        node == self.config.me && self.copies.get(&key).is_none_or(|copy: &LocalCopy| copy.is_idle(store))
    }
}

/// The kind of request that a hold needs.
pub(crate) const fn kind_of(hold: Hold) -> RequestKind {
    match hold {
        Hold::Shared => RequestKind::Get,
        Hold::Exclusive => RequestKind::Grab,
    }
}
