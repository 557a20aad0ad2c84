//! Random operations from two nodes in turn, beside a file system that is as simple as can be.

mod cluster;
mod reference;

use cluster::random::Random;
use cluster::{Cluster, ROOT};
use kdfs_fs::{Access, Changes, Errno, FileId, FileSystem, FileType, RenameMode};
use reference::{Id, Reference};
use std::collections::BTreeMap;

/// Both file systems, and which file of the one is which of the other.
struct Pair<'a> {
    cluster: &'a Cluster,
    reference: Reference,
    random: Random,
    files: BTreeMap<Id, FileId>,
    open: Vec<(usize, Id)>,
    log: Vec<String>,
    names: usize,
}

type Path = Vec<Vec<u8>>;

impl Pair<'_> {
    fn new<'a>(cluster: &'a Cluster, random: Random, names: usize) -> Pair<'a> {
        let files = BTreeMap::from([(reference::ROOT, cluster.root())]);
        Pair { cluster, reference: Reference::new(), random, files, open: Vec::new(), log: Vec::new(), names }
    }

    /// A name of a small alphabet, so that operations meet; some are long, so that directories are divided.
    fn name(&mut self) -> Vec<u8> {
        let number = self.random.below(self.names);
        let mut name = format!("n{number}").into_bytes();
        if number.is_multiple_of(3) {
            name.resize(190 + number % 60, b'x');
        }
        name
    }

    fn path(&mut self) -> Path {
        (0..self.random.below(3)).map(|_| self.name()).collect()
    }

    /// The directory (or what is in its place) of a random path, in both; or the error that both agree on.
    async fn place(&mut self, fs: &FileSystem) -> Option<(FileId, Id)> {
        let path = self.path();
        let expected = self.reference.walk(&path);
        let mut found = Ok(self.cluster.root());
        for name in &path {
            found = match found {
                Ok(at) => fs.lookup(&ROOT, at, name).await.map(|attributes| attributes.file),
                error => error,
            };
        }
        let known = expected.map(|id| self.files[&id]);
        self.agree("walk", known, found);
        Some((found.ok()?, expected.ok()?))
    }

    fn agree<T: PartialEq + std::fmt::Debug>(&self, what: &str, expected: T, found: T) {
        if expected != found {
            let log = self.log.iter().rev().take(40).rev().cloned().collect::<Vec<_>>().join("\n");
            panic!("{what}: expected {expected:?}, found {found:?}, after\n{log}");
        }
    }

    async fn step(&mut self) {
        let which = self.random.below(self.cluster.nodes.len());
        let fs = self.cluster.nodes[which].clone();
        let Some((parent, model)) = self.place(&fs).await else { return };
        let name = self.name();
        let kind = self.random.below(12);
        self.log.push(format!("on {} kind {kind} in {model} {:?}", which + 1, &name[..name.len().min(5)]));
        match kind {
            0 | 1 => self.make(&fs, parent, model, &name).await,
            2 => {
                let expected = self.reference.unlink(model, &name);
                self.agree("unlink", expected, fs.unlink(&ROOT, parent, &name).await);
            }
            3 => {
                let expected = self.reference.rmdir(model, &name);
                self.agree("rmdir", expected, fs.rmdir(&ROOT, parent, &name).await);
            }
            4 | 5 => self.rename(&fs, (parent, model), &name).await,
            6 => self.link(&fs, (parent, model), &name).await,
            7 | 8 => self.change_bytes(&fs, parent, model, &name).await,
            9 => self.open_or_release(which, model, &name).await,
            10 => self.compare(&fs, model).await,
            _ => self.use_open().await,
        }
    }

    async fn make(&mut self, fs: &FileSystem, parent: FileId, model: Id, name: &[u8]) {
        let (mode, target) = (self.random.below(0o1000) as u32, b"target".to_vec());
        let (made, expected) = match self.random.below(4) {
            0 | 1 => (
                fs.mkdir(&ROOT, parent, name, mode).await,
                self.reference.make(model, name, FileType::Directory, mode, b""),
            ),
            2 => (
                fs.mknod(&ROOT, parent, name, FileType::Regular.bits() | mode, 0).await,
                self.reference.make(model, name, FileType::Regular, mode, b""),
            ),
            _ => (
                fs.symlink(&ROOT, parent, name, &target).await,
                self.reference.make(model, name, FileType::Symlink, 0o777, &target),
            ),
        };
        self.agree("make", expected.map(|_| ()), made.map(|_| ()));
        if let (Ok(made), Ok(id)) = (made, expected) {
            self.files.insert(id, made.file);
        }
    }

    async fn rename(&mut self, fs: &FileSystem, from: (FileId, Id), name: &[u8]) {
        let Some((to, model)) = self.place(fs).await else { return };
        let to_name = self.name();
        use RenameMode::*;
        let mode = *self.random.pick(&[Replace, Replace, Replace, NoReplace, Exchange]);
        let expected = self.reference.rename((from.1, name), (model, &to_name), mode);
        self.log.push(format!("  rename to {model} {:?} {mode:?}: {expected:?}", &to_name[..2]));
        self.agree("rename", expected, fs.rename(&ROOT, (from.0, name), (to, &to_name), mode).await);
    }

    async fn link(&mut self, fs: &FileSystem, place: (FileId, Id), name: &[u8]) {
        let Some((file, model)) = self.place(fs).await else { return };
        let expected = self.reference.link(model, place.1, name);
        self.agree("link", expected, fs.link(&ROOT, file, place.0, name).await.map(|_| ()));
    }

    async fn change_bytes(&mut self, fs: &FileSystem, parent: FileId, model: Id, name: &[u8]) {
        let found = fs.lookup(&ROOT, parent, name).await;
        let expected = self.reference.lookup(model, name);
        self.agree("lookup", expected.map(|id| self.files[&id]), found.map(|found| found.file));
        let (Ok(found), Ok(id)) = (found, expected) else { return };
        self.change(fs, found.file, id).await;
    }

    async fn change(&mut self, fs: &FileSystem, file: FileId, id: Id) {
        let errno = match self.reference.nodes[id].file_type {
            FileType::Regular => Ok(()),
            FileType::Directory => Err(Errno::EISDIR),
            _ => Err(Errno::EINVAL),
        };
        let data = vec![self.random.next() as u8; 1 + self.random.below(9000)];
        let offset = self.random.below(20_000);
        let end = self.reference.nodes[id].bytes.len();
        match self.random.below(3) {
            0 => {
                self.agree(
                    "write",
                    errno.map(|()| data.len()),
                    fs.write(&ROOT, file, offset as u64, &data).await,
                );
                if errno.is_ok() {
                    self.reference.write(id, offset, &data);
                }
            }
            1 => {
                let expected = errno.map(|()| (end as u64, data.len()));
                self.agree("append", expected, fs.append(&ROOT, file, &data).await);
                if errno.is_ok() {
                    self.reference.write(id, end, &data);
                }
            }
            _ => {
                let changes = Changes { size: Some(offset as u64), ..Changes::default() };
                let done = fs.setattr(&ROOT, file, changes).await;
                self.agree("truncate", errno.map(|()| offset as u64), done.map(|attributes| attributes.size));
                if errno.is_ok() {
                    self.reference.nodes[id].bytes.resize(offset, 0);
                }
            }
        }
    }

    async fn open_or_release(&mut self, which: usize, model: Id, name: &[u8]) {
        if self.open.len() > 8 {
            let (which, id) = self.open.remove(self.random.below(8));
            self.cluster.nodes[which].release(self.files[&id]);
            return;
        }
        let Ok(id) = self.reference.lookup(model, name) else { return };
        if self.reference.nodes[id].file_type == FileType::Regular {
            let opened = self.cluster.nodes[which].open(&ROOT, self.files[&id], Access::READ_WRITE).await;
            self.agree("open", Ok(()), opened.map(|_| ()));
            self.open.push((which, id));
        }
    }

    /// An open file can be used whether it has names or not.
    async fn use_open(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let (which, id) = *self.random.pick(&self.open);
        let fs = self.cluster.nodes[which].clone();
        self.change(&fs, self.files[&id], id).await;
        self.compare(&fs, id).await;
    }

    /// Attributes and content of one file or directory.
    async fn compare(&mut self, fs: &FileSystem, id: Id) {
        let (expected, file) = (self.reference.nodes[id].clone(), self.files[&id]);
        let found = fs.getattr(file).await.unwrap();
        self.agree("type", expected.file_type, found.file_type);
        self.agree("links", expected.nlink, found.nlink);
        self.agree("permissions", expected.permissions, found.permissions);
        match expected.file_type {
            FileType::Directory => {
                let limit = 1 + self.random.below(20);
                let mut listed = self.list(fs, file, limit).await;
                listed.sort();
                let mut known: Vec<(Vec<u8>, FileId)> =
                    expected.entries.iter().map(|(name, id)| (name.clone(), self.files[id])).collect();
                known.sort();
                self.agree("entries", known, listed);
                let parent = fs.lookup(&ROOT, file, b"..").await.unwrap().file;
                self.agree("..", self.files[&expected.parent], parent);
            }
            FileType::Symlink => self.agree("target", expected.bytes, fs.readlink(file).await.unwrap()),
            _ => {
                let mut bytes = vec![0xaa; expected.bytes.len() + 10];
                let length = fs.read(file, 0, &mut bytes).await.unwrap();
                self.agree("size", (expected.bytes.len(), found.size), (length, length as u64));
                let differs =
                    expected.bytes.iter().zip(&bytes).position(|(expected, found)| expected != found);
                self.agree("place of the first wrong byte", None, differs);
            }
        }
    }

    async fn list(&self, fs: &FileSystem, directory: FileId, limit: usize) -> Vec<(Vec<u8>, FileId)> {
        let (mut cookie, mut all) = (2, Vec::new());
        loop {
            let entries = fs.readdir(directory, cookie, limit).await.unwrap();
            let Some(last) = entries.last() else { return all };
            cookie = last.cookie;
            all.extend(entries.into_iter().map(|entry| (entry.name, entry.file)));
        }
    }

    /// Everything that can be reached.
    async fn compare_all(&mut self, fs: &FileSystem) {
        let mut left = vec![reference::ROOT];
        while let Some(id) = left.pop() {
            self.compare(fs, id).await;
            left.extend(self.reference.nodes[id].entries.values());
        }
    }
}

/// Then everything is written to the partitions, and read again by nodes that begin with empty memories.
fn agree_for(test: &str, nodes: u8, arena: usize, names: usize, steps: usize) {
    let mut random = Random::new(test);
    let cluster = Cluster::with_arena(nodes, arena);
    let mut pair = Pair::new(&cluster, random.fork(), names);
    cluster.run(60, async {
        for _ in 0..steps {
            pair.step().await;
        }
        for fs in &cluster.nodes {
            pair.compare_all(fs).await;
        }
    });
    cluster.write_back();
    let (reference, files, partitions) = (pair.reference, pair.files, cluster.partitions.clone());
    drop(cluster);
    let again = Cluster::start(partitions, arena, Some);
    let mut pair = Pair { reference, files, ..Pair::new(&again, random, names) };
    again.run(60, async {
        for fs in &again.nodes {
            pair.compare_all(fs).await;
        }
    });
}

#[test]
fn one_node_agrees_with_the_reference() {
    agree_for("one_node_agrees", 1, 16 << 20, 12, 3000);
}

#[test]
fn two_nodes_agree_with_the_reference() {
    agree_for("two_nodes_agree", 2, 16 << 20, 8, 3000);
}

#[test]
fn three_nodes_with_large_directories_agree() {
    agree_for("three_nodes_with_large", 3, 16 << 20, 90, 3000);
}

/// So little memory that pages come and go.
#[test]
fn small_arenas_agree() {
    agree_for("small_arenas_agree", 2, 2 << 20, 30, 3000);
}
