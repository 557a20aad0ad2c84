//! Sets, and the operations on their objects.

use super::{
    Session,
    guard::{Exclusive, Guard, Made, Shared},
    pending::Pending,
    requests::Requests,
};
use crate::{Error, error::Result};
use kddm_object::{FirstTouch, Hold, Home, ObjectKey, SetId};
use kddm_ring::{HoldId, Piece, Request, SetDetails, SetFacts, Wait, split_named};
use std::{ops::Range, sync::Arc, time::Duration};
use zerocopy::FromBytes;

/// A set that this program has opened. Clones are the same set.
#[derive(Clone, Debug)]
pub struct Set {
    requests: Arc<Requests>,
    facts: SetFacts,
}

/// What a new set is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetOptions {
    /// Bytes of each object, up to 1 MiB; 0: objects are locks.
    pub object_size: u32,
    /// Which node is the home of an object.
    pub home: Home,
    /// Permission bits as of a file: who reads may get, who writes may grab and remove.
    pub mode: u16,
}

/// A set, as a list of sets has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetSummary {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: SetId,
    /// Bytes of each object.
    pub object_size: u32,
    /// Which node is the home of an object; `None`: this library does not know the way.
    pub home: Option<Home>,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its permission bits.
    pub mode: u16,
}

/// How a hold is meant, beyond the usual: to wait as long as it takes, and to make what nobody has touched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HoldOptions {
    /// How long to wait.
    pub wait: Wait,
    /// Fail where nobody has touched the object, instead of making it.
    pub only_existing: bool,
}

impl SetOptions {
    /// Objects of so many bytes, homes spread over the nodes, for the owner alone.
    pub fn new(object_size: u32) -> SetOptions {
        SetOptions { object_size, home: Home::Hash, mode: 0o600 }
    }
}

/// Bytes of a list of sets that are asked for together.
const LIST_BYTES: u32 = 32 << 10;

impl Session {
    /// Makes a set, which belongs to this program's user, and opens it.
    ///
    /// # Errors
    /// There is one of that name.
    pub fn create_set(&self, name: &str, options: SetOptions) -> Result<Set> {
        let details = SetDetails { object_size: options.object_size, home: options.home };
        let piece = self.requests.piece_of(name.as_bytes())?;
        let request = Request::CreateSet { name: piece.region(), details, mode: options.mode };
        let answer = self.requests.ask(request, [piece])?;
        let facts = SetFacts {
            set: answer.done.value,
            object_size: options.object_size,
            mode: options.mode,
            ..SetFacts::default()
        };
        Ok(Set { requests: self.requests.clone(), facts: facts.with_home(options.home) })
    }

    /// Opens a set.
    ///
    /// # Errors
    /// There is none of that name, or it is not for this program's user.
    pub fn open_set(&self, name: &str) -> Result<Set> {
        let name = self.requests.piece_of(name.as_bytes())?;
        let into = self.requests.piece(size_of::<SetFacts>() as u32)?;
        let request = Request::OpenSet { name: name.region(), into: into.region() };
        let mut answer = self.requests.ask(request, [into, name])?;
        let bytes = answer.piece(0)?;
        let facts = SetFacts::read_from_bytes(&bytes).map_err(|_| Error::Answer("a set's facts"))?;
        Ok(Set { requests: self.requests.clone(), facts })
    }

    /// Ends a set and its objects. Only its owner, and root, may.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn destroy_set(&self, name: &str) -> Result<()> {
        let name = self.requests.piece_of(name.as_bytes())?;
        let request = Request::DestroySet { name: name.region() };
        self.requests.ask(request, [name]).map(|_| ())
    }

    /// All sets of the cluster, by name.
    ///
    /// # Errors
    /// The attachment has ended.
    pub fn sets(&self) -> Result<Vec<SetSummary>> {
        let (mut sets, mut from) = (Vec::new(), 0);
        loop {
            let into = self.requests.piece(LIST_BYTES)?;
            let request = Request::ListSets { from, into: into.region() };
            let mut answer = self.requests.ask(request, [into])?;
            let bytes = answer.piece(0)?;
            let mut rest = &bytes[..];
            while let Some((facts, name, after)) = split_named(rest, |facts: &SetFacts| facts.name.into()) {
                sets.push(SetSummary::of(&facts, name));
                rest = after;
            }
            from = answer.done.value;
            if from == 0 {
                return Ok(sets);
            }
        }
    }
}

impl SetSummary {
    fn of(facts: &SetFacts, name: &[u8]) -> SetSummary {
        let SetFacts { object_size, uid, gid, mode, .. } = *facts;
        let name = String::from_utf8_lossy(name).into_owned();
        SetSummary { name, id: facts.id(), object_size, home: facts.home(), uid, gid, mode }
    }
}

macro_rules! holds {
    ($get:ident, $try:ident, $for:ident, $with:ident, $begin:ident, $range:ident, $guard:ident, $hold:expr, $what:literal) => {
        #[doc = concat!("Takes ", $what, " hold, waiting as long as it takes.")]
        ///
        /// # Errors
        /// See [`Error`].
        pub fn $get(&self, object: u32) -> Result<$guard> {
            self.$with(object, HoldOptions::default())
        }

        #[doc = concat!("Takes ", $what, " hold, or fails with [`WouldBlock`](kddm_ring::Refusal::WouldBlock) where it would have to wait for somebody.")]
        ///
        /// # Errors
        /// See [`Error`].
        pub fn $try(&self, object: u32) -> Result<$guard> {
            self.$with(object, HoldOptions { wait: Wait::Never, ..HoldOptions::default() })
        }

        #[doc = concat!("Takes ", $what, " hold, or fails with [`TimedOut`](kddm_ring::Refusal::TimedOut) when `time` is over.")]
        ///
        /// # Errors
        /// See [`Error`].
        pub fn $for(&self, object: u32, time: Duration) -> Result<$guard> {
            self.$with(object, HoldOptions { wait: Wait::AtMost(time), ..HoldOptions::default() })
        }

        #[doc = concat!("Takes ", $what, " hold, with options.")]
        ///
        /// # Errors
        /// See [`Error`].
        pub fn $with(&self, object: u32, options: HoldOptions) -> Result<$guard> {
            let (request, into) = self.hold(object, $hold, options)?;
            $guard::of(self.requests.clone(), object, self.requests.ask(request, [into])?)
        }

        #[doc = concat!("Begins to take ", $what, " hold. Several may be under way, and come in any order.")]
        ///
        /// # Errors
        /// Too much is under way or held.
        pub fn $begin(&self, object: u32, options: HoldOptions) -> Result<Pending<$guard>> {
            let (request, into) = self.hold(object, $hold, options)?;
            Ok(Pending::new(self.requests.call(request, [into])?, object))
        }

        #[doc = concat!("Takes ", $what, " hold of each object of a range, in ascending order, so that those who take ranges never wait for each other in a circle; what is elsewhere comes together.")]
        ///
        /// # Errors
        /// See [`Error`]. Then nothing of the range is held.
        pub fn $range(&self, objects: Range<u32>) -> Result<Vec<$guard>> {
            self.range(objects, $hold)
        }
    };
}

impl Set {
    holds!(get, try_get, get_for, get_with, begin_get, get_range, Shared, Hold::Shared, "a shared");
    holds!(
        grab,
        try_grab,
        grab_for,
        grab_with,
        begin_grab,
        grab_range,
        Exclusive,
        Hold::Exclusive,
        "an exclusive"
    );

    /// Its id.
    pub fn id(&self) -> SetId {
        self.facts.id()
    }

    /// Bytes of each object.
    pub fn object_size(&self) -> u32 {
        self.facts.object_size
    }

    /// Begins to bring copies of a range to this node, so that gets find them there. Nothing is held.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn prefetch(&self, objects: Range<u32>) -> Result<()> {
        let count = objects.end.saturating_sub(objects.start);
        self.do_it(Request::Prefetch { key: self.key(objects.start), count })
    }

    /// Ends an object: whoever comes later finds it untouched. Waits for all holds.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn remove(&self, object: u32) -> Result<()> {
        self.do_it(Request::Remove { key: self.key(object) })
    }

    /// Drops this node's copy, unless it is held or the last.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn flush(&self, object: u32) -> Result<()> {
        self.do_it(Request::Flush { key: self.key(object) })
    }

    /// Writes an object to the device of its home, if its set has one.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn sync(&self, object: u32) -> Result<()> {
        self.do_it(Request::Sync { key: self.key(object) })
    }

    /// The objects that this node has a copy of, ascending. A copy may go, or come, at any time.
    pub fn local(&self) -> Local<'_> {
        Local { set: self, after: None, found: Vec::new().into_iter(), ended: false }
    }

    /// The request for a hold, and where the bytes will be.
    fn hold(&self, object: u32, hold: Hold, options: HoldOptions) -> Result<(Request, Piece)> {
        let into = self.requests.piece(self.facts.object_size)?;
        let HoldOptions { wait, only_existing } = options;
        let first_touch = if only_existing { FirstTouch::Refuse } else { FirstTouch::Make };
        let key = self.key(object);
        Ok((Request::Hold { key, hold, first_touch, wait, into: into.region() }, into))
    }

    fn range<G: Guard>(&self, objects: Range<u32>, hold: Hold) -> Result<Vec<G>> {
        let Some(count) = objects.end.checked_sub(objects.start).filter(|&count| count > 0) else {
            return Ok(Vec::new());
        };
        let size = self.facts.object_size;
        let into = self.requests.piece(count.saturating_mul(size))?;
        let key = self.key(objects.start);
        let request = Request::HoldRange { key, count, hold, into: into.region() };
        let mut answer = self.requests.ask(request, [into])?;
        let pieces = match size {
            // Locks have no bytes to cut.
            0 => objects.clone().map(|_| self.requests.piece(0)).collect::<Result<Vec<_>>>()?,
            _ => answer.piece(0)?.cut(size),
        };
        let holds = (answer.done.value..).map(HoldId);
        let made = objects.zip(holds).zip(pieces);
        Ok(made.map(|((object, hold), piece)| G::made(self.requests.clone(), object, hold, piece)).collect())
    }

    fn do_it(&self, request: Request) -> Result<()> {
        self.requests.order(request).map(|_| ())
    }

    fn key(&self, object: u32) -> ObjectKey {
        ObjectKey::new(self.facts.id(), object)
    }
}

/// Objects that are asked for together.
const LOCAL_BYTES: u32 = 4096;

/// See [`Set::local`].
#[derive(Debug)]
pub struct Local<'a> {
    set: &'a Set,
    after: Option<u32>,
    found: std::vec::IntoIter<u32>,
    ended: bool,
}

impl Local<'_> {
    fn ask(&mut self) -> Result<()> {
        let into = self.set.requests.piece(LOCAL_BYTES)?;
        let after = self.set.key(self.after.unwrap_or_default());
        let request = Request::Local { after, any: self.after.is_none(), into: into.region() };
        let mut answer = self.set.requests.ask(request, [into])?;
        let bytes = answer.piece(0)?;
        let numbers = bytes.as_chunks::<4>().0.iter().map(|bytes| u32::from_ne_bytes(*bytes));
        let found: Vec<u32> = numbers.collect();
        (self.after, self.ended) = (found.last().copied().or(self.after), found.is_empty());
        self.found = found.into_iter();
        Ok(())
    }
}

impl Iterator for Local<'_> {
    type Item = Result<u32>;

    fn next(&mut self) -> Option<Result<u32>> {
        loop {
            if let Some(object) = self.found.next() {
                return Some(Ok(object));
            }
            if self.ended {
                return None;
            }
            if let Err(error) = self.ask() {
                self.ended = true;
                return Some(Err(error));
            }
        }
    }
}
