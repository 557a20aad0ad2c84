//! Paths, walked name by name, for those who have no kernel to do it.

use crate::permission::Caller;
use crate::{Attributes, Errno, FileId, FileSystem, FileType, Result};
use std::collections::VecDeque;

/// Symbolic links that are followed on one walk; the kernel's number (path_resolution(7)).
const MOST_LINKS: usize = 40;

impl FileSystem {
    /// What lies at `path`, seen from the root of the file system with the eyes of root; symbolic links are not
    /// followed.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `ENAMETOOLONG`.
    pub async fn resolve(&self, path: &[u8]) -> Result<Attributes> {
        let mut found = self.getattr(self.root()).await?;
        for name in names(path) {
            found = self.lookup(&Caller::ROOT, found.file, name).await?;
        }
        Ok(found)
    }

    /// What lies at `path`, seen from the root of the file system. Symbolic links on the way are followed, and the last one if
    /// `follow` is set; absolute ones lead to the root of the file system, and `..` of the root is the root.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `ENAMETOOLONG`, `ELOOP`; `EACCES` where the caller may not search a directory.
    pub async fn walk(&self, caller: &Caller, path: &[u8], follow: bool) -> Result<Attributes> {
        // As for a path that ends with a slash, the directory is meant, not a link to it.
        let directory = path.ends_with(b"/");
        let mut found = self.getattr(self.root()).await?;
        let mut rest: VecDeque<Vec<u8>> = names(path).map(<[u8]>::to_vec).collect();
        let mut links = 0;
        while let Some(name) = rest.pop_front() {
            let there = self.step(caller, found, &name).await?;
            let is_last = rest.is_empty();
            if there.file_type != FileType::Symlink || is_last && !follow && !directory {
                found = there;
                continue;
            }
            links += 1;
            if links > MOST_LINKS {
                return Err(Errno::ELOOP);
            }
            let target = self.readlink(there.file).await?;
            if target.starts_with(b"/") {
                found = self.getattr(self.root()).await?;
            }
            for name in names(&target).rev() {
                rest.push_front(name.to_vec());
            }
        }
        if directory && found.file_type != FileType::Directory { Err(Errno::ENOTDIR) } else { Ok(found) }
    }

    /// The directory that `path` lies in, as [`walk`](Self::walk) finds it, and its name there.
    ///
    /// # Errors
    /// As `walk`; `EEXIST` for a path that names no entry: the root, or what ends with `.` or `..`.
    pub async fn walk_to_parent<'p>(&self, caller: &Caller, path: &'p [u8]) -> Result<(FileId, &'p [u8])> {
        let end = path.iter().rposition(|&byte| byte != b'/').ok_or(Errno::EEXIST)? + 1;
        let begin = path[..end].iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        let name = &path[begin..end];
        if name == b"." || name == b".." {
            return Err(Errno::EEXIST);
        }
        let parent = self.walk(caller, &path[..begin], true).await?;
        if parent.file_type != FileType::Directory {
            return Err(Errno::ENOTDIR);
        }
        Ok((parent.file, name))
    }

    async fn step(&self, caller: &Caller, from: Attributes, name: &[u8]) -> Result<Attributes> {
        if from.file_type != FileType::Directory {
            return Err(Errno::ENOTDIR);
        }
        if name == b".." && from.file == self.root() {
            return Ok(from);
        }
        self.lookup(caller, from.file, name).await
    }
}

fn names(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/').filter(|name| !name.is_empty())
}
