//! What an object is, one operation after the other.

use smallvec::{SmallVec, smallvec};
use std::fmt;

/// Shared or exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// A get.
    Shared,
    /// A grab.
    Exclusive,
}

/// What an operation does with an object that nobody has touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Touch {
    /// Makes it: zeros.
    Make,
    /// Leaves it alone.
    Refuse,
    /// Makes it, also in the place of one that was lost.
    Manual,
}

/// What an object holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Content {
    /// Nobody has made it.
    Untouched,
    /// These bytes, by the number of who wrote them; 0 are the zeros of a first touch.
    Value(u64),
    /// Its last copy is gone, and everybody is told so.
    Lost,
    /// Nobody has looked yet.
    Unknown,
}

/// Something that takes effect at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// A hold begins, and sees this.
    Acquire(Mode, Touch, u64),
    /// A hold begins, sees this, may leave something else, and ends, all at one moment.
    Hold(Touch, u64, Option<u64>),
    /// A hold ends; an exclusive one may leave something else.
    Put(Mode, Option<u64>),
    /// The object ends.
    Remove,
    /// An operation that would not make the object did not find it.
    FoundNothing,
    /// The same, where zeros that nobody has written are nothing.
    FoundNoBytes,
    /// An operation was told that the object is lost.
    FoundLost,
    /// It ended without having changed anything.
    Nothing,
    /// Somebody who had no use for it may have made it.
    Touch(Touch),
    /// What is put by now stays, whoever crashes.
    Sync,
    /// A crash: what was put since the last sync may be gone, from some moment on.
    Loss,
    /// A crash after which nobody knows whether the object was ever touched: if not, it may count as lost.
    Doubt,
    /// Somebody wrote this whose right to do so had ended. It may come to count, where nobody holds the object.
    Stray(u64),
}

/// An object between two operations.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub content: Content,
    pub readers: u16,
    pub writer: bool,
    /// What a crash may bring back, oldest first; kept only where crashes are recorded.
    pub past: Past,
}

/// Earlier contents, oldest first.
pub(crate) type Past = SmallVec<[Content; 4]>;

/// The states that an action leads to: none if it cannot be.
pub(crate) type Next = SmallVec<[State; 2]>;

impl State {
    pub fn new(content: Content) -> State {
        State { content, readers: 0, writer: false, past: SmallVec::new() }
    }

    fn held(&self) -> bool {
        self.writer || self.readers > 0
    }

    /// With `crashes`, what was is remembered.
    pub fn after(&self, action: Action, crashes: bool) -> Next {
        match action {
            Action::Acquire(mode, touch, saw) => self.acquire(mode, touch, saw, crashes),
            Action::Hold(touch, saw, wrote) => {
                let held = self.acquire(Mode::Exclusive, touch, saw, crashes);
                held.iter().map(|held| held.put(Action::Put(Mode::Exclusive, wrote), crashes)).collect()
            }
            Action::Put(..) => smallvec![self.put(action, crashes)],
            Action::Remove if self.held() => Next::new(),
            Action::Remove => smallvec![State::new(Content::Untouched)],
            Action::FoundNothing => self.found(Content::Untouched, crashes),
            Action::FoundNoBytes if self.content == Content::Value(0) && !self.writer => {
                smallvec![self.clone()]
            }
            Action::FoundNoBytes => self.found(Content::Untouched, crashes),
            Action::FoundLost => self.found(Content::Lost, crashes),
            Action::Nothing => smallvec![self.clone()],
            Action::Touch(touch) => match (self.content, touch) {
                (Content::Untouched, Touch::Make | Touch::Manual) | (Content::Lost, Touch::Manual) => {
                    smallvec![self.with(Content::Value(0), crashes)]
                }
                _ => Next::new(),
            },
            Action::Sync => smallvec![State { past: SmallVec::new(), ..self.clone() }],
            Action::Loss => self.losses(|_| true),
            Action::Doubt => self
                .found(Content::Untouched, crashes)
                .iter()
                .map(|it| it.with(Content::Lost, crashes))
                .collect(),
            Action::Stray(_) if self.held() => Next::new(),
            Action::Stray(value) => smallvec![self.with(Content::Value(value), crashes)],
        }
    }

    fn with(&self, content: Content, crashes: bool) -> State {
        let mut next = self.clone();
        if next.content != content {
            if crashes && next.content != Content::Lost {
                next.past.push(next.content);
            }
            next.content = content;
        }
        next
    }

    fn found(&self, content: Content, crashes: bool) -> Next {
        match self.content == content || self.content == Content::Unknown {
            true => smallvec![self.with(content, crashes)],
            false => Next::new(),
        }
    }

    fn acquire(&self, mode: Mode, touch: Touch, saw: u64, crashes: bool) -> Next {
        let fits = match self.content {
            Content::Value(value) => value == saw,
            Content::Untouched => saw == 0 && touch != Touch::Refuse,
            Content::Lost => saw == 0 && touch == Touch::Manual,
            Content::Unknown => true,
        };
        let excluded = self.writer || (mode == Mode::Exclusive && self.readers > 0);
        if !fits || excluded {
            return Next::new();
        }
        let mut next = self.with(Content::Value(saw), crashes);
        match mode {
            Mode::Shared => next.readers += 1,
            Mode::Exclusive => next.writer = true,
        }
        smallvec![next]
    }

    /// Its acquire came before: it had ended when the put began.
    pub fn put(&self, action: Action, crashes: bool) -> State {
        let mut next = match action {
            Action::Put(_, Some(value)) => self.with(Content::Value(value), crashes),
            _ => self.clone(),
        };
        match action {
            Action::Put(Mode::Shared, _) => next.readers = next.readers.saturating_sub(1),
            Action::Put(Mode::Exclusive, _) => next.writer = false,
            _ => {}
        }
        next
    }

    /// Back to anything since the last sync, or to an object that is told to be lost, as far as `wanted` picks it.
    pub fn losses(&self, wanted: impl Fn(Content) -> bool) -> Next {
        let back = (0..self.past.len()).filter(|&kept| wanted(self.past[kept])).map(|kept| State {
            content: self.past[kept],
            past: self.past[..kept].into(),
            ..*self
        });
        let lost = (!self.past.is_empty() && wanted(Content::Lost)).then(|| {
            let mut past = self.past.clone();
            if self.content != Content::Lost {
                past.push(self.content);
            }
            State { content: Content::Lost, past, ..*self }
        });
        back.chain(lost).collect()
    }
}

impl Action {
    /// What an operation may have done of whose end nobody has heard.
    pub fn unheard(self) -> Action {
        match self {
            Action::Acquire(_, touch, _) | Action::Hold(touch, ..) => Action::Touch(touch),
            other => other,
        }
    }

    /// Whether somebody else may need this to have taken effect. Of holds that begin nobody does, unless they made the object:
    /// what comes behind them they keep out until their own end (see `check`).
    pub fn enables_others(self, state: &State) -> bool {
        match self {
            Action::Nothing => false,
            // It may be needed here, or later to make the object.
            Action::Hold(Touch::Make | Touch::Manual, 0, None) => true,
            Action::Acquire(..) | Action::Hold(_, _, None) => !matches!(state.content, Content::Value(_)),
            _ => true,
        }
    }

    /// Whether it only looks, and may do so now: it takes nothing from anybody, and nobody needs it later.
    pub fn only_looks(self, state: &State) -> bool {
        match self {
            Action::Hold(touch, saw, None) if saw != 0 || touch == Touch::Refuse => {
                state.content == Content::Value(saw) && !state.held()
            }
            _ => false,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Acquire(Mode::Shared, _, saw) => write!(f, "get saw {saw}"),
            Action::Acquire(Mode::Exclusive, _, saw) => write!(f, "grab saw {saw}"),
            Action::Hold(_, saw, None) => write!(f, "a hold that saw {saw}"),
            Action::Hold(_, saw, Some(value)) => write!(f, "a hold that saw {saw} and left {value}"),
            Action::Put(Mode::Shared, _) => write!(f, "put"),
            Action::Put(Mode::Exclusive, None) => write!(f, "put, nothing written"),
            Action::Put(Mode::Exclusive, Some(value)) => write!(f, "put of {value}"),
            Action::Remove => write!(f, "remove"),
            Action::FoundNothing | Action::FoundNoBytes => write!(f, "found nothing"),
            Action::FoundLost => write!(f, "was told: lost"),
            Action::Nothing => write!(f, "refused"),
            Action::Touch(_) => write!(f, "may have made it"),
            Action::Sync => write!(f, "sync"),
            Action::Loss => write!(f, "a crash"),
            Action::Doubt => write!(f, "a crash with a directory"),
            Action::Stray(value) => write!(f, "{value} is written without a right"),
        }
    }
}
