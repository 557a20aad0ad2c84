//! Names that are remembered apart from their directories, so that a name that has not changed is found though others have.
//!
//! Every change of a directory changes its inode and a page of it, and takes both from all nodes. Where a node has to fetch them for one name
//! again and again, it remembers what the name names, or that it names nothing, in an object of the name's own (the *dentry* set), and who may
//! search the directory in another, the *gate*. From then on a lookup needs neither inode nor page, as long as that name stays as it is. Names
//! that are looked up once, as those of new files, cost nothing more.
//!
//! 1. A gate that is open has an epoch, a number that no other time of being open has. What is remembered of a name counts while the gate has
//!    the epoch that was written with it. So a gate that was dropped for want of memory, or closed, takes all names with it.
//! 2. What is remembered is written while the directory's inode is held shared: nobody is changing the directory then.
//! 3. Who changes a name holds the inode exclusively; if the gate is open, and somebody remembers the name, the change is made there, too, before
//!    any hold is put (`Transaction::commit`). Where nobody has opened the gate, that costs a look at this node's copy of it.
//! 4. The gate is closed by who changes owner or mode of the directory, or removes it.

use crate::entries::{Found, page_id};
use crate::error::on;
use crate::hold::EXISTING;
use crate::permission::{Access, Caller, check};
use crate::{FileId, FileSystem, FileType, Result, keys};
use kddm_rdma::{Exclusive, ObjectKey, OpError};
use kdfs_format::directory::{self, FIRST_PAGE, Key};
use kdfs_format::{Inode, Timestamp, sets::DENTRY_SIZE};
use std::collections::{BTreeMap, BTreeSet};

/// Names of which a node knows that it has fetched their directories for them lately.
const LATELY: usize = 4096;

/// Longer names are not remembered.
const LONGEST: usize = DENTRY_SIZE as usize - NAME;

// Places in both: the epoch. In a gate: mode, owner, group. In a name's object: key (0: it names nothing), inode, generation, type, length,
// name.
const EPOCH: usize = 0;
const MODE: usize = 8;
const OWNER: usize = 12;
const GROUP: usize = 16;
const KEY: usize = 8;
const INODE: usize = 16;
const GENERATION: usize = 20;
const TYPE: usize = 24;
const LENGTH: usize = 25;
const NAME: usize = 26;

/// The bytes of an object of the set; zeros say nothing.
pub(crate) type Record = [u8; DENTRY_SIZE as usize];
pub(crate) const NOTHING: Record = [0; DENTRY_SIZE as usize];

/// What a lookup by the directory's own pages is to leave behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missed {
    /// The directory was here.
    Nothing,
    /// It was not.
    Once,
    /// It was not, nor was it when that name was looked up lately.
    Again,
}

/// A name that a transaction has changed, and what it names then.
pub(crate) struct Changed {
    pub(crate) directory: FileId,
    pub(crate) name: Vec<u8>,
    pub(crate) now: Option<Found>,
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut number = [0; N];
    number.copy_from_slice(&bytes[at..at + N]);
    number
}

fn epoch_of(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(number(bytes, EPOCH))
}

/// An open gate of this directory.
fn gate_record(epoch: u64, directory: &Inode) -> Record {
    let mut record = NOTHING;
    record[EPOCH..MODE].copy_from_slice(&epoch.to_le_bytes());
    record[MODE..OWNER].copy_from_slice(&directory.mode.get().to_le_bytes());
    record[OWNER..GROUP].copy_from_slice(&directory.uid.get().to_le_bytes());
    record[GROUP..GROUP + 4].copy_from_slice(&directory.gid.get().to_le_bytes());
    record
}

/// What a gate says of its directory: as much of its inode as permissions depend on.
fn behind_gate(directory: FileId, bytes: &[u8]) -> Inode {
    let mode = u32::from_le_bytes(number(bytes, MODE));
    let mut inode = Inode::new(directory.inode, directory.generation, mode, Timestamp::default());
    inode.uid = u32::from_le_bytes(number(bytes, OWNER)).into();
    inode.gid = u32::from_le_bytes(number(bytes, GROUP)).into();
    inode
}

/// What `name` names, to be remembered; `None` for one that is too long.
fn remembered(epoch: u64, name: &[u8], now: Option<Found>) -> Option<Record> {
    let mut record = NOTHING;
    record[NAME..].get_mut(..name.len())?.copy_from_slice(name);
    record[LENGTH] = u8::try_from(name.len()).ok()?;
    record[EPOCH..KEY].copy_from_slice(&epoch.to_le_bytes());
    if let Some(Found { key, file, file_type }) = now {
        record[KEY..INODE].copy_from_slice(&key.number().to_le_bytes());
        record[INODE..GENERATION].copy_from_slice(&file.inode.to_le_bytes());
        record[GENERATION..TYPE].copy_from_slice(&file.generation.to_le_bytes());
        record[TYPE] = file_type.entry_byte();
    }
    Some(record)
}

/// What was remembered of `name` in that epoch; `None` if nothing was, or of another name.
fn recall(epoch: u64, name: &[u8], bytes: &[u8]) -> Option<Option<Found>> {
    let length = usize::from(bytes[LENGTH]);
    if epoch_of(bytes) != epoch || bytes.get(NAME..NAME + length)? != name {
        return None;
    }
    let key = u64::from_le_bytes(number(bytes, KEY));
    if key == 0 {
        return Some(None);
    }
    let inode = u32::from_le_bytes(number(bytes, INODE));
    let file = FileId { inode, generation: u32::from_le_bytes(number(bytes, GENERATION)) };
    let (key, file_type) = (Key::from_number(key)?, FileType::of_entry_byte(bytes[TYPE])?);
    Some(Some(Found { key, file, file_type }))
}

impl FileSystem {
    /// Whether a lookup of `name` is going to miss `directory`, its inode or the page that the name belongs to, and did so lately.
    pub(crate) async fn misses(&self, directory: FileId, name: &[u8]) -> Missed {
        if self.node().is_here(keys::inode(directory)) && self.leaf_is_here(directory, name).await {
            return Missed::Nothing;
        }
        let mut lately = self.0.lately.lock();
        if lately.contains(&keys::dentry(directory, name)) {
            return Missed::Again;
        }
        if lately.len() >= LATELY {
            lately.clear();
        }
        lately.insert(keys::dentry(directory, name));
        Missed::Once
    }

    async fn leaf_is_here(&self, directory: FileId, name: &[u8]) -> bool {
        let mut page = FIRST_PAGE;
        loop {
            let (object, id) = (keys::directory_page(directory, page), page_id(directory, page));
            if !self.node().is_here(object) {
                return false;
            }
            match self.node().get(object).await.map(|bytes| directory::is_split(&bytes, id)) {
                Ok(Ok(true)) => page = Key::of_name(name).child_of(id),
                // What is wrong is told when it is looked at.
                _ => return true,
            }
        }
    }

    /// What `name` names, as far as that is remembered; and that the caller may know.
    pub(crate) async fn recall(
        &self,
        caller: &Caller,
        directory: FileId,
        name: &[u8],
        access: Access,
    ) -> Result<Option<Option<Found>>> {
        if name.len() > LONGEST {
            return Ok(None);
        }
        let Some(gate) = self.existing(keys::gate(directory)).await? else { return Ok(None) };
        let epoch = epoch_of(&gate);
        if epoch == 0 {
            return Ok(None);
        }
        check(caller, &behind_gate(directory, &gate), access)?;
        // With the gate: while it is held nobody closes it.
        let Some(bytes) = self.existing(keys::dentry(directory, name)).await? else { return Ok(None) };
        Ok(recall(epoch, name, &bytes))
    }

    async fn existing(&self, key: ObjectKey) -> Result<Option<kddm_rdma::Shared>> {
        match self.node().get_with(key, EXISTING).await {
            Ok(hold) => Ok(Some(hold)),
            Err(OpError::Absent) => Ok(None),
            Err(error) => Err(on(key)(error)),
        }
    }

    /// Remembers what `name` names. The caller holds the directory's `inode`, shared. Only a help: what goes wrong is left.
    pub(crate) async fn remember(&self, directory: FileId, inode: &Inode, name: &[u8], now: Option<Found>) {
        let Some(epoch) = self.open_gate(directory, inode).await else { return };
        let Some(record) = remembered(epoch, name, now) else { return };
        if let Ok(mut hold) = self.node().grab(keys::dentry(directory, name)).await {
            hold.copy_from_slice(&record);
        }
    }

    /// The epoch of the directory's gate, which is opened if it was closed.
    async fn open_gate(&self, directory: FileId, inode: &Inode) -> Option<u64> {
        let key = keys::gate(directory);
        // As a rule it is open, and here.
        let open = epoch_of(&self.node().get(key).await.ok()?);
        if open != 0 {
            return Some(open);
        }
        let mut gate = self.node().grab(key).await.ok()?;
        if epoch_of(&gate) == 0 {
            // Random: no other time of being open has it.
            gate.copy_from_slice(&gate_record(self.node().host().random() | 1, inode));
        }
        Some(epoch_of(&gate))
    }

    /// Closes the gate of a directory; what comes back is put when the change that it is closed for is made. The caller holds the
    /// inode exclusively.
    pub(crate) async fn close_gate(&self, directory: FileId) -> Result<Option<Exclusive>> {
        let mut gate = self.gate(directory).await?;
        if let Some(gate) = &mut gate {
            gate.copy_from_slice(&NOTHING);
        }
        Ok(gate)
    }

    /// The gate of a directory, to be closed; `None` if nobody has seen it.
    pub(crate) async fn gate(&self, directory: FileId) -> Result<Option<Exclusive>> {
        self.remembering(keys::gate(directory)).await
    }

    /// An object of the set, to be changed; `None` if nobody remembers anything there.
    async fn remembering(&self, key: ObjectKey) -> Result<Option<Exclusive>> {
        match self.node().grab_with(key, EXISTING).await {
            Ok(hold) => Ok(Some(hold)),
            Err(OpError::Absent) => Ok(None),
            Err(error) => Err(on(key)(error)),
        }
    }

    /// The objects that remember changed names, and what they are to say, in their order. The caller holds the directories' inodes exclusively.
    pub(crate) async fn follow(&self, changed: &[Changed]) -> Result<Vec<(Exclusive, Record)>> {
        let mut records = BTreeMap::new();
        for Changed { directory, name, now } in changed {
            // A copy of a closed gate stays here, and is a hit next time.
            let gate = keys::gate(*directory);
            let epoch = epoch_of(&self.node().get(gate).await.map_err(on(gate))?);
            if epoch != 0
                && let Some(record) = remembered(epoch, name, *now)
            {
                records.insert(keys::dentry(*directory, name), record);
            }
        }
        let mut holds = Vec::new();
        for (key, record) in records {
            if let Some(hold) = self.remembering(key).await? {
                holds.push((hold, record));
            }
        }
        Ok(holds)
    }
}

/// The names for which directories were missed lately.
pub(crate) type Lately = parking_lot::Mutex<BTreeSet<ObjectKey>>;

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: FileId = FileId { inode: 0x0100_0005, generation: 7 };

    #[test]
    fn what_is_remembered_comes_back_for_its_name_and_epoch_alone() {
        let found = Found { key: Key::of_name(b"name"), file: FILE, file_type: FileType::Symlink };
        for now in [None, Some(found)] {
            let record = remembered(9, b"name", now).unwrap();
            assert_eq!(recall(9, b"name", &record), Some(now));
            assert_eq!(recall(8, b"name", &record), None);
            assert_eq!(recall(9, b"nam", &record), None);
            assert_eq!(recall(9, b"names", &record), None);
        }
        assert_eq!(recall(9, b"name", &[0; 256]), None);
        assert!(remembered(9, &[b'x'; LONGEST], None).is_some());
        assert_eq!(remembered(9, &[b'x'; LONGEST + 1], None), None);
    }

    #[test]
    fn bytes_that_nobody_wrote_do_no_harm() {
        let mut record = [0xff; 256];
        assert_eq!(recall(u64::MAX, b"name", &record), None);
        record[LENGTH] = 4;
        record[NAME..NAME + 4].copy_from_slice(b"name");
        assert_eq!(recall(u64::MAX, b"name", &record), None, "no such key, no such type");
    }

    #[test]
    fn a_gate_says_who_may_search() {
        let mut inode = Inode::new(FILE.inode, FILE.generation, 0o040_750, Timestamp::new(1, 2));
        (inode.uid, inode.gid) = (1000.into(), 100.into());
        let gate = gate_record(77, &inode);
        assert_eq!(epoch_of(&gate), 77);
        let behind = behind_gate(FILE, &gate);
        assert_eq!((behind.mode, behind.uid, behind.gid), (inode.mode, inode.uid, inode.gid));
        assert!(behind.is_directory());
    }
}
