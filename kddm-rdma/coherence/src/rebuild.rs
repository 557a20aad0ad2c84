//! The directory of a new view, rebuilt from what its members report.

use crate::collect::{Kept, KeptCopies, Then};
use crate::copy::{Order, Parked, Since, later};
use crate::core::{Context, Core, set_mode};
use crate::entry::{Holder, Holders, State, Transaction, Work};
use crate::mutant::Mutant;
use crate::view::Phase;
use crate::{Body, Keep, Knew, Store};
use kddm_object::{Durability, Location, Mode, NodeId, NodeSet, ObjectKey, Rid, Seq, ViewId};
use std::collections::{BTreeMap, BTreeSet};

/// A view that does not grant yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct Change {
    /// Our own report is out.
    pub reported: bool,
    /// Some member knows what was before.
    pub established: bool,
    /// The last view of which some member knows that all its homes granted.
    pub settled: ViewId,
    /// Whose report is not all in.
    pub due: NodeSet,
    /// Copies of a home that is gone which the linker still makes, for nobody: we report when it has.
    pub forgetting: BTreeSet<ObjectKey>,
    /// What we, home of the last view, have to tell the homes of this one.
    pub tell: Vec<(NodeId, ObjectKey, ViewId, Knew)>,
    pub knew: BTreeMap<ObjectKey, (ViewId, Knew)>,
    pub reports: BTreeMap<ObjectKey, Vec<Reported>>,
}

/// What a member has of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Reported {
    pub node: NodeId,
    pub mode: Mode,
    pub named: bool,
    pub copy: Option<Location>,
    pub kept: Option<Location>,
    pub since: Since,
}

impl Reported {
    /// It still has holds of a copy that means nothing any more.
    fn is_forgotten(&self) -> bool {
        self.mode != Mode::None && self.copy.is_none()
    }
}

/// Homes that died with their directories. Of an object that one of them had, and nobody reports, we do not know whether
/// it was ever touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Doubt {
    pub view: ViewId,
    pub homes: NodeSet,
    pub gone: NodeSet,
}

impl Doubt {
    pub fn message(self) -> Body {
        Body::Doubt { view: self.view, homes: self.homes, gone: self.gone }
    }
}

impl Change {
    /// Once all homes of a view granted, they know all that was known before, and may have forgotten again what they were told of
    /// objects that nobody has: who has not heard of that view's end tells it anew.
    fn forget_before_settled(&mut self) {
        let settled = self.settled;
        self.knew.retain(|_, (view, _)| *view >= settled);
    }

    /// The last home that granted knows best.
    pub fn learn(&mut self, key: ObjectKey, view: ViewId, what: Knew) {
        let known = self.knew.entry(key).or_insert((view, what));
        if known.0 <= view {
            *known = (view, what);
        }
    }
}

impl Core {
    pub(crate) fn reported_copy(&mut self, key: ObjectKey, report: Reported) {
        if let Phase::Changing(change) = &mut self.views.phase {
            change.reports.entry(key).or_default().push(report);
        }
    }

    pub(crate) fn told_of(&mut self, key: ObjectKey, view: ViewId, what: Knew) {
        if let Phase::Changing(change) = &mut self.views.phase {
            change.learn(key, view, what);
        }
    }

    pub(crate) fn doubt(&mut self, doubt: Doubt) {
        if doubt.gone.is_empty() {
            // Told before the present view was settled, and come late: all that they knew has been handed on.
            if doubt.view >= self.views.last_settled {
                self.remember_homes(doubt.view, doubt.homes);
            }
            return;
        }
        if !self.views.doubts.contains(&doubt) {
            self.views.doubts.push(doubt);
        }
    }

    /// Whether the object's directory entry died once, so that "nobody has it" does not mean "untouched".
    pub(crate) fn is_doubtful<S: Store>(&self, key: ObjectKey, store: &S) -> bool {
        self.is_doubtful_since(key, ViewId(0), store)
    }

    /// The same for views after `view`, in which its home knew of it.
    fn is_doubtful_since<S: Store>(&self, key: ObjectKey, view: ViewId, store: &S) -> bool {
        if self.views.doubts.is_empty() || self.ends.is_over(key.set) || self.planted(Mutant::NoDoubt) {
            return false;
        }
        let policy = store.policy(key.set).filter(|policy| policy.durability == Durability::Volatile);
        let Some(policy) = policy else { return false };
        self.views.doubts.iter().filter(|doubt| doubt.view > view).any(|doubt| {
            let homes: Vec<NodeId> = doubt.homes.iter().collect();
            policy.home_of(key, &homes).is_some_and(|home| doubt.gone.contains(home))
        })
    }

    pub(crate) fn reported<S: Store>(
        &mut self,
        from: NodeId,
        established: bool,
        settled: ViewId,
        cx: &mut Context<'_, S>,
    ) {
        if let Phase::Changing(change) = &mut self.views.phase {
            change.established |= established;
            change.settled = change.settled.max(settled);
            change.due.remove(from);
        }
        self.try_open(cx);
    }

    /// All have reported, and nobody else can use anything: the directory is rebuilt.
    pub(crate) fn try_open<S: Store>(&mut self, cx: &mut Context<'_, S>) {
        let all = self.planted(Mutant::OpenBeforeReports);
        let fenced = self.views.fenced >= self.view || self.planted(Mutant::OpenBeforeFence);
        let Phase::Changing(change) = &mut self.views.phase else { return };
        if !change.due.is_empty() && !all || !change.reported || !fenced {
            return;
        }
        let mut change = std::mem::take(&mut **change);
        self.views.phase = Phase::Serving;
        self.views.established = true;
        if !change.established {
            // Nobody is left who knew the cluster: whatever nobody has may have been there.
            let all: NodeSet = (1..=254).filter_map(|id| NodeId::new(id).ok()).collect();
            self.doubt(Doubt { view: self.view, homes: all, gone: all });
        }
        change.forget_before_settled();
        let mut keys: BTreeSet<ObjectKey> = change.reports.keys().copied().collect();
        keys.extend(change.knew.keys());
        keys.extend(self.directory.keys());
        for &key in &keys {
            if self.home_of(key, cx.store).is_some_and(|(home, _)| home == self.config.me) {
                let reports = change.reports.remove(&key).unwrap_or_default();
                self.rebuild(key, &reports, change.knew.get(&key).copied(), cx);
            }
        }
        self.say_opened(cx);
        if !self.planted(Mutant::NoSweepOnOpen) {
            self.sweep(cx);
        }
        for key in keys {
            self.serve_at_last(key, cx);
        }
        for key in self.copied_keys() {
            if self.home_of(key, cx.store).is_none() {
                self.release_retained(key, None, cx);
            }
        }
    }

    fn rebuild<S: Store>(
        &mut self,
        key: ObjectKey,
        reports: &[Reported],
        knew: Option<(ViewId, Knew)>,
        cx: &mut Context<'_, S>,
    ) {
        // A later home may have known better, and is gone.
        let stale = |&(view, what): &(ViewId, Knew)| {
            what == Knew::Untouched && self.is_doubtful_since(key, view, cx.store)
        };
        let knew = knew.filter(|knew| !stale(knew)).map(|(_, what)| what);
        let held: Vec<NodeId> =
            reports.iter().filter(|report| report.is_forgotten()).map(|report| report.node).collect();
        if !held.is_empty() {
            // Holds of a life of this home that is over: nobody gets the object before they have ended.
            let known = reports.iter().filter(|report| !held.contains(&report.node)).filter_map(|report| {
                Some((report.node, Kept { location: report.kept?, since: report.since }))
            });
            let (seq, kept) = (self.new_seq(), known.collect());
            return self.ask_to_discard(key, seq, held, kept, Then::Salvage(None, None), cx);
        }
        let kept = self.best_kept(key, reports, knew, cx);
        let exclusive = reports.iter().find(|report| report.mode == Mode::Exclusive);
        let shared = reports.iter().filter(|report| report.mode == Mode::Shared);
        let owner = shared.clone().find(|report| report.named).or(shared.clone().next());
        let copies: Holders = shared.map(|report| Holder::new(report.node, Rid(0))).collect();
        self.directory.touch(key);
        let transaction = self.directory.transaction_mut(key);
        let busy = transaction.is_some();
        if let Some((Transaction { work: Work::Device { kept, .. }, .. }, _)) = transaction {
            // The device forgets the object, or refuses: until then its newest bytes stay where they are.
            let known = reports.iter().filter_map(|report| {
                Some((report.node, Kept { location: report.kept?, since: report.since }))
            });
            kept.extend(known);
            return;
        }
        let since = self.begin_period();
        let newest;
        let (named, state) = match (exclusive, owner.and_then(|owner| Some((owner.node, owner.copy?))), kept)
        {
            (Some(owner), ..) => {
                let owner = owner.node;
                let seq = self.new_seq();
                self.mark_dirty(key, seq, cx.store);
                (Some((owner, Keep::Named)), State::Exclusive { owner, rid: Rid(0) })
            }
            (None, Some((node, owner)), _) => {
                (Some((node, Keep::Named)), State::Shared { owner, copies: &copies, since })
            }
            (None, None, Some((node, owner))) => {
                newest = [Holder::new(node, Rid(0))];
                (Some((node, Keep::Newest)), State::Shared { owner, copies: &newest, since })
            }
            (None, None, None) => (None, self.without_bytes(key, knew, cx)),
        };
        if !busy {
            let keepers: Vec<NodeId> =
                reports.iter().filter(|report| report.kept.is_some()).map(|report| report.node).collect();
            if state == State::Uncached && !keepers.is_empty() && !self.is_durable(key, cx.store) {
                // What they keep is of a removed object. Should this home die, it must not be taken for the next one.
                let (seq, then) = (self.new_seq(), Then::Discard(self.config.me, Rid(0), None));
                return self.ask_to_discard(key, seq, keepers, KeptCopies::new(), then, cx);
            }
            self.set_state(key, state, cx);
        }
        for report in reports {
            let keep =
                named.filter(|(node, _)| *node == report.node).map_or(Keep::Ordinary, |(_, keep)| keep);
            if report.kept.is_some() || report.named != (keep != Keep::Ordinary) {
                self.send(report.node, key, Body::Rebuilt { keep }, cx);
            }
        }
    }

    /// The newest bytes that somebody keeps, if they may be the object: it was not removed, and the device has no newer ones.
    fn best_kept<S: Store>(
        &self,
        key: ObjectKey,
        reports: &[Reported],
        knew: Option<Knew>,
        cx: &mut Context<'_, S>,
    ) -> Option<(NodeId, Location)> {
        let may_be = match knew {
            Some(Knew::Touched) => true,
            Some(Knew::Untouched | Knew::Lost) => false,
            None => self.is_doubtful(key, cx.store),
        };
        let may_count =
            |it: &&Reported| it.kept.is_some() && self.is_newer_than_device(key, it.since, cx.store);
        let kept = reports.iter().filter(may_count);
        let oldest = self.planted(Mutant::OldestKept);
        let order = |a: &&Reported, b: &&Reported| {
            let order = later(a.since, b.since);
            if oldest { order.reverse() } else { order }
        };
        let best = kept.max_by(order).filter(|_| may_be)?;
        Some((best.node, best.kept?))
    }

    fn without_bytes<S: Store>(
        &mut self,
        key: ObjectKey,
        knew: Option<Knew>,
        cx: &mut Context<'_, S>,
    ) -> State<'static> {
        self.dirty.remove(&key);
        let Some(policy) = cx.store.policy(key.set) else { return State::Uncached };
        if policy.durability.has_device() || policy.object_size == 0 {
            return State::Uncached;
        }
        match knew {
            Some(Knew::Touched | Knew::Lost) => State::Lost,
            None if self.is_doubtful(key, cx.store) => State::Lost,
            Some(Knew::Untouched) | None => State::Uncached,
        }
    }

    /// REBUILT: the home has decided what becomes of our copy.
    pub(crate) fn rebuilt<S: Store>(&mut self, key: ObjectKey, keep: Keep, cx: &mut Context<'_, S>) {
        let Some(copy) = self.copies.get_mut(&key) else { return };
        // Another node may have handed the object to us before the home's word about the old copy came.
        let reported = std::mem::take(&mut copy.reported);
        if !reported {
            return self.release_retained(key, Some(self.view), cx);
        }
        self.drop_speculation(key, cx);
        let Some(copy) = self.copies.get_mut(&key) else { return };
        copy.named = keep != Keep::Ordinary;
        if keep == Keep::Newest {
            let newest = copy.newest_kept().and_then(|(_, slot)| slot);
            copy.candidate = None;
            if let Some(slot) = newest {
                copy.retained.retain(|retained| retained.slot != slot);
                if copy.slot != Some(slot) {
                    if let Some(landing) = copy.slot.replace(slot) {
                        self.release(landing, cx);
                    }
                    cx.store.restore(slot);
                }
                set_mode(key, slot, Mode::Shared, cx);
            }
        } else {
            copy.candidate = None;
        }
        self.release_retained(key, Some(self.view), cx);
    }

    /// DISCARD: the object is removed, and nothing of it may come back.
    pub(crate) fn discard<S: Store>(
        &mut self,
        from: NodeId,
        key: ObjectKey,
        seq: Seq,
        cx: &mut Context<'_, S>,
    ) {
        self.release_retained(key, None, cx);
        let parked = self.copies.get_mut(&key).and_then(|copy| copy.parked.as_mut());
        if let Some(Parked { order: Order::Forget { tell }, .. }) = parked {
            *tell = Some((from, seq));
            return;
        }
        let of = self.config.me;
        self.send(from, key, Body::Ack { seq, of, retained: None, since: seq }, cx);
    }
}
