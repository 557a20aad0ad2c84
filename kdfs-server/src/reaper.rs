//! Removes files of the own partition that have lost their last name, when nobody has them open any more.

use kddm_rdma::Host;
use kdfs_fs::{FileSystem, OrphanSink};
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

/// How long after a failure it is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// Told of orphans; waits for the last close of each and removes it.
pub(crate) struct Reaper {
    host: Arc<dyn Host>,
    fs: OnceLock<FileSystem>,
}

impl Reaper {
    pub fn new(host: Arc<dyn Host>) -> Reaper {
        Reaper { host, fs: OnceLock::new() }
    }

    /// The file system exists: from now on there can be orphans.
    pub fn begin(&self, fs: FileSystem) {
        // It is called once; a second file system would be the same.
        let _ = self.fs.set(fs);
    }

    pub fn sink(self: &Arc<Self>) -> OrphanSink {
        let reaper = self.clone();
        Arc::new(move |inode, generation| reaper.orphan(inode, generation))
    }

    fn orphan(&self, inode: u32, generation: u32) {
        let Some(fs) = self.fs.get().cloned() else { return };
        let host = self.host.clone();
        self.host.spawn(Box::pin(async move {
            while let Err(errno) = fs.reap(inode, generation).await {
                tracing::debug!(inode, %errno, "an orphan stays for now");
                host.sleep(AGAIN).await;
            }
        }));
    }
}
