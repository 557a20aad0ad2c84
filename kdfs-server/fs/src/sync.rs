//! Durability.

use crate::error::on;
use crate::hold::EXISTING;
use crate::lookup::parent_of;
use crate::{FileId, FileSystem, Result, keys};
use kddm_rdma::{NodeId, OpError};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

impl FileSystem {
    /// Makes the file durable: its bytes, wherever in the cluster they were written, its attributes, and its place in
    /// the directories above it.
    ///
    /// # Errors
    /// The error of the disk, `EIO` if a partition concerned is away, `ESTALE`.
    pub async fn fsync(&self, file: FileId) -> Result<()> {
        // The file before its name: a name never outlives a crash that its file did not.
        self.commit(file.node()).await?;
        let mut done = BTreeSet::from([file.node()]);
        let mut at = file;
        loop {
            let parent = parent_of(&*self.inode(at).await?);
            if parent == at || parent.inode == 0 {
                return Ok(());
            }
            if done.insert(parent.node()) {
                self.commit(parent.node()).await?;
            }
            at = parent;
        }
    }

    /// Makes everything durable that was done before, on all partitions that are there. sync(2), syncfs(2).
    ///
    /// # Errors
    /// The first error; the other partitions were asked all the same.
    pub async fn sync(&self) -> Result<()> {
        let mut result = Ok(());
        for node in self.node().status().members {
            if !self.is_diskless(node).await {
                result = result.and(self.commit(node.get()).await);
            }
        }
        result
    }

    /// Whether `node` is there and has told of no partition, which those that have one do when they start.
    async fn is_diskless(&self, node: NodeId) -> bool {
        let space = self.node().get_with(keys::statfs(node.get()), EXISTING).await;
        matches!(space, Err(OpError::Absent))
    }

    /// Asks a partition to make everything durable that was put before.
    async fn commit(&self, partition: u8) -> Result<()> {
        let count = self.0.commits.fetch_add(1, Ordering::Relaxed);
        let key = keys::commit(partition, self.node().me().get(), count);
        // The object is filled when all is durable; one that is already there would say so of an earlier time.
        self.remove_object(key).await?;
        drop(self.node().get(key).await.map_err(on(key))?);
        self.remove_object(key).await
    }
}
