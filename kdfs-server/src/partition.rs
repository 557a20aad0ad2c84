//! The partition of this node: opened and recovered, tied to the objects that are homed here, written back, closed.
//!
//! ```text
//! objects in memory ──(linker, checkpoints)──► draft ──commit──► ....batch ──settle──► .meta .content ...
//! ```
//!
//! 1. The native files change only by applying a committed checkpoint, except that bytes of files go to `.content`
//!    as they come, where no truncation or removal stands between.
//! 2. A checkpoint is a consistent snapshot of all metadata (`snapshot.rs`), committed by one rename or by the end of
//!    an append (`commit.rs`, `log.rs`). Who asks for durability is answered then.
//! 3. What is not in the native files yet is read from the checkpoint it waits in (`device.rs`), so memory may drop
//!    it at any time.
//! 4. Linkers wait for the disk, never for a hold: what waits for a linker may hold anything.
//!
//! `docs/disk-format.md` has the bytes. Everything outside the process goes through [`Host`].

mod apply;
mod blocking;
mod commit;
mod device;
mod driver;
mod error;
mod figures;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod key;
mod layer;
mod linker;
mod log;
mod native;
mod open;
mod recovery;
mod reserve;
mod snapshot;
mod space;
#[cfg(test)]
mod tests;
mod touched;
mod write_back;

pub use error::PartitionError;
pub use figures::{StepFigures, WriteFigures};

use device::Device;
use driver::{Requests, Wish};
use kddm_object::{Incarnation, NodeId};
use kddm_rdma::host::disk::DiskLock;
use kddm_rdma::{Host, IoLinker, Node};
use kdfs_format::{PartitionSpace, Superblock};
use linker::Linker;
use parking_lot::Mutex;
use snapshot::Checkpointer;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use write_back::WriteBack;

/// Which partition to open, and what it should be.
#[derive(Clone, Debug)]
pub struct PartitionConfig {
    /// The formatted directory.
    pub directory: PathBuf,
    /// This node.
    pub node: NodeId,
    /// The cluster's root inode, if it is known from elsewhere.
    pub root: Option<u32>,
    /// The cluster's id.
    pub cluster: Option<[u8; 16]>,
}

/// Told of an inode (number, generation) of this partition that has lost its last name.
pub type OrphanSink = Arc<dyn Fn(u32, u32) + Send + Sync>;

/// An open partition.
pub struct Partition {
    directory: PathBuf,
    host: Arc<dyn Host>,
    device: Arc<Device>,
    requests: Arc<Requests>,
    /// While it is started.
    node: Arc<Mutex<Option<Node>>>,
    root: u32,
    incarnation: Incarnation,
    /// `None` once it is closed.
    open: Mutex<Option<(Superblock, Box<dyn DiskLock>)>>,
    started: Mutex<bool>,
}

impl Partition {
    /// Locks the partition, recovers it if its last server did not end in good order, and marks it as open. Blocks.
    ///
    /// # Errors
    /// See [`PartitionError`].
    pub fn open(host: Arc<dyn Host>, config: &PartitionConfig) -> Result<Arc<Partition>, PartitionError> {
        let open::Opened { device, superblock, lock } = open::open(&host, config)?;
        Ok(Arc::new(Partition {
            directory: config.directory.clone(),
            host,
            device: Arc::new(device),
            requests: Arc::default(),
            node: Arc::default(),
            root: superblock.root.get(),
            incarnation: Incarnation::of_start(superblock.mounts.get()).expect("at most MOUNTS_MAX"),
            open: Mutex::new(Some((superblock, lock))),
            started: Mutex::new(false),
        }))
    }

    /// The native directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Inode number of the file system's root directory.
    pub fn root(&self) -> u32 {
        self.root
    }

    /// The first life of the server that has it open: larger than any life of an earlier one.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The linker for the kinds 1 to 4, and for requests to the partition.
    pub fn linker(&self) -> Arc<dyn IoLinker> {
        let (device, requests) = (self.device.clone(), self.requests.clone());
        Arc::new(Linker { device, requests, node: self.node.clone() })
    }

    /// Begins to write back what changes in the objects of `node`. `orphan` is told of inodes that have lost their
    /// last name, wherever that happened, once each; also of those that an unclean end has left.
    pub fn start(&self, node: Node, orphan: OrphanSink) {
        *self.started.lock() = true;
        *self.node.lock() = Some(node.clone());
        let write_back = WriteBack {
            host: self.host.clone(),
            requests: self.requests.clone(),
            checkpointer: Arc::new(Checkpointer { node, device: self.device.clone() }),
            orphan,
            will_settle: Arc::default(),
            failing: Arc::default(),
        };
        self.host.spawn(Box::pin(write_back.run()));
    }

    /// Ends when everything that was put before this call has reached the partition; `durable`: and survives a crash
    /// of the machine. Concurrent calls share the work.
    ///
    /// # Errors
    /// The disk's. Nothing is lost by it: everything stays in memory and is tried again.
    pub async fn commit(&self, durable: bool) -> io::Result<()> {
        self.requests.commit(Wish::Settled { durable }).await.map_err(io::Error::from_raw_os_error)
    }

    /// [`Partition::commit`], durable, for threads that may block.
    ///
    /// # Errors
    /// As [`Partition::commit`].
    pub fn sync(&self) -> io::Result<()> {
        futures_lite::future::block_on(self.commit(true))
    }

    /// What was written since it was opened, and what waits.
    pub fn figures(&self) -> WriteFigures {
        self.device.figures()
    }

    /// Room on the partition. Blocks for a moment.
    ///
    /// # Errors
    /// The disk's.
    pub fn space(&self) -> io::Result<PartitionSpace> {
        self.device.space()
    }

    /// Writes everything, marks the partition as closed in good order, and unlocks it. Nobody may use the file
    /// system any more; the node must still run. Blocks.
    ///
    /// # Errors
    /// The disk's: then the partition stays marked as open, and the next server recovers it.
    pub fn close(&self) -> io::Result<()> {
        let Some((mut superblock, lock)) = self.open.lock().take() else { return Ok(()) };
        if *self.started.lock() {
            let result = futures_lite::future::block_on(self.requests.stop());
            *self.node.lock() = None;
            self.device.close();
            result.map_err(io::Error::from_raw_os_error)?;
        }
        if self.device.has_orphans() {
            tracing::info!("files without names are still open somewhere: the next start looks for them");
        } else {
            superblock.set_clean(true);
        }
        superblock.checkpoint = self.device.number().into();
        open::write(&self.device.native, &superblock)?;
        drop(lock);
        Ok(())
    }
}
