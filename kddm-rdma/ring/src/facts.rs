//! What a server writes into the window beside the bytes of objects and files.

use kddm_object::{Home, NodeId, SetId};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A set: 32 bytes, and behind it, in a list, its name of `name` bytes, and zeros up to a multiple of eight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs, reason = "fields say what they are")]
pub struct SetFacts {
    pub set: u64,
    pub object_size: u32,
    pub uid: u32,
    pub gid: u32,
    pub mode: u16,
    /// 0 by hash, 1 the node `node`, 2 the top byte of the object's number, 3 by the server's function of the number `node`.
    pub home: u8,
    pub node: u8,
    pub name: u16,
    pub zero: [u16; 3],
}

/// A file: 96 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs, reason = "as stat(2) has them")]
pub struct FileFacts {
    pub inode: u32,
    pub generation: u32,
    /// Type and permissions.
    pub mode: u32,
    pub links: u32,
    pub uid: u32,
    pub gid: u32,
    pub device: u64,
    pub size: u64,
    pub blocks: u64,
    pub accessed: i64,
    pub modified: i64,
    pub changed: i64,
    pub born: i64,
    pub accessed_nanoseconds: u32,
    pub modified_nanoseconds: u32,
    pub changed_nanoseconds: u32,
    pub born_nanoseconds: u32,
}

/// An entry of a directory: 24 bytes, and behind it its name of `name` bytes, and zeros up to a multiple of eight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs, reason = "fields say what they are")]
pub struct EntryFacts {
    /// Where to go on behind this entry.
    pub cookie: u64,
    pub inode: u32,
    pub generation: u32,
    /// The type, as in readdir(3)'s `d_type`.
    pub kind: u32,
    pub name: u32,
}

const _: () = {
    assert!(size_of::<SetFacts>() == 32 && size_of::<FileFacts>() == 96 && size_of::<EntryFacts>() == 24);
};

impl SetFacts {
    /// Says whose home is where.
    #[must_use]
    pub fn with_home(self, home: Home) -> SetFacts {
        let (home, node) = match home {
            Home::Hash => (0, 0),
            Home::Node(node) => (1, node.get()),
            Home::ObjectBits => (2, 0),
            Home::Custom(function) => (3, function.number),
            Home::SubjectBits => (4, 0),
        };
        SetFacts { home, node, ..self }
    }

    /// Which node is the home of an object; `None`: a program cannot know.
    pub fn home(&self) -> Option<Home> {
        match self.home {
            0 => Some(Home::Hash),
            1 => NodeId::new(self.node).ok().map(Home::Node),
            2 => Some(Home::ObjectBits),
            _ => None,
        }
    }

    /// Its id.
    pub fn id(&self) -> SetId {
        SetId(self.set)
    }
}

/// Appends facts with a name; false, and nothing appended, if there is no room for them in `room` bytes.
pub fn push_named(
    bytes: &mut Vec<u8>,
    room: usize,
    facts: &(impl IntoBytes + Immutable),
    name: &[u8],
) -> bool {
    let end = (bytes.len() + size_of_val(facts) + name.len()).next_multiple_of(8);
    if end > room {
        return false;
    }
    bytes.extend_from_slice(facts.as_bytes());
    bytes.extend_from_slice(name);
    bytes.resize(end, 0);
    true
}

/// The facts at the begin of `bytes`, the name of `name(facts)` bytes behind them, and what follows; `None`: there are no more.
pub fn split_named<F: FromBytes>(bytes: &[u8], name: impl Fn(&F) -> usize) -> Option<(F, &[u8], &[u8])> {
    let (facts, rest) = F::read_from_prefix(bytes).ok()?;
    let length = name(&facts);
    let whole = (size_of::<F>() + length).next_multiple_of(8);
    Some((facts, rest.get(..length)?, bytes.get(whole..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_comes_back_and_ends_where_there_is_no_room() {
        let mut bytes = Vec::new();
        let names: [&[u8]; 3] = [b"a", b"four", b"name-of-13-by"];
        for (n, name) in names.iter().enumerate() {
            let facts = EntryFacts { inode: n as u32, name: name.len() as u32, ..EntryFacts::default() };
            assert!(push_named(&mut bytes, 112, &facts, name));
        }
        let before = bytes.len();
        assert!(!push_named(&mut bytes, 112, &EntryFacts::default(), b"x"));
        assert_eq!(bytes.len(), before);
        let mut rest = &bytes[..];
        for (n, name) in names.iter().enumerate() {
            let (facts, found, after) = split_named(rest, |facts: &EntryFacts| facts.name as usize).unwrap();
            assert_eq!((facts.inode, found), (n as u32, *name));
            rest = after;
        }
        assert!(split_named(rest, |facts: &EntryFacts| facts.name as usize).is_none());
    }

    #[test]
    fn homes_come_back() {
        let node = NodeId::new(9).unwrap();
        for home in [Home::Hash, Home::Node(node), Home::ObjectBits] {
            assert_eq!(SetFacts::default().with_home(home).home(), Some(home));
        }
        assert_eq!(SetFacts { home: 77, ..SetFacts::default() }.home(), None);
    }
}
