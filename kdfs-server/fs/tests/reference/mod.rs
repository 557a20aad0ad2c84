//! A POSIX file system that is as simple as can be: what the real one is compared with. No permissions, no times.

use kdfs_fs::{Errno, FileType, RenameMode};
use std::collections::BTreeMap;

pub type Id = usize;
pub type Result<T> = std::result::Result<T, Errno>;

pub const ROOT: Id = 0;

#[derive(Clone, Debug)]
pub struct Node {
    pub file_type: FileType,
    pub nlink: u32,
    pub permissions: u32,
    pub bytes: Vec<u8>,
    pub entries: BTreeMap<Vec<u8>, Id>,
    pub parent: Id,
}

pub struct Reference {
    pub nodes: Vec<Node>,
}

impl Reference {
    pub fn new() -> Reference {
        Reference { nodes: vec![Node::new(FileType::Directory, 0o755, ROOT)] }
    }

    /// What the path names; every component but the last has to be a directory.
    pub fn walk(&self, path: &[Vec<u8>]) -> Result<Id> {
        path.iter().try_fold(ROOT, |at, name| self.lookup(at, name))
    }

    pub fn lookup(&self, parent: Id, name: &[u8]) -> Result<Id> {
        self.directory(parent)?.entries.get(name).copied().ok_or(Errno::ENOENT)
    }

    pub fn make(
        &mut self,
        parent: Id,
        name: &[u8],
        file_type: FileType,
        permissions: u32,
        bytes: &[u8],
    ) -> Result<Id> {
        if self.directory(parent)?.entries.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        let id = self.nodes.len();
        self.nodes.push(Node { bytes: bytes.to_vec(), ..Node::new(file_type, permissions, parent) });
        self.nodes[parent].entries.insert(name.to_vec(), id);
        self.nodes[parent].nlink += u32::from(file_type == FileType::Directory);
        Ok(id)
    }

    pub fn unlink(&mut self, parent: Id, name: &[u8]) -> Result<()> {
        let victim = self.lookup(parent, name)?;
        if self.is_directory(victim) {
            return Err(Errno::EISDIR);
        }
        self.nodes[parent].entries.remove(name);
        self.nodes[victim].nlink -= 1;
        Ok(())
    }

    pub fn rmdir(&mut self, parent: Id, name: &[u8]) -> Result<()> {
        let victim = self.lookup(parent, name)?;
        if !self.directory(victim)?.entries.is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        self.nodes[parent].entries.remove(name);
        self.nodes[parent].nlink -= 1;
        self.nodes[victim].nlink = 0;
        Ok(())
    }

    pub fn link(&mut self, file: Id, parent: Id, name: &[u8]) -> Result<()> {
        if self.directory(parent)?.entries.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        if self.is_directory(file) {
            return Err(Errno::EPERM);
        }
        if self.nodes[file].nlink == 0 {
            return Err(Errno::ENOENT);
        }
        self.nodes[parent].entries.insert(name.to_vec(), file);
        self.nodes[file].nlink += 1;
        Ok(())
    }

    pub fn rename(&mut self, from: (Id, &[u8]), to: (Id, &[u8]), mode: RenameMode) -> Result<()> {
        let source = self.lookup(from.0, from.1)?;
        let target = self.directory(to.0)?.entries.get(to.1).copied();
        match (target, mode) {
            (None, RenameMode::Exchange) => return Err(Errno::ENOENT),
            (Some(_), RenameMode::NoReplace) => return Err(Errno::EEXIST),
            (Some(target), _) if target == source => return Ok(()),
            (Some(target), RenameMode::Replace) => {
                match (self.is_directory(source), self.is_directory(target)) {
                    (true, false) => return Err(Errno::ENOTDIR),
                    (false, true) => return Err(Errno::EISDIR),
                    _ => (),
                }
            }
            _ => (),
        }
        if self.is_directory(source) && self.is_inside(to.0, source) {
            return Err(Errno::EINVAL);
        }
        if let Some(target) = target {
            let exchange = mode == RenameMode::Exchange;
            if self.is_directory(target) && self.is_inside(from.0, target) && from.0 != to.0 {
                return Err(if exchange { Errno::EINVAL } else { Errno::ENOTEMPTY });
            }
            if !exchange && !self.nodes[target].entries.is_empty() {
                return Err(Errno::ENOTEMPTY);
            }
        }
        self.nodes[from.0].entries.remove(from.1);
        if let Some(target) = target {
            self.nodes[to.0].entries.remove(to.1);
            if mode == RenameMode::Exchange {
                self.arrive(target, from, to.0);
            } else if self.is_directory(target) {
                self.nodes[target].nlink = 0;
                self.nodes[to.0].nlink -= 1;
            } else {
                self.nodes[target].nlink -= 1;
            }
        }
        self.arrive(source, to, from.0);
        Ok(())
    }

    pub fn write(&mut self, file: Id, offset: usize, data: &[u8]) {
        let bytes = &mut self.nodes[file].bytes;
        bytes.resize(bytes.len().max(offset + data.len()), 0);
        bytes[offset..offset + data.len()].copy_from_slice(data);
    }

    pub fn is_directory(&self, id: Id) -> bool {
        self.nodes[id].file_type == FileType::Directory
    }

    fn directory(&self, id: Id) -> Result<&Node> {
        if self.is_directory(id) { Ok(&self.nodes[id]) } else { Err(Errno::ENOTDIR) }
    }

    fn is_inside(&self, mut at: Id, ancestor: Id) -> bool {
        while at != ancestor && at != ROOT {
            at = self.nodes[at].parent;
        }
        at == ancestor
    }

    fn arrive(&mut self, id: Id, (to, name): (Id, &[u8]), from: Id) {
        self.nodes[to].entries.insert(name.to_vec(), id);
        self.nodes[id].parent = to;
        if self.is_directory(id) {
            self.nodes[from].nlink -= 1;
            self.nodes[to].nlink += 1;
        }
    }
}

impl Node {
    fn new(file_type: FileType, permissions: u32, parent: Id) -> Node {
        let nlink = if file_type == FileType::Directory { 2 } else { 1 };
        Node { file_type, nlink, permissions, bytes: Vec::new(), entries: BTreeMap::new(), parent }
    }
}
