//! The search for an order.
//!
//! Events are taken as they happened. A *configuration* is a state of the object with the operations that have taken effect and
//! not ended yet. When an operation ends, every configuration in which it has not taken effect is carried on by what is under way,
//! until it has; where that cannot be, the configuration was wrong, and when none is left, so was the history.
//!
//! Not everything under way is tried. A hold that begins early only keeps others out: its put begins after it has ended, so that
//! nothing which needs the object free or changed can come between, and beginning at its end is as good. That is not so where it
//! makes the object, nor just before a crash that changes the object under it. A whole hold that only looks takes effect as soon as it
//! can: nothing comes of it, and later it may be too late.

use crate::history::{Operation, Part};
use crate::object::{Action, Content, Mode, Past, State};
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::{SmallVec, smallvec};
use std::collections::VecDeque;
use std::fmt;

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Explored {
    /// Operations checked.
    pub operations: usize,
    /// Configurations tried.
    pub states: usize,
}

/// What no order explains.
#[derive(Clone, Debug)]
pub struct Violation<K> {
    /// The object.
    pub object: K,
    /// What happened to it, until no order explained it any more.
    pub story: String,
}

impl<K: fmt::Debug> fmt::Display for Violation<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no order explains what was seen of {:?}:\n{}", self.object, self.story)
    }
}

/// A violation whose object the caller knows.
pub(crate) struct Stuck(String);

impl Stuck {
    pub fn of<K>(self, object: K) -> Violation<K> {
        Violation { object, story: self.0 }
    }
}

type Done = SmallVec<[u32; 4]>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Configuration {
    state: State,
    /// Sorted.
    done: Done,
}

impl Configuration {
    fn has(&self, operation: u32) -> bool {
        self.done.binary_search(&operation).is_ok()
    }

    fn without(mut self, operation: u32) -> Configuration {
        if let Ok(place) = self.done.binary_search(&operation) {
            self.done.remove(place);
        }
        self
    }

    fn with(&self, operation: u32, state: State) -> Configuration {
        let mut done = self.done.clone();
        if let Err(place) = done.binary_search(&operation) {
            done.insert(place, operation);
        }
        Configuration { state, done }
    }
}

/// Configurations that were met, by what they have in common with those that can replace them: one that differs only in that more may
/// still come, or come back, can do whatever the other can.
#[derive(Default)]
struct Met(FxHashMap<Configuration, Vec<(Done, Past)>>);

impl Met {
    /// False if one that was met can replace it.
    fn add(&mut self, configuration: &Configuration, search: &Search<'_>) -> bool {
        let is_open = |operation: &u32| !search.operations[*operation as usize].certain;
        let Configuration { mut state, done } = configuration.clone();
        let (spent, certain): (Done, Done) = done.into_iter().partition(is_open);
        let past = std::mem::take(&mut state.past);
        let met = self.0.entry(Configuration { state, done: certain }).or_default();
        let replaces = |(less, more): &(Done, Past)| {
            less.iter().all(|operation| spent.contains(operation)) && is_part(&past, more)
        };
        let new = !met.iter().any(replaces);
        if new {
            met.push((spent, past));
        }
        new
    }
}

struct Search<'a> {
    operations: &'a [Operation],
    crashes: bool,
    /// Of each value that is written once: who sees it.
    viewers: FxHashMap<u64, Vec<u32>>,
    /// When a content is seen for the last time: a crash to what nobody sees any more explains nothing.
    seen_last: FxHashMap<Content, u64>,
    /// Of these, those that count now; `None`: all.
    targets: Option<Vec<Content>>,
    now: u64,
    /// Under way, by their beginning.
    pending: Vec<u32>,
    possible: Vec<Configuration>,
    tried: usize,
}

/// Gives the number of configurations tried.
pub(crate) fn check(part: &Part) -> Result<usize, Stuck> {
    let operations = &part.operations[..];
    let crashes = operations.iter().any(|operation| operation.action == Action::Loss);
    let mut events: Vec<(u64, u32, bool)> = Vec::with_capacity(2 * operations.len());
    for (place, operation) in operations.iter().enumerate() {
        events.push((operation.began, place as u32, false));
        if operation.ended != u64::MAX {
            events.push((operation.ended, place as u32, true));
        }
    }
    events.sort_unstable();
    let first = Configuration { state: State::new(part.first), done: Done::new() };
    let (viewers, seen_last) = (viewers(part, crashes), seen_last(operations));
    let (pending, possible) = (Vec::new(), vec![first]);
    let mut search = Search {
        operations,
        crashes,
        viewers,
        seen_last,
        targets: None,
        now: 0,
        pending,
        possible,
        tried: 0,
    };
    for (now, operation, ends) in events {
        search.now = now;
        match (ends, operations[operation as usize].certain) {
            (false, _) => search.pending.push(operation),
            (true, true) => search.take_effect(operation)?,
            (true, false) => search.close(operation),
        }
    }
    Ok(search.tried)
}

/// What an action may see.
fn seen_by(action: Action) -> SmallVec<[Content; 4]> {
    match action {
        Action::Acquire(_, _, 0)
        | Action::Hold(_, 0, _)
        | Action::FoundNothing
        | Action::FoundNoBytes
        | Action::FoundLost => {
            smallvec![Content::Untouched, Content::Value(0), Content::Lost, Content::Unknown]
        }
        Action::Acquire(_, _, saw) | Action::Hold(_, saw, _) => {
            smallvec![Content::Value(saw), Content::Unknown]
        }
        _ => SmallVec::new(),
    }
}

/// What is written once and can never come back is over when the object holds something else. Who has not seen it by then never will:
/// there is no use in going on.
fn viewers(part: &Part, crashes: bool) -> FxHashMap<u64, Vec<u32>> {
    let mut viewers: FxHashMap<u64, Vec<u32>> = FxHashMap::default();
    let comes_back = |action| matches!(action, Action::Stray(_) | Action::Doubt);
    let operations = &part.operations;
    if crashes || part.first == Content::Unknown || operations.iter().any(|other| comes_back(other.action)) {
        return viewers;
    }
    let mut writers: FxHashMap<u64, u32> = FxHashMap::default();
    for (place, operation) in (0..).zip(operations).filter(|(_, operation)| operation.certain) {
        match operation.action {
            Action::Acquire(_, _, saw) => viewers.entry(saw).or_default().push(place),
            Action::Hold(_, saw, wrote) => {
                viewers.entry(saw).or_default().push(place);
                wrote.into_iter().for_each(|value| *writers.entry(value).or_default() += 1);
            }
            Action::Put(_, Some(value)) => *writers.entry(value).or_default() += 1,
            _ => {}
        }
    }
    viewers.retain(|value, _| *value != 0 && writers.get(value) == Some(&1));
    viewers
}

/// Whether `part` is `whole`, some left out.
fn is_part(part: &[Content], whole: &[Content]) -> bool {
    let mut whole = whole.iter();
    part.iter().all(|content| whole.any(|other| other == content))
}

fn seen_last(operations: &[Operation]) -> FxHashMap<Content, u64> {
    let mut last = FxHashMap::default();
    for operation in operations {
        for content in seen_by(operation.action) {
            let end: &mut u64 = last.entry(content).or_default();
            *end = operation.ended.max(*end);
        }
    }
    last
}

impl Search<'_> {
    /// `operation` ends: by now it has taken effect.
    fn take_effect(&mut self, operation: u32) -> Result<(), Stuck> {
        self.pending.retain(|&other| other != operation);
        let action = self.action(operation);
        if let Action::Nothing | Action::Put(..) = action {
            // Nothing keeps it back, and nothing has to come before it that cannot come after.
            let before = std::mem::take(&mut self.possible);
            let after = |from: Configuration| match from.has(operation) {
                true => from.without(operation),
                false => {
                    let Configuration { state, done } = self.having_looked(&from);
                    Configuration { state: state.put(action, self.crashes), done }
                }
            };
            let possible = before.into_iter().map(after).collect();
            self.possible = self.least_spent(possible);
            return Ok(());
        }
        self.pending.push(operation);
        self.targets = self.seen_by_pending();
        let mut met = Met::default();
        let before = std::mem::take(&mut self.possible);
        let mut left = VecDeque::from(before.clone());
        left.retain(|configuration| met.add(configuration, self));
        let mut reached = FxHashSet::default();
        while let Some(configuration) = left.pop_front() {
            self.tried += 1;
            if configuration.has(operation) {
                reached.insert(configuration.without(operation));
                continue;
            }
            left.extend(self.next(&configuration, operation).into_iter().filter(|next| met.add(next, self)));
        }
        if reached.is_empty() {
            return Err(self.stuck(operation, &before));
        }
        self.pending.retain(|&other| other != operation);
        self.possible = self.least_spent(reached);
        Ok(())
    }

    /// With what only looks, and can now.
    fn having_looked(&self, from: &Configuration) -> Configuration {
        let mut looked = from.clone();
        let pending = self.pending.iter().filter(|&&other| self.action(other).only_looks(&from.state));
        looked.done.extend(pending.copied().filter(|&other| !from.has(other)));
        looked.done.sort_unstable();
        looked
    }

    fn next(&self, from: &Configuration, wanted: u32) -> Vec<Configuration> {
        let looked = self.having_looked(from);
        if looked.has(wanted) {
            return vec![looked];
        }
        let from = &looked;
        let mut next = Vec::new();
        // Of those that do the same, and must or may, the one that ends first may as well be the first to take effect.
        let mut first: SmallVec<[u32; 8]> = SmallVec::new();
        for &other in self.pending.iter().filter(|&&other| !from.has(other)) {
            let is_same = |same: u32| {
                let certain = |it: u32| self.operations[it as usize].certain;
                self.action(same) == self.action(other) && certain(same) == certain(other)
            };
            let ended = |it: u32| self.operations[it as usize].ended;
            match first.iter_mut().find(|same| is_same(**same)) {
                Some(same) if ended(*same) > ended(other) => *same = other,
                Some(_) => {}
                None => first.push(other),
            }
        }
        for other in first {
            let action = self.action(other);
            if other == wanted || action.enables_others(&from.state) {
                self.apply(from, other, &mut next);
            }
            if action == Action::Loss {
                self.before_loss(from).iter().for_each(|held| self.apply(held, other, &mut next));
            }
        }
        next
    }

    fn apply(&self, from: &Configuration, operation: u32, next: &mut Vec<Configuration>) {
        let wanted = |content| match &self.targets {
            Some(targets) => targets.contains(&content),
            None => self.seen_last.get(&content).is_some_and(|&last| last >= self.now),
        };
        let states = match self.action(operation) {
            Action::Loss => from.state.losses(wanted),
            action => from.state.after(action, self.crashes),
        };
        let states = states.into_iter().filter(|state| !self.is_hopeless(from, operation, state));
        next.extend(states.map(|state| from.with(operation, state)));
    }

    /// Whether somebody would have to see what is over then.
    fn is_hopeless(&self, from: &Configuration, operation: u32, to: &State) -> bool {
        let Content::Value(over) = from.state.content else { return false };
        let Some(viewers) = self.viewers.get(&over).filter(|_| to.content != from.state.content) else {
            return false;
        };
        let has_seen = |&other: &u32| {
            other == operation || from.has(other) || self.operations[other as usize].ended < self.now
        };
        !viewers.iter().all(has_seen)
    }

    /// What a crash may have to lead to now: what somebody under way sees. All else it may lead to later, when somebody sees it; but
    /// not after a sync.
    fn seen_by_pending(&self) -> Option<Vec<Content>> {
        let mut targets = Vec::new();
        for &operation in &self.pending {
            match self.action(operation) {
                Action::Sync => return None,
                action => targets.extend(seen_by(action)),
            }
        }
        targets.sort_unstable();
        targets.dedup();
        Some(targets)
    }

    /// Holds under way that see what a loss takes away must have begun before it: all readers, or one writer.
    fn before_loss(&self, from: &Configuration) -> Vec<Configuration> {
        let mut readers = from.clone();
        let mut before = Vec::new();
        for &other in &self.pending {
            let shared = match self.action(other) {
                Action::Acquire(mode, ..) if !from.has(other) => mode == Mode::Shared,
                _ => continue,
            };
            let start = if shared { &readers } else { from };
            let held = start
                .state
                .after(self.action(other), self.crashes)
                .pop()
                .map(|state| start.with(other, state));
            match held {
                Some(held) if shared => readers = held,
                Some(held) => before.push(held),
                None => {}
            }
        }
        if readers.done.len() > from.done.len() {
            before.push(readers);
        }
        before
    }

    /// An operation of which nobody knows has no effect after this, but may have had one that nobody has needed yet.
    fn close(&mut self, operation: u32) {
        self.targets = None;
        let mut met = Met::default();
        let mut left = VecDeque::from(std::mem::take(&mut self.possible));
        left.retain(|configuration| met.add(configuration, self));
        let mut reached = FxHashSet::default();
        while let Some(configuration) = left.pop_front() {
            self.tried += 1;
            left.extend(self.next(&configuration, operation).into_iter().filter(|next| met.add(next, self)));
            reached.insert(configuration.without(operation));
        }
        self.pending.retain(|&other| other != operation);
        self.possible = self.least_spent(reached);
    }

    /// Those that no other can replace.
    fn least_spent(&self, configurations: FxHashSet<Configuration>) -> Vec<Configuration> {
        let mut least: Vec<Configuration> = configurations.into_iter().collect();
        least.sort_unstable_by_key(|it| (it.done.len(), usize::MAX - it.state.past.len()));
        let mut met = Met::default();
        least.retain(|configuration| met.add(configuration, self));
        least
    }

    fn action(&self, operation: u32) -> Action {
        let operation = &self.operations[operation as usize];
        if operation.certain { operation.action } else { operation.action.unheard() }
    }

    fn stuck(&self, operation: u32, before: &[Configuration]) -> Stuck {
        const SHOWN: usize = 24;
        let at = self.operations[operation as usize];
        let mut story = String::new();
        let mut line = |what: &str, other: &Operation| {
            let Operation { who, action, began, ended, time, certain, .. } = *other;
            let known = if certain { "" } else { " (nobody knows)" };
            let until = if ended == u64::MAX { "…".into() } else { format!("{ended}") };
            story += &format!(
                "  {what} [{began}, {until}] {} … {} µs {who}: {action}{known}\n",
                time.0 / 1000,
                time.1 / 1000
            );
        };
        let earlier: Vec<&Operation> =
            self.operations.iter().filter(|other| other.ended < at.ended && other.certain).collect();
        earlier.iter().rev().take(SHOWN).rev().for_each(|other| line("      ended", other));
        for &other in self.pending.iter().filter(|&&other| other != operation) {
            line("  under way", &self.operations[other as usize]);
        }
        line("unexplained", &at);
        for configuration in before.iter().take(8) {
            story += &format!("  the object could be {:?}\n", configuration.state);
        }
        Stuck(story)
    }
}
