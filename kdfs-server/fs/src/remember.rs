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

use crate::entries::Found;
use crate::error::on;
use crate::hold::EXISTING;
use crate::permission::{Access, Caller, check};
use crate::{FileId, FileSystem, FileType, Result, keys};
use kddm_rdma::{Exclusive, ObjectKey, OpError, Shared};
use kdfs_format::directory::Key;
use kdfs_format::{Inode, Timestamp, sets::DENTRY_SIZE};
use std::collections::{BTreeMap, BTreeSet};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Names of which a node knows that it has fetched their directories for them lately.
const LATELY: usize = 4096;

/// Longer names are not remembered.
const LONGEST: usize = 230;

/// The names for which directories were missed lately.
pub(crate) type Lately = parking_lot::Mutex<BTreeSet<ObjectKey>>;

/// The bytes of an object of the set; zeros say nothing.
type Record = [u8; DENTRY_SIZE as usize];

/// Who may search a directory, and whether names in it are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Gate {
    /// 0: it is closed.
    epoch: U64,
    mode: U32,
    owner: U32,
    group: U32,
    unused: [u8; 236],
}

/// What a name names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Name {
    /// The gate's, when this was written.
    epoch: U64,
    /// The entry's; 0: the name names nothing.
    key: U64,
    inode: U32,
    generation: U32,
    file_type: u8,
    length: u8,
    name: [u8; LONGEST],
}

const _: () = assert!(size_of::<Gate>() == size_of::<Record>() && size_of::<Name>() == size_of::<Record>());

/// A name that a transaction has changed, and what it names then.
pub(crate) struct Changed {
    pub(crate) directory: FileId,
    pub(crate) name: Vec<u8>,
    pub(crate) now: Option<Found>,
}

impl Gate {
    fn open(epoch: u64, directory: &Inode) -> Gate {
        let (mode, owner, group) = (directory.mode, directory.uid, directory.gid);
        Gate { epoch: epoch.into(), mode, owner, group, unused: [0; 236] }
    }

    /// What a gate says; closed is also one that nobody has written.
    fn of(bytes: &[u8]) -> Gate {
        Gate::read_from_bytes(bytes).unwrap_or_else(|_| Gate::new_zeroed())
    }

    fn epoch(&self) -> Option<u64> {
        Some(self.epoch.get()).filter(|epoch| *epoch != 0)
    }

    /// As much of the directory's inode as permissions depend on.
    fn inode(&self, directory: FileId) -> Inode {
        let mode = self.mode.get();
        let mut inode = Inode::new(directory.inode, directory.generation, mode, Timestamp::default());
        (inode.uid, inode.gid) = (self.owner, self.group);
        inode
    }
}

impl Name {
    /// What `name` names; `None` for one that is too long.
    fn new(epoch: u64, name: &[u8], now: Option<Found>) -> Option<Name> {
        let mut remembered = Name::new_zeroed();
        remembered.epoch = epoch.into();
        remembered.name.get_mut(..name.len())?.copy_from_slice(name);
        remembered.length = name.len() as u8; // at most LONGEST
        if let Some(Found { key, file, file_type }) = now {
            remembered.key = key.number().into();
            (remembered.inode, remembered.generation) = (file.inode.into(), file.generation.into());
            remembered.file_type = file_type.entry_byte();
        }
        Some(remembered)
    }

    /// What was remembered of `name` in that epoch; `None` if nothing was, or of another name.
    fn recall(bytes: &[u8], epoch: u64, name: &[u8]) -> Option<Option<Found>> {
        let remembered = Name::ref_from_bytes(bytes).ok()?;
        if remembered.epoch != epoch || remembered.name.get(..remembered.length.into())? != name {
            return None;
        }
        if remembered.key == 0 {
            return Some(None);
        }
        let key = Key::from_number(remembered.key.get())?;
        let file = FileId { inode: remembered.inode.get(), generation: remembered.generation.get() };
        let file_type = FileType::of_entry_byte(remembered.file_type)?;
        Some(Some(Found { key, file, file_type }))
    }
}

impl FileSystem {
    /// Whether the directory was missed for `name` lately, as it is now.
    pub(crate) fn missed_lately(&self, directory: FileId, name: &[u8]) -> bool {
        let mut lately = self.0.lately.lock();
        if lately.len() >= LATELY {
            lately.clear();
        }
        !lately.insert(keys::dentry(directory, name))
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
        let Some(hold) = self.existing(keys::gate(directory)).await? else { return Ok(None) };
        let gate = Gate::of(&hold);
        let Some(epoch) = gate.epoch() else { return Ok(None) };
        check(caller, &gate.inode(directory), access)?;
        // While the gate is held nobody closes it.
        let remembered = self.existing(keys::dentry(directory, name)).await?;
        Ok(remembered.and_then(|bytes| Name::recall(&bytes, epoch, name)))
    }

    /// Remembers what `name` names. The caller holds the directory's `inode`, shared. Only a help: what goes wrong is left.
    pub(crate) async fn remember(&self, directory: FileId, inode: &Inode, name: &[u8], now: Option<Found>) {
        if name.len() > LONGEST {
            return;
        }
        let Some(epoch) = self.open_gate(directory, inode).await else { return };
        let Some(remembered) = Name::new(epoch, name, now) else { return };
        if let Ok(mut hold) = self.node().grab(keys::dentry(directory, name)).await {
            hold.copy_from_slice(remembered.as_bytes());
        }
    }

    /// The epoch of the directory's gate, which is opened if it was closed.
    async fn open_gate(&self, directory: FileId, inode: &Inode) -> Option<u64> {
        let key = keys::gate(directory);
        // As a rule it is open, and here.
        if let Some(epoch) = Gate::of(&self.node().get(key).await.ok()?).epoch() {
            return Some(epoch);
        }
        let mut hold = self.node().grab(key).await.ok()?;
        if let Some(epoch) = Gate::of(&hold).epoch() {
            return Some(epoch);
        }
        // Random: no other time of being open has it.
        let gate = Gate::open(self.node().host().random() | 1, inode);
        hold.copy_from_slice(gate.as_bytes());
        gate.epoch()
    }

    /// Closes the gate of a directory; what comes back is put when the change that it is closed for is made. The caller holds the
    /// inode exclusively.
    pub(crate) async fn close_gate(&self, directory: FileId) -> Result<Option<Exclusive>> {
        let mut gate = self.remembering(keys::gate(directory)).await?;
        if let Some(gate) = &mut gate {
            gate.fill(0);
        }
        Ok(gate)
    }

    /// The objects that remember names, in their order, and the gates of directories that are removed; and what each is to say. The
    /// caller holds the directories' inodes exclusively.
    pub(crate) async fn follow(
        &self,
        changed: &[Changed],
        removed: &[FileId],
    ) -> Result<Vec<(Exclusive, Record)>> {
        let mut records = BTreeMap::new();
        for Changed { directory, name, now } in changed {
            // A copy of a closed gate stays here, and is a hit next time.
            let gate = keys::gate(*directory);
            let epoch = Gate::of(&self.node().get(gate).await.map_err(on(gate))?).epoch();
            if let Some(remembered) = epoch.and_then(|epoch| Name::new(epoch, name, *now)) {
                records.insert(keys::dentry(*directory, name), zerocopy::transmute!(remembered));
            }
        }
        records.extend(removed.iter().map(|&directory| (keys::gate(directory), [0; DENTRY_SIZE as usize])));
        let mut holds = Vec::new();
        for (key, record) in records {
            holds.extend(self.remembering(key).await?.map(|hold| (hold, record)));
        }
        Ok(holds)
    }

    /// An object of the set, as it is; `None` if nobody remembers anything there.
    async fn existing(&self, key: ObjectKey) -> Result<Option<Shared>> {
        if_there(key, self.node().get_with(key, EXISTING).await)
    }

    /// The same, to be changed.
    async fn remembering(&self, key: ObjectKey) -> Result<Option<Exclusive>> {
        if_there(key, self.node().grab_with(key, EXISTING).await)
    }
}

fn if_there<T>(key: ObjectKey, held: std::result::Result<T, OpError>) -> Result<Option<T>> {
    match held {
        Ok(hold) => Ok(Some(hold)),
        Err(OpError::Absent) => Ok(None),
        Err(error) => Err(on(key)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: FileId = FileId { inode: 0x0100_0005, generation: 7 };

    fn remembered(epoch: u64, name: &[u8], now: Option<Found>) -> Record {
        zerocopy::transmute!(Name::new(epoch, name, now).unwrap())
    }

    #[test]
    fn what_is_remembered_comes_back_for_its_name_and_epoch_alone() {
        let found = Found { key: Key::of_name(b"name"), file: FILE, file_type: FileType::Symlink };
        for now in [None, Some(found)] {
            let record = remembered(9, b"name", now);
            assert_eq!(Name::recall(&record, 9, b"name"), Some(now));
            assert_eq!(Name::recall(&record, 8, b"name"), None);
            assert_eq!(Name::recall(&record, 9, b"nam"), None);
            assert_eq!(Name::recall(&record, 9, b"names"), None);
        }
        assert_eq!(Name::recall(&[0; 256], 9, b"name"), None);
        let long = [b'x'; LONGEST + 1];
        assert_eq!(Name::recall(&remembered(9, &long[1..], None), 9, &long[1..]), Some(None));
        assert_eq!(Name::new(9, &long, None), None);
    }

    #[test]
    fn bytes_that_nobody_wrote_do_no_harm() {
        let mut record = [0xff; 256];
        assert_eq!(Name::recall(&record, u64::MAX, b"name"), None);
        record[25] = 4;
        record[26..30].copy_from_slice(b"name");
        assert_eq!(Name::recall(&record, u64::MAX, b"name"), None, "no such key, no such type");
        assert_eq!(Name::recall(&record[1..], u64::MAX, b"name"), None);
        assert_eq!(Gate::of(&[0; 256]).epoch(), None);
    }

    #[test]
    fn a_gate_says_who_may_search() {
        let mut inode = Inode::new(FILE.inode, FILE.generation, 0o040_750, Timestamp::new(1, 2));
        (inode.uid, inode.gid) = (1000.into(), 100.into());
        let gate = Gate::of(Gate::open(77, &inode).as_bytes());
        assert_eq!(gate.epoch(), Some(77));
        let behind = gate.inode(FILE);
        assert_eq!((behind.mode, behind.uid, behind.gid), (inode.mode, inode.uid, inode.gid));
        assert!(behind.is_directory());
    }
}
