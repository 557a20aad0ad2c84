//! The requester's side: GRANT and HAND come in, acks and bytes are collected, holds are given out.

use crate::copy::{Data, Early, Order, Outstanding, Parked, Purpose, take_first};
use crate::core::{Context, Core, Loss, set_mode};
use crate::mutant::Mutant;
use crate::speculation::{Sample, Speculated};
use crate::{Body, Effect, LinkerCall, LinkerReply, Nack, OpError, ReadToken, Source, Store};
use kddm_object::{FirstTouch, Mode, NodeId, NodeSet, ObjectKey, Rid, Seq};
use std::mem::take;

impl Core {
    /// GRANT from the home or HAND from a holder.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn granted<S: Store>(
        &mut self,
        key: ObjectKey,
        rid: Rid,
        seq: Seq,
        source: Source,
        acks: NodeSet,
        owner: Option<NodeId>,
        exclusive: bool,
        cx: &mut Context<'_, S>,
    ) {
        let me = self.config.me;
        let ignored = self.planted(Mutant::AcksIgnored) && source == Source::Copy;
        let giver = owner.filter(|&owner| exclusive && owner != me);
        let request = self.copies.get_mut(&key).and_then(|copy| {
            let ours = copy.request.as_ref().is_some_and(|request| {
                request.rid == rid && request.data == Data::Awaited && request.given_up != Some(seq)
            });
            // What comes of a request that is over takes no ACK away that came for the present one.
            let place = copy.early.iter().position(|early| early.seq == seq);
            let early = place.map(|place| copy.early.swap_remove(place));
            copy.request.as_mut().filter(|_| ours).map(|request| (request, early))
        });
        let Some((request, early)) = request else {
            // Asked for in another life of the home: the giver need not keep its slot for us.
            if let Some(giver) = giver {
                self.send(giver, key, Body::Fetched { seq }, cx);
            }
            return;
        };
        request.seq = seq;
        request.view = self.view;
        request.exclusive = exclusive;
        request.giver = giver;
        request.tell_home = exclusive || source == Source::Make;
        request.acks_due = if ignored { NodeSet::EMPTY } else { acks };
        request.acks_due.remove(me);
        for node in early.iter().flat_map(|early| early.of.iter()) {
            request.acks_due.remove(node);
        }
        self.forget_early(key, cx);
        match source {
            Source::Speculated(location) => self.speculation_good(key, location, cx),
            source => {
                if let Source::Read(location) = source {
                    self.remember(key, location, owner, cx);
                }
                self.speculation_bad(key, cx);
                self.land(key, source, cx);
            }
        }
        self.try_finish(key, cx);
    }

    /// Gets the granted bytes on their way into the landing slot.
    pub(crate) fn land<S: Store>(&mut self, key: ObjectKey, source: Source, cx: &mut Context<'_, S>) {
        let Some(policy) = cx.store.policy(key.set) else { return };
        let gone = matches!(&source, Source::Read(at) | Source::Speculated(at) if self.has_gone(at.node));
        let Some(copy) = self.copies.get_mut(&key) else { return };
        let slot = copy.slot.or_else(|| cx.store.allocate(key, policy.object_size, true));
        copy.slot = slot;
        copy.candidate = None;
        let Some(request) = copy.request.as_mut() else { return };
        let Some(slot) = slot else {
            request.data = Data::Unlanded(Box::new(source));
            self.starve(key, cx);
            return;
        };
        request.data = match source {
            Source::Copy => Data::Here,
            Source::Read(_) | Source::Speculated(_) if gone => Data::Failed,
            Source::Bytes(bytes) => {
                cx.store.fill(slot, &bytes);
                Data::Here
            }
            Source::Make if request.first_touch == FirstTouch::Manual => {
                // Whoever comes next finds zeros if the caller has lost interest.
                cx.store.clear(slot, policy.object_size);
                Data::Here
            }
            Source::Make => {
                cx.effects.push(Effect::Linker(key, LinkerCall::FirstTouch { slot }));
                Data::Making
            }
            Source::Read(location) | Source::Speculated(location) => {
                let token = self.read(key, location, slot, policy.object_size, cx);
                if let Some(request) = self.request_mut(key) {
                    request.data = Data::Reading(token);
                }
                return;
            }
        };
    }

    /// Memory was freed: what was granted may land now.
    pub(crate) fn retry_land<S: Store>(&mut self, key: ObjectKey, cx: &mut Context<'_, S>) {
        let Some(request) = self.request_mut(key) else { return };
        if let Data::Unlanded(source) = &request.data {
            let source = (**source).clone();
            self.land(key, source, cx);
            self.try_finish(key, cx);
        }
    }

    pub(crate) fn read_done<S: Store>(&mut self, token: ReadToken, good: bool, cx: &mut Context<'_, S>) {
        let Some(read) = self.reads.remove(&token) else { return };
        let (key, view) = (read.key, self.view);
        match self.request_mut(key) {
            Some(request) if request.data == Data::Reading(token) => {
                let speculated = request.speculated.take().filter(|_| !good && request.view == view);
                if let Some(Speculated { location, .. }) = speculated {
                    // It may have been posted too early; the location is right by the home's word.
                    self.land(key, Source::Read(location), cx);
                    return self.try_finish(key, cx);
                }
                request.data = if good { Data::Here } else { Data::Failed };
                let fetched = request.giver.map(|giver| (giver, request.seq));
                if let Some((giver, seq)) = fetched.filter(|_| self.planted(Mutant::FetchedBeforeAcks)) {
                    self.send(giver, key, Body::Fetched { seq }, cx);
                }
                self.try_finish(key, cx);
            }
            Some(Outstanding { speculated: Some(Speculated { sample, .. }), .. })
                if *sample == Sample::Reading(token) =>
            {
                *sample = Sample::Done { good };
            }
            _ => {
                self.release(read.landing, cx);
                if let Some((giver, seq)) = read.abandoned {
                    self.send(giver, key, Body::Fetched { seq }, cx);
                }
            }
        }
    }

    /// The linker has made the object, or could not.
    pub(crate) fn made<S: Store>(&mut self, key: ObjectKey, reply: LinkerReply, cx: &mut Context<'_, S>) {
        let view = self.view;
        let forgetting = self.is_forgetting(key);
        let Some(request) = self.request_mut(key) else { return };
        if request.view != view {
            if forgetting {
                return self.end_request(key, None, cx);
            }
            request.data = Data::Failed;
            return self.cut_short(key, cx);
        }
        match reply {
            LinkerReply::Ok => {
                request.data = Data::Here;
                self.try_finish(key, cx);
            }
            LinkerReply::Absent => self.not_made(key, OpError::Absent, cx),
            LinkerReply::Failed(errno) => self.not_made(key, OpError::Device(errno), cx),
        }
    }

    fn not_made<S: Store>(&mut self, key: ObjectKey, error: OpError, cx: &mut Context<'_, S>) {
        let Some(request) = self.request_mut(key) else { return };
        let seq = request.seq;
        if let Some((home, _)) = self.home_of(key, cx.store) {
            self.send(home, key, Body::Retrying { rid: Rid(0), seq }, cx);
        }
        self.stay_until_heard(key, cx);
        self.end_request(key, Some(error), cx);
    }

    pub(crate) fn acked<S: Store>(
        &mut self,
        of: NodeId,
        key: ObjectKey,
        seq: Seq,
        kept: Option<crate::collect::Kept>,
        cx: &mut Context<'_, S>,
    ) {
        if self.collected(of, key, seq, kept, cx) {
            return;
        }
        let dropped = self.planted(Mutant::EarlyAckDropped);
        let request = self.copies.get_mut(&key).filter(|copy| copy.request.is_some());
        let giver = kept.map(|_| of);
        let Some(copy) = request else {
            // We gave the request up with its home: the giver need not wait for us.
            if let Some(giver) = giver {
                self.send(giver, key, Body::Fetched { seq }, cx);
            }
            return;
        };
        let Some(request) = copy.request.as_mut() else { return };
        if request.data == Data::Awaited {
            if dropped {
                return;
            }
            // It overtook its GRANT. Whether it is ours, the GRANT will tell.
            match copy.early.iter_mut().find(|early| early.seq == seq) {
                Some(early) => {
                    early.of.insert(of);
                    early.giver = early.giver.or(giver);
                }
                None => copy.early.push(Early { seq, of: NodeSet::from_iter([of]), giver }),
            }
        } else if request.seq == seq {
            request.acks_due.remove(of);
            self.try_finish(key, cx);
        }
    }

    /// ACKs whose GRANTs will not come, or are over: who keeps a slot for us need not wait.
    fn forget_early<S>(&mut self, key: ObjectKey, cx: &mut Context<'_, S>) {
        let early = self.copies.get_mut(&key).map(|copy| take(&mut copy.early));
        for Early { seq, giver, .. } in early.into_iter().flatten() {
            if let Some(giver) = giver {
                self.send(giver, key, Body::Fetched { seq }, cx);
            }
        }
    }

    /// NACK from the home.
    pub(crate) fn refused<S: Store>(&mut self, key: ObjectKey, rid: Rid, why: Nack, cx: &mut Context<'_, S>) {
        let error = match why {
            Nack::Absent => Some(OpError::Absent),
            Nack::WouldBlock => Some(OpError::WouldBlock),
            Nack::NoSet => Some(OpError::NoSet(key.set)),
            Nack::Device(errno) => Some(OpError::Device(errno)),
            Nack::Lost => Some(OpError::Lost),
            Nack::Peer(node) => Some(OpError::PeerLost(node)),
            Nack::Destroyed => Some(OpError::Destroyed(key.set)),
            Nack::Again => None,
        };
        if rid == Rid(0) && self.planted(Mutant::RefusedEvictFrees) {
            self.freed_of_naming(key, cx);
        } else if rid == Rid(0) {
            self.end_evicting(key, cx);
        } else if let (true, Some(error)) = (self.calls.contains_key(&rid), error) {
            self.finished(rid, Err(error), cx);
        } else if self
            .request_mut(key)
            .is_some_and(|request| request.rid == rid && request.data == Data::Awaited)
        {
            self.end_request(key, error, cx);
        }
    }

    /// RETRY: who was to hand us the object is dead. Whether we had it by then, only we know.
    pub(crate) fn retry<S: Store>(&mut self, key: ObjectKey, rid: Rid, seq: Seq, cx: &mut Context<'_, S>) {
        let Some((home, _)) = self.home_of(key, cx.store) else { return };
        let answer = match self.copies.get_mut(&key) {
            Some(copy) if copy.request.as_ref().is_some_and(|request| request.rid == rid) => {
                let Some(request) = copy.request.as_mut() else { return };
                if request.data == Data::Awaited {
                    request.given_up = Some(seq);
                    Body::Retrying { rid, seq }
                } else {
                    // The READ decides; its end answers.
                    request.retry = Some(seq);
                    return;
                }
            }
            Some(copy) if copy.mode(cx.store) != Mode::None => {
                copy.named = true;
                let Some(slot) = copy.slot else { return };
                Body::Done { seq, location: self.location(slot, cx.store) }
            }
            _ => Body::Retrying { rid: Rid(0), seq },
        };
        self.send(home, key, answer, cx);
    }

    /// Gives out the holds if bytes and acks are in.
    pub(crate) fn try_finish<S: Store>(&mut self, key: ObjectKey, cx: &mut Context<'_, S>) {
        let view = self.view;
        let leased = self.views.leased || self.views.is_expelled();
        let Some(request) = self.request_mut(key) else { return };
        let whole = request.data == Data::Here && request.acks_due.is_empty();
        if request.view != view && !(whole && leased) {
            // Without a lease too: what was granted in an older view is in our report, or is nothing.
            return self.cut_short(key, cx);
        }
        if !leased {
            // The others may go on without us: whoever gives to us keeps what it gave.
            return;
        }
        if !request.acks_due.is_empty() {
            return;
        }
        match request.data {
            Data::Here => self.finish(key, cx),
            Data::Failed => self.failed(key, cx),
            _ => {}
        }
    }

    fn finish<S: Store>(&mut self, key: ObjectKey, cx: &mut Context<'_, S>) {
        let Some(copy) = self.copies.get_mut(&key) else { return };
        let (Some(request), Some(slot)) = (copy.request.take(), copy.slot) else { return };
        copy.candidate = None;
        copy.reported = false;
        copy.named |= request.tell_home || request.retry.is_some();
        // What is made for a home that is gone is forgotten before anybody gets it.
        copy.turn = if copy.is_forgetting() { 0 } else { copy.waiters.len() };
        if let Some(parked) = &mut copy.parked {
            parked.wait = false;
        }
        let mode = if request.exclusive { Mode::Exclusive } else { Mode::Shared };
        set_mode(key, slot, mode, cx);
        if request.exclusive {
            self.speculation.forget(key);
        }
        let seq = request.retry.unwrap_or(request.seq);
        // The home and the giver of an older view have forgotten it.
        let current = request.view == self.view;
        if current
            && (request.tell_home || request.retry.is_some())
            && let Some((home, _)) = self.home_of(key, cx.store)
        {
            let location = self.location(slot, cx.store);
            self.send(home, key, Body::Done { seq, location }, cx);
        }
        if let Some(giver) = request.giver.filter(|_| current) {
            self.send(giver, key, Body::Fetched { seq: request.seq }, cx);
        }
        self.pump(key, cx);
    }

    /// The READ failed, and all acks are in.
    fn failed<S: Store>(&mut self, key: ObjectKey, cx: &mut Context<'_, S>) {
        let Some((home, _)) = self.home_of(key, cx.store) else { return };
        let agreed = self.config.loss == Loss::Agreed;
        let Some(request) = self.request_mut(key) else { return };
        let (rid, seq) = (request.rid, request.seq);
        if agreed {
            // Its source is gone; the view that says so will end this request's grant.
            return;
        }
        if request.exclusive || request.retry.is_some() {
            // The home has a transaction open for us; it decides where the bytes come from now.
            request.data = Data::Awaited;
            request.seq = Seq(0);
            let seq = request.retry.take().unwrap_or(seq);
            request.given_up = Some(seq);
            self.send(home, key, Body::Retrying { rid, seq }, cx);
        } else {
            let source = request.source.unwrap_or(home);
            self.end_request(key, Some(OpError::PeerLost(source)), cx);
        }
    }

    /// There is no slot for what was granted, and will be none: the waiter is refused, and the others go on without us.
    pub(crate) fn give_up_grant<S: Store>(&mut self, key: ObjectKey, cx: &mut Context<'_, S>) {
        let Some(request) = self.request_mut(key) else { return };
        if !request.acks_due.is_empty() {
            // Who has yet to drop its copy may be the one that keeps the bytes.
            return;
        }
        // The home waits for us, and has the bytes looked for where they were.
        let told = request.retry.or(request.tell_home.then_some(request.seq));
        if let (Some(seq), Some((home, _))) = (told, self.home_of(key, cx.store)) {
            self.send(home, key, Body::Retrying { rid: Rid(0), seq }, cx);
        }
        self.stay_until_heard(key, cx);
        self.end_request(key, Some(OpError::NoMemory), cx);
    }

    /// The request is over without a grant: with an error its waiter hears of it; whoever waits then asks anew.
    pub(crate) fn end_request<S: Store>(
        &mut self,
        key: ObjectKey,
        error: Option<OpError>,
        cx: &mut Context<'_, S>,
    ) {
        self.drop_speculation(key, cx);
        let Some(copy) = self.copies.get_mut(&key) else { return };
        let Some(request) = copy.request.take() else { return };
        copy.early.clear();
        copy.candidate = None;
        if let Some(parked) = &mut copy.parked {
            parked.wait = false;
        }
        let waiter =
            copy.waiters.iter().position(|waiter| error.is_some() && waiter.purpose == request.purpose);
        if let Some(place) = waiter {
            copy.waiters.remove(place);
        }
        if copy.mode(cx.store) == Mode::None
            && !self.is_filling(key)
            && let Some(slot) = self.copies.get_mut(&key).and_then(|copy| copy.slot.take())
        {
            self.release(slot, cx);
        }
        if let (Some(error), Some(_)) = (error, waiter) {
            self.give_up(key, request.purpose, error, cx);
        }
        self.pump(key, cx);
    }

    /// Gives up what was asked of a home that is gone.
    pub(crate) fn abandon_request<S: Store>(
        &mut self,
        key: ObjectKey,
        error: OpError,
        cx: &mut Context<'_, S>,
    ) {
        self.drop_speculation(key, cx);
        let free = self.planted(Mutant::AbandonedLandingIsFree);
        let Some(copy) = self.copies.get_mut(&key) else { return };
        let waiters: Vec<Purpose> =
            std::iter::from_fn(|| (!copy.waiters.is_empty()).then(|| take_first(copy).purpose)).collect();
        copy.turn = 0;
        copy.evicting = false;
        let flush = copy.flush.take();
        let mut fetched = None;
        match &copy.request {
            Some(Outstanding { data: Data::Making, .. }) => {
                // The linker writes into the slot; when it is done, so is the copy.
                copy.parked = Some(Parked { wait: true, order: Order::Forget { tell: None } });
            }
            Some(request) => {
                let kept = request.giver.map(|giver| (giver, request.seq));
                if let Data::Reading(token) = request.data {
                    if let Some(read) = self.reads.get_mut(&token) {
                        read.abandoned = kept;
                    }
                    if let Some(landing) = copy.slot.take() {
                        if free {
                            self.reads.remove(&token);
                            cx.store.release(landing);
                        } else {
                            cx.store.retain(landing);
                        }
                    }
                } else {
                    fetched = kept;
                }
                copy.request = None;
                copy.parked = Some(Parked { wait: false, order: Order::Forget { tell: None } });
            }
            None => copy.parked = Some(Parked { wait: false, order: Order::Forget { tell: None } }),
        }
        if let Some(op) = flush {
            cx.effects.push(Effect::Complete(op, Ok(None)));
        }
        if let Some((giver, seq)) = fetched {
            self.send(giver, key, Body::Fetched { seq }, cx);
        }
        self.forget_early(key, cx);
        for purpose in waiters {
            self.give_up(key, purpose, error, cx);
        }
        self.pump(key, cx);
    }

    pub(crate) fn request_mut(&mut self, key: ObjectKey) -> Option<&mut Outstanding> {
        self.copies.get_mut(&key)?.request.as_mut()
    }
}
