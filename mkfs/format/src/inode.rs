//! An inode: the content of an INODE object and, with its checksum filled in, of `.meta`.

use crate::layout::{assert_layout, not_zero};
use crate::{FormatError, directory::MAX_DEPTH, sets};
use std::time::Duration;
use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of an inode.
pub const INODE_SIZE: usize = 256;

const WHAT: &str = "inode";
const MAGIC: u32 = u32::from_le_bytes(*b"kDFi");
const VERSION: u16 = 1;

/// A moment: seconds and nanoseconds since 1970.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Timestamp {
    /// Whole seconds; before 1970 negative.
    pub seconds: I64,
    /// 0 to 999,999,999, always forwards.
    pub nanoseconds: U32,
}

impl Timestamp {
    /// A moment from its parts.
    pub fn new(seconds: i64, nanoseconds: u32) -> Timestamp {
        Timestamp { seconds: seconds.into(), nanoseconds: nanoseconds.into() }
    }

    /// (seconds, nanoseconds), for comparisons.
    pub fn parts(&self) -> (i64, u32) {
        (self.seconds.get(), self.nanoseconds.get())
    }
}

impl From<Duration> for Timestamp {
    /// A moment after 1970.
    fn from(since_1970: Duration) -> Timestamp {
        let seconds = i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX);
        Timestamp::new(seconds, since_1970.subsec_nanos())
    }
}

/// What an inode is: the file type bits of `mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum FileType {
    /// A named pipe.
    Fifo = 0o010000,
    /// A character device.
    CharDevice = 0o020000,
    /// A directory.
    Directory = 0o040000,
    /// A block device.
    BlockDevice = 0o060000,
    /// A regular file.
    Regular = 0o100000,
    /// A symbolic link.
    Symlink = 0o120000,
    /// A Unix socket.
    Socket = 0o140000,
}

/// The bits of `mode` that are the type.
const TYPE_BITS: u32 = 0o170000;

impl FileType {
    /// The type in `mode`; `None` if those bits are no type.
    pub fn of_mode(mode: u32) -> Option<FileType> {
        use FileType::*;
        [Fifo, CharDevice, Directory, BlockDevice, Regular, Symlink, Socket]
            .into_iter()
            .find(|&file_type| file_type as u32 == mode & TYPE_BITS)
    }

    /// The type as bits of `mode`.
    pub const fn bits(self) -> u32 {
        self as u32
    }

    /// The byte that directory entries carry (`DT_DIR`, …).
    pub const fn entry_byte(self) -> u8 {
        (self as u32 >> 12) as u8
    }

    /// The type of a directory entry's byte.
    pub fn of_entry_byte(byte: u8) -> Option<FileType> {
        FileType::of_mode(u32::from(byte) << 12).filter(|file_type| file_type.entry_byte() == byte)
    }
}

/// An inode whose magic number and version have been checked.
///
/// All fields are little-endian whatever the machine; the structure has alignment 1.
#[derive(Clone, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Inode {
    magic: U32,
    version: U16,
    /// Directory: depth of the deepest page of its tree; 0 = the root page alone.
    pub depth: u8,
    /// [`Inode::CLOSING`], and no other yet.
    pub flags: u8,
    checksum: U32,
    /// Its number: node << 24 | local id.
    pub inode: U32,
    /// Tells this life of the number from earlier ones (24 bits).
    pub generation: U32,
    /// File type and permissions, as in stat(2).
    pub mode: U32,
    /// Names (and, for a directory, `.` and its subdirectories' `..`). 0 = orphan: it goes at its last close.
    pub nlink: U32,
    /// Owner.
    pub uid: U32,
    /// Group.
    pub gid: U32,
    /// Directory: its parent's inode number; the root is its own.
    pub parent: U32,
    /// Directory: its parent's generation.
    pub parent_generation: U32,
    /// Files: pages from this one on have not been written since the last truncation before them, they are zeros.
    pub written_pages: U32,
    /// Device files: the device.
    pub rdev: U64,
    /// Bytes; of a symbolic link: of its target.
    pub size: U64,
    /// Units of 512 bytes that it occupies.
    pub blocks: U64,
    /// Directory: its entries, `.` and `..` not counted.
    pub entries: U64,
    /// Last access.
    pub atime: Timestamp,
    /// Last change of the bytes.
    pub mtime: Timestamp,
    /// Last change of the inode.
    pub ctime: Timestamp,
    /// Birth.
    pub btime: Timestamp,
    reserved: [u8; 128],
}

assert_layout!(Inode, INODE_SIZE, {
    magic: 0, version: 4, depth: 6, flags: 7, checksum: 8, inode: 12, generation: 16, mode: 20, nlink: 24,
    uid: 28, gid: 32, parent: 36, parent_generation: 40, written_pages: 44, rdev: 48, size: 56, blocks: 64,
    entries: 72, atime: 80, mtime: 92, ctime: 104, btime: 116, reserved: 128,
});

impl Inode {
    /// Flag of an orphan: nobody opens it any more, and it goes when those who have it open have closed it.
    pub const CLOSING: u8 = 1;

    /// A new inode with one link, everything else 0; a directory has two links.
    pub fn new(inode: u32, generation: u32, mode: u32, now: Timestamp) -> Inode {
        let links = if FileType::of_mode(mode) == Some(FileType::Directory) { 2 } else { 1 };
        Inode {
            magic: MAGIC.into(),
            version: VERSION.into(),
            depth: 0,
            flags: 0,
            checksum: 0.into(),
            inode: inode.into(),
            generation: (generation & sets::GENERATION_MASK).into(),
            mode: mode.into(),
            nlink: links.into(),
            uid: 0.into(),
            gid: 0.into(),
            parent: 0.into(),
            parent_generation: 0.into(),
            written_pages: 0.into(),
            rdev: 0.into(),
            size: 0.into(),
            blocks: 0.into(),
            entries: 0.into(),
            atime: now,
            mtime: now,
            ctime: now,
            btime: now,
            reserved: [0; 128],
        }
    }

    /// The root directory of a file system whose root node is `node`: mode 0755, its own parent.
    /// `None` if `node` is no node id.
    pub fn root(node: u8, now: Timestamp) -> Option<Inode> {
        let number = sets::inode_number(node, sets::ROOT_LOCAL_ID)?;
        let mode = FileType::Directory.bits() | 0o755;
        let mut root = Inode::new(number, sets::ROOT_GENERATION, mode, now);
        root.parent = root.inode;
        root.parent_generation = root.generation;
        Some(root)
    }

    /// The inode in the bytes of an INODE object.
    ///
    /// # Errors
    /// The length, magic number or version is not that of an inode (an object that nobody has filled).
    pub fn of(object: &[u8]) -> Result<&Inode, FormatError> {
        let found = object.len();
        let inode = Inode::ref_from_bytes(object).map_err(|_| wrong_length(found))?;
        inode.check_kind()?;
        Ok(inode)
    }

    /// The inode in the bytes of an INODE object, to be changed.
    ///
    /// # Errors
    /// As [`Inode::of`].
    pub fn of_mut(object: &mut [u8]) -> Result<&mut Inode, FormatError> {
        let found = object.len();
        let inode = Inode::mut_from_bytes(object).map_err(|_| wrong_length(found))?;
        inode.check_kind()?;
        Ok(inode)
    }

    /// The bytes of an object.
    pub fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }

    /// The bytes of `.meta`: with their checksum.
    pub fn sealed(&self) -> [u8; INODE_SIZE] {
        let mut copy = self.clone();
        copy.checksum = copy.compute_checksum().into();
        zerocopy::transmute!(copy)
    }

    /// What it is. [`UnverifiedInode::verify`] refuses modes that are nothing; in memory such an inode counts
    /// as a regular file.
    pub fn file_type(&self) -> FileType {
        FileType::of_mode(self.mode.get()).unwrap_or(FileType::Regular)
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.file_type() == FileType::Directory
    }

    /// The permission bits of `mode`, set-id and sticky bits included.
    pub fn permissions(&self) -> u32 {
        self.mode.get() & !TYPE_BITS
    }

    /// Replaces the permission bits, keeps the type.
    pub fn set_permissions(&mut self, permissions: u32) {
        self.mode = (self.mode.get() & TYPE_BITS | permissions & 0o7777).into();
    }

    fn check_kind(&self) -> Result<(), FormatError> {
        let found = self.magic.get();
        if found != MAGIC {
            return Err(FormatError::Magic { what: WHAT, expected: MAGIC.into(), found: found.into() });
        }
        let found = self.version.get();
        if found != VERSION {
            return Err(FormatError::Version { what: WHAT, found: found.into(), known: VERSION.into() });
        }
        Ok(())
    }

    fn compute_checksum(&self) -> u32 {
        let mut copy = self.clone();
        copy.checksum = 0.into();
        crc32fast::hash(copy.as_bytes())
    }
}

fn wrong_length(found: usize) -> FormatError {
    FormatError::Length { what: WHAT, expected: INODE_SIZE, found }
}

/// The bytes of a `.meta` file that nobody has checked.
#[derive(Clone, Debug)]
pub struct UnverifiedInode(Inode);

impl UnverifiedInode {
    /// Takes the bytes of a `.meta` file.
    ///
    /// # Errors
    /// They are not [`INODE_SIZE`] many.
    pub fn parse(bytes: &[u8]) -> Result<UnverifiedInode, FormatError> {
        Inode::read_from_bytes(bytes).map(UnverifiedInode).map_err(|_| wrong_length(bytes.len()))
    }

    /// The inode, if this is one, undamaged, and the one numbered `number`. Its checksum field is cleared, as
    /// it is in memory.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn verify(self, number: u32) -> Result<Inode, FormatError> {
        let mut inode = self.0;
        inode.check_kind()?;
        let (expected, found) = (inode.compute_checksum(), inode.checksum.get());
        if expected != found {
            return Err(FormatError::Checksum { what: WHAT, expected, found });
        }
        let field = |field, found| Err(FormatError::Field { what: WHAT, field, found });
        if inode.inode.get() != number {
            return field("its number", inode.inode.get().into());
        }
        if FileType::of_mode(inode.mode.get()).is_none() || inode.mode.get() & !(TYPE_BITS | 0o7777) != 0 {
            return field("mode", inode.mode.get().into());
        }
        if u32::from(inode.depth) > MAX_DEPTH {
            return field("depth", inode.depth.into());
        }
        let known = if inode.nlink.get() == 0 { Inode::CLOSING } else { 0 };
        if inode.flags & !known != 0 {
            return field("flags", inode.flags.into());
        }
        if inode.generation.get() > sets::GENERATION_MASK {
            return field("generation", inode.generation.get().into());
        }
        if inode.size.get() > sets::MAX_FILE_SIZE {
            return field("size", inode.size.get());
        }
        for time in [inode.atime, inode.mtime, inode.ctime, inode.btime] {
            if time.nanoseconds.get() >= 1_000_000_000 {
                return field("nanoseconds", time.nanoseconds.get().into());
            }
        }
        if let Some(found) = not_zero(&inode.reserved) {
            return field("reserved bytes", found);
        }
        inode.checksum = 0.into();
        Ok(inode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Inode {
        let mut inode = Inode::new(0x0100_0007, 9, FileType::Regular.bits() | 0o640, Timestamp::new(5, 6));
        inode.size = 12345.into();
        inode
    }

    #[test]
    fn sealed_bytes_come_back() {
        let inode = sample();
        let again = UnverifiedInode::parse(&inode.sealed()).unwrap().verify(0x0100_0007).unwrap();
        assert_eq!(again, inode);
        assert_eq!((again.file_type(), again.permissions()), (FileType::Regular, 0o640));
    }

    #[test]
    fn every_changed_bit_is_seen() {
        let sealed = sample().sealed();
        for bit in 0..INODE_SIZE * 8 {
            let mut bytes = sealed;
            bytes[bit / 8] ^= 1 << (bit % 8);
            let result = UnverifiedInode::parse(&bytes).unwrap().verify(0x0100_0007);
            assert!(result.is_err(), "bit {bit} was not seen");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let verify = |bytes: &[u8]| UnverifiedInode::parse(bytes).and_then(|inode| inode.verify(0x0100_0007));
        assert!(matches!(verify(&[0; 256]), Err(FormatError::Magic { .. })));
        assert!(matches!(verify(&[0; 255]), Err(FormatError::Length { found: 255, .. })));
        let other = Inode { version: 2.into(), ..sample() };
        assert!(matches!(verify(&other.sealed()), Err(FormatError::Version { found: 2, .. })));
        let elsewhere = Inode { inode: 0x0200_0007.into(), ..sample() };
        assert!(matches!(verify(&elsewhere.sealed()), Err(FormatError::Field { field: "its number", .. })));
        let named = |inode: Inode| match verify(&inode.sealed()) {
            Err(FormatError::Field { field, .. }) => field,
            other => panic!("{other:?}"),
        };
        assert_eq!(named(Inode { mode: 0o644.into(), ..sample() }), "mode");
        assert_eq!(named(Inode { mode: 0o1100644.into(), ..sample() }), "mode", "bits beyond the type");
        assert_eq!(named(Inode { depth: 32, ..sample() }), "depth");
        assert_eq!(named(Inode { flags: 2, nlink: 0.into(), ..sample() }), "flags");
        assert_eq!(named(Inode { flags: Inode::CLOSING, ..sample() }), "flags", "it has a name");
        let closing = Inode { flags: Inode::CLOSING, nlink: 0.into(), ..sample() };
        assert_eq!(verify(&closing.sealed()), Ok(closing));
        assert_eq!(named(Inode { reserved: [1; 128], ..sample() }), "reserved bytes");
    }

    #[test]
    fn an_unfilled_object_is_no_inode() {
        assert!(matches!(Inode::of(&[0; 256]), Err(FormatError::Magic { .. })));
        let mut object = sample().bytes().to_vec();
        Inode::of_mut(&mut object).unwrap().set_permissions(0o1777);
        assert_eq!(Inode::of(&object).unwrap().mode.get(), 0o101777);
    }

    #[test]
    fn the_root_is_its_own_parent() {
        let root = Inode::root(3, Timestamp::default()).unwrap();
        assert_eq!((root.inode.get(), root.parent.get(), root.nlink.get()), (0x0300_0001, 0x0300_0001, 2));
        assert!(root.is_directory() && root.permissions() == 0o755);
        assert!(Inode::root(255, Timestamp::default()).is_none());
    }

    #[test]
    fn entry_bytes_are_those_of_readdir() {
        assert_eq!(FileType::Directory.entry_byte(), 4);
        assert_eq!(FileType::of_entry_byte(10), Some(FileType::Symlink));
        assert_eq!(FileType::of_entry_byte(0), None);
        assert_eq!(FileType::of_entry_byte(0x20 | 8), None, "bits beyond the type");
    }
}
