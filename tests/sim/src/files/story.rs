//! One operation after the other, on all nodes in turn, each compared with the model.

use super::World;
use super::reference::{self, Id, Reference};
use fastrand::Rng;
use kdfs_fs::{Caller, Changes, Errno, FileId, FileSystem, FileType, RenameMode};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::sync::Arc;

const ROOT: Caller = Caller::ROOT;

/// What a tree looks like: by path, the type, the links and the size of each.
pub type Tree = BTreeMap<Vec<Vec<u8>>, (FileType, u32, usize)>;

/// The real file systems and the model, and which file of the one is which of the other.
pub struct Story {
    pub(super) world: Arc<World>,
    pub(super) fs: Vec<FileSystem>,
    pub(super) model: Reference,
    files: BTreeMap<Id, FileId>,
    rng: Rng,
    operations: usize,
    last: VecDeque<String>,
    /// What the tree was after each operation since the last checkpoint that was asked for.
    since: Vec<Tree>,
}

impl Story {
    pub fn begin(world: Arc<World>, fs: Vec<FileSystem>, rng: Rng) -> Story {
        let files = BTreeMap::from([(reference::ROOT, fs[0].root())]);
        let (model, last) = (Reference::new(), VecDeque::new());
        let mut story = Story { world, fs, model, files, rng, operations: 0, last, since: Vec::new() };
        story.is_committed();
        story
    }

    /// How many operations there were.
    pub fn operations(&self) -> usize {
        self.operations
    }

    /// The servers have begun anew.
    pub fn continue_on(&mut self, fs: Vec<FileSystem>) {
        self.fs = fs;
    }

    /// Everything up to now is on the partitions.
    pub fn is_committed(&mut self) {
        self.since = vec![self.tree()];
    }

    /// Does so many operations.
    pub async fn go_on(mut self, operations: u32) -> Story {
        for _ in 0..operations {
            self.step().await;
            self.operations += 1;
            self.since.push(self.tree());
        }
        self
    }

    pub(super) fn agree<T: PartialEq + Debug>(&self, what: &str, expected: T, found: T) {
        if expected != found {
            let last: Vec<&str> = self.last.iter().map(String::as_str).collect();
            let after = last.join("\n  ");
            let text = format!("{what}: expected {expected:?}, found {found:?}, after\n  {after}");
            self.world.findings.wrong(text);
        }
    }

    fn note(&mut self, line: String) {
        self.world.log.note(self.world.executor.now(), 0, &line, || line.clone());
        self.last.push_back(line);
        if self.last.len() > 30 {
            self.last.pop_front();
        }
    }

    fn count<T>(&self, what: &'static str, expected: &Result<T, Errno>) {
        self.world.coverage.count(if expected.is_ok() { what } else { "file: refused" });
    }

    /// One of a few names, so that operations meet; some are long, so that directories are divided.
    fn name(&mut self) -> Vec<u8> {
        let number = self.rng.usize(0..9);
        let mut name = format!("n{number}").into_bytes();
        if number.is_multiple_of(3) {
            name.resize(200 + number, b'x');
        }
        name
    }

    /// A name that is there, as a rule.
    fn name_in(&mut self, directory: Option<Id>) -> Vec<u8> {
        let entries = directory.map(|id| self.model.nodes[id].entries.keys());
        let known: Vec<Vec<u8>> = entries.into_iter().flatten().cloned().collect();
        match self.rng.choice(known) {
            Some(name) if self.rng.u8(0..4) > 0 => name,
            _ => self.name(),
        }
    }

    /// What a random path names, in both; or nothing, if both agree that it names nothing.
    async fn place(&mut self, fs: &FileSystem) -> Option<(FileId, Id)> {
        let (mut path, mut at) = (Vec::new(), Some(reference::ROOT));
        for _ in 0..self.rng.usize(0..3) {
            let name = self.name_in(at);
            at = at.and_then(|at| self.model.lookup(at, &name).ok());
            path.push(name);
        }
        let expected = self.model.walk(&path);
        let mut found = Ok(fs.root());
        for name in &path {
            found = match found {
                Ok(at) => fs.lookup(&ROOT, at, name).await.map(|attributes| attributes.file),
                error => error,
            };
        }
        self.agree("walk", expected.map(|id| self.files[&id]), found);
        Some((found.ok()?, expected.ok()?))
    }

    async fn step(&mut self) {
        let which = self.rng.usize(0..self.fs.len());
        let fs = self.fs[which].clone();
        let Some((parent, model)) = self.place(&fs).await else { return };
        let kind = self.rng.u8(0..12);
        let name = if kind < 3 { self.name() } else { self.name_in(Some(model)) };
        self.note(format!(
            "{}: on node {} kind {kind} in {model} {:?}",
            self.operations,
            which + 1,
            &name[..2]
        ));
        match kind {
            0..=2 => self.make(&fs, parent, model, &name).await,
            3 => {
                let expected = self.model.unlink(model, &name);
                self.count("file: unlink", &expected);
                self.agree("unlink", expected, fs.unlink(&ROOT, parent, &name).await);
            }
            4 => {
                let expected = self.model.rmdir(model, &name);
                self.count("file: rmdir", &expected);
                self.agree("rmdir", expected, fs.rmdir(&ROOT, parent, &name).await);
            }
            5 => self.rename(&fs, (parent, model), &name).await,
            6 => {
                let Some((file, id)) = self.place(&fs).await else { return };
                let expected = self.model.link(id, model, &name);
                self.count("file: link", &expected);
                self.agree("link", expected, fs.link(&ROOT, file, parent, &name).await.map(|_| ()));
            }
            7..=10 => {
                let found = fs.lookup(&ROOT, parent, &name).await.map(|found| found.file);
                let expected = self.model.lookup(model, &name);
                self.agree("lookup", expected.map(|id| self.files[&id]), found);
                if let (Ok(file), Ok(id)) = (found, expected) {
                    self.change(&fs, file, id).await;
                }
            }
            _ => self.compare(&fs, model).await,
        }
    }

    async fn make(&mut self, fs: &FileSystem, parent: FileId, model: Id, name: &[u8]) {
        let mode = self.rng.u32(0..0o1000);
        let (made, expected) = match self.rng.u8(0..5) {
            0 | 1 => (
                fs.mkdir(&ROOT, parent, name, mode).await,
                self.model.make(model, name, FileType::Directory, mode, b""),
            ),
            2 | 3 => (
                fs.mknod(&ROOT, parent, name, FileType::Regular.bits() | mode, 0).await,
                self.model.make(model, name, FileType::Regular, mode, b""),
            ),
            _ => (
                fs.symlink(&ROOT, parent, name, b"target").await,
                self.model.make(model, name, FileType::Symlink, 0o777, b"target"),
            ),
        };
        self.count("file: made", &expected);
        self.agree("make", expected.map(|_| ()), made.map(|_| ()));
        if let (Ok(made), Ok(id)) = (made, expected) {
            self.files.insert(id, made.file);
        }
    }

    async fn rename(&mut self, fs: &FileSystem, from: (FileId, Id), name: &[u8]) {
        let Some((to, model)) = self.place(fs).await else { return };
        let to_name = self.name();
        use RenameMode::{Exchange, NoReplace, Replace};
        let mode = [Replace, Replace, NoReplace, Exchange][self.rng.usize(0..4)];
        let expected = self.model.rename((from.1, name), (model, &to_name), mode);
        self.count("file: rename", &expected);
        self.agree("rename", expected, fs.rename(&ROOT, (from.0, name), (to, &to_name), mode).await);
    }

    async fn change(&mut self, fs: &FileSystem, file: FileId, id: Id) {
        let allowed = match self.model.nodes[id].file_type {
            FileType::Regular => Ok(()),
            FileType::Directory => Err(Errno::EISDIR),
            _ => Err(Errno::EINVAL),
        };
        let data = vec![self.rng.u8(..); self.rng.usize(1..9000)];
        let (offset, end) = (self.rng.usize(0..20_000), self.model.nodes[id].bytes.len());
        match self.rng.u8(0..3) {
            0 => {
                self.count("file: write", &allowed);
                let done = fs.write(&ROOT, file, offset as u64, &data).await;
                self.agree("write", allowed.map(|()| data.len()), done);
                if allowed.is_ok() {
                    self.model.write(id, offset, &data);
                }
            }
            1 => {
                self.count("file: append", &allowed);
                let done = fs.append(&ROOT, file, &data).await;
                self.agree("append", allowed.map(|()| (end as u64, data.len())), done);
                if allowed.is_ok() {
                    self.model.write(id, end, &data);
                }
            }
            _ => {
                self.count("file: truncate", &allowed);
                let changes = Changes { size: Some(offset as u64), ..Changes::default() };
                let done = fs.setattr(&ROOT, file, changes).await;
                self.agree("truncate", allowed.map(|()| offset as u64), done.map(|now| now.size));
                if allowed.is_ok() {
                    self.model.nodes[id].bytes.resize(offset, 0);
                }
            }
        }
    }

    /// Every file and directory that has a name, on a node of each's own.
    pub async fn compare_all(mut self) -> Story {
        let mut left = vec![reference::ROOT];
        while let Some(id) = left.pop() {
            let which = self.rng.usize(0..self.fs.len());
            let fs = self.fs[which].clone();
            self.compare(&fs, id).await;
            left.extend(self.model.nodes[id].entries.values());
        }
        self
    }

    /// Attributes and content of one file or directory.
    async fn compare(&mut self, fs: &FileSystem, id: Id) {
        let (expected, file) = (self.model.nodes[id].clone(), self.files[&id]);
        let found = match fs.getattr(file).await {
            Ok(found) => found,
            Err(error) => return self.agree("getattr", Ok(()), Err(error)),
        };
        self.agree("type", expected.file_type, found.file_type);
        self.agree("links", expected.nlink, found.nlink);
        self.agree("permissions", expected.permissions, found.permissions);
        match expected.file_type {
            FileType::Directory => {
                let mut known: Vec<(Vec<u8>, FileId)> =
                    expected.entries.iter().map(|(name, id)| (name.clone(), self.files[id])).collect();
                known.sort();
                let mut listed = list(fs, file).await;
                if let Ok(listed) = &mut listed {
                    listed.sort();
                }
                self.agree("entries", Ok(known), listed);
            }
            FileType::Symlink => self.agree("target", Ok(expected.bytes), fs.readlink(file).await),
            _ => {
                let mut bytes = vec![0xaa; expected.bytes.len() + 10];
                let length = fs.read(file, 0, &mut bytes).await;
                self.agree("length", Ok(expected.bytes.len()), length);
                self.agree("size", expected.bytes.len() as u64, found.size);
                let differs = expected.bytes.iter().zip(&bytes).position(|(one, other)| one != other);
                self.agree("place of the first wrong byte", None, differs);
            }
        }
    }

    /// After an end that nobody announced: the servers work, and on a single node, where all is of one checkpoint, the tree
    /// is one that it was. (Between nodes there is no order of what reaches the partitions.)
    pub async fn look_at_what_is_left(self) -> Story {
        let mut found = Tree::new();
        let mut left = vec![(Vec::new(), self.fs[0].root())];
        while let Some((path, file)) = left.pop() {
            let fs = &self.fs[path.len() % self.fs.len()];
            let attributes = match fs.getattr(file).await {
                Ok(attributes) => attributes,
                Err(_) if self.fs.len() > 1 => continue,
                Err(error) => {
                    self.agree("getattr of what is left", Ok(()), Err(error));
                    continue;
                }
            };
            if attributes.file_type == FileType::Directory {
                let entries = list(fs, file).await.unwrap_or_default();
                left.extend(entries.into_iter().map(|(name, file)| {
                    let path: Vec<Vec<u8>> = path.iter().cloned().chain([name]).collect();
                    (path, file)
                }));
            }
            let size = if attributes.file_type == FileType::Regular { attributes.size as usize } else { 0 };
            found.insert(path, (attributes.file_type, attributes.nlink, size));
        }
        if self.fs.len() == 1 {
            self.world.coverage.count("file: after an end, a prefix");
            if !self.since.contains(&found) {
                let before = self.since.len();
                self.agree(
                    "what is left is none of what was",
                    format!("one of {before} trees"),
                    format!("{found:?}"),
                );
            }
        }
        self
    }

    fn tree(&self) -> Tree {
        let mut tree = Tree::new();
        let mut left = vec![(Vec::new(), reference::ROOT)];
        while let Some((path, id)) = left.pop() {
            let node = &self.model.nodes[id];
            left.extend(node.entries.iter().map(|(name, &id)| {
                let path: Vec<Vec<u8>> = path.iter().cloned().chain([name.clone()]).collect();
                (path, id)
            }));
            let size = if node.file_type == FileType::Regular { node.bytes.len() } else { 0 };
            tree.insert(path, (node.file_type, node.nlink, size));
        }
        tree
    }
}

/// A whole directory, in pieces.
pub(super) async fn list(fs: &FileSystem, directory: FileId) -> Result<Vec<(Vec<u8>, FileId)>, Errno> {
    let (mut cookie, mut all) = (2, Vec::new());
    loop {
        let entries = fs.readdir(directory, cookie, 5).await?;
        let Some(last) = entries.last() else { return Ok(all) };
        cookie = last.cookie;
        all.extend(entries.into_iter().map(|entry| (entry.name, entry.file)));
    }
}
