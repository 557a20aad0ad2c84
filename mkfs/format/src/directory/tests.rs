//! The tree as a whole, over pages in a map, beside a map of names.

use super::*;
use crate::FileType;
use proptest::prelude::*;
use std::collections::BTreeMap;

const INODE: u32 = 0x0100_0007;
/// Where the inodes lie that entries name: the tests number them on that node.
const NODE: u32 = 0x0100_0000;

/// A directory's pages without a file system, with a hash of the test's choice.
struct Pages {
    pages: BTreeMap<u32, [u8; PAGE_SIZE]>,
    hash: fn(&[u8]) -> Key,
}

fn id(page: u32) -> PageId {
    PageId { inode: INODE, generation: 9, page }
}

impl Pages {
    fn new(hash: fn(&[u8]) -> Key) -> Pages {
        Pages { pages: BTreeMap::new(), hash }
    }

    fn bytes(&mut self, page: u32) -> &mut [u8; PAGE_SIZE] {
        self.pages.entry(page).or_insert([0; PAGE_SIZE])
    }

    fn leaf_of(&mut self, key: Key) -> u32 {
        let mut page = FIRST_PAGE;
        while is_split(self.bytes(page), id(page)).unwrap() {
            page = key.child_of(id(page));
        }
        page
    }

    fn find(&mut self, name: &[u8]) -> Option<(Key, u32)> {
        let hash = (self.hash)(name);
        let page = self.leaf_of(hash);
        Leaf::read(self.bytes(page), id(page))
            .unwrap()
            .find(hash, name)
            .map(|entry| (entry.key, entry.inode - NODE))
    }

    /// False if the directory has no room for this name.
    fn insert(&mut self, name: &[u8], inode: u32) -> bool {
        let hash = (self.hash)(name);
        loop {
            let page = self.leaf_of(hash);
            let bytes = self.bytes(page);
            let Some(key) = Leaf::read(bytes, id(page)).unwrap().free_key(hash) else { return false };
            let entry = Entry { key, inode: NODE + inode, generation: 1, file_type: FileType::Regular, name };
            if insert(bytes, id(page), entry).unwrap() {
                return true;
            }
            let Some(children) = Children::split(bytes, id(page)).unwrap() else { return false };
            self.pages.extend(children.pages.into_iter().zip(children.bytes.map(|bytes| *bytes)));
        }
    }

    fn remove(&mut self, name: &[u8]) -> bool {
        let Some((key, _)) = self.find(name) else { return false };
        let page = self.leaf_of(key);
        remove(self.bytes(page), id(page), key).unwrap()
    }

    /// The first entry behind `cookie`, as readdir finds it.
    fn behind(&mut self, cookie: u64) -> Option<(Key, Vec<u8>, u32)> {
        let mut from = Key::from_number((cookie + 1).max(Key::FIRST.number()))?;
        loop {
            let page = self.leaf_of(from);
            let leaf = Leaf::read(self.bytes(page), id(page)).unwrap();
            if let Some(entry) = leaf.entries().find(|entry| entry.key >= from) {
                return Some((entry.key, entry.name.to_vec(), entry.inode - NODE));
            }
            from = Key::last_of_page(page).next()?;
        }
    }

    fn all(&mut self) -> Vec<(Vec<u8>, u32)> {
        let (mut cookie, mut all) = (0, Vec::new());
        while let Some((key, name, inode)) = self.behind(cookie) {
            cookie = key.number();
            all.push((name, inode));
        }
        all
    }
}

/// Few hashes, so that many names collide and trees grow deep.
fn colliding(name: &[u8]) -> Key {
    let sum: u64 = name.iter().map(|&byte| u64::from(byte)).sum();
    Key::from_number((sum % 29 + 1) << 50).unwrap()
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u16, u8),
    Remove(u16),
}

fn name(number: u16, length: u8) -> Vec<u8> {
    let mut name = format!("{number:04x}").into_bytes();
    name.resize(name.len().max(length.into()), b'x');
    name
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let insert = (0..600u16, 0..=255u8).prop_map(|(number, length)| Step::Insert(number, length));
    let step = prop_oneof![3 => insert, 1 => (0..600u16).prop_map(Step::Remove)];
    prop::collection::vec(step, 0..900)
}

fn agrees_with_a_map(hash: fn(&[u8]) -> Key, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let (mut pages, mut map, mut lengths) = (Pages::new(hash), BTreeMap::new(), BTreeMap::new());
    for (inode, step) in (2..).zip(steps) {
        match step {
            Step::Insert(number, length) => {
                let name = name(number, *lengths.entry(number).or_insert(length));
                if pages.find(&name).is_none() && pages.insert(&name, inode) {
                    map.insert(name, inode);
                }
            }
            Step::Remove(number) => {
                let name = name(number, lengths.get(&number).copied().unwrap_or(0));
                prop_assert_eq!(pages.remove(&name), map.remove(&name).is_some());
            }
        }
    }
    for (name, &inode) in &map {
        prop_assert_eq!(pages.find(name).map(|found| found.1), Some(inode));
    }
    let mut all = pages.all();
    all.sort();
    prop_assert_eq!(all, map.into_iter().collect::<Vec<_>>());
    for (page, bytes) in &mut pages.pages {
        seal(bytes);
        prop_assert_eq!(verify(bytes, id(*page)), Ok(()));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_directory_agrees_with_a_map(steps in steps()) {
        agrees_with_a_map(Key::of_name, steps)?;
    }

    #[test]
    fn a_directory_of_colliding_names_agrees_with_a_map(steps in steps()) {
        agrees_with_a_map(colliding, steps)?;
    }

    /// Whatever the bytes, reading them ends with an answer.
    #[test]
    fn damaged_pages_do_no_harm(seed in any::<u64>(), places in prop::collection::vec((0..PAGE_SIZE, any::<u8>()), 1..8)) {
        let mut pages = Pages::new(Key::of_name);
        for number in 0..60 {
            pages.insert(&name(number, (seed >> (number % 57)) as u8), 3);
        }
        let bytes = pages.bytes(FIRST_PAGE);
        for (place, value) in places {
            bytes[place] = value;
        }
        let _ = is_split(bytes, id(1));
        if let Ok(leaf) = Leaf::read(bytes, id(1)) {
            let _ = leaf.entries().count();
        }
        let _ = insert(bytes, id(1), Entry { key: Key::FIRST, inode: NODE + 1, generation: 1, file_type: FileType::Fifo, name: b"n" });
        let _ = Children::split(bytes, id(1));
    }

    /// A walk of readdir shows every name that was there all the time exactly once, whatever happens between its steps.
    #[test]
    fn readdir_neither_skips_nor_repeats(stable in 1..300u16, changes in prop::collection::vec((300..900u16, any::<bool>()), 1..300)) {
        let mut pages = Pages::new(Key::of_name);
        for number in 0..stable {
            prop_assert!(pages.insert(&name(number, 30), 1));
        }
        let (mut cookie, mut seen, mut changes) = (0, Vec::new(), changes.into_iter().cycle());
        while let Some((key, found, inode)) = pages.behind(cookie) {
            prop_assert!(key.number() > cookie);
            cookie = key.number();
            if inode == 1 {
                seen.push(found);
            }
            for (number, add) in changes.by_ref().take(5) {
                let name = name(number, 200);
                if add && pages.find(&name).is_none() { pages.insert(&name, 2); } else { pages.remove(&name); }
            }
        }
        seen.sort();
        prop_assert_eq!(seen, (0..stable).map(|number| name(number, 30)).collect::<Vec<_>>());
    }
}

#[test]
fn entries_that_name_nothing_are_refused() {
    let entry = |inode, generation| Entry {
        key: Key::FIRST,
        inode,
        generation,
        file_type: FileType::Regular,
        name: b"n",
    };
    let read = |entry| {
        let mut bytes = [0; PAGE_SIZE];
        assert!(Leaf::write(&mut bytes, id(1), [entry].into_iter()));
        seal(&mut bytes);
        verify(&mut bytes, id(1))
    };
    assert_eq!(read(entry(NODE + 1, 1)), Ok(()));
    let inode = "the inode of an entry";
    let generation = "the generation of an entry";
    for (entry, name) in [
        (entry(NODE, 1), inode),
        (entry(7, 1), inode),
        (entry(0xff00_0001, 1), inode),
        (entry(NODE + 1, 0), generation),
        (entry(NODE + 1, 1 << 24), generation),
    ] {
        assert!(matches!(read(entry), Err(FormatError::Field { field, .. }) if field == name), "{entry:?}");
    }
}

#[test]
fn a_page_with_more_than_is_known_is_refused() {
    let mut pages = Pages::new(Key::of_name);
    assert!(pages.insert(b"n", 3));
    for place in [5, 27, PAGE_SIZE - 1] {
        let mut bytes = *pages.bytes(FIRST_PAGE);
        bytes[place] = 1;
        seal(&mut bytes);
        let refused = verify(&mut bytes, id(1));
        assert!(matches!(refused, Err(FormatError::Field { .. })), "byte {place}: {refused:?}");
    }
}

#[test]
fn every_damaged_byte_on_disk_is_seen() {
    let mut pages = Pages::new(Key::of_name);
    for number in 0..20 {
        assert!(pages.insert(&name(number, 9), 3));
    }
    let bytes = pages.bytes(FIRST_PAGE);
    seal(bytes);
    for place in 0..PAGE_SIZE {
        let mut copy = *bytes;
        copy[place] ^= 1;
        assert!(verify(&mut copy, id(1)).is_err(), "byte {place}");
    }
    assert!(verify(&mut bytes.clone(), id(1).sibling(2)).is_err(), "another page");
    assert!(verify(&mut bytes.clone(), PageId { generation: 8, ..id(1) }).is_err(), "another directory");
}

#[test]
fn names_of_one_hash_fill_their_page_and_no_more() {
    let mut pages = Pages::new(|_| Key::FIRST);
    let placed = (0..300).filter(|&number| pages.insert(&name(number, 0), 1)).count();
    assert_eq!(placed, ROOM / (18 + 4));
    assert!(pages.remove(&name(0, 0)) && pages.insert(&name(7777, 0), 1));
    assert_eq!(pages.all().len(), placed);
}
