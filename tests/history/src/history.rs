//! What was begun, and what came of it.

use crate::check::{self, Explored, Violation};
use crate::object::{Action, Content, Mode, Touch};
use std::collections::BTreeMap;
use std::fmt;

/// Who did something: a thread of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Who {
    /// The node.
    pub node: u8,
    /// The thread on it.
    pub thread: u8,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}.{}", self.node, self.thread)
    }
}

/// An operation under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "an operation that ends nowhere is never checked"]
pub struct Call<K> {
    object: K,
    place: usize,
    part: usize,
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With a hold, which saw these bytes.
    Held(u64),
    /// A whole hold was had at one moment: it saw these bytes, and left others.
    Had {
        /// What it saw.
        saw: u64,
        /// What it wrote, if anything.
        wrote: Option<u64>,
    },
    /// Removed or synchronised: done.
    Done,
    /// It would not make the object, and there was none.
    FoundNothing,
    /// It would not make the object, and there was none, or none but zeros that nobody has written.
    FoundNoBytes,
    /// The object is lost.
    FoundLost,
    /// Nothing at all was changed.
    Refused,
    /// Nothing was changed, though the object may have been made.
    Failed,
    /// It may have taken effect, or not; if it has not by now, it never will.
    Perhaps,
    /// Nobody knows: it may take effect later.
    Unknown,
}

/// An operation: when it began and ended, by the number of the event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation {
    pub who: Who,
    pub action: Action,
    pub began: u64,
    /// `u64::MAX` while nobody knows.
    pub ended: u64,
    /// Has to have taken effect by its end.
    pub certain: bool,
    /// The caller's clock, for people.
    pub time: (u64, u64),
}

/// What is known of one object, from a moment when its content was `first`.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub first: Content,
    /// Whether anything was promised meanwhile.
    pub promised: bool,
    pub operations: Vec<Operation>,
}

/// Everything that programs did with objects, in the order in which it happened.
#[derive(Clone, Debug)]
pub struct History<K> {
    objects: BTreeMap<K, Vec<Part>>,
    events: u64,
    time: u64,
}

impl<K> Default for History<K> {
    fn default() -> History<K> {
        History { objects: BTreeMap::new(), events: 0, time: 0 }
    }
}

impl<K: Ord + Copy + fmt::Debug> History<K> {
    /// The caller's clock, for people who read of a violation.
    pub fn at(&mut self, time: u64) {
        self.time = time;
    }

    /// A get or grab begins.
    pub fn acquire(&mut self, object: K, who: Who, mode: Mode, touch: Touch) -> Call<K> {
        self.begin(object, who, Action::Acquire(mode, touch, 0))
    }

    /// A whole hold begins, from its get or grab to its put. Where clocks are only nearly the same, nobody knows more of it than that
    /// it was had at some moment between this and its end. It has to end: what it wrote is not known before.
    pub fn hold(&mut self, object: K, who: Who, touch: Touch) -> Call<K> {
        self.begin(object, who, Action::Hold(touch, 0, None))
    }

    /// A remove begins.
    pub fn remove(&mut self, object: K, who: Who) -> Call<K> {
        self.begin(object, who, Action::Remove)
    }

    /// A sync of an object with a device begins.
    pub fn sync(&mut self, object: K, who: Who) -> Call<K> {
        self.begin(object, who, Action::Sync)
    }

    /// An operation ends.
    pub fn end(&mut self, call: Call<K>, ended: Ended) {
        let event = self.event();
        let time = self.time;
        let Some(operation) = self
            .objects
            .get_mut(&call.object)
            .and_then(|parts| parts.get_mut(call.part))
            .and_then(|part| part.operations.get_mut(call.place))
        else {
            return;
        };
        if operation.ended != u64::MAX {
            return; // its object was blurred meanwhile
        }
        operation.time.1 = time;
        let (action, certain) = match (ended, operation.action) {
            (Ended::Held(saw), Action::Acquire(mode, touch, _)) => (Action::Acquire(mode, touch, saw), true),
            (Ended::Had { saw, wrote }, Action::Hold(touch, ..)) => (Action::Hold(touch, saw, wrote), true),
            (Ended::Done, action) => (action, true),
            (Ended::FoundNothing, _) => (Action::FoundNothing, true),
            (Ended::FoundNoBytes, _) => (Action::FoundNoBytes, true),
            (Ended::FoundLost, _) => (Action::FoundLost, true),
            (Ended::Refused, _) | (Ended::Failed, Action::Remove | Action::Sync) => (Action::Nothing, true),
            // What it would have made may be made later.
            (_, action) => (action.unheard(), false),
        };
        (operation.action, operation.certain) = (action, certain);
        if certain || ended == Ended::Perhaps {
            operation.ended = event;
        }
    }

    /// A hold ends, here and now.
    pub fn put(&mut self, object: K, who: Who, mode: Mode, wrote: Option<u64>) {
        let call = self.begin(object, who, Action::Put(mode, wrote));
        self.end(call, Ended::Done);
    }

    /// Who has a hold dies: it ends some time, and leaves nothing.
    pub fn holder_dies(&mut self, object: K, who: Who, mode: Mode) {
        let _open = self.begin(object, who, Action::Put(mode, None));
    }

    /// From now on, until it is closed, what was put into the object since its last sync may turn out to be gone.
    pub fn loss(&mut self, object: K, who: Who) {
        let _open = self.begin(object, who, Action::Loss);
    }

    /// From now on, until it is closed, an object that nobody has touched may turn out to count as lost.
    pub fn doubt(&mut self, object: K, who: Who) {
        let _open = self.begin(object, who, Action::Doubt);
    }

    /// From now on, until it is closed, this may turn out to be the object: who wrote it had no right to, and nobody knows what became of it.
    pub fn stray(&mut self, object: K, who: Who, value: u64) {
        let _open = self.begin(object, who, Action::Stray(value));
    }

    /// Everything is at rest: what has not taken effect by now never will.
    pub fn close(&mut self) {
        let event = self.event();
        for operation in self
            .objects
            .values_mut()
            .filter_map(|parts| parts.last_mut())
            .flat_map(|part| &mut part.operations)
        {
            if !operation.certain && operation.ended == u64::MAX {
                operation.ended = event;
            }
        }
    }

    /// From now on nothing is promised about the object. Operations under way are dropped.
    pub fn blur(&mut self, object: K) {
        let event = self.event();
        let parts = self.objects.entry(object).or_default();
        for operation in parts.last_mut().into_iter().flat_map(|part| &mut part.operations) {
            if operation.ended == u64::MAX {
                operation.ended = event;
                operation.action = operation.action.unheard();
            }
        }
        parts.push(Part { first: Content::Unknown, promised: false, operations: Vec::new() });
    }

    /// Nobody holds or waits for a blurred object: from now on everything is promised again, whatever it holds now.
    pub fn clear(&mut self, object: K) {
        let parts = self.objects.entry(object).or_default();
        parts.push(Part { first: Content::Unknown, promised: true, operations: Vec::new() });
    }

    /// How many operations were recorded.
    pub fn len(&self) -> usize {
        self.objects.values().flatten().map(|part| part.operations.len()).sum()
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// Whether there is an order that explains it.
    ///
    /// # Errors
    /// The first operation, by its end, that none explains.
    pub fn check(&self) -> Result<Explored, Violation<K>> {
        let mut explored = Explored::default();
        for (&object, parts) in &self.objects {
            for part in parts.iter().filter(|part| part.promised) {
                let states = check::check(part).map_err(|stuck| stuck.of(object))?;
                explored.operations += part.operations.len();
                explored.states += states;
            }
        }
        Ok(explored)
    }

    fn event(&mut self) -> u64 {
        self.events += 1;
        self.events
    }

    fn begin(&mut self, object: K, who: Who, action: Action) -> Call<K> {
        let began = self.event();
        let time = (self.time, self.time);
        let parts = self.objects.entry(object).or_default();
        if parts.is_empty() {
            parts.push(Part { first: Content::Untouched, promised: true, operations: Vec::new() });
        }
        let part = parts.len() - 1;
        let operations = &mut parts[part].operations;
        operations.push(Operation { who, action, began, ended: u64::MAX, certain: false, time });
        Call { object, place: operations.len() - 1, part }
    }
}
