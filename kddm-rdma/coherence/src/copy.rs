//! This node's copy of an object: who waits for it, what was asked of the home, what the home asked of us.
//!
//! [`Core::pump`] is the heart: it does for one object whatever can be done now. The word in [`Store`] alone says what
//! mode the copy has and who holds it.

use crate::core::{Context, Core, swap};
use crate::error::ENOMEM;
use crate::home::kind_of;
use crate::mutant::Mutant;
use crate::speculation::{Sample, Speculated};
use crate::{Asked, Body, Effect, OpError, OpId, ReadToken, RecallKind, Request, RequestKind, Source, Store};
use kddm_object::{
    FirstTouch, Hold, Incarnation, Mode, NodeId, NodeSet, ObjectKey, Refused, Rid, Seq, SlotId, ViewId,
};
use smallvec::SmallVec;
use std::cmp::Ordering;

#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct LocalCopy {
    /// The copy; while a request is outstanding and the word has no mode, where it will land.
    pub slot: Option<SlotId>,
    /// Ours is the copy that others READ.
    pub named: bool,
    pub request: Option<Outstanding>,
    pub parked: Option<Parked>,
    pub waiters: SmallVec<[Waiter; 1]>,
    /// How many of the first waiters belong to the present turn: they go before a parked order of the home.
    pub turn: usize,
    /// Slots given away, kept until their new owners have fetched them.
    pub retained: SmallVec<[Retained; 1]>,
    /// The slot has no mode, but the bytes of this transaction, which the end of a view cut short.
    pub candidate: Option<Since>,
    /// As it was reported to the home of this view, which has yet to decide about it.
    pub reported: bool,
    /// The linker writes the bytes, under a hold of ours.
    pub writing: bool,
    /// ACKs that came before their GRANT, and late ones of requests that are over.
    pub early: SmallVec<[Early; 1]>,
    /// EVICT was sent, or the home's own copy is on its way out.
    pub evicting: bool,
    /// Who waits for the end of that.
    pub flush: Option<OpId>,
}

/// A transaction, through all views: of two on one object, the greater is the later.
pub(crate) type Since = (ViewId, Seq);

/// ACKs of a transaction whose GRANT has not come.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Early {
    pub seq: Seq,
    pub of: NodeSet,
    /// The one among them that keeps its slot for us.
    pub giver: Option<NodeId>,
}

/// Why somebody waits for a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Purpose {
    /// A thread of this node.
    Hold(OpId),
    /// A thread that wants the copy, not the hold.
    Prefetch(OpId),
    /// A thread that has lost interest.
    Nobody,
    /// The home, to write the bytes to the device.
    Sync,
    /// This node, to take an object that its home has no memory for.
    Inject(NodeId),
    /// The home, to take over the naming from an owner short of memory.
    Take(NodeId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Waiter {
    pub purpose: Purpose,
    pub hold: Hold,
    pub first_touch: FirstTouch,
    pub try_only: bool,
    pub reserve: bool,
}

/// The one request of this node for the object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Outstanding {
    pub rid: Rid,
    pub kind: RequestKind,
    pub try_only: bool,
    /// The view of the grant.
    pub view: ViewId,
    /// For whom it was sent: who hears of a refusal.
    pub purpose: Purpose,
    pub first_touch: FirstTouch,
    /// Of the grant; 0 before it.
    pub seq: Seq,
    pub exclusive: bool,
    pub acks_due: NodeSet,
    pub data: Data,
    /// What it has done with its hint, until the GRANT or HAND comes.
    pub speculated: Option<Speculated>,
    /// Who keeps its slot until we have fetched it.
    pub giver: Option<NodeId>,
    /// Whom we READ from.
    pub source: Option<NodeId>,
    /// The home waits for DONE.
    pub tell_home: bool,
    /// The home gives this transaction up if its READ fails.
    pub retry: Option<Seq>,
    /// We told the home that nothing of this transaction is left: what still comes of it is too late.
    pub given_up: Option<Seq>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Data {
    /// Neither GRANT nor HAND has come.
    Awaited,
    /// Granted; no slot was free for the bytes to land in. Rare, and a quarter of a KiB.
    Unlanded(Box<Source>),
    Reading(ReadToken),
    /// The linker makes the object.
    Making,
    /// The READ failed; what is left to do is to collect the acks.
    Failed,
    Here,
}

/// An order of the home that waits for our own request or holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Parked {
    /// It follows our outstanding request.
    pub wait: bool,
    pub order: Order,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Order {
    Invalidate {
        seq: Seq,
        to: (NodeId, Incarnation),
        keep: bool,
    },
    Recall {
        seq: Seq,
        kind: RecallKind,
        to: (NodeId, Incarnation),
        rid: Rid,
    },
    Drain {
        seq: Seq,
    },
    /// The home is gone: the copy means nothing any more. Its next life may want to hear when it is.
    Forget {
        tell: Option<(NodeId, Seq)>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Retained {
    pub seq: Seq,
    /// The transaction for which it was first kept.
    pub since: Since,
    pub slot: SlotId,
    /// Who will fetch it, in which life.
    pub to: (NodeId, Incarnation),
    /// The home's life is over, and its next one counts anew: the bytes may still be fetched, and mean nothing to it.
    pub void: bool,
}

impl Retained {
    pub fn new(since: Since, slot: SlotId, to: (NodeId, Incarnation)) -> Retained {
        Retained { seq: since.1, since, slot, to, void: false }
    }
}

/// The order of two transactions on one object. Numbers go round, but not while anybody remembers them.
pub(crate) fn later(a: Since, b: Since) -> Ordering {
    a.0.cmp(&b.0).then((a.1.0.wrapping_sub(b.1.0) as i32).cmp(&0))
}

impl Outstanding {
    /// Whether a READ runs beside the request.
    fn is_speculating(&self) -> bool {
        let sample = self.speculated.map(|speculated| speculated.sample);
        self.data == Data::Awaited && matches!(sample, Some(Sample::Reading(_)))
    }

    /// As if it had just been sent.
    pub fn reset(&mut self, view: ViewId) {
        self.view = view;
        self.seq = Seq(0);
        self.exclusive = false;
        self.acks_due = NodeSet::EMPTY;
        self.data = Data::Awaited;
        self.speculated = None;
        self.giver = None;
        self.source = None;
        self.tell_home = false;
        self.retry = None;
        self.given_up = None;
    }
}

impl LocalCopy {
    /// The slot with the newest bytes that we keep without a right to use them, and of which transaction they are.
    pub fn newest_kept(&self) -> Option<(Since, Option<SlotId>)> {
        let candidate = self.candidate.map(|since| (since, self.slot));
        let retained = self.retained.iter().map(|retained| (retained.since, Some(retained.slot)));
        retained.chain(candidate).max_by(|a, b| later(a.0, b.0))
    }

    pub fn is_quiet(&self) -> bool {
        self.request.is_none() && self.parked.is_none() && self.waiters.is_empty() && self.retained.is_empty()
    }

    pub fn is_forgetting(&self) -> bool {
        self.parked.as_ref().is_some_and(|parked| matches!(parked.order, Order::Forget { .. }))
    }

    /// Mode, request and parked order, by name.
    pub fn name<S: Store>(&self, store: &S) -> String {
        let mode = match (self.mode(store), self.named) {
            (Mode::None, _) => "none",
            (Mode::Shared, false) => "shared",
            (Mode::Shared, true) => "shared owner",
            (Mode::Exclusive, _) => "exclusive",
        };
        format!("{mode}{}", self.flags())
    }

    /// Request, parked order and retained slots, by name.
    pub fn flags(&self) -> String {
        let request = match &self.request {
            None => "",
            Some(request) if request.is_speculating() => " + asked and reading",
            Some(request) if request.data == Data::Awaited => " + asked",
            Some(_) => " + granted",
        };
        let parked = match self.parked.as_ref().map(|parked| &parked.order) {
            None => "",
            Some(Order::Invalidate { .. }) => " + INV parked",
            Some(Order::Recall { .. }) => " + RECALL parked",
            Some(Order::Drain { .. }) => " + DRAIN parked",
            Some(Order::Forget { .. }) => " + forgetting",
        };
        let retained = if self.retained.is_empty() { "" } else { " + retained" };
        format!("{request}{parked}{retained}")
    }

    fn is_empty(&self) -> bool {
        self.slot.is_none() && self.is_quiet() && self.early.is_empty() && self.flush.is_none()
    }

    pub fn mode<S: Store>(&self, store: &S) -> Mode {
        self.slot.map_or(Mode::None, |slot| store.load(slot).mode())
    }

    fn held<S: Store>(&self, store: &S) -> bool {
        self.slot.is_some_and(|slot| store.load(slot).held())
    }

    /// Nothing is asked, waiting or held: the copy may go without anybody noticing.
    pub fn is_idle<S: Store>(&self, store: &S) -> bool {
        self.request.is_none() && self.parked.is_none() && self.waiters.is_empty() && !self.held(store)
    }
}

/// What became of an attempt to serve the first waiter.
enum Served {
    Yes,
    /// The home has the copy that it needs to take the naming over from that node.
    Took(NodeId),
    /// A hold stands against it.
    Held,
    /// The copy is too weak.
    Weak,
}

impl Core {
    pub(crate) fn begin_hold<S: Store>(
        &mut self,
        op: OpId,
        key: ObjectKey,
        asked: Asked,
        cx: &mut Context<'_, S>,
    ) {
        let waiter = match asked {
            Asked::Hold { hold, first_touch, try_only, reserve } => {
                Waiter { purpose: Purpose::Hold(op), hold, first_touch, try_only, reserve }
            }
            Asked::Prefetch { hold, first_touch } => {
                let enough = |copy: &LocalCopy| !copy.is_quiet() || copy.mode(cx.store) >= mode_of(hold);
                if self.copies.get(&key).is_some_and(enough) {
                    cx.effects.push(Effect::Complete(op, Ok(None)));
                    return;
                }
                Waiter { purpose: Purpose::Prefetch(op), hold, first_touch, try_only: false, reserve: false }
            }
            Asked::Remove | Asked::Sync | Asked::Flush | Asked::Destroy => return,
        };
        self.wait(key, waiter, cx);
    }

    /// Puts `waiter` in line and does what can be done.
    pub(crate) fn wait<S: Store>(&mut self, key: ObjectKey, waiter: Waiter, cx: &mut Context<'_, S>) {
        let copy = self.copies.entry(key).or_default();
        if waiter.try_only && !(copy.request.is_none() && copy.parked.is_none() && copy.waiters.is_empty()) {
            cx.complete(waiter.purpose, Err(OpError::WouldBlock));
            return;
        }
        copy.waiters.push(waiter);
        self.pump(key, cx);
    }

    /// Does for this object whatever can be done now: serves waiters, executes a parked order, asks the home.
    pub(crate) fn pump<S: Store>(&mut self, key: ObjectKey, cx: &mut Context<'_, S>) {
        loop {
            self.pump_until_stuck(key, cx);
            // A put between our look at the word and the setting of revoke told nobody: look once more.
            if !self.publish_revoke(key, cx) {
                break;
            }
        }
        if self.copies.get(&key).is_some_and(LocalCopy::is_empty) {
            self.copies.remove(&key);
        }
    }

    fn pump_until_stuck<S: Store>(&mut self, key: ObjectKey, cx: &mut Context<'_, S>) {
        let shares = self.planted(Mutant::ThreadsShareHold);
        let leased = self.views.leased || self.planted(Mutant::HoldsWithoutLease);
        while let Some(copy) = self.copies.get_mut(&key) {
            if let Some(parked) = &copy.parked {
                let now = matches!(parked.order, Order::Drain { .. }) || copy.turn == 0;
                if !parked.wait && now {
                    if !self.execute(key, cx) {
                        return;
                    }
                    continue;
                }
            }
            if copy.request.is_some() || copy.waiters.is_empty() || !leased {
                return;
            }
            match serve_first(key, copy, shares, cx) {
                Served::Yes => {}
                Served::Took(from) => self.home_evict(from, key, cx),
                Served::Held => {
                    if copy.waiters[0].try_only {
                        let waiter = take_first(copy);
                        cx.complete(waiter.purpose, Err(OpError::WouldBlock));
                        continue;
                    }
                    return;
                }
                Served::Weak => {
                    // What this turn could give is given; an order of the home goes before a new request.
                    copy.turn = 0;
                    if copy.parked.is_none() && !self.ask(key, cx) {
                        return;
                    }
                }
            }
        }
    }

    /// Sends the request of the first waiter. True if that waiter is gone and the next may be looked at.
    fn ask<S: Store>(&mut self, key: ObjectKey, cx: &mut Context<'_, S>) -> bool {
        let Some(copy) = self.copies.get(&key) else { return false };
        let Some(&waiter) = copy.waiters.first() else { return false };
        let landing = copy.slot;
        if self.view == ViewId(0) {
            return false;
        }
        let found = match self.home_of(key, cx.store) {
            None => Err(OpError::NoHome(key.set)),
            Some((home, _)) if !self.is_reachable(home) => Err(OpError::PeerLost(home)),
            Some(found) => Ok(found),
        };
        let (_, policy) = match found {
            Ok(found) => found,
            Err(error) => {
                if let Some(copy) = self.copies.get_mut(&key) {
                    let waiter = take_first(copy);
                    self.give_up(key, waiter.purpose, error, cx);
                }
                return true;
            }
        };
        let landing = landing.or_else(|| cx.store.allocate(key, policy.object_size, waiter.reserve));
        let Some(landing) = landing else {
            if let (Purpose::Inject(_), Some(copy)) = (waiter.purpose, self.copies.get_mut(&key)) {
                take_first(copy);
                self.give_up(key, waiter.purpose, OpError::NoMemory, cx);
                return true;
            }
            self.starve(key, cx);
            return false;
        };
        let rid = self.new_rid();
        if let Some(copy) = self.copies.get_mut(&key) {
            copy.slot = Some(landing);
            copy.request = Some(Outstanding {
                rid,
                kind: kind_of(waiter.hold),
                try_only: waiter.try_only,
                view: self.view,
                purpose: waiter.purpose,
                first_touch: waiter.first_touch,
                seq: Seq(0),
                exclusive: false,
                acks_due: NodeSet::EMPTY,
                data: Data::Awaited,
                speculated: None,
                giver: None,
                source: None,
                tell_home: false,
                retry: None,
                given_up: None,
            });
        }
        self.send_request(key, cx);
        false
    }

    /// Sends the outstanding request, if it was not granted. A view that changes sends it at its time.
    pub(crate) fn send_request<S: Store>(&mut self, key: ObjectKey, cx: &mut Context<'_, S>) {
        if !self.views.may_ask() {
            return;
        }
        let Some((home, _)) = self.home_of(key, cx.store) else { return };
        let Some(copy) = self.copies.get(&key) else { return };
        let Some(request) = copy.request.as_ref().filter(|request| request.data == Data::Awaited) else {
            return;
        };
        let have = copy.mode(cx.store) != Mode::None;
        let Outstanding { kind, rid, first_touch, try_only, .. } = *request;
        let nobody_waits = copy.waiters.is_empty();
        let (hint, seen) = self.speculate(key, home, cx).map_or((None, 0), |(hint, seen)| (Some(hint), seen));
        let request = Request { kind, rid, first_touch, try_only, have, hint, seen };
        self.send(home, key, Body::Request(request), cx);
        if nobody_waits {
            // They left while the view changed.
            self.send(home, key, Body::Cancel { rid }, cx);
        }
    }

    /// No slot can be had: whoever waits for one is refused.
    pub(crate) fn out_of_memory<S: Store>(&mut self, key: ObjectKey, cx: &mut Context<'_, S>) {
        let Some(place) = self.starved.iter().position(|&starved| starved == key) else { return };
        if self.request_mut(key).is_some_and(|request| matches!(request.data, Data::Unlanded(_))) {
            return self.give_up_grant(key, cx);
        }
        self.starved.remove(place);
        if self.fill_waits(key) {
            self.fill_ended(key, crate::LinkerReply::Failed(ENOMEM), cx);
        } else if let Some(copy) =
            self.copies.get_mut(&key).filter(|copy| copy.request.is_none() && !copy.waiters.is_empty())
        {
            let waiter = take_first(copy);
            self.give_up(key, waiter.purpose, OpError::NoMemory, cx);
        }
        self.pump(key, cx);
    }

    /// Tells whoever waited for `purpose` that it failed.
    pub(crate) fn give_up<S: Store>(
        &mut self,
        key: ObjectKey,
        purpose: Purpose,
        error: OpError,
        cx: &mut Context<'_, S>,
    ) {
        match purpose {
            Purpose::Hold(_) => cx.complete(purpose, Err(error)),
            // The copy was wished for, not needed: the get that follows will hear what is wrong.
            Purpose::Prefetch(_) => cx.complete(purpose, Ok(None)),
            Purpose::Sync => self.sync_failed(key, error, cx),
            Purpose::Take(from) => self.keep_naming(from, key, cx),
            Purpose::Inject(from) => self.send(from, key, Body::Room { slots: 0 }, cx),
            Purpose::Nobody => {}
        }
    }

    /// Sets the word's revoke bit iff somebody waits for a put. True if that changed it and all is put already.
    fn publish_revoke<S: Store>(&mut self, key: ObjectKey, cx: &mut Context<'_, S>) -> bool {
        let Some(copy) = self.copies.get(&key) else { return false };
        let Some(slot) = copy.slot else { return false };
        let over = self.ends.is_over(key.set) && !self.planted(Mutant::DestroyedIsHit);
        let asked_for = copy.parked.is_some() || !copy.waiters.is_empty();
        let wanted = (asked_for || over) && !self.planted(Mutant::NoRevoke);
        let (old, _) = swap(cx.store, slot, |word| Some(word.with_revoke(wanted)));
        let blocked = copy.request.is_none() || copy.parked.as_ref().is_some_and(|parked| !parked.wait);
        wanted && !old.revoke() && !old.held() && blocked && !self.starved.contains(&key)
    }
}

/// The mode that a hold needs.
const fn mode_of(hold: Hold) -> Mode {
    match hold {
        Hold::Shared => Mode::Shared,
        Hold::Exclusive => Mode::Exclusive,
    }
}

pub(crate) fn take_first(copy: &mut LocalCopy) -> Waiter {
    copy.turn = copy.turn.saturating_sub(1);
    copy.waiters.remove(0)
}

fn serve_first<S: Store>(
    key: ObjectKey,
    copy: &mut LocalCopy,
    shares: bool,
    cx: &mut Context<'_, S>,
) -> Served {
    let waiter = copy.waiters[0];
    let Some(slot) = copy.slot else { return Served::Weak };
    if let Purpose::Prefetch(_) | Purpose::Take(_) | Purpose::Inject(_) = waiter.purpose {
        if copy.mode(cx.store) < mode_of(waiter.hold) {
            return Served::Weak;
        }
        take_first(copy);
        cx.complete(waiter.purpose, Ok(None));
        return match waiter.purpose {
            Purpose::Take(from) => Served::Took(from),
            _ => Served::Yes,
        };
    }
    let (old, granted) = swap(cx.store, slot, |word| word.grant(waiter.hold).ok());
    if granted || shares && old.grant(waiter.hold) == Err(Refused::Busy) {
        take_first(copy);
        match waiter.purpose {
            Purpose::Sync => {
                copy.writing = true;
                cx.effects.push(Effect::Linker(key, crate::LinkerCall::Sync { slot }));
            }
            purpose => cx.complete(purpose, Ok(Some(slot))),
        }
        return Served::Yes;
    }
    match old.grant(waiter.hold) {
        Err(Refused::Mode) => Served::Weak,
        _ => Served::Held,
    }
}
