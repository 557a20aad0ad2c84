//! How kDFS names its objects: kinds of sets, set ids, inode numbers.
//!
//! A set id is kind (8 bits) | inode number (32) | generation (24). An inode number is node (8) | local id (24).

/// The only object set of its kind holds every inode: object = inode number.
pub const KIND_INODE: u8 = 1;
/// Per directory: object = page of the directory's tree.
pub const KIND_DIR: u8 = 2;
/// Per file: object = page of the file.
pub const KIND_FILE: u8 = 3;
/// The inode bitmaps of all partitions: object = node << 24 | page.
pub const KIND_BITMAP: u8 = 4;
/// Who has a file open: object = inode number, no bytes.
pub const KIND_OPEN: u8 = 5;
/// Free space of each partition: object = node << 24.
pub const KIND_STATFS: u8 = 6;
/// Requests to a partition: an object has no bytes and is used once. The partition's linker fills it only when
/// everything that was put before is durable, so `get` it (with first touch), put it, remove it: that is fsync(2),
/// from any node. See [`commit_object`]. Home: the object's node bits; durability: write-back.
pub const KIND_COMMIT: u8 = 7;
/// Requests to the home of a file: an object is filled when the pages that it stands for, and all behind them on the
/// partition, are removed, whoever has them; its first byte is 1 then. It is used once, like a COMMIT object, by who
/// holds the inode exclusively. See [`cut_object`]. Home: the subject's node bits; durability: write-back.
pub const KIND_CUT: u8 = 8;

/// Per directory: object 0 says who may search it and whether names are remembered; each other one remembers what a name names, or that it
/// names nothing. Nothing of it is on the disk. Home: the subject's node bits; durability: cache.
pub const KIND_DENTRY: u8 = 9;

/// Bytes of a DENTRY object.
pub const DENTRY_SIZE: u32 = 256;
/// Bytes of a CUT object.
pub const CUT_SIZE: u32 = 8;
/// Bytes of a STATFS object.
pub const STATFS_SIZE: u32 = 64;

/// The set of all inodes.
pub const INODE_SET: u64 = set_id(KIND_INODE, 0, 0);
/// The set of the inode bitmaps.
pub const BITMAP_SET: u64 = set_id(KIND_BITMAP, 0, 0);
/// The set of the open tokens.
pub const OPEN_SET: u64 = set_id(KIND_OPEN, 0, 0);
/// The set of the partitions' free space.
pub const STATFS_SET: u64 = set_id(KIND_STATFS, 0, 0);
/// The set of the requests for durability.
pub const COMMIT_SET: u64 = set_id(KIND_COMMIT, 0, 0);

/// Largest node id (an inode number has one byte for it; 0 and 255 name no node).
pub const MAX_NODE: u8 = 254;
/// Largest local id: 2^24 entries a node, of which 0 names nothing.
pub const MAX_LOCAL_ID: u32 = (1 << 24) - 1;
/// The bits of a generation.
pub const GENERATION_MASK: u32 = (1 << 24) - 1;
/// Local id of the root directory on its node.
pub const ROOT_LOCAL_ID: u32 = 1;
/// Generation of the root directory.
pub const ROOT_GENERATION: u32 = 1;
/// Largest file: page numbers have 32 bits.
pub const MAX_FILE_SIZE: u64 = (u32::MAX as u64) << 12;

/// The pages of the directory `inode`, in the life `generation` of its number.
pub const fn dir_set(inode: u32, generation: u32) -> u64 {
    set_id(KIND_DIR, inode, generation)
}

/// The pages of the file (or the target of the symbolic link) `inode`.
pub const fn file_set(inode: u32, generation: u32) -> u64 {
    set_id(KIND_FILE, inode, generation)
}

/// What is remembered of the names in the directory `inode`, in the life `generation` of its number.
pub const fn dentry_set(inode: u32, generation: u32) -> u64 {
    set_id(KIND_DENTRY, inode, generation)
}

/// The id of a set from its parts.
pub const fn set_id(kind: u8, inode: u32, generation: u32) -> u64 {
    ((kind as u64) << 56) | ((inode as u64) << 24) | (generation & GENERATION_MASK) as u64
}

/// The inode number of `local` on `node`; `None` if either is out of range.
pub const fn inode_number(node: u8, local: u32) -> Option<u32> {
    if node == 0 || node > MAX_NODE || local == 0 || local > MAX_LOCAL_ID {
        return None;
    }
    Some(((node as u32) << 24) | local)
}

/// The node on whose partition an inode lies.
pub const fn node_of(inode: u32) -> u8 {
    (inode >> 24) as u8
}

/// An inode's number on its partition.
pub const fn local_of(inode: u32) -> u32 {
    inode & MAX_LOCAL_ID
}

/// The BITMAP object with page `page` of the bitmap of `node`.
pub const fn bitmap_object(node: u8, page: u32) -> u32 {
    ((node as u32) << 24) | page
}

/// The STATFS object of `node`.
pub const fn statfs_object(node: u8) -> u32 {
    (node as u32) << 24
}

/// The COMMIT object by which node `from` asks the partition of `node`; `count` counts the requests of `from`, so
/// that no two under way have the same object.
pub const fn commit_object(node: u8, from: u8, count: u16) -> u32 {
    ((node as u32) << 24) | ((from as u32) << 16) | count as u32
}

/// The set of the requests to cut pages off a file.
pub const fn cut_set(inode: u32, generation: u32) -> u64 {
    set_id(KIND_CUT, inode, generation)
}

/// The CUT object of the `1 << height` pages, `height` at least 1, from `first` on, which is a multiple of that.
pub const fn cut_object(first: u32, height: u32) -> u32 {
    (1 << (32 - height)) | (first as u64 >> height) as u32
}

/// The pages that a CUT object stands for: the first, and how many; `None` if it is none.
pub const fn cut_pages(object: u32) -> Option<(u32, u64)> {
    if object == 0 {
        return None;
    }
    let height = object.leading_zeros() + 1;
    Some((((object as u64) << height) as u32, 1 << height))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inode_numbers_have_both_parts() {
        let inode = inode_number(2, 0x12_3456).unwrap();
        assert_eq!((inode, node_of(inode), local_of(inode)), (0x0212_3456, 2, 0x12_3456));
        assert_eq!(inode_number(0, 1), None);
        assert_eq!(inode_number(255, 1), None);
        assert_eq!(inode_number(1, 0), None);
        assert_eq!(inode_number(1, 1 << 24), None);
    }

    #[test]
    fn set_ids_have_three_parts() {
        assert_eq!(dir_set(0x0200_0001, 0xff12_3456), 0x0202_0000_0112_3456);
        assert_eq!(INODE_SET, 1 << 56);
    }

    #[test]
    fn a_cut_names_its_pages() {
        for (first, height) in [(0, 1), (0, 32), (1 << 31, 31), (6, 1), (4096, 12), (u32::MAX - 1, 1)] {
            assert_eq!(cut_pages(cut_object(first, height)), Some((first, 1 << height)));
        }
        assert_eq!(cut_pages(0), None);
    }
}
