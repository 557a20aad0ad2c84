//! POSIX operations over coherent objects.
//!
//! A [`FileSystem`] is a node's view of the one name space of the cluster. Its operations are async functions without
//! a runtime's types: they wait for holds, never in a thread, and whoever drops one before it has ended leaves
//! nothing half done. Nothing here knows FUSE or touches the native file system.
//!
//! # How an operation works
//!
//! 1. *Look*: find out which objects are concerned, with shared holds that are put at once.
//! 2. *Hold*: take exclusive holds in the one global order: rename lock, BITMAP, inodes by number, (set, page).
//! 3. *Look again*: what the first step found may have changed; if so, begin anew.
//! 4. *Draft*: make all changes in copies. Whatever fails up to here has changed nothing.
//! 5. *Commit*: take the holds of the pages, and of what is remembered of names that change (`remember`), copy the drafts into the objects, and
//!    only then put everything.
//!
//! So a set of shared holds that somebody takes together in that order is a consistent snapshot. The pages of a
//! directory are guarded by its inode's hold, those of a file too: read(2) holds the inode
//! shared, write(2) exclusively, which makes them atomic against each other on all nodes.
//!
//! Bytes of objects may come from a damaged disk: they are checked whenever they are read, and damage is `EIO` with a
//! line in the log. Access times change only when they are set (as with the mount option `noatime`).
#![forbid(unsafe_code)]

mod abreast;
mod allocate;
mod attributes;
mod create;
mod entries;
mod error;
mod families;
mod hold;
mod keys;
mod link;
mod lookup;
mod open;
mod permission;
mod read;
mod readdir;
mod reap;
mod remember;
mod remove;
mod rename;
mod resolve;
mod setattr;
pub(crate) mod size;
mod statfs;
mod sync;
mod time;
mod transaction;
mod truncate;
mod write;

pub use attributes::Attributes;
pub use error::Result;
pub use families::families;
pub use kdfs_format::{FileType, PartitionSpace, Timestamp};
pub use nix::errno::Errno;
pub use open::GRACE;
pub use permission::{Access, Caller};
pub use readdir::DirectoryEntry;
pub use rename::RenameMode;
pub use setattr::{Changes, SetTime};
pub use statfs::Space;
pub use truncate::remove_known;

use kddm_rdma::{Node, NodeId};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering::Relaxed};

/// An inode in one life of its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    /// The inode number: node << 24 | local id.
    pub inode: u32,
    /// The generation.
    pub generation: u32,
}

impl FileId {
    /// The node on whose partition it lies.
    pub const fn node(self) -> u8 {
        kdfs_format::sets::node_of(self.inode)
    }
}

/// Told of an inode (number, generation) of the own partition that has lost its last name.
pub type OrphanSink = Arc<dyn Fn(u32, u32) + Send + Sync>;

/// What a file system is told at birth.
#[derive(Clone)]
pub struct FsConfig {
    /// Inode number of the root directory.
    pub root: u32,
    /// The node of the own partition; `None` on a diskless node, whose files go to their parent's node.
    pub here: Option<NodeId>,
    /// Told of every orphan of the own partition; it calls [`FileSystem::reap`] when the time of [`GRACE`] is over.
    pub orphan: OrphanSink,
    /// UNSOUND, for showing that a test sees it: what is remembered of a name stays when the name changes.
    pub unsound_keep_names: bool,
}

/// A node's view of the file system. Cheap to clone.
#[derive(Clone)]
pub struct FileSystem(Arc<Inner>);

struct Inner {
    node: Node,
    config: FsConfig,
    open: open::OpenFiles,
    allocator: allocate::Hint,
    made: allocate::Made,
    commits: AtomicU16,
    lately: remember::Lately,
    recalled: AtomicU64,
}

impl FileSystem {
    /// The file system with the sets of `node`, which was started with [`families()`].
    pub fn new(node: Node, config: FsConfig) -> FileSystem {
        let (open, allocator, made, commits, lately, recalled) = Default::default();
        FileSystem(Arc::new(Inner { node, config, open, allocator, made, commits, lately, recalled }))
    }

    /// The root directory.
    pub fn root(&self) -> FileId {
        FileId { inode: self.0.config.root, generation: kdfs_format::sets::ROOT_GENERATION }
    }

    /// Lookups on this node, so far, that were answered by what is remembered of names.
    pub fn recalled(&self) -> u64 {
        self.0.recalled.load(Relaxed)
    }

    /// The node underneath.
    pub fn node(&self) -> &Node {
        &self.0.node
    }

    /// Tells the reaper of an inode that has just lost its last name, if it lies here. Another home learns of it from
    /// the inode itself.
    fn orphaned(&self, file: FileId) {
        if self.0.config.here.is_some_and(|here| here.get() == file.node()) {
            (self.0.config.orphan)(file.inode, file.generation);
        }
    }
}
