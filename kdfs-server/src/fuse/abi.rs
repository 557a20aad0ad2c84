//! The kernel's side of the contract: `include/uapi/linux/fuse.h`, protocol 7.
//!
//! Structures as the kernel lays them out, in the machine's byte order, with their sizes asserted.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The protocol's major version.
pub const MAJOR: u32 = 7;
/// The newest minor version whose meaning this code knows.
pub const MINOR: u32 = 38;
/// The node id of the mounted root.
pub const ROOT_ID: u64 = 1;

macro_rules! layout {
    ($(#[$doc:meta])* $name:ident, $size:literal { $($field:ident: $type:ty),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
        #[repr(C)]
        #[allow(missing_docs)] // the kernel's header says what the fields are
        pub struct $name { $(pub $field: $type),+ }
        const _: () = assert!(size_of::<$name>() == $size);
    };
}

layout!(/// Begins every request.
InHeader, 40 { len: u32, opcode: u32, unique: u64, nodeid: u64, uid: u32, gid: u32, pid: u32, extensions: u32 });
layout!(/// Begins every answer.
OutHeader, 16 { len: u32, error: i32, unique: u64 });
layout!(/// The kernel introduces itself; kernels before 5.17 send the first 16 bytes.
InitIn, 16 { major: u32, minor: u32, max_readahead: u32, flags: u32 });
layout!(/// The server's part of the introduction.
InitOut, 64 {
    major: u32, minor: u32, max_readahead: u32, flags: u32, max_background: u16, congestion_threshold: u16,
    max_write: u32, time_gran: u32, max_pages: u16, map_alignment: u16, flags2: u32, unused: [u32; 7],
});
layout!(/// A file's attributes.
Attr, 88 {
    ino: u64, size: u64, blocks: u64, atime: i64, mtime: i64, ctime: i64, atimensec: u32, mtimensec: u32,
    ctimensec: u32, mode: u32, nlink: u32, uid: u32, gid: u32, rdev: u32, blksize: u32, flags: u32,
});
layout!(/// Answers LOOKUP and what creates a name.
EntryOut, 128 {
    nodeid: u64, generation: u64, entry_valid: u64, attr_valid: u64, entry_valid_nsec: u32, attr_valid_nsec: u32,
    attr: Attr,
});
layout!(/// Answers GETATTR and SETATTR.
AttrOut, 104 { attr_valid: u64, attr_valid_nsec: u32, dummy: u32, attr: Attr });
layout!(/// Answers OPEN and OPENDIR.
OpenOut, 16 { fh: u64, open_flags: u32, backing_id: i32 });
layout!(/// Answers WRITE.
WriteOut, 8 { size: u32, padding: u32 });
layout!(/// Answers STATFS.
StatfsOut, 80 {
    blocks: u64, bfree: u64, bavail: u64, files: u64, ffree: u64, bsize: u32, namelen: u32, frsize: u32,
    padding: u32, spare: [u32; 6],
});
layout!(/// SETATTR.
SetattrIn, 88 {
    valid: u32, padding: u32, fh: u64, size: u64, lock_owner: u64, atime: i64, mtime: i64, ctime: i64,
    atimensec: u32, mtimensec: u32, ctimensec: u32, mode: u32, unused4: u32, uid: u32, gid: u32, unused5: u32,
});
layout!(/// MKNOD.
MknodIn, 16 { mode: u32, rdev: u32, umask: u32, padding: u32 });
layout!(/// MKDIR.
MkdirIn, 8 { mode: u32, umask: u32 });
layout!(/// RENAME.
RenameIn, 8 { newdir: u64 });
layout!(/// RENAME2.
Rename2In, 16 { newdir: u64, flags: u32, padding: u32 });
layout!(/// LINK.
LinkIn, 8 { oldnodeid: u64 });
layout!(/// OPEN and OPENDIR.
OpenIn, 8 { flags: u32, open_flags: u32 });
layout!(/// CREATE.
CreateIn, 16 { flags: u32, mode: u32, umask: u32, open_flags: u32 });
layout!(/// RELEASE and RELEASEDIR.
ReleaseIn, 24 { fh: u64, flags: u32, release_flags: u32, lock_owner: u64 });
layout!(/// READ, READDIR and READDIRPLUS.
ReadIn, 40 { fh: u64, offset: u64, size: u32, read_flags: u32, lock_owner: u64, flags: u32, padding: u32 });
layout!(/// WRITE, before its bytes.
WriteIn, 40 { fh: u64, offset: u64, size: u32, write_flags: u32, lock_owner: u64, flags: u32, padding: u32 });
layout!(/// GETLK, SETLK and SETLKW.
LkIn, 48 { fh: u64, owner: u64, start: u64, end: u64, kind: u32, pid: u32, lk_flags: u32, padding: u32 });
layout!(/// INTERRUPT.
InterruptIn, 8 { unique: u64 });
layout!(/// A directory entry, before its name.
Dirent, 24 { ino: u64, off: u64, namelen: u32, kind: u32 });

/// What a request asks for.
#[allow(missing_docs)] // the kernel's names
pub mod opcode {
    pub const LOOKUP: u32 = 1;
    pub const FORGET: u32 = 2;
    pub const GETATTR: u32 = 3;
    pub const SETATTR: u32 = 4;
    pub const READLINK: u32 = 5;
    pub const SYMLINK: u32 = 6;
    pub const MKNOD: u32 = 8;
    pub const MKDIR: u32 = 9;
    pub const UNLINK: u32 = 10;
    pub const RMDIR: u32 = 11;
    pub const RENAME: u32 = 12;
    pub const LINK: u32 = 13;
    pub const OPEN: u32 = 14;
    pub const READ: u32 = 15;
    pub const WRITE: u32 = 16;
    pub const STATFS: u32 = 17;
    pub const RELEASE: u32 = 18;
    pub const FSYNC: u32 = 20;
    pub const INIT: u32 = 26;
    pub const OPENDIR: u32 = 27;
    pub const READDIR: u32 = 28;
    pub const RELEASEDIR: u32 = 29;
    pub const FSYNCDIR: u32 = 30;
    pub const GETLK: u32 = 31;
    pub const SETLK: u32 = 32;
    pub const SETLKW: u32 = 33;
    pub const CREATE: u32 = 35;
    pub const INTERRUPT: u32 = 36;
    pub const DESTROY: u32 = 38;
    pub const BATCH_FORGET: u32 = 42;
    pub const READDIRPLUS: u32 = 44;
    pub const RENAME2: u32 = 45;
}

/// Flags of INIT.
#[allow(missing_docs)] // the kernel's names
pub mod init {
    pub const ASYNC_READ: u64 = 1 << 0;
    pub const POSIX_LOCKS: u64 = 1 << 1;
    pub const BIG_WRITES: u64 = 1 << 5;
    pub const FLOCK_LOCKS: u64 = 1 << 10;
    pub const DO_READDIRPLUS: u64 = 1 << 13;
    pub const READDIRPLUS_AUTO: u64 = 1 << 14;
    pub const PARALLEL_DIROPS: u64 = 1 << 18;
    pub const MAX_PAGES: u64 = 1 << 22;
    pub const EXPLICIT_INVAL_DATA: u64 = 1 << 25;
    pub const INIT_EXT: u64 = 1 << 30;
    pub const DIRECT_IO_ALLOW_MMAP: u64 = 1 << 36;
}

/// Which attributes SETATTR sets.
#[allow(missing_docs)] // the kernel's names
pub mod fattr {
    pub const MODE: u32 = 1 << 0;
    pub const UID: u32 = 1 << 1;
    pub const GID: u32 = 1 << 2;
    pub const SIZE: u32 = 1 << 3;
    pub const ATIME: u32 = 1 << 4;
    pub const MTIME: u32 = 1 << 5;
    pub const FH: u32 = 1 << 6;
    pub const ATIME_NOW: u32 = 1 << 7;
    pub const MTIME_NOW: u32 = 1 << 8;
}

/// Answer flag of OPEN: read(2) and write(2) go to the server, past the kernel's page cache.
pub const OPEN_DIRECT_IO: u32 = 1 << 0;
/// WRITE flag: written back from a mapping; who wrote it is unknown.
pub const WRITE_CACHE: u32 = 1 << 0;
/// WRITE flag: the writer has no right to keep set-user-id and set-group-id bits.
pub const WRITE_KILL_SUIDGID: u32 = 1 << 2;
/// `F_UNLCK` as the kernel sends it.
pub const UNLOCK: u32 = 2;
