//! A leaf: entries packed behind the header in the order of their keys.
//!
//! ```text
//! 0..8 key   8..12 inode   12..16 generation   16 type (DT_*)   17 length of the name   18.. name
//! ```

use super::{HEADER_SIZE, Header, Key, LEAF, MAX_NAME, PageId, ROOM, SPLIT, WHAT, header, write_header};
use crate::{FileType, FormatError, PAGE_SIZE, sets};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of an entry before its name.
const FIXED: usize = 18;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Fixed {
    key: U64,
    inode: U32,
    generation: U32,
    file_type: u8,
    length: u8,
}

crate::layout::assert_layout!(Fixed, FIXED, { key: 0, inode: 8, generation: 12, file_type: 16, length: 17 });

/// A name in a directory and what it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its place, and its cookie.
    pub key: Key,
    /// The inode.
    pub inode: u32,
    /// The inode's generation.
    pub generation: u32,
    /// The inode's type, which never changes.
    pub file_type: FileType,
    /// 1 to 255 bytes, no `/`, no NUL.
    pub name: &'a [u8],
}

impl Entry<'_> {
    /// Bytes it takes in a page.
    pub const fn size(&self) -> usize {
        FIXED + self.name.len()
    }
}

/// The verified entries of a leaf.
#[derive(Clone, Copy)]
pub struct Leaf<'a> {
    entries: &'a [u8],
    count: usize,
}

impl<'a> Leaf<'a> {
    /// The leaf in the bytes of page `id`.
    ///
    /// # Errors
    /// The bytes are not a leaf, not this page, or damaged.
    pub fn read(bytes: &'a [u8], id: PageId) -> Result<Leaf<'a>, FormatError> {
        let Some(Header { kind, used, count, .. }) = header(bytes, id)? else {
            return Ok(Leaf { entries: &[], count: 0 });
        };
        if kind == SPLIT {
            return Err(FormatError::Field { what: WHAT, field: "kind of a leaf", found: kind.into() });
        }
        let entries = &bytes[HEADER_SIZE..HEADER_SIZE + usize::from(used.get())];
        check(entries, usize::from(count.get()), id)?;
        Ok(Leaf { entries, count: count.get().into() })
    }

    /// The entries in the order of their keys.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        let mut rest = self.entries;
        std::iter::from_fn(move || {
            let (entry, behind) = parse(rest)?;
            rest = behind;
            Some(entry)
        })
    }

    /// How many entries.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The entry called `name`, whose hash is that of `hash`.
    pub fn find(&self, hash: Key, name: &[u8]) -> Option<Entry<'a>> {
        self.entries()
            .skip_while(|entry| entry.key < hash && !entry.key.collides(hash))
            .take_while(|entry| entry.key.collides(hash))
            .find(|entry| entry.name == name)
    }

    /// The smallest key with the hash of `hash` that no entry has; `None` if all are taken.
    pub fn free_key(&self, hash: Key) -> Option<Key> {
        let mut taken = self.entries().map(|entry| entry.key).filter(|key| key.collides(hash)).peekable();
        hash.same_hash().find(|key| taken.next_if_eq(key).is_none())
    }

    /// Whether one more entry of `size` bytes fits.
    pub fn fits(&self, size: usize) -> bool {
        self.entries.len() + size <= ROOM
    }

    /// Writes a leaf with these entries, which ascend by key, to `bytes`, a page that may have held anything.
    /// False, and nothing is written, if they do not fit.
    pub fn write<'e>(bytes: &mut [u8], id: PageId, entries: impl Iterator<Item = Entry<'e>>) -> bool {
        let mut packed = [0; ROOM];
        let (mut used, mut count) = (0, 0);
        for entry in entries {
            let end = used + entry.size();
            if end > ROOM || entry.name.len() > MAX_NAME || bytes.len() != PAGE_SIZE {
                return false;
            }
            let fixed = Fixed {
                key: entry.key.number().into(),
                inode: entry.inode.into(),
                generation: entry.generation.into(),
                file_type: entry.file_type.entry_byte(),
                length: entry.name.len() as u8,
            };
            packed[used..used + FIXED].copy_from_slice(fixed.as_bytes());
            packed[used + FIXED..end].copy_from_slice(entry.name);
            (used, count) = (end, count + 1);
        }
        bytes[HEADER_SIZE..HEADER_SIZE + used].copy_from_slice(&packed[..used]);
        write_header(bytes, id, LEAF, used, count);
        true
    }
}

/// The first entry of `bytes`, and what is behind it.
fn parse(bytes: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let (fixed, rest) = Fixed::ref_from_prefix(bytes).ok()?;
    let (name, rest) = rest.split_at_checked(fixed.length.into())?;
    let entry = Entry {
        key: Key::from_number(fixed.key.get())?,
        inode: fixed.inode.get(),
        generation: fixed.generation.get(),
        file_type: FileType::of_entry_byte(fixed.file_type)?,
        name,
    };
    Some((entry, rest))
}

fn check(mut bytes: &[u8], count: usize, id: PageId) -> Result<(), FormatError> {
    let damaged = |field, found: usize| FormatError::Field { what: WHAT, field, found: found as u64 };
    let mut before: Option<Key> = None;
    for index in 0..count {
        let (entry, rest) = parse(bytes).ok_or(damaged("an entry", index))?;
        let ordered = before.is_none_or(|before| before < entry.key);
        if !ordered || entry.key.page(id.depth()) != id.page {
            return Err(damaged("the key of an entry", index));
        }
        if sets::inode_number(sets::node_of(entry.inode), sets::local_of(entry.inode)).is_none() {
            return Err(damaged("the inode of an entry", entry.inode as usize));
        }
        if !(1..=sets::GENERATION_MASK).contains(&entry.generation) {
            return Err(damaged("the generation of an entry", entry.generation as usize));
        }
        if !is_name(entry.name) {
            return Err(damaged("the name of an entry", index));
        }
        (before, bytes) = (Some(entry.key), rest);
    }
    if !bytes.is_empty() {
        return Err(damaged("bytes behind its entries", bytes.len()));
    }
    Ok(())
}

/// Whether these bytes can name an entry.
fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name != b"." && name != b".." && !name.iter().any(|&byte| byte == b'/' || byte == 0)
}
