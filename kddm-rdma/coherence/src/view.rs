//! Agreed views: what a node does when the membership changes. `docs/protocol.md` has the picture.
//!
//! A member adopts the next view when all its members are up. All transactions of the old view end there: what was completely
//! granted is finished, everything else is asked for again under the same number. When its last READ is over, the member
//! reports its copies to their homes ([`crate::rebuild`]); a home grants when all members have reported.

use crate::copy::{Data, LocalCopy, Order, Parked, Purpose, Retained};
use crate::core::{Context, Core, Loss};
use crate::directory::Directory;
use crate::entry::{Entry, State, Transaction, Underway, Work};
use crate::mutant::Mutant;
use crate::rebuild::{Change, Doubt};
use crate::{Body, Knew, Message, OpError, Store, View};
use kddm_object::{Incarnation, Mode, NodeId, NodeSet, ObjectKey, Rid, SetId, ViewId};
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet};

/// What a node knows of views.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Views {
    pub leased: bool,
    pub phase: Phase,
    /// Messages of views to come.
    pub later: Vec<(NodeId, Message)>,
    /// This node has served in a view of this cluster, and so knows all doubts.
    pub established: bool,
    /// Directories that died.
    pub doubts: Vec<Doubt>,
    /// The homes of this view that grant.
    opened: NodeSet,
    /// What this node knew as a home, and in which view, until all homes of a later one grant.
    ledger: BTreeMap<ObjectKey, Known>,
    /// The homes of the last view whose homes all granted, and of those since.
    past: Vec<(ViewId, NodeSet)>,
    /// All homes of this view grant.
    pub settled: bool,
    /// The last view of which that could be said.
    pub last_settled: ViewId,
    /// The last view whose expelled nodes are known to use nothing any more.
    pub fenced: ViewId,
    next: Option<View>,
    connected: BTreeMap<NodeId, Incarnation>,
}

/// What the home of a view knew of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Known {
    view: ViewId,
    what: Knew,
    /// Who may have touched it first.
    maker: Option<NodeId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    Serving,
    /// No view yet, or the directory of the present one is being rebuilt.
    Changing(Box<Change>),
    Expelled,
}

/// Messages about no object carry this.
const NOTHING: ObjectKey = ObjectKey { set: SetId(0), object: 0 };

impl Views {
    pub fn new(loss: Loss) -> Views {
        let phase = match loss {
            Loss::Local => Phase::Serving,
            Loss::Agreed => Phase::Changing(Box::default()),
        };
        Views {
            leased: true,
            phase,
            later: Vec::new(),
            established: false,
            doubts: Vec::new(),
            opened: NodeSet::EMPTY,
            ledger: BTreeMap::new(),
            past: Vec::new(),
            settled: loss == Loss::Local,
            last_settled: ViewId(0),
            fenced: ViewId(0),
            next: None,
            connected: BTreeMap::new(),
        }
    }

    pub fn is_quiet(&self) -> bool {
        !matches!(self.phase, Phase::Changing(_)) && self.next.is_none()
    }

    pub fn is_expelled(&self) -> bool {
        self.phase == Phase::Expelled
    }

    pub fn is_changing(&self) -> bool {
        matches!(self.phase, Phase::Changing(_))
    }

    /// Whether requests of this node may go out.
    pub fn may_ask(&self) -> bool {
        match &self.phase {
            Phase::Serving => true,
            Phase::Changing(change) => change.reported,
            Phase::Expelled => false,
        }
    }

    /// Whether this node may grant as a home.
    pub fn may_grant(&self) -> bool {
        self.phase == Phase::Serving && self.leased
    }
}

impl Core {
    /// Whether the cluster goes on without this node. It must break all connections before it uses its memory again, so that
    /// READs of nodes that do not know it yet fail.
    pub fn is_expelled(&self) -> bool {
        self.views.is_expelled()
    }

    /// Whether all homes of the view grant, as far as this node has heard. The view in which a node leaves has to be settled at all
    /// its members before the next one, without that node, is agreed upon.
    pub fn is_settled(&self) -> bool {
        self.views.phase == Phase::Serving && self.views.settled
    }

    /// Whether this node leaves in good order: it is no home, and moves its copies.
    pub fn is_leaving(&self) -> bool {
        self.view > ViewId(0) && !self.views.is_expelled() && !self.homes.contains(&self.config.me)
    }

    /// The members of the view that keep directories, ascending.
    pub fn homes(&self) -> &[NodeId] {
        &self.homes
    }

    /// Whether `node` is another member of the view.
    pub fn is_member(&self, node: NodeId) -> bool {
        self.up.contains_key(&node)
    }

    /// How this node deals with the loss of others.
    pub fn loss(&self) -> Loss {
        self.config.loss
    }

    /// The view that this node has adopted.
    pub fn view(&self) -> ViewId {
        self.view
    }

    pub(crate) fn connected<S: Store>(
        &mut self,
        node: NodeId,
        life: Option<Incarnation>,
        cx: &mut Context<'_, S>,
    ) {
        match life {
            Some(life) => {
                self.views.connected.insert(node, life);
                self.try_adopt(cx);
            }
            None => {
                self.views.connected.remove(&node);
            }
        }
    }

    /// Whether a member is not there in the life that belongs to the view: what was where in that life means nothing now.
    pub(crate) fn has_gone(&self, node: NodeId) -> bool {
        self.config.loss == Loss::Agreed && self.views.connected.get(&node) != self.up.get(&node)
    }

    pub(crate) fn next_view<S: Store>(&mut self, view: View, cx: &mut Context<'_, S>) {
        let newest = self.views.next.as_ref().map_or(self.view, |next| next.id);
        if view.id > newest && self.config.loss == Loss::Agreed && !self.views.is_expelled() {
            self.views.next = Some(view);
            self.try_adopt(cx);
        }
    }

    fn try_adopt<S: Store>(&mut self, cx: &mut Context<'_, S>) {
        let me = (self.config.me, self.config.incarnation);
        let Some(next) = &self.views.next else { return };
        if !next.members.iter().any(|member| (member.node, member.life) == me) {
            self.expelled(cx);
            return;
        }
        let others = next.members.iter().filter(|member| member.node != me.0);
        if others.clone().all(|member| self.views.connected.get(&member.node) == Some(&member.life))
            && let Some(next) = self.views.next.take()
        {
            self.adopt(&next, cx);
        }
    }

    fn adopt<S: Store>(&mut self, view: &View, cx: &mut Context<'_, S>) {
        let me = self.config.me;
        let lives: BTreeMap<NodeId, Incarnation> =
            view.members.iter().map(|member| (member.node, member.life)).collect();
        let gone: NodeSet = self
            .up
            .iter()
            .filter(|(node, life)| lives.get(node) != Some(life))
            .map(|(node, _)| *node)
            .collect();
        let newcomers = lives.iter().filter(|(node, life)| self.up.get(node) != Some(life));
        self.ends.untold.extend(newcomers.map(|(node, _)| *node));
        self.ends.untold.retain(|node| *node != me && lives.contains_key(node));
        let mut homes: Vec<NodeId> =
            view.members.iter().filter(|member| !member.leaving).map(|member| member.node).collect();
        if homes.is_empty() {
            // Nobody stays to whom the objects could go.
            homes.extend(lives.keys());
        }
        homes.sort_unstable();
        let old = std::mem::replace(&mut self.homes, homes);
        self.remember_homes(self.view, old.into_iter().collect());
        for (view, homes) in self.views.past.clone() {
            let gone = homes.iter().filter(|&node| gone.contains(node)).collect();
            self.doubt(Doubt { view, homes, gone });
        }
        let served = (self.views.phase == Phase::Serving).then_some(self.view);
        self.view = view.id;
        self.up = lives.iter().map(|(node, life)| (*node, *life)).filter(|(node, _)| *node != me).collect();
        self.speculation.forget_all(None);
        self.rooms.forget_all();
        self.views.opened = NodeSet::EMPTY;
        self.views.settled = false;
        // From here on nothing is asked or granted.
        self.views.phase = Phase::Changing(Box::default());
        let established = view.founding;
        let mut change = Change { established, due: lives.keys().copied().collect(), ..Change::default() };

        self.chains.clear();
        let directory = std::mem::take(&mut self.directory);
        let mut entries: Vec<(ObjectKey, Entry<'_>)> = directory.entries().collect();
        entries.sort_unstable_by_key(|(key, _)| *key);
        for (key, entry) in entries {
            self.take_down(key, entry, &gone, served, cx);
        }
        for known in self.views.ledger.values_mut() {
            if known.maker.take_if(|maker| gone.contains(*maker)).is_some() {
                known.what = Knew::Touched;
            }
        }
        for (&key, &Known { view, what, .. }) in &self.views.ledger {
            match self.home_of(key, cx.store) {
                Some((home, _)) if home == me => change.learn(key, view, what),
                Some((home, _)) => change.tell.push((home, key, view, what)),
                None => {}
            }
        }
        for key in self.copied_keys() {
            self.unsettle(key, &gone, &mut change, cx);
        }
        self.views.phase = Phase::Changing(Box::new(change));
        for (from, message) in std::mem::take(&mut self.views.later) {
            if message.view > self.view {
                self.views.later.push((from, message));
            } else if message.view == self.view && self.up.get(&from) == Some(&message.incarnation) {
                self.handle(from, message, cx);
            }
        }
    }

    /// The objects of which this node has something, ascending.
    pub fn copied_keys(&self) -> Vec<ObjectKey> {
        let mut keys: Vec<ObjectKey> = self.copies.keys().copied().collect();
        keys.sort_unstable();
        keys
    }

    /// What the home of the old view hands on of an entry: calls of the linker that are under way, and what it knew.
    fn take_down<S: Store>(
        &mut self,
        key: ObjectKey,
        entry: Entry<'_>,
        gone: &NodeSet,
        served: Option<ViewId>,
        cx: &mut Context<'_, S>,
    ) {
        let me = self.config.me;
        if let Some(served) = served {
            let maker = entry.transaction().and_then(|transaction| transaction.work.maker());
            self.views.ledger.insert(key, Known { view: served, what: entry.knew(), maker });
        }
        let Some((home, policy)) = self.home_of(key, cx.store) else { return };
        if !policy.durability.has_device() || home != me {
            return;
        }
        let Some(Underway { transaction, syncing, .. }) = entry.underway else { return };
        let mut left =
            Underway { transaction: transaction.clone(), syncing: syncing.clone(), ..Underway::default() };
        left.syncing.retain(|(node, _)| *node == me || !gone.contains(*node));
        if !syncing.is_empty() && left.syncing.is_empty() {
            // The linker writes, or is about to: what it began it ends.
            left.syncing.push((me, Rid(0)));
        }
        match &mut left.transaction {
            Some(Transaction { work: Work::Fill { by, request, started: true }, .. }) => {
                *by = me;
                (request.kind, request.rid) = (crate::RequestKind::Get, Rid(0));
            }
            Some(Transaction { work: Work::Device { by, rid, kept }, .. }) => {
                (*by, *rid) = (me, Rid(0));
                kept.clear();
            }
            other => *other = None,
        }
        if !left.is_over() {
            self.directory.take_over(key, left);
        }
    }

    /// Ends what the old view left under way on a copy.
    fn unsettle<S: Store>(
        &mut self,
        key: ObjectKey,
        gone: &NodeSet,
        change: &mut Change,
        cx: &mut Context<'_, S>,
    ) {
        self.end_evicting(key, cx);
        match self.home_of(key, cx.store) {
            None => return self.abandon_request(key, OpError::NoHome(key.set), cx),
            // A device that is back begins with what it has: no object may be newer than those that were written with it.
            Some((home, policy)) if policy.durability.has_device() && gone.contains(home) => {
                self.abandon_request(key, OpError::PeerLost(home), cx);
            }
            Some(_) => {}
        }
        let late = self.planted(Mutant::ReportAfterForgotten);
        let Some(copy) = self.copies.get_mut(&key) else { return };
        copy.early.clear();
        if let Some(Parked { wait, order: Order::Forget { tell } }) = &mut copy.parked {
            *tell = None;
            if *wait || late {
                change.forgetting.insert(key);
            }
        } else {
            copy.parked = None;
        }
        let turn = copy.waiters.iter().take(copy.turn).filter(|waiter| !is_of_view(waiter.purpose)).count();
        copy.waiters.retain(|waiter| !is_of_view(waiter.purpose));
        copy.turn = turn;
        self.cut_short(key, cx);
        self.pump(key, cx);
    }

    /// A request of an older view: what was granted and can still complete does so; else it is asked again.
    pub(crate) fn cut_short<S: Store>(&mut self, key: ObjectKey, cx: &mut Context<'_, S>) {
        self.drop_speculation(key, cx);
        let Some(copy) = self.copies.get_mut(&key) else { return };
        let Some(request) = &mut copy.request else { return };
        match request.data {
            // Their end leads here.
            Data::Reading(_) | Data::Making => return,
            // Acks are missing, and their senders will not send them again.
            Data::Here if request.exclusive => copy.candidate = Some((request.view, request.seq)),
            _ => {}
        }
        request.reset(self.view);
        self.send_request(key, cx);
    }

    /// The homes of a view whose directory may not have been handed on to all homes of a later one.
    pub(crate) fn remember_homes(&mut self, view: ViewId, homes: NodeSet) {
        if !homes.is_empty() && !self.views.past.contains(&(view, homes)) {
            self.views.past.push((view, homes));
        }
    }

    /// Reports when nothing of the old view can touch memory any more.
    pub(crate) fn try_report<S: Store>(&mut self, cx: &mut Context<'_, S>) {
        let early = self.planted(Mutant::ReportBeforeReads);
        let Phase::Changing(change) = &mut self.views.phase else { return };
        if change.reported || self.view == ViewId(0) || !self.reads.is_empty() && !early {
            return;
        }
        let forgetting: BTreeSet<ObjectKey> = std::mem::take(&mut change.forgetting)
            .into_iter()
            .filter(|key| self.copies.get(key).is_some_and(LocalCopy::is_forgetting))
            .collect();
        let wait = !forgetting.is_empty();
        change.forgetting = forgetting;
        if wait {
            return;
        }
        change.reported = true;
        let tell = std::mem::take(&mut change.tell);
        for node in self.ends.untold.clone() {
            self.tell_ends(node, cx);
        }
        self.report(tell, cx);
        self.destroy_again(cx);
        for key in self.copied_keys() {
            self.send_request(key, cx);
        }
        let calls: Vec<Rid> = self.calls.keys().copied().collect();
        for rid in calls {
            self.send_call(rid, cx);
        }
    }

    fn report<S: Store>(&mut self, tell: Vec<(NodeId, ObjectKey, ViewId, Knew)>, cx: &mut Context<'_, S>) {
        let members = self.everyone();
        let past = self.views.past.iter().map(|&(view, homes)| Doubt { view, homes, gone: NodeSet::EMPTY });
        let doubts: Vec<Doubt> = past.chain(self.views.doubts.iter().copied()).collect();
        for doubt in doubts {
            for &member in &members {
                self.send(member, NOTHING, doubt.message(), cx);
            }
        }
        for (home, key, view, what) in tell {
            self.send(home, key, Body::Knew { what, view }, cx);
        }
        for key in self.copied_keys() {
            let Some((home, _)) = self.home_of(key, cx.store) else { continue };
            let Some(copy) = self.copies.get(&key) else { continue };
            let mode = copy.mode(cx.store);
            let valid = copy.slot.filter(|_| mode != Mode::None);
            let (since, kept) = copy.newest_kept().unwrap_or_default();
            if valid.is_some() || kept.is_some() {
                let forgetting = copy.is_forgetting();
                let (copy, kept) = (
                    valid.filter(|_| !forgetting).map(|slot| self.location(slot, cx.store)),
                    kept.map(|slot| self.location(slot, cx.store)),
                );
                let named = self.is_named(key);
                let (since_view, since) = since;
                self.send(home, key, Body::Report { mode, named, copy, kept, since_view, since }, cx);
                if let Some(copy) = self.copies.get_mut(&key) {
                    copy.reported = !forgetting;
                }
            }
        }
        for member in members {
            let established = self.views.established;
            let settled = self.views.last_settled;
            self.send(member, NOTHING, Body::Reported { established, settled }, cx);
        }
    }

    /// OPENED: that home's directory is whole.
    pub(crate) fn opened<S: Store>(&mut self, home: NodeId, cx: &mut Context<'_, S>) {
        self.views.opened.insert(home);
        if !self.views.settled && self.homes.iter().all(|&home| self.views.opened.contains(home)) {
            self.views.settled = true;
            self.views.last_settled = self.view;
            self.views.past.clear();
            self.ends.untold.clear();
            let known = std::mem::take(&mut self.views.ledger).into_keys().chain(self.directory.keys());
            for key in known.collect::<BTreeSet<_>>() {
                self.forget_untouched(key, cx);
            }
        }
    }

    /// An entry that only said that nobody has the object need not say so any more.
    fn forget_untouched<S: Store>(&mut self, key: ObjectKey, cx: &mut Context<'_, S>) {
        let doubtful = self.is_doubtful(key, cx.store);
        if self.directory.settled(key) == Some(State::Untouched) && !doubtful {
            self.directory.set(key, State::Uncached);
        }
        self.directory.forget_if_empty(key);
    }

    pub(crate) fn say_opened<S: Store>(&mut self, cx: &mut Context<'_, S>) {
        for member in self.everyone() {
            self.send(member, NOTHING, Body::Opened, cx);
        }
    }

    /// A reported copy stays as it was reported until its home has decided about it.
    pub(crate) fn is_frozen<S: Store>(&self, key: ObjectKey, store: &S) -> bool {
        self.config.loss == Loss::Agreed
            && self.home_of(key, store).is_some_and(|(home, _)| !self.views.opened.contains(home))
    }

    pub(crate) fn fenced<S: Store>(&mut self, view: ViewId, cx: &mut Context<'_, S>) {
        self.views.fenced = self.views.fenced.max(view);
        self.try_open(cx);
    }

    /// Without a lease nothing is granted and no hold is given out: whoever waits goes on waiting.
    pub(crate) fn lease<S: Store>(&mut self, there: bool, cx: &mut Context<'_, S>) {
        self.views.leased = there;
        if there {
            let mut homed: Vec<ObjectKey> = self.directory.keys().collect();
            homed.sort_unstable();
            for key in homed {
                self.serve_at_last(key, cx);
            }
            for key in self.copied_keys() {
                self.try_finish(key, cx);
                self.pump(key, cx);
            }
        }
    }

    /// The cluster goes on without this node: everything fails, and no copy means anything any more.
    fn expelled<S: Store>(&mut self, cx: &mut Context<'_, S>) {
        self.views.phase = Phase::Expelled;
        self.views.next = None;
        self.views.later.clear();
        self.up.clear();
        self.directory = Directory::default();
        self.dirty.clear();
        let calls: Vec<Rid> = self.calls.keys().copied().collect();
        for rid in calls {
            self.finished(rid, Err(OpError::Expelled), cx);
        }
        self.end_destroys(OpError::Expelled, cx);
        for key in self.copied_keys() {
            self.end_evicting(key, cx);
            self.abandon_request(key, OpError::Expelled, cx);
            self.release_retained(key, None, cx);
        }
    }

    /// Lets go of what is kept for others, of all views or of those before `view`.
    pub(crate) fn release_retained<S: Store>(
        &mut self,
        key: ObjectKey,
        view: Option<ViewId>,
        cx: &mut Context<'_, S>,
    ) {
        let Some(copy) = self.copies.get_mut(&key) else { return };
        let (old, young) = std::mem::take(&mut copy.retained)
            .into_iter()
            .partition(|retained| view.is_none_or(|view| retained.since.0 < view));
        copy.retained = young;
        let old: SmallVec<[Retained; 1]> = old;
        for retained in old {
            self.release(retained.slot, cx);
        }
        self.pump(key, cx);
    }
}

/// Whether it is for a node that asks anew in the next view.
fn is_of_view(purpose: Purpose) -> bool {
    matches!(purpose, Purpose::Take(_) | Purpose::Inject(_))
}
