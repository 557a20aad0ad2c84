//! What changes when a peer's life ends, as each node notices it alone ([`Loss::Local`]): the view is the configured list, and a
//! peer returns as a new incarnation that knows nothing of ours.

use crate::collect::Then;
use crate::copy::Retained;
use crate::core::{Context, Core, Keeper, Loss};
use crate::entry::{Holder, Holders, Pending, State, Transaction, Work};
use crate::mutant::Mutant;
use crate::{Body, Nack, OpError, RequestKind, Store};
use kddm_object::{Incarnation, NodeId, ObjectKey, Rid, Seq};
use smallvec::SmallVec;

impl Core {
    /// A peer's new life: what a home told us to say to it can be said now.
    pub(crate) fn peer_up<S: Store>(&mut self, node: NodeId, life: Incarnation, cx: &mut Context<'_, S>) {
        if self.config.loss == Loss::Agreed {
            return self.connected(node, Some(life), cx);
        }
        self.speculation.forget_all(Some(node));
        self.up.insert(node, life);
        self.met.insert(node, life);
        self.tell_ends(node, cx);
        for unmet in std::mem::take(&mut self.unmet) {
            if unmet.to == node && unmet.life == life {
                self.send(node, unmet.key, unmet.body, cx);
            } else if unmet.to != node || unmet.life > life {
                self.unmet.push(unmet);
            }
        }
    }

    /// The peers have nothing of ours any more, and we nothing of theirs: what is left is to be somebody else, so that nobody takes what is
    /// still said about the old life for news of this one.
    pub(crate) fn renewed(&mut self, life: Incarnation) {
        debug_assert!(self.config.loss == Loss::Local && self.up.is_empty());
        self.config.incarnation = life;
        self.met.clear();
        self.unmet.clear();
    }

    pub(crate) fn peer_down<S: Store>(&mut self, lost: NodeId, cx: &mut Context<'_, S>) {
        if self.config.loss == Loss::Agreed {
            return self.connected(lost, None, cx);
        }
        if self.up.remove(&lost).is_none() {
            return;
        }
        self.speculation.forget_all(Some(lost));
        let mut known: Vec<ObjectKey> = self.copies.keys().copied().chain(self.directory.keys()).collect();
        known.sort_unstable();
        known.dedup();
        let calls: Vec<Rid> = self
            .calls
            .iter()
            .filter(|(_, call)| self.is_home(call.key, lost, cx.store))
            .map(|(rid, _)| *rid)
            .collect();
        for rid in calls {
            self.finished(rid, Err(OpError::PeerLost(lost)), cx);
        }
        self.need_not_hear(lost, cx);
        self.rooms.forget(lost);
        for key in known {
            match self.home_of(key, cx.store) {
                Some((home, _)) if home == lost => {
                    self.void_retained(key);
                    self.abandon_request(key, OpError::PeerLost(lost), cx);
                }
                Some((home, _)) if home == self.config.me => self.home_without(lost, key, cx),
                _ => {}
            }
            self.ask_for_retained(key, cx);
        }
    }

    /// All who may keep bytes of an object whose last writer is dead: its giver, and nobody knows any more who that was.
    fn everybody(&self) -> Holders {
        self.everyone().into_iter().map(|node| Holder::new(node, Rid(0))).collect()
    }

    fn is_home<S: Store>(&self, key: ObjectKey, node: NodeId, store: &S) -> bool {
        self.home_of(key, store).is_some_and(|(home, _)| home == node)
    }

    /// The home is gone, and with it what it knew of these bytes: its next life begins with what its device has.
    fn void_retained(&mut self, key: ObjectKey) {
        let retained = self.copies.get_mut(&key).map(|copy| &mut copy.retained);
        for kept in retained.into_iter().flatten() {
            kept.void = true;
        }
    }

    /// Slots kept for a node that will never fetch them: the home says whether they may go. Without a home they may.
    fn ask_for_retained<S: Store>(&mut self, key: ObjectKey, cx: &mut Context<'_, S>) {
        let Some(copy) = self.copies.get(&key) else { return };
        let gone =
            |kept: &&Retained| kept.to.0 != self.config.me && self.up.get(&kept.to.0) != Some(&kept.to.1);
        let gone: SmallVec<[Retained; 1]> = copy.retained.iter().filter(gone).copied().collect();
        let home = self.home_of(key, cx.store).map(|(home, _)| home).filter(|&home| self.is_reachable(home));
        for Retained { seq, to: (to, life), void, .. } in gone {
            match home.filter(|_| !void) {
                Some(home) => self.send(home, key, Body::Kept { seq, to, life }, cx),
                None => self.fetched(key, seq, cx),
            }
        }
    }

    /// KEPT: the home needs the slot if its transaction is not over, or if the dead node has the object and its death is news.
    pub(crate) fn home_kept<S: Store>(
        &mut self,
        from: NodeId,
        key: ObjectKey,
        seq: Seq,
        (to, life): (NodeId, Incarnation),
        cx: &mut Context<'_, S>,
    ) {
        // Of a death that is news to us we shall hear, and ask everybody for what is left.
        let news = self.up.get(&to) == Some(&life);
        let needed =
            self.directory.entry(key).is_some_and(|entry| match (entry.transaction(), entry.state) {
                (Some(current), _) => current.seq == seq || news && entry.is_moving(to),
                (None, State::Exclusive { owner, .. }) => news && owner == to,
                _ => false,
            });
        if needed {
            let keeper = Keeper { node: from, seq, dead: (to, life) };
            self.keepers.entry(key).or_default().push(keeper);
        } else {
            self.send(from, key, Body::Fetched { seq }, cx);
        }
    }

    /// The entry is settled: what was kept for nodes of whose death we have heard by now was not needed, or has been used.
    pub(crate) fn dismiss_keepers<S: Store>(&mut self, key: ObjectKey, cx: &mut Context<'_, S>) {
        if self.directory.is_busy(key) {
            return;
        }
        let Some(keepers) = self.keepers.remove(&key) else { return };
        let (waiting, done): (Vec<Keeper>, Vec<Keeper>) =
            keepers.into_iter().partition(|keeper| self.up.get(&keeper.dead.0) == Some(&keeper.dead.1));
        if !waiting.is_empty() {
            self.keepers.insert(key, waiting);
        }
        for Keeper { node, seq, .. } in done {
            self.send(node, key, Body::Fetched { seq }, cx);
        }
    }

    /// Takes a dead node out of an entry, and the entry out of whatever it waited for from that node.
    fn home_without<S: Store>(&mut self, lost: NodeId, key: ObjectKey, cx: &mut Context<'_, S>) {
        if !self.directory.contains(key) {
            return;
        }
        self.directory.change(key, |underway| {
            underway.line.retain(
                |pending| !matches!(pending, Pending::Request(by, _) | Pending::Evict(by) if *by == lost),
            );
            underway.syncing.retain(|(by, _)| *by != lost);
        });
        if !self.is_durable(key, cx.store) {
            // It may have been the one that was to take the object.
            self.end_evicting(key, cx);
        }
        if self.directory.is_busy(key) {
            self.work_without(lost, key, cx);
        } else {
            self.settled_without(lost, key, cx);
        }
        self.serve(key, cx);
        self.pump(key, cx);
    }

    fn settled_without<S: Store>(&mut self, lost: NodeId, key: ObjectKey, cx: &mut Context<'_, S>) {
        match self.directory.settled(key) {
            Some(State::Shared { owner, copies, since }) => {
                let copies = without(lost, copies);
                if owner.node == lost {
                    self.salvage(key, &copies, cx);
                } else {
                    self.directory.set(key, State::Shared { owner, copies: &copies, since });
                }
            }
            Some(State::Exclusive { owner, .. }) if owner == lost => self.salvage_anywhere(key, cx),
            _ => {}
        }
    }

    fn work_without<S: Store>(&mut self, lost: NodeId, key: ObjectKey, cx: &mut Context<'_, S>) {
        let me = self.config.me;
        let never_was = self.planted(Mutant::DeadGrabNeverWas);
        let awaited = self.planted(Mutant::DeadSharerAwaited);
        let Some((Transaction { seq, work }, before)) = self.directory.transaction_mut(key) else { return };
        match (work, before) {
            (Work::Grab { by, .. }, _) if *by == lost && never_was => self.directory.end(key),
            (Work::Grab { by, .. }, State::Shared { copies, .. }) if *by == lost => {
                let copies = without(lost, copies);
                self.salvage(key, &copies, cx);
            }
            (Work::Grab { by, .. }, State::Shared { owner, copies, .. }) => {
                // The acks go to the requester: it must not wait for this one.
                if copies.iter().any(|holder| holder.node == lost) && !awaited {
                    let (by, seq, giver) = (*by, *seq, owner.node);
                    let others = without(by, copies);
                    self.send(by, key, Body::Ack { seq, of: lost, retained: None, since: seq }, cx);
                    // And who waits for a HAND of the dead, and parks our INV behind it, must not wait for that.
                    if giver == lost {
                        self.let_ask_anew(key, &others, cx);
                    }
                }
            }
            (Work::Grab { by, .. }, _) if *by == lost => self.salvage_anywhere(key, cx),
            (
                Work::Grab { by, request, retry } | Work::Share { by, request, retry },
                State::Exclusive { owner, .. },
            ) if owner == lost => {
                // Of a requester that died before, nobody answers RETRY.
                if *by == lost || *by != me && !self.up.contains_key(by) {
                    self.salvage_anywhere(key, cx);
                } else {
                    *retry = true;
                    let (by, rid, seq) = (*by, request.rid, *seq);
                    self.send(by, key, Body::Retry { rid, seq }, cx);
                }
            }
            // Its giver died before it, and its answer to RETRY will not come.
            (Work::Share { by, retry: true, .. }, _) if *by == lost => self.salvage_anywhere(key, cx),
            (Work::Grab { .. } | Work::Share { .. }, _) => {}
            (Work::FirstTouch { by, .. }, _) if *by == lost => {
                self.dirty.remove(&key);
                self.set_state(key, State::Uncached, cx);
            }
            (Work::FirstTouch { .. }, _) => {}
            // What the linker has begun it ends, for nobody: the next life of that node must not hear of it.
            (Work::Fill { by, request, .. }, _) if *by == lost => {
                *by = me;
                (request.kind, request.rid) = (RequestKind::Get, Rid(0));
            }
            (Work::Fill { .. }, _) => {}
            (Work::Device { by, rid, kept }, _) => {
                kept.retain(|(node, _)| *node != lost);
                if *by == lost {
                    (*by, *rid) = (me, Rid(0));
                }
            }
            (Work::Collect { due, kept, then }, _) => {
                due.retain(|holder| holder.node != lost);
                kept.retain(|(node, _)| *node != lost);
                let waiting = due.clone();
                match then {
                    Then::Salvage(request, _) => *request = request.take().filter(|(by, _)| *by != lost),
                    Then::Remove(by, rid) if *by == lost => (*by, *rid) = (me, Rid(0)),
                    Then::Remove(..) | Then::Discard(..) | Then::Purge => {}
                }
                self.let_ask_anew(key, &waiting, cx);
                self.try_collected(key, cx);
            }
            (Work::Drain { due }, State::Shared { owner, copies, since }) => {
                let copies = without(lost, copies);
                if owner.node == lost {
                    self.salvage(key, &copies, cx);
                } else {
                    due.remove(lost);
                    self.directory.set(key, State::Shared { owner, copies: &copies, since });
                    self.try_drained(key, cx);
                }
            }
            (Work::Drain { .. }, _) => {}
        }
    }

    fn salvage<S: Store>(&mut self, key: ObjectKey, copies: &[Holder], cx: &mut Context<'_, S>) {
        self.collect(key, copies, Then::Salvage(None, None), cx);
    }

    fn salvage_anywhere<S: Store>(&mut self, key: ObjectKey, cx: &mut Context<'_, S>) {
        let everybody = if self.planted(Mutant::NoSalvage) { Holders::new() } else { self.everybody() };
        self.salvage(key, &everybody, cx);
    }

    /// Who parks our INV behind a HAND that may have died with its giver must not wait for that.
    pub(crate) fn let_ask_anew<S>(&mut self, key: ObjectKey, copies: &[Holder], cx: &mut Context<'_, S>) {
        for holder in copies.iter().filter(|holder| holder.rid() != Rid(0)) {
            self.send(holder.node, key, Body::Nack { rid: holder.rid(), why: Nack::Again }, cx);
        }
    }

    /// RETRYING: the requester has nothing of the transaction `seq`. With `rid` it still wants the object.
    pub(crate) fn home_retrying<S: Store>(
        &mut self,
        from: NodeId,
        key: ObjectKey,
        rid: Rid,
        seq: Seq,
        cx: &mut Context<'_, S>,
    ) {
        if self.is_followed(key, seq) {
            // It has, or will have, an order to hand over, and says then that it cannot.
            return;
        }
        self.catch_up(key, seq);
        let Some((Transaction { seq: current, work }, before)) = self.directory.transaction_mut(key) else {
            return;
        };
        if *current != seq {
            return;
        }
        let (request, copies, asked, giver) = match (work, before) {
            (Work::FirstTouch { by, .. }, _) if *by == from => {
                self.dirty.remove(&key);
                self.set_state(key, State::Uncached, cx);
                self.serve(key, cx);
                return;
            }
            (Work::Grab { by, request, retry }, State::Shared { owner, copies, .. }) if *by == from => {
                (request.clone(), Holders::from(copies), *retry, owner.node)
            }
            (
                Work::Grab { by, request, retry } | Work::Share { by, request, retry },
                State::Exclusive { owner, .. },
            ) if *by == from => {
                let (request, asked) = (request.clone(), *retry);
                (request, self.everybody(), asked, owner)
            }
            _ => return,
        };
        debug_assert!(matches!(request.kind, RequestKind::Get | RequestKind::Grab));
        let request = (rid != Rid(0)).then_some((from, request));
        let why = (!asked).then_some(Nack::Peer(giver));
        let copies: Holders = copies.into_iter().filter(|holder| self.is_reachable(holder.node)).collect();
        self.collect(key, &copies, Then::Salvage(request, why), cx);
    }
}

fn without(node: NodeId, copies: &[Holder]) -> Holders {
    copies.iter().copied().filter(|holder| holder.node != node).collect()
}
