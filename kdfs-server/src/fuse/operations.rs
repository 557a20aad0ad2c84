//! The kernel's requests as operations of the file system.

use super::{
    abi::{self, Attr, Dirent, EntryOut, SetattrIn, StatfsOut, WriteOut, fattr},
    answer::{self, Answer, file_of, node_id},
    handles::Handles,
    pending::groups_of,
};
use crate::counted::Requests;
use kdfs_fs::{
    Access, Attributes, Caller, Changes, DirectoryEntry, Errno, FileId, FileSystem, RenameMode, SetTime,
    Timestamp,
};
use nix::libc;
use std::sync::Arc;
use zerocopy::IntoBytes;

type Answered = Result<Answer, Errno>;

/// Flag of open(2) inside the kernel: the file is to be executed.
const OPEN_EXEC: u32 = 0x20;

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Who {
    pub uid: u32,
    pub gid: u32,
    pub pid: u32,
}

impl Who {
    /// Without the supplementary groups, which are seldom needed and slow to find.
    fn caller(self) -> Caller {
        Caller { uid: self.uid, gid: self.gid, groups: Vec::new() }
    }

    /// With all groups.
    fn in_groups(self) -> Caller {
        Caller { groups: groups_of(self.pid), ..self.caller() }
    }
}

/// Does it for the bare caller, and again with all groups if that was refused. The kernel has checked permissions by
/// what it last saw; the file system checks by what is so.
macro_rules! as_caller {
    ($who:expr, |$caller:ident| $operation:expr) => {{
        let $caller = &$who.caller();
        match $operation.await {
            Err(Errno::EACCES | Errno::EPERM) if $who.uid != 0 => {
                let $caller = &$who.in_groups();
                $operation.await
            }
            result => result,
        }
    }};
}

/// The name space for one mount, and what that mount has open.
pub struct Operations {
    fs: FileSystem,
    open: Handles<FileId>,
    figures: Arc<Requests>,
}

impl Operations {
    /// Operations of a new mount.
    pub fn new(fs: FileSystem, figures: Arc<Requests>) -> Operations {
        Operations { fs, open: Handles::default(), figures }
    }

    /// Where its requests are counted.
    pub fn figures(&self) -> &Requests {
        &self.figures
    }

    fn file(&self, node: u64) -> FileId {
        file_of(self.fs.root(), node)
    }

    fn entry(&self, attributes: &Attributes) -> Answer {
        Answer::entry(self.fs.root(), attributes)
    }

    pub async fn lookup(&self, who: Who, parent: u64, name: &[u8]) -> Answered {
        let parent = self.file(parent);
        let found = as_caller!(who, |caller| self.fs.lookup(caller, parent, name))?;
        Ok(self.entry(&found))
    }

    pub async fn getattr(&self, node: u64) -> Answered {
        Ok(Answer::attributes(&self.fs.getattr(self.file(node)).await?))
    }

    pub async fn setattr(&self, who: Who, node: u64, args: SetattrIn) -> Answered {
        let (file, changes) = (self.file(node), changes(&args));
        let after = as_caller!(who, |caller| self.fs.setattr(caller, file, changes))?;
        Ok(Answer::attributes(&after))
    }

    pub async fn readlink(&self, node: u64) -> Answered {
        Ok(Answer::Bytes(self.fs.readlink(self.file(node)).await?))
    }

    pub async fn symlink(&self, who: Who, parent: u64, name: &[u8], target: &[u8]) -> Answered {
        let parent = self.file(parent);
        let made = as_caller!(who, |caller| self.fs.symlink(caller, parent, name, target))?;
        Ok(self.entry(&made))
    }

    pub async fn mknod(&self, who: Who, parent: u64, name: &[u8], mode: u32, rdev: u32) -> Answered {
        let (parent, caller) = (self.file(parent), creator(who, mode));
        // The kernel let only those make devices who may; here that is a matter of the user alone.
        let made = match self.fs.mknod(&caller, parent, name, mode, rdev.into()).await {
            Err(Errno::EACCES) if who.uid != 0 => {
                self.fs.mknod(&who.in_groups(), parent, name, mode, rdev.into()).await
            }
            result => result,
        };
        Ok(self.entry(&made?))
    }

    pub async fn mkdir(&self, who: Who, parent: u64, name: &[u8], mode: u32) -> Answered {
        let parent = self.file(parent);
        let made = as_caller!(who, |caller| self.fs.mkdir(caller, parent, name, mode))?;
        Ok(self.entry(&made))
    }

    pub async fn unlink(&self, who: Who, parent: u64, name: &[u8]) -> Answered {
        let parent = self.file(parent);
        as_caller!(who, |caller| self.fs.unlink(caller, parent, name))?;
        Ok(Answer::Empty)
    }

    pub async fn rmdir(&self, who: Who, parent: u64, name: &[u8]) -> Answered {
        let parent = self.file(parent);
        as_caller!(who, |caller| self.fs.rmdir(caller, parent, name))?;
        Ok(Answer::Empty)
    }

    pub async fn rename(&self, who: Who, from: (u64, &[u8]), to: (u64, &[u8]), flags: u32) -> Answered {
        let mode = match flags {
            0 => RenameMode::Replace,
            libc::RENAME_NOREPLACE => RenameMode::NoReplace,
            libc::RENAME_EXCHANGE => RenameMode::Exchange,
            _ => return Err(Errno::EINVAL),
        };
        let (from, to) = ((self.file(from.0), from.1), (self.file(to.0), to.1));
        as_caller!(who, |caller| self.fs.rename(caller, from, to, mode))?;
        Ok(Answer::Empty)
    }

    pub async fn link(&self, who: Who, node: u64, parent: u64, name: &[u8]) -> Answered {
        let (file, parent) = (self.file(node), self.file(parent));
        let linked = as_caller!(who, |caller| self.fs.link(caller, file, parent, name))?;
        Ok(self.entry(&linked))
    }

    pub async fn open(&self, who: Who, node: u64, flags: u32) -> Answered {
        let file = self.file(node);
        as_caller!(who, |caller| self.fs.open(caller, file, access(flags)))?;
        Ok(Answer::opened(self.open.insert(file), true))
    }

    pub async fn create(&self, who: Who, parent: u64, name: &[u8], mode: u32, flags: u32) -> Answered {
        let (parent, access) = (self.file(parent), access(flags));
        let exclusive = flags & libc::O_EXCL as u32 != 0;
        let mut caller = creator(who, mode);
        let mut made = self.fs.create(&caller, parent, name, mode, access, exclusive).await;
        if matches!(made, Err(Errno::EACCES | Errno::EPERM)) && who.uid != 0 {
            caller = who.in_groups();
            made = self.fs.create(&caller, parent, name, mode, access, exclusive).await;
        }
        let (attributes, _) = made?;
        Ok(Answer::created(self.fs.root(), &attributes, self.open.insert(attributes.file)))
    }

    pub async fn read(&self, args: abi::ReadIn) -> Answered {
        let file = self.opened(args.fh)?;
        let mut bytes = vec![0; args.size as usize];
        let length = self.fs.read(file, args.offset, &mut bytes).await?;
        bytes.truncate(length);
        Ok(Answer::Bytes(bytes))
    }

    pub async fn write(&self, uid: u32, args: abi::WriteIn, bytes: &[u8]) -> Answered {
        let file = self.opened(args.fh)?;
        // Whether set-id bits go is the kernel's to say: it depends on capabilities.
        let kills = args.write_flags & abi::WRITE_KILL_SUIDGID != 0;
        let caller = if kills { Caller { uid: uid.max(1), ..Caller::ROOT } } else { Caller::ROOT };
        // The kernel's offset of an append is the end of the file as it last saw it. A page written back from a
        // mapping has its true offset.
        let mapped = args.write_flags & abi::WRITE_CACHE != 0;
        let written = if args.flags & libc::O_APPEND as u32 != 0 && !mapped {
            self.fs.append(&caller, file, bytes).await?.1
        } else {
            self.fs.write(&caller, file, args.offset, bytes).await?
        };
        Ok(Answer::of(&WriteOut { size: written as u32, padding: 0 }))
    }

    /// The file behind the kernel's number for an open.
    fn opened(&self, handle: u64) -> Result<FileId, Errno> {
        self.open.get(handle).map(|file| *file).ok_or(Errno::EBADF)
    }

    pub fn release(&self, handle: u64) -> Answered {
        if let Some(file) = self.open.remove(handle) {
            self.fs.release(*file);
        }
        Ok(Answer::Empty)
    }

    /// Closes everything that the mount has open.
    pub fn release_all(&self) {
        for file in self.open.drain() {
            self.fs.release(*file);
        }
    }

    pub async fn fsync(&self, node: u64) -> Answered {
        self.fs.fsync(self.file(node)).await?;
        Ok(Answer::Empty)
    }

    /// Directories need no handle: a cookie is good for ever.
    pub async fn opendir(&self, who: Who, node: u64) -> Answered {
        let file = self.file(node);
        as_caller!(who, |caller| self.fs.open(caller, file, Access::READ))?;
        Ok(Answer::opened(self.open.insert(file), false))
    }

    pub async fn readdir(&self, node: u64, args: abi::ReadIn) -> Answered {
        let room = args.size as usize;
        let entries = self.fs.readdir(self.file(node), args.offset, 1 + room / 32).await?;
        let mut bytes = Vec::with_capacity(room);
        for entry in entries {
            if !push(&mut bytes, room, &[], &entry) {
                break;
            }
        }
        Ok(Answer::Bytes(bytes))
    }

    pub async fn readdirplus(&self, node: u64, args: abi::ReadIn) -> Answered {
        let (room, root) = (args.size as usize, self.fs.root());
        let entries = self.fs.readdir_plus(self.file(node), args.offset, 1 + room / 176).await?;
        let mut bytes = Vec::with_capacity(room);
        for entry in entries {
            let dots = entry.name == b"." || entry.name == b"..";
            let plus = match &entry.attributes {
                Some(attributes) if !dots => answer::entry(root, attributes),
                // Node id 0: only the name is told.
                _ => EntryOut {
                    attr: Attr { ino: entry.file.inode.into(), ..Attr::default() },
                    ..EntryOut::default()
                },
            };
            debug_assert!(plus.nodeid == 0 || plus.nodeid == node_id(root, entry.file));
            if !push(&mut bytes, room, plus.as_bytes(), &entry) {
                break;
            }
        }
        Ok(Answer::Bytes(bytes))
    }

    pub async fn statfs(&self) -> Answered {
        const BLOCK: u64 = 4096;
        let space = self.fs.statfs().await?;
        Ok(Answer::of(&StatfsOut {
            blocks: space.total / BLOCK,
            bfree: space.free / BLOCK,
            bavail: space.available / BLOCK,
            files: space.files,
            ffree: space.files_free,
            bsize: BLOCK as u32,
            namelen: 255,
            frsize: BLOCK as u32,
            ..StatfsOut::default()
        }))
    }

    /// Nothing is ever locked, so everything can be unlocked.
    pub fn lock(args: abi::LkIn) -> Answered {
        if args.kind == abi::UNLOCK { Ok(Answer::Empty) } else { Err(Errno::ENOLCK) }
    }
}

/// Whether a new file's set-group-id bit stays depends on the creator's groups.
fn creator(who: Who, mode: u32) -> Caller {
    if mode & libc::S_ISGID != 0 && who.uid != 0 { who.in_groups() } else { who.caller() }
}

fn access(flags: u32) -> Access {
    if flags & OPEN_EXEC != 0 { Access::EXECUTE } else { Access::of_open_flags(flags as i32) }
}

fn changes(args: &SetattrIn) -> Changes {
    let sets = |flag: u32| args.valid & flag != 0;
    let time = |flag, now, seconds, nanoseconds| match (sets(flag), sets(now)) {
        (false, _) => None,
        (true, true) => Some(SetTime::Now),
        (true, false) => Some(SetTime::At(Timestamp::new(seconds, nanoseconds))),
    };
    // With a size or an owner, a mode only says what the kernel thinks is left without set-id bits. Those who change
    // size or owner need not own the file; the file system takes the bits away by itself.
    let chmod = sets(fattr::MODE) && !sets(fattr::SIZE | fattr::UID | fattr::GID);
    Changes {
        permissions: chmod.then_some(args.mode & 0o7777),
        uid: sets(fattr::UID).then_some(args.uid),
        gid: sets(fattr::GID).then_some(args.gid),
        size: sets(fattr::SIZE).then_some(args.size),
        opened: sets(fattr::FH),
        atime: time(fattr::ATIME, fattr::ATIME_NOW, args.atime, args.atimensec),
        mtime: time(fattr::MTIME, fattr::MTIME_NOW, args.mtime, args.mtimensec),
    }
}

/// Appends an entry; false, and nothing appended, if it does not fit into `room`.
fn push(bytes: &mut Vec<u8>, room: usize, before: &[u8], entry: &DirectoryEntry) -> bool {
    let head = Dirent {
        ino: entry.file.inode.into(),
        off: entry.cookie,
        namelen: entry.name.len() as u32,
        kind: entry.file_type.entry_byte().into(),
    };
    let length = before.len() + size_of::<Dirent>() + entry.name.len();
    let padded = length.next_multiple_of(8);
    if bytes.len() + padded > room {
        return false;
    }
    bytes.extend_from_slice(before);
    bytes.extend_from_slice(head.as_bytes());
    bytes.extend_from_slice(&entry.name);
    bytes.resize(bytes.len() + padded - length, 0);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_that_comes_with_a_size_is_no_chmod() {
        let args =
            SetattrIn { valid: fattr::SIZE | fattr::MODE, size: 7, mode: 0o644, ..SetattrIn::default() };
        let changed = changes(&args);
        assert_eq!((changed.size, changed.permissions), (Some(7), None));
        let args = SetattrIn { valid: fattr::MODE, mode: 0o104_755, ..SetattrIn::default() };
        assert_eq!(changes(&args).permissions, Some(0o4755));
    }

    #[test]
    fn entries_are_padded_and_never_cut() {
        let file = FileId { inode: 0x0100_0002, generation: 1 };
        let file_type = kdfs_fs::FileType::Regular;
        let entry = DirectoryEntry { cookie: 9, file, file_type, name: b"abc".to_vec(), attributes: None };
        let mut bytes = Vec::new();
        assert!(push(&mut bytes, 64, &[], &entry) && push(&mut bytes, 64, &[], &entry));
        assert_eq!(bytes.len(), 64);
        assert!(!push(&mut bytes, 95, &[], &entry));
        assert_eq!(&bytes[24..32], b"abc\0\0\0\0\0");
    }
}
