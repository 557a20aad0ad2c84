//! Free space of the whole cluster.

use crate::hold::EXISTING;
use crate::{FileSystem, Result, keys};
use kdfs_format::PartitionSpace;

/// Space of the cluster: the sum over the partitions that answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// Partitions in the sum.
    pub partitions: u32,
    /// Bytes.
    pub total: u64,
    /// Bytes that nobody uses.
    pub free: u64,
    /// Bytes that ordinary users can still have.
    pub available: u64,
    /// Inodes there can be.
    pub files: u64,
    /// Inodes that there are not.
    pub files_free: u64,
}

impl FileSystem {
    /// statfs(2). Partitions of nodes that are away do not count.
    ///
    /// # Errors
    /// None at present.
    pub async fn statfs(&self) -> Result<Space> {
        let mut sum = Space::default();
        for node in self.node().status().members {
            let key = keys::statfs(node.get());
            let Ok(hold) = self.node().get_with(key, EXISTING).await else { continue };
            let Some(space) = PartitionSpace::of(&hold) else { continue };
            sum.partitions += 1;
            let fields = [
                (&mut sum.total, space.total.get()),
                (&mut sum.free, space.free.get()),
                (&mut sum.available, space.available.get()),
                (&mut sum.files, space.files.get()),
                (&mut sum.files_free, space.files_free.get()),
            ];
            for (sum, more) in fields {
                *sum = sum.saturating_add(more);
            }
        }
        Ok(sum)
    }

    /// Tells the cluster of the space of the own partition. Called by the server that has it, now and then.
    ///
    /// # Errors
    /// The object could not be had.
    pub async fn publish_space(&self, space: &PartitionSpace) -> Result<()> {
        let key = keys::statfs(self.node().me().get());
        let mut hold = self.node().grab(key).await.map_err(crate::error::on(key))?;
        hold.copy_from_slice(space.bytes());
        Ok(())
    }
}
