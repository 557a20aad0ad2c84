//! The directory of the objects that have their home here. What is settled takes 40 bytes an object, a few copies included;
//! what is under way lies apart and is there for no longer than it is under way; and copysets too large for their entries have
//! lists that are used again, so that nothing is allocated for what has been there before.

use crate::entry::{Entry, Holder, Pending, State, Transaction, Underway};
use crate::objects::Objects;
use crate::speculation::Since;
use crate::table::{Table, hash_unordered};
use kddm_object::{Location, NodeId, ObjectKey, Rid};
use std::hash::{Hash, Hasher};

#[derive(Clone, Default)]
pub(crate) struct Directory {
    settled: Objects<Settled>,
    crowds: Crowds,
    /// What is over is not there.
    underway: Table<ObjectKey, Underway>,
}

/// A [`State`] at rest.
#[derive(Clone, Copy, Debug, Default)]
enum Settled {
    #[default]
    Uncached,
    Untouched,
    Lost,
    Shared {
        owner: Location,
        copies: Copies,
        since: Since,
    },
    Exclusive {
        owner: NodeId,
        rid: Rid,
    },
}

const _: () = assert!(size_of::<Settled>() == 40);

/// Nodes with copies of a shared object: as many as an object usually has lie in its entry.
#[derive(Clone, Copy, Debug)]
enum Copies {
    Few { count: u8, holders: [Holder; FEW] },
    Crowd(u32),
}

const FEW: usize = 4;

/// Copysets that are too large for their entries.
#[derive(Clone, Default)]
struct Crowds {
    lists: Vec<Vec<Holder>>,
    vacant: Vec<u32>,
}

impl Directory {
    pub fn contains(&self, key: ObjectKey) -> bool {
        self.settled.contains(key)
    }

    /// In no order.
    pub fn keys(&self) -> impl Iterator<Item = ObjectKey> {
        self.settled.iter().map(|(key, _)| key)
    }

    /// In no order.
    pub fn entries(&self) -> impl Iterator<Item = (ObjectKey, Entry<'_>)> {
        self.settled.iter().map(|(key, settled)| (key, self.seen(key, settled)))
    }

    pub fn entry(&self, key: ObjectKey) -> Option<Entry<'_>> {
        Some(self.seen(key, self.settled.get(key)?))
    }

    /// Whether nothing is under way on any object.
    pub fn is_quiet(&self) -> bool {
        self.underway.is_empty()
    }

    pub fn is_busy(&self, key: ObjectKey) -> bool {
        self.transaction(key).is_some()
    }

    pub fn transaction(&self, key: ObjectKey) -> Option<&Transaction> {
        self.underway.get(&key)?.transaction.as_ref()
    }

    /// The transaction, and what the object was before if it does not say so itself.
    pub fn transaction_mut(&mut self, key: ObjectKey) -> Option<(&mut Transaction, State<'_>)> {
        let transaction = self.underway.get_mut(&key)?.transaction.as_mut()?;
        Some((transaction, self.settled.get(key)?.state(&self.crowds)))
    }

    /// What the object is, if no transaction is under way.
    pub fn settled(&self, key: ObjectKey) -> Option<State<'_>> {
        if self.is_busy(key) { None } else { Some(self.settled.get(key)?.state(&self.crowds)) }
    }

    /// Makes an entry if there is none.
    pub fn touch(&mut self, key: ObjectKey) {
        self.settled.get_or_default(key);
    }

    /// Sets what the object is, or was before the transaction under way.
    pub fn set(&mut self, key: ObjectKey, state: State<'_>) {
        let old = self.settled.get_or_default(key);
        if let Settled::Shared { copies: Copies::Crowd(crowd), .. } = *old {
            self.crowds.dismiss(crowd);
        }
        *old = match state {
            State::Uncached => Settled::Uncached,
            State::Untouched => Settled::Untouched,
            State::Lost => Settled::Lost,
            State::Exclusive { owner, rid } => Settled::Exclusive { owner, rid },
            State::Shared { owner, copies, since } => {
                Settled::Shared { owner, copies: self.crowds.copyset(owner.node, copies), since }
            }
        };
    }

    /// Ends the transaction, if there is one: this is what the object is now.
    pub fn settle(&mut self, key: ObjectKey, state: State<'_>) {
        self.end(key);
        self.set(key, state);
    }

    /// Makes the object busy.
    pub fn start(&mut self, key: ObjectKey, transaction: Transaction) {
        if transaction.work.has_before() {
            // The shared period is over.
            if let Settled::Shared { since, .. } = self.settled.get_or_default(key) {
                *since = 0;
            }
        } else {
            self.set(key, State::Uncached);
        }
        self.underway.entry(key).or_default().transaction = Some(transaction);
    }

    /// Ends the transaction: the object is what it was before.
    pub fn end(&mut self, key: ObjectKey) {
        self.change(key, |underway| underway.transaction = None);
    }

    /// The object is shared: `node` has a copy by its request `rid`. Whether it was among those who may have one.
    pub fn admit(&mut self, key: ObjectKey, node: NodeId, rid: Rid) -> bool {
        let Some(Settled::Shared { copies, .. }) = self.settled.get_mut(key) else { return false };
        if let Some(known) = self.crowds.holders_mut(copies).iter_mut().find(|holder| holder.node == node) {
            *known = Holder::new(node, rid);
            return true;
        }
        self.crowds.add(copies, Holder::new(node, rid));
        false
    }

    /// Whether somebody has the object or waits in line, so that a request has to wait too.
    pub fn is_engaged(&self, key: ObjectKey) -> bool {
        self.underway
            .get(&key)
            .is_some_and(|underway| underway.transaction.is_some() || !underway.line.is_empty())
    }

    pub fn line_up(&mut self, key: ObjectKey, pending: Pending) {
        self.touch(key);
        self.underway.entry(key).or_default().line.push(pending);
    }

    pub fn line_up_first(&mut self, key: ObjectKey, pending: Pending) {
        self.touch(key);
        self.underway.entry(key).or_default().line.insert(0, pending);
    }

    pub fn next_in_line(&mut self, key: ObjectKey) -> Option<Pending> {
        self.change(key, |underway| (!underway.line.is_empty()).then(|| underway.line.remove(0))).flatten()
    }

    pub fn retain_in_line(&mut self, key: ObjectKey, keep: impl FnMut(&mut Pending) -> bool) {
        self.change(key, |underway| underway.line.retain(keep));
    }

    pub fn add_syncing(&mut self, key: ObjectKey, node: NodeId, rid: Rid) {
        self.touch(key);
        let syncing = &mut self.underway.entry(key).or_default().syncing;
        if !syncing.contains(&(node, rid)) {
            syncing.push((node, rid));
        }
    }

    /// Changes what is under way, if there is anything.
    pub fn change<R>(&mut self, key: ObjectKey, change: impl FnOnce(&mut Underway) -> R) -> Option<R> {
        let underway = self.underway.get_mut(&key)?;
        let result = change(underway);
        if underway.is_over() {
            self.underway.remove(&key);
        }
        Some(result)
    }

    /// Removes the entry of which there is nothing to know.
    pub fn forget_if_empty(&mut self, key: ObjectKey) {
        if self.entry(key).is_some_and(|entry| entry.is_empty()) {
            self.settled.remove(key);
        }
    }

    /// Puts what another directory had under way on an object that nobody has.
    pub fn take_over(&mut self, key: ObjectKey, underway: Underway) {
        self.touch(key);
        self.underway.insert(key, underway);
    }

    fn seen<'a>(&'a self, key: ObjectKey, settled: &'a Settled) -> Entry<'a> {
        Entry { state: settled.state(&self.crowds), underway: self.underway.get(&key) }
    }
}

impl Settled {
    fn state<'a>(&'a self, crowds: &'a Crowds) -> State<'a> {
        match self {
            Settled::Uncached => State::Uncached,
            Settled::Untouched => State::Untouched,
            Settled::Lost => State::Lost,
            Settled::Exclusive { owner, rid } => State::Exclusive { owner: *owner, rid: *rid },
            Settled::Shared { owner, copies, since } => {
                State::Shared { owner: *owner, copies: crowds.holders(copies), since: *since }
            }
        }
    }
}

impl Crowds {
    fn holders<'a>(&'a self, copies: &'a Copies) -> &'a [Holder] {
        match copies {
            Copies::Few { count, holders } => &holders[..usize::from(*count)],
            Copies::Crowd(crowd) => &self.lists[*crowd as usize],
        }
    }

    fn holders_mut<'a>(&'a mut self, copies: &'a mut Copies) -> &'a mut [Holder] {
        match copies {
            Copies::Few { count, holders } => &mut holders[..usize::from(*count)],
            Copies::Crowd(crowd) => &mut self.lists[*crowd as usize],
        }
    }

    /// `owner` fills the places that are not used.
    fn copyset(&mut self, owner: NodeId, copies: &[Holder]) -> Copies {
        if copies.len() > FEW {
            return Copies::Crowd(self.gather(copies));
        }
        let mut holders = [Holder::new(owner, Rid(0)); FEW];
        holders[..copies.len()].copy_from_slice(copies);
        Copies::Few { count: copies.len() as u8, holders }
    }

    fn add(&mut self, copies: &mut Copies, holder: Holder) {
        match copies {
            Copies::Few { count, holders } if usize::from(*count) < FEW => {
                holders[usize::from(*count)] = holder;
                *count += 1;
            }
            Copies::Few { holders, .. } => {
                let crowd = self.gather(holders);
                self.lists[crowd as usize].push(holder);
                *copies = Copies::Crowd(crowd);
            }
            Copies::Crowd(crowd) => self.lists[*crowd as usize].push(holder),
        }
    }

    fn gather(&mut self, copies: &[Holder]) -> u32 {
        let crowd = self.vacant.pop().unwrap_or_else(|| {
            self.lists.push(Vec::new());
            self.lists.len() as u32 - 1
        });
        self.lists[crowd as usize].extend_from_slice(copies);
        crowd
    }

    fn dismiss(&mut self, crowd: u32) {
        self.lists[crowd as usize].clear();
        self.vacant.push(crowd);
    }
}

// A directory is what is in it, wherever that lies.

impl PartialEq for Directory {
    fn eq(&self, other: &Directory) -> bool {
        self.settled.len() == other.settled.len()
            && self.entries().all(|(key, entry)| other.entry(key) == Some(entry))
    }
}

impl Eq for Directory {}

impl Hash for Directory {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_unordered(self.entries(), state);
    }
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.entries()).finish()
    }
}
