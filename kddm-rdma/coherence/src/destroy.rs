//! The end of a whole set. Everybody is told, and remembers it for ever, since the number of a set is never used again: whoever
//! wants a hold is refused, at its own node or at the home; and each home removes what it has of the set, as if somebody had asked for
//! that, so that holds last until they are put.
//!
//! Nodes that come later are told by those who know, before any home grants in the view in which they come.

use crate::copy::Purpose;
use crate::core::{Context, Core, Loss};
use crate::entry::Pending;
use crate::mutant::Mutant;
use crate::{Body, Effect, Nack, OpError, OpId, Request, RequestKind, Store};
use kddm_object::{NodeId, NodeSet, ObjectKey, Rid, SetId};
use std::collections::{BTreeMap, BTreeSet};

/// What a node knows of sets that have ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct Ends {
    over: BTreeSet<SetId>,
    /// Who came, and may not have been told yet: no view was settled since.
    pub untold: BTreeSet<NodeId>,
    /// Sets that somebody here ends, and who has yet to hear of it.
    ending: BTreeMap<Rid, Ending>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Ending {
    op: OpId,
    set: SetId,
    due: NodeSet,
}

impl Ends {
    pub fn is_over(&self, set: SetId) -> bool {
        !self.over.is_empty() && self.over.contains(&set)
    }

    pub fn is_quiet(&self) -> bool {
        self.ending.is_empty()
    }

    pub fn cancel(&mut self, op: OpId) {
        self.ending.retain(|_, ending| ending.op != op);
    }
}

/// A message about a set carries this object of it.
fn of_set(set: SetId) -> ObjectKey {
    ObjectKey::new(set, 0)
}

impl Core {
    /// Whether this node knows that the set has ended.
    pub fn has_ended(&self, set: SetId) -> bool {
        self.ends.is_over(set)
    }

    pub(crate) fn begin_destroy<S: Store>(&mut self, op: OpId, set: SetId, cx: &mut Context<'_, S>) {
        let rid = self.new_rid();
        self.ends.ending.insert(rid, Ending { op, set, due: NodeSet::EMPTY });
        self.send_destroy(rid, cx);
    }

    /// Tells everybody. A view that changes does so at its time.
    fn send_destroy<S: Store>(&mut self, rid: Rid, cx: &mut Context<'_, S>) {
        let everyone = self.everyone();
        let Some(ending) = self.ends.ending.get_mut(&rid).filter(|_| self.views.may_ask()) else { return };
        ending.due = everyone.iter().copied().collect();
        let key = of_set(ending.set);
        for node in everyone {
            self.send(node, key, Body::Destroy { rid }, cx);
        }
    }

    /// DESTROY: the set has ended.
    pub(crate) fn destroyed<S: Store>(
        &mut self,
        from: NodeId,
        set: SetId,
        rid: Rid,
        cx: &mut Context<'_, S>,
    ) {
        if self.ends.over.insert(set) {
            for key in self.copied_keys().into_iter().filter(|key| key.set == set) {
                self.send_away(key, cx);
            }
            self.sweep(cx);
        }
        if rid != Rid(0) {
            self.send(from, of_set(set), Body::Finished { rid }, cx);
        }
    }

    /// Whoever waits here is refused, and hits come to an end.
    fn send_away<S: Store>(&mut self, key: ObjectKey, cx: &mut Context<'_, S>) {
        let stay = self.planted(Mutant::DestroyKeepsWaiters);
        let Some(copy) = self.copies.get_mut(&key) else { return };
        let of_caller = |purpose| matches!(purpose, Purpose::Hold(_) | Purpose::Prefetch(_)) && !stay;
        let turn = copy.waiters.iter().take(copy.turn).filter(|waiter| !of_caller(waiter.purpose)).count();
        let refused: Vec<Purpose> =
            copy.waiters.iter().map(|waiter| waiter.purpose).filter(|&purpose| of_caller(purpose)).collect();
        copy.waiters.retain(|waiter| !of_caller(waiter.purpose));
        copy.turn = turn;
        if let Some(request) = copy.request.as_mut().filter(|request| of_caller(request.purpose)) {
            request.purpose = Purpose::Nobody;
        }
        for purpose in refused {
            self.give_up(key, purpose, OpError::Destroyed(key.set), cx);
        }
        self.take_back(key, cx);
        self.pump(key, cx);
    }

    /// Removes what this home has of sets that have ended; who stands in line for it is refused.
    pub(crate) fn sweep<S: Store>(&mut self, cx: &mut Context<'_, S>) {
        if self.ends.over.is_empty() {
            return;
        }
        let over = |key: &ObjectKey| self.ends.is_over(key.set);
        // Others may take theirs back.
        let ours = self.calls.values().filter(|call| call.op.is_none() && call.kind == RequestKind::Remove);
        let removing: BTreeSet<ObjectKey> = ours.map(|call| call.key).collect();
        let mut keys: Vec<ObjectKey> = self.directory.keys().filter(over).collect();
        keys.sort_unstable();
        for key in keys {
            self.refuse_line(key, cx);
            if !removing.contains(&key) {
                self.begin_call(None, key, RequestKind::Remove, cx);
            }
        }
    }

    fn refuse_line<S: Store>(&mut self, key: ObjectKey, cx: &mut Context<'_, S>) {
        let mut refused = Vec::new();
        self.directory.retain_in_line(key, |pending| match pending {
            Pending::Request(by, request) if wants_hold(request) => {
                refused.push((*by, request.rid));
                false
            }
            _ => true,
        });
        for (by, rid) in refused {
            self.send(by, key, Body::Nack { rid, why: Nack::Destroyed }, cx);
        }
    }

    /// Whether the home refuses a request because its set has ended.
    pub(crate) fn refuses(&self, key: ObjectKey, request: &Request) -> bool {
        self.ends.is_over(key.set) && wants_hold(request) && !self.planted(Mutant::DestroyedIsServed)
    }

    /// FINISHED: true if it is the answer to a DESTROY of ours.
    pub(crate) fn has_heard<S>(&mut self, node: NodeId, rid: Rid, cx: &mut Context<'_, S>) -> bool {
        let Some(ending) = self.ends.ending.get_mut(&rid) else { return false };
        ending.due.remove(node);
        if ending.due.is_empty() {
            cx.effects.push(Effect::Complete(ending.op, Ok(None)));
            self.ends.ending.remove(&rid);
        }
        true
    }

    /// Nobody is left to be told, or there is no need to: a peer is gone ([`Loss::Local`]).
    pub(crate) fn need_not_hear<S>(&mut self, lost: NodeId, cx: &mut Context<'_, S>) {
        let rids: Vec<Rid> = self.ends.ending.keys().copied().collect();
        for rid in rids {
            self.has_heard(lost, rid, cx);
        }
    }

    /// Tells a node that comes what it may have missed.
    pub(crate) fn tell_ends<S>(&mut self, to: NodeId, cx: &mut Context<'_, S>) {
        if self.planted(Mutant::NewcomersNotTold) {
            return;
        }
        for set in self.ends.over.clone() {
            self.send(to, of_set(set), Body::Destroy { rid: Rid(0) }, cx);
        }
    }

    /// What was to be told in the view before is told again, in this one.
    pub(crate) fn destroy_again<S: Store>(&mut self, cx: &mut Context<'_, S>) {
        debug_assert!(self.config.loss == Loss::Agreed);
        let rids: Vec<Rid> = self.ends.ending.keys().copied().collect();
        for rid in rids {
            self.send_destroy(rid, cx);
        }
    }

    /// This node is no member any more.
    pub(crate) fn end_destroys<S>(&mut self, error: OpError, cx: &mut Context<'_, S>) {
        for (_, ending) in std::mem::take(&mut self.ends.ending) {
            cx.effects.push(Effect::Complete(ending.op, Err(error)));
        }
    }
}

fn wants_hold(request: &Request) -> bool {
    matches!(request.kind, RequestKind::Get | RequestKind::Grab)
}
