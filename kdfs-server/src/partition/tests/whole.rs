//! Whether a partition is whole: every name leads to an inode, every inode has its names, the bitmap knows them all.

use super::world::{NODE, number};
use crate::partition::Partition;
use kddm_object::{ObjectKey, SetId};
use kddm_rdma::Inserted;
use kdfs_format::bitmap::{BitmapPage, IDS_PER_PAGE};
use kdfs_format::directory::{Leaf, PageId, is_split};
use kdfs_format::sets::{self, ROOT_LOCAL_ID, bitmap_object};
use kdfs_format::{INODE_SIZE, Inode, PAGE_SIZE};
use std::collections::{BTreeMap, BTreeSet};

/// The files of a partition: path → inode, and what is wrong.
pub fn walk(partition: &Partition) -> Result<BTreeMap<String, Inode>, String> {
    let mut found = Walk { partition, paths: BTreeMap::new(), names: BTreeMap::new() };
    found.directory("", number(ROOT_LOCAL_ID), sets::ROOT_GENERATION, 0)?;
    let taken = taken(partition);
    for &local in &taken {
        let inode = inode(partition, local)?.ok_or(format!("id {local} is taken by nothing"))?;
        let names = found.names.get(&number(local)).copied().unwrap_or_default();
        let expected = if inode.is_directory() && inode.nlink.get() > 0 { 1 } else { inode.nlink.get() };
        if local != ROOT_LOCAL_ID && names != expected {
            return Err(format!("inode {local} has {names} names and {expected} links"));
        }
    }
    match found.names.keys().find(|inode| !taken.contains(&sets::local_of(**inode))) {
        Some(inode) => Err(format!("inode {inode:#x} has a name, but its id is free")),
        None => Ok(found.paths),
    }
}

struct Walk<'a> {
    partition: &'a Partition,
    paths: BTreeMap<String, Inode>,
    names: BTreeMap<u32, u32>,
}

impl Walk<'_> {
    fn directory(&mut self, path: &str, inode_: u32, generation: u32, depth: u32) -> Result<(), String> {
        if depth > 20 {
            return Err(format!("{path}: directories in a circle"));
        }
        let directory = inode(self.partition, sets::local_of(inode_))?.ok_or(format!("{path}: no inode"))?;
        let mut pages = vec![1];
        let (mut entries, mut subdirectories) = (0, 0);
        while let Some(page) = pages.pop() {
            let mut bytes = vec![0; PAGE_SIZE];
            let key = ObjectKey::new(SetId(sets::dir_set(inode_, generation)), page);
            let error = |error: &dyn std::fmt::Display| format!("{path}: page {page}: {error}");
            self.partition.device.insert(key, &mut bytes).map_err(|e| error(&e))?;
            let id = PageId { inode: inode_, generation, page };
            if is_split(&bytes, id).map_err(|e| error(&e))? {
                pages.extend([page * 2, page * 2 + 1]);
                continue;
            }
            for entry in Leaf::read(&bytes, id).map_err(|e| error(&e))?.entries() {
                entries += 1;
                *self.names.entry(entry.inode).or_default() += 1;
                let path = format!("{path}/{}", String::from_utf8_lossy(entry.name));
                let there = inode(self.partition, sets::local_of(entry.inode))?;
                let there = there.ok_or(format!("{path}: names no inode"))?;
                if (there.generation.get(), there.file_type()) != (entry.generation, entry.file_type) {
                    return Err(format!("{path}: names another inode"));
                }
                if there.is_directory() {
                    subdirectories += 1;
                    self.directory(&path, entry.inode, entry.generation, depth + 1)?;
                }
                self.paths.insert(path, there);
            }
        }
        let (has, links) = (directory.entries.get(), directory.nlink.get());
        if (has, links) != (entries, subdirectories + 2) {
            return Err(format!(
                "{path}: {has} entries, {links} links; found {entries} and {subdirectories} directories"
            ));
        }
        Ok(())
    }
}

fn inode(partition: &Partition, local: u32) -> Result<Option<Inode>, String> {
    let mut bytes = [0; INODE_SIZE];
    let key = ObjectKey::new(SetId(sets::INODE_SET), number(local));
    match partition.device.insert(key, &mut bytes) {
        Ok(Inserted::Filled) => Ok(Some(Inode::of(&bytes).unwrap().clone())),
        Ok(Inserted::Absent) => Ok(None),
        Err(error) => Err(format!("inode {local}: {error}")),
    }
}

fn taken(partition: &Partition) -> BTreeSet<u32> {
    let mut bytes = [0; PAGE_SIZE];
    let object = bitmap_object(NODE, 0);
    partition.device.insert(ObjectKey::new(SetId(sets::BITMAP_SET), object), &mut bytes).unwrap();
    const { assert!(IDS_PER_PAGE > 10_000, "the tests stay in the first page") };
    BitmapPage::of(&bytes, object).unwrap().unwrap().taken().collect()
}

/// The bytes of a file.
pub fn read(partition: &Partition, inode: &Inode) -> Vec<u8> {
    let mut content = Vec::new();
    for page in 0..inode.written_pages.get() {
        let key = ObjectKey::new(SetId(sets::file_set(inode.inode.get(), inode.generation.get())), page);
        let mut bytes = vec![0; PAGE_SIZE];
        partition.device.insert(key, &mut bytes).unwrap();
        content.extend(bytes);
    }
    content.resize(inode.size.get() as usize, 0);
    content
}
