//! What a program submits: 64 bytes.

mod form;

use crate::request::{HoldId, Malformed, Region, Request, SetDetails, Wait};
use kddm_object::{FirstTouch, Hold, ObjectKey, SetId};
use std::time::Duration;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A program's name for a request, told back with its completion.
pub type Tag = u64;

/// A request as it lies in memory. Fields that a request does not use are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Submission {
    tag: Tag,
    set: u64,
    object: u32,
    operation: u8,
    flags: u8,
    mode: u16,
    region: Region,
    second: Region,
    /// A time in nanoseconds, an offset, a cookie, a tag.
    argument: u64,
    /// A hold, an open file, a policy.
    handle: u64,
    count: u32,
    /// The queue's.
    number: u32,
}

crate::queue::entry!(Submission);

const _: () = {
    assert!(size_of::<Submission>() == 64 && align_of::<Submission>() == 8);
    assert!(std::mem::offset_of!(Submission, region) == 24 && std::mem::offset_of!(Submission, handle) == 48);
};

/// Numbers of operations. They are never used for anything else.
mod operation {
    pub const NOTHING: u8 = 1;
    pub const GET: u8 = 2;
    pub const GRAB: u8 = 3;
    pub const PUT: u8 = 4;
    pub const PUT_CHANGED: u8 = 5;
    pub const PREFETCH: u8 = 6;
    pub const REMOVE: u8 = 7;
    pub const FLUSH: u8 = 8;
    pub const SYNC: u8 = 9;
    pub const CANCEL: u8 = 10;
    pub const LOCAL: u8 = 11;
    pub const GET_RANGE: u8 = 12;
    pub const GRAB_RANGE: u8 = 13;
    pub const CREATE_SET: u8 = 16;
    pub const OPEN_SET: u8 = 17;
    pub const DESTROY_SET: u8 = 18;
    pub const LIST_SETS: u8 = 19;
    pub const OPEN: u8 = 32;
    pub const CLOSE: u8 = 33;
    pub const READ: u8 = 34;
    pub const WRITE: u8 = 35;
    pub const STAT: u8 = 36;
    pub const READ_DIRECTORY: u8 = 37;
    pub const FSYNC: u8 = 38;
    pub const TRUNCATE: u8 = 39;
    pub const UNLINK: u8 = 40;
    pub const MAKE_DIRECTORY: u8 = 41;
    pub const REMOVE_DIRECTORY: u8 = 42;
    pub const RENAME: u8 = 43;
    pub const READ_LINK: u8 = 44;
    pub const SYMLINK: u8 = 45;
}

/// No completion unless it fails.
const QUIET: u8 = 1;
/// A hold that fails rather than waits.
const TRY: u8 = 2;
/// A hold that waits only for the time in `argument`.
const TIMED: u8 = 4;
/// A hold that leaves alone what nobody has touched.
const NO_FIRST_TOUCH: u8 = 8;

impl Submission {
    /// A request's form in memory. Quiet: it has no completion unless it fails.
    // Inlined, the fields never lie in memory by themselves, where a processor would have to wait to read them as words.
    #[inline(always)]
    pub fn new(tag: Tag, request: Request, quiet: bool) -> Submission {
        let mut submission = Submission { tag, ..Submission::default() };
        submission.fill(&request);
        submission.flags |= if quiet { QUIET } else { 0 };
        submission
    }

    /// Any 64 bytes, for tests of servers.
    pub fn from_raw(bytes: [u8; 64]) -> Submission {
        zerocopy::transmute!(bytes)
    }

    /// The program's name for it.
    #[inline]
    pub fn tag(&self) -> Tag {
        self.tag
    }

    /// Whether its success is not told.
    #[inline]
    pub fn is_quiet(&self) -> bool {
        self.flags & QUIET != 0
    }

    /// What it says, as far as its form goes.
    ///
    /// # Errors
    /// It says nothing that this version knows.
    #[inline]
    pub fn request(&self) -> Result<Request, Malformed> {
        // One form of each: what a request does not use is 0, and a later version can give it a meaning.
        if form::says_more(self) {
            return Err(Malformed::Unknown);
        }
        let key = ObjectKey::new(SetId(self.set), self.object);
        let (region, second, argument, handle) = (self.region, self.second, self.argument, self.handle);
        Ok(match self.operation {
            operation::NOTHING => Request::Nothing,
            operation::GET => self.hold(key, Hold::Shared)?,
            operation::GRAB => self.hold(key, Hold::Exclusive)?,
            operation::GET_RANGE => self.range(key, Hold::Shared),
            operation::GRAB_RANGE => self.range(key, Hold::Exclusive),
            operation::PUT => Request::Put { hold: HoldId(handle), changed: None },
            operation::PUT_CHANGED => Request::Put { hold: HoldId(handle), changed: Some(region) },
            operation::PREFETCH => Request::Prefetch { key, count: self.count },
            operation::REMOVE => Request::Remove { key },
            operation::FLUSH => Request::Flush { key },
            operation::SYNC => Request::Sync { key },
            operation::CANCEL => Request::Cancel { tag: argument },
            operation::LOCAL => Request::Local { after: key, any: !self.yes()?, into: region },
            operation::CREATE_SET => {
                let details = SetDetails::unpack(handle).ok_or(Malformed::Policy)?;
                Request::CreateSet { name: region, details, mode: self.mode }
            }
            operation::OPEN_SET => Request::OpenSet { name: region, into: second },
            operation::DESTROY_SET => Request::DestroySet { name: region },
            operation::LIST_SETS => Request::ListSets { from: argument, into: region },
            operation::OPEN => Request::Open { path: region, flags: self.count, mode: self.mode },
            operation::CLOSE => Request::Close { file: handle },
            operation::READ => Request::Read { file: handle, offset: argument, into: region },
            operation::WRITE => Request::Write { file: handle, offset: argument, from: region },
            operation::STAT => Request::Stat { path: region, follow: self.yes()?, into: second },
            operation::READ_DIRECTORY => {
                Request::ReadDirectory { file: handle, after: argument, into: region }
            }
            operation::FSYNC => Request::Fsync { file: handle },
            operation::TRUNCATE => Request::Truncate { file: handle, length: argument },
            operation::UNLINK => Request::Unlink { path: region },
            operation::MAKE_DIRECTORY => Request::MakeDirectory { path: region, mode: self.mode },
            operation::REMOVE_DIRECTORY => Request::RemoveDirectory { path: region },
            operation::RENAME => Request::Rename { from: region, to: second },
            operation::READ_LINK => Request::ReadLink { path: region, into: second },
            operation::SYMLINK => Request::Symlink { path: region, target: second },
            _ => return Err(Malformed::Unknown),
        })
    }

    fn hold(&self, key: ObjectKey, hold: Hold) -> Result<Request, Malformed> {
        let wait = match (self.flags & (TRY | TIMED), self.argument) {
            (0, 0) => Wait::Forever,
            (TRY, 0) => Wait::Never,
            (TIMED, time) => Wait::AtMost(Duration::from_nanos(time)),
            _ => return Err(Malformed::Unknown),
        };
        let refuse = self.flags & NO_FIRST_TOUCH != 0;
        let first_touch = if refuse { FirstTouch::Refuse } else { FirstTouch::Make };
        Ok(Request::Hold { key, hold, first_touch, wait, into: self.region })
    }

    /// A count that is a yes or a no.
    fn yes(&self) -> Result<bool, Malformed> {
        match self.count {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed::Unknown),
        }
    }

    fn range(&self, key: ObjectKey, hold: Hold) -> Request {
        Request::HoldRange { key, count: self.count, hold, into: self.region }
    }

    #[inline(always)]
    fn fill(&mut self, request: &Request) {
        self.operation = number(request);
        match *request {
            Request::Nothing => {}
            Request::Hold { key, first_touch, wait, into, hold: _ } => {
                self.key(key);
                self.region = into;
                self.flags |= if first_touch == FirstTouch::Refuse { NO_FIRST_TOUCH } else { 0 };
                match wait {
                    Wait::Forever => {}
                    Wait::Never => self.flags |= TRY,
                    Wait::AtMost(time) => {
                        self.flags |= TIMED;
                        self.argument = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
                    }
                }
            }
            Request::HoldRange { key, count, into, hold: _ } => {
                self.key(key);
                (self.count, self.region) = (count, into);
            }
            Request::Put { hold, changed } => {
                self.handle = hold.0;
                self.region = changed.unwrap_or_default();
            }
            Request::Prefetch { key, count } => {
                self.key(key);
                self.count = count;
            }
            Request::Remove { key } | Request::Flush { key } | Request::Sync { key } => self.key(key),
            Request::Cancel { tag } => self.argument = tag,
            Request::Local { after, any, into } => {
                self.key(after);
                self.count = u32::from(!any);
                self.region = into;
            }
            Request::CreateSet { name, details, mode } => {
                self.region = name;
                self.handle = details.pack();
                self.mode = mode;
            }
            Request::OpenSet { name, into } => (self.region, self.second) = (name, into),
            Request::DestroySet { name } => self.region = name,
            Request::ListSets { from, into } => (self.argument, self.region) = (from, into),
            Request::Open { path, flags, mode } => {
                (self.region, self.count, self.mode) = (path, flags, mode);
            }
            Request::Close { file } | Request::Fsync { file } => self.handle = file,
            Request::Read { file, offset, into: region }
            | Request::Write { file, offset, from: region }
            | Request::ReadDirectory { file, after: offset, into: region } => {
                (self.handle, self.argument, self.region) = (file, offset, region);
            }
            Request::Truncate { file, length } => (self.handle, self.argument) = (file, length),
            Request::Stat { path, follow, into } => {
                (self.region, self.count, self.second) = (path, u32::from(follow), into);
            }
            Request::Unlink { path } | Request::RemoveDirectory { path } => self.region = path,
            Request::MakeDirectory { path, mode } => (self.region, self.mode) = (path, mode),
            Request::Rename { from: first, to: second }
            | Request::ReadLink { path: first, into: second }
            | Request::Symlink { path: first, target: second } => {
                (self.region, self.second) = (first, second)
            }
        }
    }

    #[inline]
    fn key(&mut self, key: ObjectKey) {
        (self.set, self.object) = (key.set.0, key.object);
    }
}

#[inline(always)]
fn number(request: &Request) -> u8 {
    match request {
        Request::Nothing => operation::NOTHING,
        Request::Hold { hold: Hold::Shared, .. } => operation::GET,
        Request::Hold { hold: Hold::Exclusive, .. } => operation::GRAB,
        Request::HoldRange { hold: Hold::Shared, .. } => operation::GET_RANGE,
        Request::HoldRange { hold: Hold::Exclusive, .. } => operation::GRAB_RANGE,
        Request::Put { changed: None, .. } => operation::PUT,
        Request::Put { changed: Some(_), .. } => operation::PUT_CHANGED,
        Request::Prefetch { .. } => operation::PREFETCH,
        Request::Remove { .. } => operation::REMOVE,
        Request::Flush { .. } => operation::FLUSH,
        Request::Sync { .. } => operation::SYNC,
        Request::Cancel { .. } => operation::CANCEL,
        Request::Local { .. } => operation::LOCAL,
        Request::CreateSet { .. } => operation::CREATE_SET,
        Request::OpenSet { .. } => operation::OPEN_SET,
        Request::DestroySet { .. } => operation::DESTROY_SET,
        Request::ListSets { .. } => operation::LIST_SETS,
        Request::Open { .. } => operation::OPEN,
        Request::Close { .. } => operation::CLOSE,
        Request::Read { .. } => operation::READ,
        Request::Write { .. } => operation::WRITE,
        Request::Stat { .. } => operation::STAT,
        Request::ReadDirectory { .. } => operation::READ_DIRECTORY,
        Request::Fsync { .. } => operation::FSYNC,
        Request::Truncate { .. } => operation::TRUNCATE,
        Request::Unlink { .. } => operation::UNLINK,
        Request::MakeDirectory { .. } => operation::MAKE_DIRECTORY,
        Request::RemoveDirectory { .. } => operation::REMOVE_DIRECTORY,
        Request::Rename { .. } => operation::RENAME,
        Request::ReadLink { .. } => operation::READ_LINK,
        Request::Symlink { .. } => operation::SYMLINK,
    }
}

#[cfg(test)]
mod tests;
