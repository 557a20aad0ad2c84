//! What an operation answers, as the kernel wants it.

use super::abi::{self, Attr, AttrOut, EntryOut, OpenOut};
use kdfs_fs::{Attributes, FileId};
use zerocopy::IntoBytes;

/// The body of an answer.
#[derive(Debug)]
pub enum Answer {
    /// It was done.
    Empty,
    /// These bytes.
    Bytes(Vec<u8>),
    /// Something was opened under this number; if nobody hears of it, it is to be closed.
    Opened {
        /// The number.
        handle: u64,
        /// What to say.
        bytes: Vec<u8>,
    },
}

impl Answer {
    /// A structure.
    pub fn of(structure: &(impl IntoBytes + zerocopy::Immutable)) -> Answer {
        Answer::Bytes(structure.as_bytes().to_vec())
    }

    /// A name's inode.
    pub fn entry(root: FileId, attributes: &Attributes) -> Answer {
        Answer::of(&entry(root, attributes))
    }

    /// An inode's attributes.
    pub fn attributes(attributes: &Attributes) -> Answer {
        Answer::of(&AttrOut { attr: attr(attributes), ..AttrOut::default() })
    }

    /// An open file; read(2) and write(2) come to us, whatever mappings there are.
    pub fn opened(handle: u64, direct: bool) -> Answer {
        Answer::Opened { handle, bytes: open_out(handle, direct).as_bytes().to_vec() }
    }

    /// A name's inode, and the file opened.
    pub fn created(root: FileId, attributes: &Attributes, handle: u64) -> Answer {
        let entry = entry(root, attributes);
        Answer::Opened { handle, bytes: [entry.as_bytes(), open_out(handle, true).as_bytes()].concat() }
    }

    /// What is written after the header.
    pub fn parts(&self) -> Vec<&[u8]> {
        match self {
            Answer::Empty => Vec::new(),
            Answer::Bytes(bytes) | Answer::Opened { bytes, .. } => vec![bytes],
        }
    }
}

fn open_out(handle: u64, direct: bool) -> OpenOut {
    OpenOut { fh: handle, open_flags: if direct { abi::OPEN_DIRECT_IO } else { 0 }, backing_id: 0 }
}

/// Nothing of it may be used without asking again: all times are 0.
pub fn entry(root: FileId, attributes: &Attributes) -> EntryOut {
    EntryOut {
        nodeid: node_id(root, attributes.file),
        generation: attributes.file.generation.into(),
        attr: attr(attributes),
        ..EntryOut::default()
    }
}

/// How the kernel names a file to us. It carries the generation, so that a late request for an earlier life of a
/// number says which life it means.
pub fn node_id(root: FileId, file: FileId) -> u64 {
    if file == root { abi::ROOT_ID } else { u64::from(file.generation) << 32 | u64::from(file.inode) }
}

/// The file that the kernel means.
pub fn file_of(root: FileId, node_id: u64) -> FileId {
    if node_id == abi::ROOT_ID {
        return root;
    }
    FileId { inode: node_id as u32, generation: (node_id >> 32) as u32 }
}

fn attr(attributes: &Attributes) -> Attr {
    let ((atime, atimensec), (mtime, mtimensec), (ctime, ctimensec)) =
        (attributes.atime.parts(), attributes.mtime.parts(), attributes.ctime.parts());
    Attr {
        ino: attributes.file.inode.into(),
        size: attributes.size,
        blocks: attributes.blocks,
        atime,
        mtime,
        ctime,
        atimensec,
        mtimensec,
        ctimensec,
        mode: attributes.file_type.bits() | attributes.permissions,
        nlink: attributes.nlink,
        uid: attributes.uid,
        gid: attributes.gid,
        rdev: attributes.rdev as u32,
        blksize: 4096,
        flags: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_ids_come_back_and_the_root_is_1() {
        let root = FileId { inode: 0x0100_0001, generation: 1 };
        let file = FileId { inode: 0xfe00_0007, generation: 0xff_ffff };
        for (file, id) in [(root, 1), (file, 0x00ff_ffff_fe00_0007)] {
            assert_eq!(node_id(root, file), id);
            assert_eq!(file_of(root, id), file);
        }
    }
}
