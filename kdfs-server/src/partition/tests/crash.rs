//! Crashes: random histories of checkpoints, cut after every single write, with and without power.

use super::disk::{Image, MemoryDisk, Step};
use super::world::*;
use crate::partition::Partition;
use crate::partition::device::Short;
use kddm_rdma::Inserted;
use kdfs_format::PAGE_SIZE;
use kdfs_format::bitmap::BitmapPage;
use kdfs_format::directory::{self, PageId};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

/// A generator of numbers from a seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// A file: its generation and the stamp of each page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub generation: u32,
    pub pages: Vec<u64>,
}

pub type Files = BTreeMap<u32, File>;

/// What a history did: the state after each checkpoint, and when it was durable; every stamp a page ever had.
struct History {
    steps: Vec<Step>,
    states: Vec<Files>,
    /// (moment at which the checkpoint had returned, index of the state)
    acknowledged: Vec<(usize, usize)>,
    stamps: BTreeMap<(u32, u32, u32), BTreeSet<u64>>,
}

pub fn page(stamp: u64) -> Vec<u8> {
    stamp.to_le_bytes().repeat(PAGE_SIZE / 8)
}

/// The directory page that names exactly these files.
fn directory_page(files: &Files) -> Vec<u8> {
    let id = PageId { inode: number(1), generation: 1, page: 1 };
    let mut bytes = vec![0; PAGE_SIZE];
    for local in files.keys() {
        let name = format!("f{local}");
        let key = directory::Key::of_name(name.as_bytes());
        let entry = directory::Entry {
            key,
            inode: number(*local),
            generation: files[local].generation,
            file_type: kdfs_format::FileType::Regular,
            name: name.as_bytes(),
        };
        assert!(directory::insert(&mut bytes, id, entry).unwrap());
    }
    bytes
}

/// When committed checkpoints are brought to the native files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settling {
    /// Now and then, between checkpoints.
    Between,
    /// All the time, on a thread of its own: what a seed does then is not always the same.
    Beside,
}

fn run(seed: u64, durable: bool, settling: Settling) -> History {
    let disk = MemoryDisk::new(formatted());
    let partition = open(&disk).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        if settling == Settling::Beside {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    partition.device.settle().unwrap();
                }
            });
        }
        let history = catch_unwind(AssertUnwindSafe(|| change(seed, durable, settling, &disk, &partition)));
        done.store(true, Ordering::Relaxed);
        history.unwrap_or_else(|panic| resume_unwind(panic))
    })
}

fn change(seed: u64, durable: bool, settling: Settling, disk: &MemoryDisk, partition: &Partition) -> History {
    let mut dice = Dice(seed);
    let device = &partition.device;
    let mut files = Files::new();
    let mut history = History {
        steps: Vec::new(),
        states: vec![files.clone()],
        acknowledged: Vec::new(),
        stamps: BTreeMap::new(),
    };
    let mut stamp = 0;
    let mut generation = 0;
    history.acknowledged.push((disk.moment(), 0));
    for _ in 0..6 {
        for _ in 0..=dice.below(5) {
            let local = 2 + dice.below(4) as u32;
            let Some(file) = files.get_mut(&local) else {
                generation += 1;
                files.insert(local, File { generation, pages: Vec::new() });
                continue;
            };
            match dice.below(5) {
                0 => {
                    let generation = file.generation;
                    let pages = file.pages.len() as u32;
                    files.remove(&local);
                    for page in 0..pages {
                        device.remove(file_key(local, generation, page)).unwrap();
                    }
                    device.remove(inode_key(local)).unwrap();
                }
                1 => {
                    let first = dice.below(file.pages.len() as u64 + 1) as u32;
                    for page in first..file.pages.len() as u32 {
                        device.remove(file_key(local, file.generation, page)).unwrap();
                    }
                    file.pages.truncate(first as usize);
                }
                _ => {
                    let at = dice.below(file.pages.len() as u64 + 1) as usize;
                    stamp += 1;
                    if at == file.pages.len() {
                        file.pages.push(stamp)
                    } else {
                        file.pages[at] = stamp
                    }
                    let (generation, at) = (file.generation, at as u32);
                    history.stamps.entry((local, generation, at)).or_default().insert(stamp);
                    device.sync(file_key(local, generation, at), &page(stamp)).unwrap();
                }
            }
        }
        try_commit(partition, &files, durable).unwrap();
        history.states.push(files.clone());
        // When it is brought to the files, with others or alone, changes nothing any more.
        history.acknowledged.push((disk.moment(), history.states.len() - 1));
        if settling == Settling::Between && dice.below(3) == 0 {
            assert!(device.settle().unwrap());
        }
        check(partition, &files, &history, true).unwrap_or_else(|what| panic!("seed {seed}: {what}"));
    }
    history.steps = disk.steps();
    history
}

/// A checkpoint with all metadata.
fn commit(partition: &Partition, files: &Files, durable: bool) {
    try_commit(partition, files, durable).unwrap();
    partition.device.settle().unwrap();
}

pub fn try_commit(partition: &Partition, files: &Files, durable: bool) -> io::Result<()> {
    let device = &partition.device;
    let mut bitmap = vec![0; PAGE_SIZE];
    let page = BitmapPage::of_mut(&mut bitmap, bitmap_key().object).unwrap();
    page.take(1);
    for &local in files.keys() {
        page.take(local);
    }
    let mut held = vec![(bitmap_key(), bitmap), (root_page_key(), directory_page(files))];
    for (&local, file_) in files {
        let inode = file(local, file_.generation, file_.pages.len() as u32);
        held.push((inode_key(local), inode.bytes().to_vec()));
    }
    let held = held.iter().map(|(key, bytes)| (*key, &bytes[..]));
    assert!(device.seal(held, &Short::new(), || true).unwrap());
    device.commit(durable)
}

/// The files that the metadata of a partition says there are, with no pages.
fn metadata(partition: &Partition) -> Files {
    let mut found = Files::new();
    for local in 2..8 {
        if let Some(inode) = read_inode(partition, local) {
            let pages = vec![0; inode.written_pages.get() as usize];
            found.insert(local, File { generation: inode.generation.get(), pages });
        }
    }
    found
}

fn same_metadata(a: &Files, b: &Files) -> bool {
    let shape = |files: &Files| -> Vec<(u32, u32, usize)> {
        files.iter().map(|(local, file)| (*local, file.generation, file.pages.len())).collect()
    };
    shape(a) == shape(b)
}

/// Directory, bitmap and every page are those of `expected`; pages may be newer. What lies behind the end of a file
/// has to be zeros, unless the server is `running`.
fn check(partition: &Partition, expected: &Files, history: &History, running: bool) -> Result<(), String> {
    let device = &partition.device;
    let found = metadata(partition);
    if !same_metadata(&found, expected) {
        return Err(format!("other inodes: {found:?}"));
    }
    let mut bytes = vec![0; PAGE_SIZE];
    device.insert(root_page_key(), &mut bytes).unwrap();
    if bytes != directory_page(expected) {
        return Err("the directory names other files".into());
    }
    device.insert(bitmap_key(), &mut bytes).unwrap();
    let taken: Vec<u32> = BitmapPage::of(&bytes, bitmap_key().object).unwrap().unwrap().taken().collect();
    if taken != [1].into_iter().chain(expected.keys().copied()).collect::<Vec<_>>() {
        return Err(format!("the bitmap has {taken:?}"));
    }
    for (&local, file) in expected {
        for (at, &stamp) in file.pages.iter().enumerate() {
            let key = file_key(local, file.generation, at as u32);
            assert_eq!(device.insert(key, &mut bytes).unwrap(), Inserted::Filled);
            let found = u64::from_le_bytes(bytes[..8].try_into().unwrap());
            let newer =
                found > stamp && history.stamps[&(local, file.generation, at as u32)].contains(&found);
            if bytes != page(found) || !(found == stamp || newer) {
                return Err(format!("page {at} of file {local} has stamp {found}, not {stamp}"));
            }
        }
        device.insert(file_key(local, file.generation, file.pages.len() as u32), &mut bytes).unwrap();
        if !running && bytes.iter().any(|&byte| byte != 0) {
            return Err(format!("old bytes behind the end of file {local}"));
        }
    }
    Ok(())
}

/// Recovers `image`: it has to be the state of the last checkpoint that was acknowledged, or of the next.
fn recover(image: Image, history: &History, moment: usize, when: &str) {
    let before = history.acknowledged.iter().rev().find(|(at, _)| *at <= moment);
    let earliest = before.map_or(0, |(_, state)| *state);
    let disk = MemoryDisk::new(image);
    let partition = open(&disk).unwrap_or_else(|error| panic!("{when}: {error}"));
    let candidates = &history.states[earliest..(earliest + 2).min(history.states.len())];
    let verdicts: Vec<_> = candidates.iter().map(|state| check(&partition, state, history, false)).collect();
    let Some(good) = verdicts.iter().position(Result::is_ok) else {
        panic!("{when}: half a checkpoint, or a lost one: {verdicts:?} for {candidates:?}");
    };
    partition.close().unwrap();
    let again = open(&MemoryDisk::new(disk.image())).unwrap();
    check(&again, &candidates[good], history, false)
        .unwrap_or_else(|what| panic!("{when}, opened again: {what}"));
}

/// The number of crashes that were tried.
fn crash_everywhere(seed: u64, durable: bool, settling: Settling, power_fails: bool) -> usize {
    let history = run(seed, durable, settling);
    let mut image = formatted();
    let mut dice = Dice(seed ^ 0xdead);
    let mut crashes = 0;
    for (moment, step) in history.steps.iter().enumerate() {
        let when = format!("seed {seed}, durable {durable}, power fails {power_fails}, before step {moment}");
        if power_fails {
            for luck in [0, 2, 4] {
                let kept = image.without_power(|| luck > 0 && dice.below(luck) == 0);
                recover(kept, &history, moment, &when);
            }
        } else {
            recover(image.clone(), &history, moment, &when);
            if let Step::Write(path, offset, bytes) = step {
                let mut torn = image.clone();
                // A process that is killed leaves whole pages of a write, or none.
                let half = bytes.len() / 2 / PAGE_SIZE * PAGE_SIZE;
                torn.step(&Step::Write(path.clone(), *offset, bytes[..half].to_vec())).unwrap();
                recover(torn, &history, moment, &format!("in the middle of the write after: {when}"));
            }
        }
        image.step(step).unwrap();
        crashes += 1;
    }
    crashes
}

/// `KDFS_SEED=7` runs that seed alone.
fn seeds(first: u64, count: u64) -> std::ops::Range<u64> {
    match std::env::var("KDFS_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => seed..seed + 1,
        None => first..first + count,
    }
}

fn crash_all(seeds: std::ops::Range<u64>, durable: bool, settling: Settling, power_fails: bool) {
    let crashes: usize = seeds.map(|seed| crash_everywhere(seed, durable, settling, power_fails)).sum();
    assert!(crashes > 50, "{crashes} crashes are no test");
}

#[test]
fn killed_at_any_write_a_checkpoint_is_there_or_missing() {
    crash_all(seeds(0, 20), false, Settling::Between, false);
}

#[test]
fn killed_at_any_write_of_a_durable_checkpoint() {
    crash_all(seeds(1000, 10), true, Settling::Between, false);
}

#[test]
fn killed_while_one_checkpoint_is_applied_and_the_next_is_committed() {
    crash_all(seeds(2000, 10), true, Settling::Beside, false);
}

#[test]
fn without_power_what_was_acknowledged_is_there() {
    crash_all(seeds(3000, 12), true, Settling::Between, true);
}

#[test]
fn without_power_while_one_checkpoint_is_applied_and_the_next_is_committed() {
    crash_all(seeds(4000, 12), true, Settling::Beside, true);
}

#[test]
fn an_applied_checkpoint_does_not_come_back_over_newer_bytes() {
    let disk = MemoryDisk::new(formatted());
    let partition = open(&disk).unwrap();
    let device = &partition.device;
    let key = file_key(2, 5, 0);
    let mut files = Files::from([(2, File { generation: 5, pages: vec![1] })]);
    device.remove(key).unwrap();
    device.sync(key, &page(1)).unwrap();
    commit(&partition, &files, true);
    // Newer bytes, in place; their attributes in a checkpoint that is not durable; then all durable.
    files.insert(2, File { generation: 5, pages: vec![2] });
    device.sync(key, &page(2)).unwrap();
    commit(&partition, &files, false);
    assert!(device.seal(std::iter::empty(), &Short::new(), || true).unwrap());
    device.commit(true).unwrap();
    let partition = open(&MemoryDisk::new(disk.image().without_power(|| false))).unwrap();
    let mut bytes = vec![0; PAGE_SIZE];
    partition.device.insert(key, &mut bytes).unwrap();
    assert_eq!(bytes, page(2));
}

/// What was committed, and applied, for nobody who waits becomes durable with the next checkpoint that is.
#[test]
fn a_durable_checkpoint_takes_those_before_it_along() {
    let disk = MemoryDisk::new(formatted());
    let partition = open(&disk).unwrap();
    partition.device.native.make_all_durable().unwrap();
    let device = &partition.device;
    let files = Files::from([(2, File { generation: 5, pages: vec![1] })]);
    device.sync(file_key(2, 5, 0), &page(1)).unwrap();
    try_commit(&partition, &files, false).unwrap();
    assert!(device.settle().unwrap());
    // The next one has nothing of that in it.
    let other = file(3, 5, 0);
    let held = [(inode_key(3), other.bytes())].into_iter();
    assert!(device.seal(held, &Short::new(), || true).unwrap());
    device.commit(true).unwrap();
    assert!(!device.is_settled());
    let partition = open(&MemoryDisk::new(disk.image().without_power(|| false))).unwrap();
    assert!(read_inode(&partition, 2).is_some() && read_inode(&partition, 3).is_some());
    let mut bytes = vec![0; PAGE_SIZE];
    partition.device.insert(file_key(2, 5, 0), &mut bytes).unwrap();
    assert_eq!(bytes, page(1));
}

/// One checkpoint has just been applied when the next has been written behind it, but does not count yet.
#[test]
fn the_log_does_not_go_while_somebody_writes_to_it() {
    let disk = MemoryDisk::new(formatted());
    let partition = open(&disk).unwrap();
    let mut files = Files::new();
    for local in 2..5 {
        files.insert(local, File { generation: 5, pages: Vec::new() });
        let (settler, armed) = (partition.clone(), AtomicBool::new(true));
        disk.watch(move |step| {
            let behind =
                matches!(step, Step::Write(path, 1.., _) if path.ends_with(kdfs_format::paths::BATCH));
            if behind && armed.swap(false, Ordering::Relaxed) {
                assert!(!settler.device.settle().unwrap(), "the log has gone");
            }
        });
        try_commit(&partition, &files, false).unwrap();
        disk.watch(|_| {});
        let crashed = open(&MemoryDisk::new(disk.image())).unwrap();
        assert!(same_metadata(&metadata(&crashed), &files));
    }
}

/// Reads while a checkpoint is applied, and just after it was removed, find what it says.
#[test]
fn reads_do_not_miss_a_checkpoint_that_goes() {
    let disk = MemoryDisk::new(formatted());
    let partition = open(&disk).unwrap();
    let files = Files::from([(2, File { generation: 5, pages: Vec::new() })]);
    let (ask, asked) = mpsc::channel();
    let (answer, answers) = mpsc::channel();
    let (reader, answers) = (partition.clone(), Arc::new(Mutex::new(answers)));
    let thread = std::thread::spawn(move || {
        while let Ok(()) = asked.recv() {
            let mut bytes = [0; kdfs_format::INODE_SIZE];
            answer.send(reader.device.insert(inode_key(2), &mut bytes)).unwrap();
        }
    });
    let (read, results) = (ask.clone(), answers.clone());
    disk.watch(move |step| {
        let there = |path: &std::path::Path| path.ends_with(kdfs_format::paths::BATCH);
        if matches!(step, Step::RemoveFile(path) if there(path)) {
            read.send(()).unwrap();
            // A read that has to wait ends later.
            if let Ok(result) = results.lock().recv_timeout(std::time::Duration::from_millis(100)) {
                assert_eq!(result.unwrap(), Inserted::Filled);
                read.send(()).unwrap();
            }
        }
    });
    commit(&partition, &files, false);
    assert_eq!(answers.lock().recv().unwrap().unwrap(), Inserted::Filled);
    disk.watch(|_| {});
    drop(ask);
    thread.join().unwrap();
}
