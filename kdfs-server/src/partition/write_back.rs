//! Writing back: checkpoints when they are due, and behind them their way to the native files.

use super::OrphanSink;
use super::blocking::blocking;
use super::device::Device;
use super::driver::{Requests, Round};
use super::error::errno;
use super::snapshot::Checkpointer;
use kddm_object::{ObjectKey, SetId};
use kddm_rdma::Host;
use kdfs_format::sets::{STATFS_SET, statfs_object};
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long what was committed may wait for its way to the native files, if nobody asks for it: many small checkpoints
/// go it together, out of the way of those who wait for the next.
const BEHIND: Duration = Duration::from_millis(200);

/// Writes back what changes in the objects of a node.
#[derive(Clone)]
pub(crate) struct WriteBack {
    pub host: Arc<dyn Host>,
    pub requests: Arc<Requests>,
    pub checkpointer: Arc<Checkpointer>,
    pub orphan: OrphanSink,
    /// Somebody will settle soon.
    pub will_settle: Arc<AtomicBool>,
    pub failing: Arc<Failing>,
}

/// What was said last of what cannot be done.
#[derive(Default)]
pub(crate) struct Failing {
    commit: Mutex<Option<i32>>,
    settle: Mutex<Option<i32>>,
}

impl WriteBack {
    /// Makes checkpoints until the last one.
    pub async fn run(self) {
        self.tell_orphans();
        let device = self.device().clone();
        if let Some(Err(error)) = blocking(&self.host, move || device.take_reserve()).await {
            tracing::debug!(reason = %error, "no room is kept for checkpoints of a full disk");
        }
        self.publish_space().await;
        loop {
            let round = self.requests.next(&self.host).await;
            let last = round.last;
            let mut result = self.checkpoint(round.durable).await;
            let before = self.report(&self.failing.commit, result.err());
            self.tell_orphans();
            if result == Err(nix::libc::ENOSPC) || before.is_some() {
                self.publish_space().await;
            }
            let round = round.committed(result);
            if last {
                result = result.and(self.settle().await);
            }
            if last {
                round.end(result);
                if result.is_ok() {
                    break;
                }
            } else if !round.is_empty() {
                self.settle_for(round);
            } else if !self.device().is_settled() {
                self.settle_soon();
            }
        }
        self.requests.close();
    }

    async fn checkpoint(&self, durable: bool) -> Result<(), i32> {
        let begin = self.host.now();
        let result = self.checkpointer.run(durable).await;
        if result != Ok(false) {
            self.device().counting.committed(result.is_ok(), self.host.now().saturating_sub(begin));
        }
        result.map(drop)
    }

    fn device(&self) -> &Arc<Device> {
        &self.checkpointer.device
    }

    fn tell_orphans(&self) {
        let orphans = self.device().take_orphans();
        orphans.into_iter().for_each(|(inode, generation)| (self.orphan)(inode, generation));
    }

    /// Says what has changed for the worse or the better; how it was before.
    fn report(&self, failing: &Mutex<Option<i32>>, now: Option<i32>) -> Option<i32> {
        let before = std::mem::replace(&mut *failing.lock(), now);
        match (now, before) {
            (Some(errno), before) if before != now => {
                let error = io::Error::from_raw_os_error(errno);
                tracing::error!(
                    directory = %self.device().native.root().display(), reason = %error,
                    "changes cannot be written; they stay in memory and are tried again: make room, or repair the disk"
                );
            }
            (None, Some(_)) => tracing::info!("changes are written again"),
            _ => {}
        }
        before
    }

    /// Answers those who wait for the native files, once these have everything.
    fn settle_for(&self, round: Round) {
        let this = self.clone();
        self.host.spawn(Box::pin(async move {
            let result = this.settle().await;
            round.end(result);
        }));
    }

    fn settle_soon(&self) {
        if self.will_settle.swap(true, Ordering::AcqRel) {
            return;
        }
        let this = self.clone();
        self.host.spawn(Box::pin(async move {
            this.host.sleep(BEHIND).await;
            this.will_settle.store(false, Ordering::Release);
            // After an error it is tried again when the next checkpoint is due.
            if this.settle().await.is_ok() && !this.device().is_settled() {
                // Somebody has committed more, or is just doing so.
                this.settle_soon();
            }
        }));
    }

    async fn settle(&self) -> Result<(), i32> {
        let (device, begin) = (self.device().clone(), self.host.now());
        let settled = blocking(&self.host, move || device.settle()).await;
        let result = settled.unwrap_or(Err(io::ErrorKind::Other.into()));
        let result = result.map(drop).map_err(|error| errno(&error));
        self.device().counting.settled(result.is_ok(), self.host.now().saturating_sub(begin));
        self.report(&self.failing.settle, result.err());
        self.publish_space().await;
        result
    }

    /// Tells the cluster how much room there is.
    async fn publish_space(&self) {
        let device = self.device().clone();
        let Some(Ok(space)) = blocking(&self.host, move || device.space()).await else { return };
        let node = &self.checkpointer.node;
        let key = ObjectKey::new(SetId(STATFS_SET), statfs_object(node.me().get()));
        match node.grab(key).await {
            Ok(mut hold) => hold.copy_from_slice(space.bytes()),
            Err(error) => tracing::debug!(reason = %error, "free space is not published"),
        }
    }
}
