//! Removes files of the own partition that have lost their last name, when nobody has them open any more, or has just
//! found them under that name.

use kddm_rdma::Host;
use kdfs_fs::{FileSystem, GRACE, OrphanSink};
use parking_lot::Mutex;
use std::{
    collections::BTreeSet,
    sync::{Arc, OnceLock},
    time::Duration,
};

/// How long after a failure it is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// Told of orphans; leaves each alone for the time of [`GRACE`], then waits for its last close and removes it.
pub(crate) struct Reaper {
    host: Arc<dyn Host>,
    fs: OnceLock<FileSystem>,
    /// Number and generation of those that are left alone for now. Whoever takes one out of it reaps it.
    spared: Mutex<BTreeSet<(u32, u32)>>,
}

impl Reaper {
    pub fn new(host: Arc<dyn Host>) -> Reaper {
        Reaper { host, fs: OnceLock::new(), spared: Mutex::default() }
    }

    /// The file system exists: from now on there can be orphans.
    pub fn begin(&self, fs: FileSystem) {
        // It is called once; a second file system would be the same.
        let _ = self.fs.set(fs);
    }

    pub fn sink(self: &Arc<Self>) -> OrphanSink {
        let reaper = self.clone();
        Arc::new(move |inode, generation| reaper.orphan((inode, generation)))
    }

    /// Spares nobody any longer: the node is not mounted any more, and what is left over would make its next start slow.
    pub fn hurry(self: &Arc<Self>) {
        let spared = std::mem::take(&mut *self.spared.lock());
        for orphan in spared {
            self.host.spawn(Box::pin(self.clone().reap(orphan)));
        }
    }

    fn orphan(self: &Arc<Self>, orphan: (u32, u32)) {
        if !self.spared.lock().insert(orphan) {
            return;
        }
        let reaper = self.clone();
        self.host.spawn(Box::pin(async move {
            reaper.host.sleep(GRACE).await;
            let is_left = reaper.spared.lock().remove(&orphan);
            if is_left {
                reaper.reap(orphan).await;
            }
        }));
    }

    async fn reap(self: Arc<Self>, (inode, generation): (u32, u32)) {
        let Some(fs) = self.fs.get() else { return };
        while let Err(errno) = fs.reap(inode, generation).await {
            tracing::debug!(inode, reason = %errno, "an orphan stays for now");
            self.host.sleep(AGAIN).await;
        }
    }
}
