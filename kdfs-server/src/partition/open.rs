//! Opening a partition: whose it is, whether it is in use, whether it needs recovery.

use super::apply::{apply, forget, verify};
use super::device::Device;
use super::error::PartitionError;
use super::native::Native;
use super::{PartitionConfig, recovery};
use kddm_rdma::Host;
use kddm_rdma::host::disk::DiskLock;
use kdfs_format::{FormatError, SUPERBLOCK_SIZE, Superblock, UnverifiedSuperblock, paths};
use std::io;
use std::sync::Arc;

/// An open partition, as the disk has it.
pub(crate) struct Opened {
    pub device: Device,
    pub superblock: Superblock,
    pub lock: Box<dyn DiskLock>,
}

/// Locks and checks the partition, recovers it if its last server did not end in good order, and marks it as open.
pub(crate) fn open(host: &Arc<dyn Host>, config: &PartitionConfig) -> Result<Opened, PartitionError> {
    let native = Native::new(host.clone(), config.directory.clone(), config.node.get());
    let path = native.path(paths::SUPERBLOCK);
    let unchecked = read(&native, config)?;
    let lock = native.disk().lock(&path).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => PartitionError::InUse { directory: config.directory.clone() },
        _ => PartitionError::disk(&path, "cannot be locked")(error),
    })?;
    // What was read before the lock may have changed since; it served to tell a foreign file from one in use.
    check(&unchecked, config)?;
    let mut superblock = read(&native, config)?;
    check(&superblock, config)?;

    let partition = superblock.partition;
    let number = recover_checkpoint(&native, partition)?.unwrap_or(0).max(superblock.checkpoint.get());
    let clean = superblock.is_clean();
    superblock.mounts = (superblock.mounts.get() + 1).into();
    superblock.checkpoint = number.into();
    superblock.set_clean(false);
    let device = Device::new(native, partition, superblock.mounts.get() as u32, number);
    if !clean {
        tracing::warn!(
            directory = %config.directory.display(),
            "the last server of this partition did not end in good order: looking through its inodes"
        );
        recovery::scan(&device).map_err(PartitionError::disk(&config.directory, "cannot be recovered"))?;
    }
    device.count_taken().map_err(PartitionError::disk(&path, "cannot be read"))?;
    write(&device.native, &superblock).map_err(PartitionError::disk(&path, "cannot be written"))?;
    Ok(Opened { device, superblock, lock })
}

/// Writes the superblock, durable. All that differs from the one before lies in its first 512 bytes, which disks
/// write whole or not at all.
pub(crate) fn write(native: &Native, superblock: &Superblock) -> io::Result<()> {
    let path = native.path(paths::SUPERBLOCK);
    native.disk().write_at(&path, 0, &superblock.sealed())?;
    native.disk().sync_file(&path)
}

fn read(native: &Native, config: &PartitionConfig) -> Result<Superblock, PartitionError> {
    let directory = || config.directory.clone();
    let path = native.path(paths::SUPERBLOCK);
    let mut page = vec![0; SUPERBLOCK_SIZE];
    let found = match native.disk().read_at(&path, 0, &mut page) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(match native.disk().list(native.root()) {
                Ok(_) => PartitionError::Unformatted { directory: directory() },
                Err(error) => PartitionError::NoDirectory { directory: directory(), error },
            });
        }
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(PartitionError::NoDirectory { directory: directory(), error });
        }
        Err(error) => return Err(PartitionError::disk(&path, "cannot be read")(error)),
    };
    let verified = UnverifiedSuperblock::parse(&page[..found]).and_then(UnverifiedSuperblock::verify);
    verified.map_err(|error: FormatError| PartitionError::Superblock { directory: directory(), error })
}

fn check(superblock: &Superblock, config: &PartitionConfig) -> Result<(), PartitionError> {
    let directory = || config.directory.clone();
    let (expected, found) = (config.node.get(), superblock.node);
    if expected != found {
        return Err(PartitionError::Node { directory: directory(), expected, found });
    }
    let found = superblock.root.get();
    if let Some(expected) = config.root.filter(|&expected| expected != found) {
        return Err(PartitionError::Root { directory: directory(), expected, found });
    }
    let known = superblock.cluster != [0; 16];
    if known && config.cluster.is_some_and(|cluster| cluster != superblock.cluster) {
        return Err(PartitionError::Cluster { directory: directory() });
    }
    Ok(())
}

/// Applies the checkpoints that were committed, forgets what was not. The number of the last, if there was one.
fn recover_checkpoint(native: &Native, partition: [u8; 16]) -> Result<Option<u64>, PartitionError> {
    let path = native.path(paths::BATCH);
    let failed = |what| PartitionError::disk(&path, what);
    let found = verify(native, partition).map_err(failed("cannot be read"))?.unwrap_or_default();
    if let Some(error) = &found.rest {
        tracing::warn!(path = %path.display(), reason = %error, "an incomplete checkpoint is ignored: nothing of it was promised");
    }
    let number = match &found.places[..] {
        [] if found.rest.is_none() => None,
        [] => {
            native.disk().remove_file(&path).map_err(failed("cannot be removed"))?;
            None
        }
        places => {
            let (number, count) = (found.number, places.len());
            tracing::warn!(path = %path.display(), number, count, "committed checkpoints are applied again");
            native.touch_everything();
            apply(native, places)
                .and_then(|()| native.make_all_durable())
                .and_then(|()| forget(native))
                .map_err(failed("a committed checkpoint cannot be applied"))?;
            Some(number)
        }
    };
    for name in [paths::BATCH_NEW, paths::BATCH_NEXT] {
        let unfinished = native.path(name);
        match native.disk().remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(PartitionError::disk(&unfinished, "cannot be removed")(error));
            }
            _ => {}
        }
    }
    Ok(number)
}
