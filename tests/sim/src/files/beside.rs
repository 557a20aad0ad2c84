//! Operations beside each other: each task in a directory of its own, whose state it knows, and all append to one file.

use super::World;
use super::servers::Servers;
use super::story::{Story, list};
use crate::findings::Finding;
use fastrand::Rng;
use kddm_rdma::BoxFuture;
use kdfs_fs::{Caller, Changes, Errno, FileId, FileSystem, FileType};
use std::collections::BTreeMap;
use std::sync::Arc;

const ROOT: Caller = Caller::ROOT;
/// Bytes of what is appended at a time: not a divisor of a page.
const RECORD: usize = 700;

/// A task's directory and what it should have.
struct Task {
    world: Arc<World>,
    number: u8,
    fs: FileSystem,
    directory: FileId,
    /// Name, size and the byte that fills it.
    files: BTreeMap<Vec<u8>, (usize, u8)>,
    shared: FileId,
    rng: Rng,
}

impl Servers {
    /// Some tasks at a time; afterwards the directory in which they were is left, as another would find it.
    pub(super) fn beside(&mut self, rng: &mut Rng, story: &mut Story) -> Result<(), Finding> {
        let (fs, world) = (story.fs.clone(), story.world.clone());
        let made = self.until_done("making a place", place(fs[0].clone()))?;
        let (place, shared) = made.map_err(|errno| Finding::Wrong(format!("making a place: {errno}")))?;
        let tasks = rng.u8(2..=5);
        let operations = rng.u32(5..=25);
        let begin = |number: u8| -> BoxFuture<'static, Result<u32, Errno>> {
            let fs = fs[usize::from(number) % fs.len()].clone();
            let (world, rng) = (world.clone(), Rng::with_seed(u64::from(number) ^ story_seed(rng.u64(..))));
            Box::pin(async move {
                let name = format!("task {number}");
                let directory = fs.mkdir(&ROOT, place, name.as_bytes(), 0o755).await?.file;
                let files = BTreeMap::new();
                Task { world, number, fs, directory, files, shared, rng }.run(operations).await
            })
        };
        let tasks: Vec<_> = (0..tasks).map(begin).collect();
        let appended = self.all_done("operations beside each other", tasks)?;
        let appended: Result<Vec<u32>, Errno> = appended.into_iter().collect();
        let appended = appended
            .map_err(|errno| Finding::Wrong(format!("an operation beside others failed: {errno}")))?;
        let last = fs[fs.len() - 1].clone();
        let bytes = self.until_done("reading what was appended", read(last.clone(), shared))?;
        check_records(&bytes.map_err(|errno| Finding::Wrong(format!("reading: {errno}")))?, &appended)
            .map_err(Finding::Wrong)?;
        let removed = self.until_done("tidying up", remove(last, place))?;
        removed.map_err(|errno| Finding::Wrong(format!("tidying up: {errno}")))
    }
}

fn story_seed(random: u64) -> u64 {
    random << 8
}

async fn place(fs: FileSystem) -> Result<(FileId, FileId), Errno> {
    let place = fs.mkdir(&ROOT, fs.root(), b"beside", 0o755).await?.file;
    let shared = fs.mknod(&ROOT, place, b"shared", FileType::Regular.bits() | 0o644, 0).await?.file;
    Ok((place, shared))
}

async fn read(fs: FileSystem, file: FileId) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; fs.getattr(file).await?.size as usize];
    let length = fs.read(file, 0, &mut bytes).await?;
    bytes.truncate(length);
    Ok(bytes)
}

/// All of it, from another node than made it.
async fn remove(fs: FileSystem, place: FileId) -> Result<(), Errno> {
    for (name, directory) in list(&fs, place).await? {
        if name == b"shared" {
            fs.unlink(&ROOT, place, &name).await?;
            continue;
        }
        for (file, _) in list(&fs, directory).await? {
            fs.unlink(&ROOT, directory, &file).await?;
        }
        fs.rmdir(&ROOT, place, &name).await?;
    }
    fs.rmdir(&ROOT, fs.root(), b"beside").await
}

/// Every record is there once and whole, those of a task in its order.
fn check_records(bytes: &[u8], appended: &[u32]) -> Result<(), String> {
    let mut seen = vec![0u32; appended.len()];
    for (place, record) in bytes.chunks(RECORD).enumerate() {
        let task = usize::from(record[0]);
        let whole = record.len() == RECORD
            && seen.get(task).is_some_and(|&next| record == record_of(task as u8, next));
        if !whole {
            return Err(format!(
                "record {place} of what tasks appended, begun by task {task}, is not what it should be"
            ));
        }
        seen[task] += 1;
    }
    if seen == appended { Ok(()) } else { Err(format!("of {appended:?} records {seen:?} are there")) }
}

fn record_of(task: u8, number: u32) -> Vec<u8> {
    let mut record = vec![number as u8; RECORD];
    record[0] = task;
    record
}

impl Task {
    /// How often it has appended.
    async fn run(mut self, operations: u32) -> Result<u32, Errno> {
        let mut appended = 0;
        for _ in 0..operations {
            let name = format!("f{}", self.rng.u8(0..4)).into_bytes();
            match self.rng.u8(0..7) {
                0 | 1 => self.write(&name).await?,
                2 => self.remove(&name).await?,
                3 => self.rename(name).await?,
                4 => self.truncate(&name).await?,
                5 => self.check().await?,
                _ => {
                    let record = record_of(self.number, appended);
                    self.fs.append(&ROOT, self.shared, &record).await?;
                    self.world.coverage.count("file: appended beside others");
                    appended += 1;
                }
            }
        }
        self.check().await?;
        Ok(appended)
    }

    async fn find(&self, name: &[u8]) -> Result<FileId, Errno> {
        Ok(self.fs.lookup(&ROOT, self.directory, name).await?.file)
    }

    async fn write(&mut self, name: &[u8]) -> Result<(), Errno> {
        let file = match self.files.contains_key(name) {
            true => self.find(name).await?,
            false => {
                let mode = FileType::Regular.bits() | 0o600;
                self.fs.mknod(&ROOT, self.directory, name, mode, 0).await?.file
            }
        };
        let (old, _) = self.files.get(name).copied().unwrap_or_default();
        let (size, fill) = (self.rng.usize(1..12_000), self.rng.u8(1..));
        self.fs.write(&ROOT, file, 0, &vec![fill; size.max(old)]).await?;
        self.files.insert(name.to_owned(), (size.max(old), fill));
        Ok(())
    }

    async fn remove(&mut self, name: &[u8]) -> Result<(), Errno> {
        let (known, done) = (self.files.remove(name), self.fs.unlink(&ROOT, self.directory, name).await);
        self.agree("unlink", if known.is_some() { Ok(()) } else { Err(Errno::ENOENT) }, done);
        Ok(())
    }

    async fn rename(&mut self, name: Vec<u8>) -> Result<(), Errno> {
        let Some(file) = self.files.remove(&name) else { return Ok(()) };
        let other = format!("f{}", self.rng.u8(0..4)).into_bytes();
        let place = self.directory;
        self.fs.rename(&ROOT, (place, &name), (place, &other), kdfs_fs::RenameMode::Replace).await?;
        self.files.insert(other, file);
        Ok(())
    }

    async fn truncate(&mut self, name: &[u8]) -> Result<(), Errno> {
        let Some((size, fill)) = self.files.get(name).copied() else { return Ok(()) };
        let file = self.find(name).await?;
        let size = self.rng.usize(0..=size);
        let changes = Changes { size: Some(size as u64), ..Changes::default() };
        self.fs.setattr(&ROOT, file, changes).await?;
        self.files.insert(name.to_owned(), (size, fill));
        Ok(())
    }

    /// The directory and all files are what they should be.
    async fn check(&self) -> Result<(), Errno> {
        let mut names: Vec<Vec<u8>> =
            list(&self.fs, self.directory).await?.into_iter().map(|(name, _)| name).collect();
        names.sort();
        self.agree("names", self.files.keys().cloned().collect(), names);
        for (name, &(size, fill)) in &self.files {
            let bytes = read(self.fs.clone(), self.find(name).await?).await?;
            let wrong = bytes.iter().position(|&byte| byte != fill);
            self.agree("size and first wrong byte", (size, None), (bytes.len(), wrong));
        }
        Ok(())
    }

    fn agree<T: PartialEq + std::fmt::Debug>(&self, what: &str, expected: T, found: T) {
        if expected != found {
            let task = self.number;
            self.world.findings.wrong(format!("task {task}, {what}: expected {expected:?}, found {found:?}"));
        }
    }
}
