//! Chains of hand-overs: while a grab is under way, the next in line is told to whom it hands over already, so that a contended
//! object goes from node to node without a stop at its home.
//!
//! Each link is a transaction like any other: its RECALL goes to the requester of the one before, follows that request, and so waits
//! there for its end. Only with agreed views: a view ends all of a chain at once, whereas a node lost alone could be any link.

use crate::core::{Context, Core, Loss};
use crate::entry::{Holder, Pending, State, Transaction, Work};
use crate::{Body, RecallKind, Request, RequestKind, Store};
use kddm_object::{NodeId, ObjectKey, Rid, Seq};
use smallvec::SmallVec;

/// How many transactions of one object are under way at most.
const LENGTH: usize = 3;

/// The transactions that follow the one of a busy entry, in their order.
pub(crate) type Chain = SmallVec<[Link; LENGTH - 1]>;

/// A transaction that begins with the end of the one before.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Link {
    seq: Seq,
    by: NodeId,
    request: Request,
}

impl Link {
    /// The transaction, once the one before has its end.
    fn transaction(self) -> Transaction {
        let Link { seq, by, request } = self;
        let work = match request.kind {
            RequestKind::Grab => Work::Grab { by, request, retry: false },
            _ => Work::Share { by, request, retry: false },
        };
        Transaction { seq, work }
    }
}

impl Core {
    /// The entry is busy: whoever is first in line may follow.
    pub(crate) fn extend_chain<S: Store>(&mut self, key: ObjectKey, cx: &mut Context<'_, S>) {
        if self.config.loss != Loss::Agreed {
            return;
        }
        loop {
            let Some(entry) = self.directory.entry(key) else { return };
            // Nobody can refuse what was granted: whoever comes after it may count on it.
            let Some(Transaction { work: Work::Grab { by, request, .. }, .. }) = entry.transaction() else {
                return;
            };
            if request.try_only {
                return;
            }
            let follows = self.chains.get(&key).map_or(&[][..], |chain| &chain[..]);
            let (tail, after, kind) = follows.last().map_or((*by, request.rid, request.kind), |link| {
                (link.by, link.request.rid, link.request.kind)
            });
            // A get leaves the object shared, for all who come then. And who has yet to drop its old copy has that order, and no
            // place for a second.
            let drops = |copies: &[Holder]| tail != *by && copies.iter().any(|holder| holder.node == tail);
            let has_order = matches!(entry.state, State::Shared { copies, .. } if drops(copies));
            if kind != RequestKind::Grab || has_order || follows.len() + 1 == LENGTH {
                return;
            }
            let Some(Pending::Request(from, next)) = entry.first_in_line() else { return };
            let kind = match next.kind {
                RequestKind::Grab => RecallKind::Yield,
                RequestKind::Get => RecallKind::Share,
                RequestKind::Remove | RequestKind::Sync => return,
            };
            if next.try_only {
                return;
            }
            let (from, next) = (*from, next.clone());
            self.directory.next_in_line(key);
            let (seq, life, rid) = (self.new_seq(), self.life_of(from), next.rid);
            self.chains.entry(key).or_default().push(Link { seq, by: from, request: next });
            let recall = Body::Recall { seq, kind, requester: from, life, rid, after, try_only: false };
            self.send(tail, key, recall, cx);
        }
    }

    /// A message of the transaction `seq` has come: those before it are over, though their DONEs have not come yet.
    pub(crate) fn catch_up(&mut self, key: ObjectKey, seq: Seq) {
        let Some(chain) = self.chains.get(&key) else { return };
        let Some(place) = chain.iter().position(|link| link.seq == seq) else { return };
        for _ in 0..=place {
            let Some(Transaction { work: Work::Grab { by, request, .. }, .. }) =
                self.directory.transaction(key)
            else {
                return;
            };
            self.next_link(key, (*by, request.rid));
        }
    }

    /// Whether another transaction follows `seq`, whose requester has an order to hand over.
    pub(crate) fn is_followed(&self, key: ObjectKey, seq: Seq) -> bool {
        let first = self.directory.transaction(key).is_some_and(|under_way| under_way.seq == seq);
        self.chains
            .get(&key)
            .is_some_and(|chain| first || chain.iter().rev().skip(1).any(|link| link.seq == seq))
    }

    /// Who was to hand over in the transaction `seq` of a chain gave its grant back. All that follow it stand in line again; the
    /// number of its own transaction.
    pub(crate) fn break_chain(&mut self, key: ObjectKey, seq: Seq) -> Option<Seq> {
        let place = self.chains.get(&key)?.iter().position(|link| link.seq == seq)?;
        if let Some(before) = place.checked_sub(1) {
            let before = self.chains.get(&key)?[before].seq;
            self.catch_up(key, before);
        }
        for link in self.chains.remove(&key)?.into_iter().rev() {
            self.directory.line_up_first(key, Pending::Request(link.by, link.request));
        }
        self.directory.transaction(key).map(|under_way| under_way.seq)
    }

    /// `owner` has the object; the next transaction of the chain is the entry's now, if there is one.
    pub(crate) fn next_link(&mut self, key: ObjectKey, (owner, rid): (NodeId, Rid)) {
        self.directory.settle(key, State::Exclusive { owner, rid });
        let Some(chain) = self.chains.get_mut(&key) else { return };
        let link = chain.remove(0);
        if chain.is_empty() {
            self.chains.remove(&key);
        }
        self.directory.start(key, link.transaction());
    }
}
