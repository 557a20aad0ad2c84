//! What a program asks for.

use kddm_object::{FirstTouch, Hold, Home, NodeId, ObjectKey, limits::MAX_OBJECT_SIZE};
use std::time::Duration;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A part of the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Region {
    /// Its first byte, from the window's begin.
    pub offset: u32,
    /// Bytes.
    pub length: u32,
}

/// A hold that a program has: the server's number for it, never used twice in an attachment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct HoldId(pub u64);

/// How long a hold is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Wait {
    /// Until it can be had.
    #[default]
    Forever,
    /// Not at all: it fails, and then has changed nothing.
    Never,
    /// So long.
    AtMost(Duration),
}

/// What a new set is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetDetails {
    /// Bytes of each object.
    pub object_size: u32,
    /// Which node is the home of an object.
    pub home: Home,
}

/// A request, as far as its form is right. Regions, holds and files may still be anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "fields say what they are")]
pub enum Request {
    /// Only to be answered.
    Nothing,
    /// A get or grab: the object's bytes go to `into`. Done tells the hold.
    Hold { key: ObjectKey, hold: Hold, first_touch: FirstTouch, wait: Wait, into: Region },
    /// Holds of `count` neighbouring objects, taken in ascending order; their bytes go to `into`, one object behind the other. Done tells the first
    /// hold, which the others follow.
    HoldRange { key: ObjectKey, count: u32, hold: Hold, into: Region },
    /// The end of a hold; what was changed is taken from the region first.
    Put { hold: HoldId, changed: Option<Region> },
    /// Begin to bring copies of `count` objects here.
    Prefetch { key: ObjectKey, count: u32 },
    /// End the object.
    Remove { key: ObjectKey },
    /// Drop this node's copy.
    Flush { key: ObjectKey },
    /// Write it to its device.
    Sync { key: ObjectKey },
    /// Give up what the request with that tag was to get: it fails, or, if it has ended, its hold or file does.
    Cancel { tag: u64 },
    /// The numbers (u32 each) of objects of a set that have a copy on this node, ascending: all, or those after `after`. Done tells how many.
    Local { after: ObjectKey, any: bool, into: Region },
    /// Make a set and open it. Done tells its id.
    CreateSet { name: Region, details: SetDetails, mode: u16 },
    /// Open a set: what it is goes to `into` ([`SetFacts`](crate::SetFacts)). Done tells its id.
    OpenSet { name: Region, into: Region },
    /// End a set and its objects.
    DestroySet { name: Region },
    /// Sets, from the `from`th on: a [`SetFacts`](crate::SetFacts) and a name each. Done tells where to go on; 0: there are no more.
    ListSets { from: u64, into: Region },
    /// Open a path of the file system, with flags of open(2). Done tells the file.
    Open { path: Region, flags: u32, mode: u16 },
    /// Close a file.
    Close { file: u64 },
    /// pread(2). Done tells how many bytes.
    Read { file: u64, offset: u64, into: Region },
    /// pwrite(2). Done tells how many bytes.
    Write { file: u64, offset: u64, from: Region },
    /// stat(2), or lstat(2): a [`FileFacts`](crate::FileFacts) goes to `into`.
    Stat { path: Region, follow: bool, into: Region },
    /// Entries of an open directory behind a cookie: an [`EntryFacts`](crate::EntryFacts) and a name each. Done tells how many.
    ReadDirectory { file: u64, after: u64, into: Region },
    /// fsync(2).
    Fsync { file: u64 },
    /// ftruncate(2).
    Truncate { file: u64, length: u64 },
    /// unlink(2).
    Unlink { path: Region },
    /// mkdir(2).
    MakeDirectory { path: Region, mode: u16 },
    /// rmdir(2).
    RemoveDirectory { path: Region },
    /// rename(2).
    Rename { from: Region, to: Region },
    /// readlink(2). Done tells how many bytes.
    ReadLink { path: Region, into: Region },
    /// symlink(2).
    Symlink { path: Region, target: Region },
}

impl Request {
    /// The parts of the window that it names.
    #[inline]
    pub fn regions(&self) -> [Option<Region>; 2] {
        match *self {
            Request::Nothing
            | Request::Put { changed: None, .. }
            | Request::Prefetch { .. }
            | Request::Remove { .. }
            | Request::Flush { .. }
            | Request::Sync { .. }
            | Request::Cancel { .. }
            | Request::Close { .. }
            | Request::Fsync { .. }
            | Request::Truncate { .. } => [None, None],
            Request::Hold { into: region, .. }
            | Request::HoldRange { into: region, .. }
            | Request::Put { changed: Some(region), .. }
            | Request::Local { into: region, .. }
            | Request::CreateSet { name: region, .. }
            | Request::DestroySet { name: region }
            | Request::ListSets { into: region, .. }
            | Request::Open { path: region, .. }
            | Request::Read { into: region, .. }
            | Request::Write { from: region, .. }
            | Request::ReadDirectory { into: region, .. }
            | Request::Unlink { path: region }
            | Request::MakeDirectory { path: region, .. }
            | Request::RemoveDirectory { path: region } => [Some(region), None],
            Request::OpenSet { name: first, into: second }
            | Request::Stat { path: first, into: second, .. }
            | Request::Rename { from: first, to: second }
            | Request::ReadLink { path: first, into: second }
            | Request::Symlink { path: first, target: second } => [Some(first), Some(second)],
        }
    }
}

/// A submission that says nothing that this version knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// An operation or flag that is not known.
    #[error("an operation or a flag that is not known")]
    Unknown,
    /// A policy that cannot be.
    #[error("a policy that no set can have")]
    Policy,
}

const HOME_HASH: u64 = 0;
const HOME_NODE: u64 = 1;
const HOME_OBJECT: u64 = 2;
const HOME_REFUSED: u64 = 0xff;

impl SetDetails {
    /// `size | home << 32 | node << 40`.
    pub(crate) fn pack(self) -> u64 {
        let (home, node) = match self.home {
            Home::Node(node) => (HOME_NODE, node.get()),
            Home::ObjectBits => (HOME_OBJECT, 0),
            Home::Hash => (HOME_HASH, 0),
            // A program cannot choose these.
            Home::SubjectBits | Home::Custom(_) => (HOME_REFUSED, 0),
        };
        u64::from(self.object_size) | home << 32 | u64::from(node) << 40
    }

    pub(crate) fn unpack(packed: u64) -> Option<SetDetails> {
        let (object_size, node) = (packed as u32, (packed >> 40) as u8);
        let home = match ((packed >> 32) & 0xff, node) {
            (HOME_HASH, 0) => Home::Hash,
            (HOME_NODE, node) => Home::Node(NodeId::new(node).ok()?),
            (HOME_OBJECT, 0) => Home::ObjectBits,
            _ => return None,
        };
        (packed >> 48 == 0 && object_size <= MAX_OBJECT_SIZE).then_some(SetDetails { object_size, home })
    }
}
