//! Open files. A node that has a file open holds its open token shared; the reaper's grab of the token is granted at
//! the last close anywhere. Before it asks, it marks the inode: from then on nobody opens the file any more. So who holds an inode without
//! that mark has its open token soon: no reaper is before him, and the reaper is not waited for that waits for the inode.
//!
//! Who opens a path looks its name up first and opens then what it was found to name. Between the two the name may be
//! given to another file, and the first lose its last. It is opened all the same: it was what the path named while the
//! path was being opened. For that the reaper leaves a file alone for the time of [`GRACE`]. The same goes for
//! everything else that programs do with paths, such as stat(2) and readlink(2).

use crate::error::on;
use crate::permission::{Access, Caller, check};
use crate::{Attributes, Errno, FileId, FileSystem, FileType, Result, keys};
use kddm_rdma::Shared;
use kdfs_format::Inode;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

/// After this time nobody is still about to use a file that he has looked up: so long after it has lost its last name
/// [`FileSystem::reap`] is called for it at the earliest. A kernel asks for the file right after its name.
pub const GRACE: Duration = Duration::from_secs(1);

/// The files that this node has open.
pub(crate) type OpenFiles = Mutex<HashMap<FileId, Open>>;

pub(crate) struct Open {
    count: u64,
    _token: Shared,
}

/// One more open of a file; ends when dropped, unless [kept](Self::keep).
pub(crate) struct Opened {
    fs: FileSystem,
    file: FileId,
    kept: bool,
}

impl Opened {
    /// A [`release`](FileSystem::release) will end it.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if !self.kept {
            self.fs.release(self.file);
        }
    }
}

impl FileSystem {
    /// Opens a file or directory for `access`. The file stays, with or without names, until it is
    /// [released](Self::release) as often.
    ///
    /// # Errors
    /// `EACCES`; `EISDIR` for writing a directory; `ELOOP` for a symbolic link; `ESTALE` if the file is gone, or
    /// only waits for its last close.
    pub async fn open(&self, caller: &Caller, file: FileId, access: Access) -> Result<Attributes> {
        let inode = self.inode(file).await?;
        match inode.file_type() {
            FileType::Symlink => return Err(Errno::ELOOP),
            FileType::Directory if access != Access::READ && access != Access::NONE => {
                return Err(Errno::EISDIR);
            }
            _ => check(caller, &inode, access)?,
        }
        if !self.reopen(file) {
            if inode.flags & Inode::CLOSING != 0 {
                return Err(Errno::ESTALE);
            }
            self.begin_open(file).await?.keep();
        }
        Ok(Attributes::of(&inode))
    }

    /// Ends an open.
    pub fn release(&self, file: FileId) {
        let mut open = self.0.open.lock();
        let Entry::Occupied(mut entry) = open.entry(file) else {
            tracing::error!(inode = file.inode, "BUG: released a file that is not open");
            return;
        };
        entry.get_mut().count -= 1;
        let last = if entry.get().count == 0 { Some(entry.remove()) } else { None };
        drop(open);
        // The put may wake others: not under the lock.
        drop(last);
    }

    /// How many files this node has open.
    pub fn open_files(&self) -> usize {
        self.0.open.lock().len()
    }

    /// Counts one more open of a file that the node has open.
    fn reopen(&self, file: FileId) -> bool {
        match self.0.open.lock().get_mut(&file) {
            Some(open) => {
                open.count += 1;
                true
            }
            None => false,
        }
    }

    /// Opens a file whose inode the caller holds, or which is about to get its first name: no reaper has, or waits for, its token.
    pub(crate) async fn begin_open(&self, file: FileId) -> Result<Opened> {
        let key = keys::open_token(file);
        let token = self.node().get(key).await.map_err(on(key))?;
        Ok(self.opened(file, token))
    }

    fn opened(&self, file: FileId, token: Shared) -> Opened {
        let spare = match self.0.open.lock().entry(file) {
            Entry::Occupied(mut entry) => {
                entry.get_mut().count += 1;
                Some(token)
            }
            Entry::Vacant(entry) => {
                entry.insert(Open { count: 1, _token: token });
                None
            }
        };
        drop(spare);
        Opened { fs: self.clone(), file, kept: false }
    }
}
