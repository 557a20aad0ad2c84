//! The IO linker of inodes, directories, files and bitmaps, and of requests to the partition.

use super::device::Device;
use super::driver::{Requests, Wish};
use super::key::{self, Kind};
use futures_lite::future::block_on;
use kddm_object::ObjectKey;
use kddm_rdma::{Inserted, IoLinker, Node};
use kdfs_format::sets;
use kdfs_fs::{self as fs, FileId};
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;

/// A checkpoint is made early when this many bytes wait for it.
const PENDING: u64 = 32 << 20;

pub(crate) struct Linker {
    pub device: Arc<Device>,
    pub requests: Arc<Requests>,
    /// Where the objects are; `None` before the partition is started and after its end.
    pub node: Arc<Mutex<Option<Node>>>,
}

impl Linker {
    /// Removes the pages that a CUT object stands for.
    fn cut(&self, key: ObjectKey, bytes: &mut [u8]) -> io::Result<Inserted> {
        let node = self.node.lock().clone();
        let (Some(node), Some((first, count))) = (node, sets::cut_pages(key.object)) else {
            return Ok(Inserted::Absent);
        };
        let file = FileId { inode: key.set.subject(), generation: key.set.generation() };
        let last = (u64::from(first) + count - 1) as u32;
        block_on(fs::remove_known(&node, file, first..=last)).map_err(io::Error::from)?;
        bytes.fill(0);
        bytes[0] = 1;
        Ok(Inserted::Filled)
    }
}

impl IoLinker for Linker {
    fn waits_for_others(&self, key: ObjectKey) -> bool {
        matches!(key::kind(key), Kind::Commit | Kind::Cut)
    }

    fn insert_object(&self, key: ObjectKey, bytes: &mut [u8]) -> io::Result<Inserted> {
        match key::kind(key) {
            Kind::Commit => {
                let done = block_on(self.requests.commit(Wish::Durable));
                done.map(|()| Inserted::Filled).map_err(io::Error::from_raw_os_error)
            }
            Kind::Cut => self.cut(key, bytes),
            _ => self.device.insert(key, bytes),
        }
    }

    fn sync_object(&self, key: ObjectKey, bytes: &[u8]) -> io::Result<()> {
        self.device.sync(key, bytes)?;
        if self.device.pending() > PENDING {
            self.requests.hurry();
        }
        Ok(())
    }

    fn remove_object(&self, key: ObjectKey) -> io::Result<()> {
        self.device.remove(key)
    }
}
