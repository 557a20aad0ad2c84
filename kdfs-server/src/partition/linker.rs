//! The IO linker of inodes, directories, files and bitmaps, and of requests for durability.

use super::device::Device;
use super::driver::{Requests, Wish};
use super::key::{self, Kind};
use kddm_object::ObjectKey;
use kddm_rdma::{Inserted, IoLinker};
use std::io;
use std::sync::Arc;

/// A checkpoint is made early when this many bytes wait for it.
const PENDING: u64 = 32 << 20;

pub(crate) struct Linker {
    pub device: Arc<Device>,
    pub requests: Arc<Requests>,
}

impl IoLinker for Linker {
    fn waits_for_others(&self, key: ObjectKey) -> bool {
        key::kind(key) == Kind::Commit
    }

    fn insert_object(&self, key: ObjectKey, bytes: &mut [u8]) -> io::Result<Inserted> {
        if key::kind(key) == Kind::Commit {
            futures_lite::future::block_on(self.requests.commit(Wish::Durable))
                .map_err(io::Error::from_raw_os_error)?;
            return Ok(Inserted::Filled);
        }
        self.device.insert(key, bytes)
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
