//! Pages of directories (`kdfs_format::directory`).

use super::{
    Target,
    damage::{damaged, same, seal},
};
use crate::{bound::bounded, input::padded};
use kdfs_format::{
    FileType, FormatError, PAGE_SIZE,
    directory::{self, Children, Entry, FIRST_PAGE, Key, Leaf, PageId},
};

pub(super) const TARGET: Target = Target {
    name: "directory",
    what: "a page of a directory: read, searched, changed, split",
    check,
    seeds,
    longest: PAGE_SIZE + 1,
};

type Page = [u8; PAGE_SIZE];

/// Where the checksum lies, and what says which page it is (docs/disk-format.md).
const CHECKSUM: usize = 8;
const PLACE: std::ops::Range<usize> = 12..24;
const DIRECTORY: PageId = PageId { inode: 0x0100_0007, generation: 9, page: FIRST_PAGE };

fn check(input: &[u8]) {
    if let Ok(page) = <&Page>::try_from(input) {
        accepted_as_is(page, DIRECTORY);
    }
    // As the page that it says it is: another one of the same directory, mostly.
    let mut sealed = padded::<PAGE_SIZE>(input);
    let id = DIRECTORY.sibling(u32::from_le_bytes(padded(&sealed[20..24])));
    let place = [id.inode, id.generation, id.page].map(u32::to_le_bytes).concat();
    sealed[PLACE].copy_from_slice(&place);
    seal(&mut sealed, CHECKSUM);
    if accepted_as_is(&sealed, id) {
        let refused = read(&damaged(&sealed, input), id).expect_err("a damaged page was accepted");
        names_what_is_wrong(&refused);
        assert!(read(&sealed, id.sibling(id.page ^ 1)).is_err(), "accepted as another page");
    }
}

/// Whether `bytes` are page `id`; if they are, they are written as they were read, and every change keeps the rules.
fn accepted_as_is(bytes: &Page, id: PageId) -> bool {
    let page = match bounded(0, || read(bytes, id)) {
        Ok(page) => page,
        Err(error) => {
            names_what_is_wrong(&error);
            return false;
        }
    };
    let mut again = page;
    directory::seal(&mut again);
    same(&again, bytes, "page");
    if directory::is_split(&page, id).expect("it was verified") {
        assert!(Leaf::read(&page, id).is_err(), "a split marker was read as a leaf");
        let nothing = page[6..8].iter().chain(&page[24..]).all(|&byte| byte == 0);
        assert!(nothing, "a split marker with entries");
        return true;
    }
    let leaf = Leaf::read(&page, id).expect("it was verified");
    keeps_the_rules(&leaf, id);
    rewrites(&leaf, &page, id);
    changes(&leaf, &page, id);
    splits(&leaf, &page, id);
    disorder(&leaf, id);
    true
}

fn keeps_the_rules(leaf: &Leaf<'_>, id: PageId) {
    let entries: Vec<Entry<'_>> = leaf.entries().collect();
    assert_eq!(entries.len(), leaf.count());
    assert!(entries.windows(2).all(|pair| pair[0].key < pair[1].key), "keys do not ascend");
    for entry in &entries {
        assert_eq!(entry.key.page(id.depth()), id.page, "an entry of another page");
        let name = entry.name;
        let is_name = (1..=255).contains(&name.len()) && name != b"." && name != b"..";
        assert!(is_name && !name.contains(&b'/') && !name.contains(&0), "the name {name:?}");
        assert_eq!(leaf.find(entry.key, name).map(|found| found.name), Some(name), "not found by its name");
    }
}

/// One encoding of each leaf.
fn rewrites(leaf: &Leaf<'_>, page: &Page, id: PageId) {
    if leaf.is_empty() && page.iter().all(|&byte| byte == 0) {
        return; // never written
    }
    let mut again = [0xee; PAGE_SIZE];
    assert!(Leaf::write(&mut again, id, leaf.entries()), "what was read does not fit");
    same(&again, page, "leaf");
}

fn changes(leaf: &Leaf<'_>, page: &Page, id: PageId) {
    let Some(first) = leaf.entries().next() else { return };
    let mut changed = *page;
    let other = (0x0200_0001, 3, FileType::Fifo);
    assert_eq!(directory::retarget(&mut changed, id, first.key, other), Ok(true));
    let found = Leaf::read(&changed, id).expect("retargeted").find(first.key, first.name);
    assert_eq!(found.map(|entry| (entry.inode, entry.generation, entry.file_type)), Some(other));
    assert_eq!(directory::remove(&mut changed, id, first.key), Ok(true));
    assert_eq!(Leaf::read(&changed, id).expect("removed").count(), leaf.count() - 1);
    assert_eq!(directory::insert(&mut changed, id, first), Ok(true));
    let back = Leaf::read(&changed, id).expect("inserted");
    assert!(back.entries().eq(leaf.entries()), "an entry that was removed and inserted is not as before");
}

fn splits(leaf: &Leaf<'_>, page: &Page, id: PageId) {
    let mut marker = *page;
    let Some(children) = Children::split(&mut marker, id).expect("it was verified") else { return };
    assert_eq!(directory::is_split(&marker, id), Ok(true));
    let leaves = [0, 1].map(|half| {
        let id = id.sibling(children.pages[half]);
        Leaf::read(&children.bytes[half][..], id).expect("a half of a leaf is a leaf")
    });
    let both = leaves[0].entries().chain(leaves[1].entries());
    assert!(both.eq(leaf.entries()), "entries were lost or changed by a split");
}

/// Entries that do not ascend are refused, whatever the checksum says.
fn disorder(leaf: &Leaf<'_>, id: PageId) {
    let Some(first) = leaf.entries().next() else { return };
    let mut backwards: Vec<Entry<'_>> = leaf.entries().collect();
    backwards.reverse();
    let twice: Vec<Entry<'_>> = [first].into_iter().chain(leaf.entries()).collect();
    for entries in [backwards, twice] {
        let mut page = [0; PAGE_SIZE];
        if entries.len() > 1 && Leaf::write(&mut page, id, entries.into_iter()) {
            directory::seal(&mut page);
            assert!(read(&page, id).is_err(), "entries out of order were accepted");
        }
    }
}

fn names_what_is_wrong(error: &FormatError) {
    assert!(error.to_string().contains("directory page"), "an error that does not say of what: {error}");
}

fn read(bytes: &Page, id: PageId) -> Result<Page, FormatError> {
    let mut page = *bytes;
    directory::verify(&mut page, id).map(|()| page)
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut split = leaf(DIRECTORY, 120);
    let children = Children::split(&mut split, DIRECTORY).expect("a leaf").expect("not the deepest");
    let mut pages = vec![
        ("unwritten", [0; PAGE_SIZE]),
        ("empty", leaf(DIRECTORY, 0)),
        ("leaf", leaf(DIRECTORY, 5)),
        ("full", leaf(DIRECTORY, 120)),
        ("split", split),
        ("lower-half", *children.bytes[0]),
        ("upper-half", *children.bytes[1]),
    ];
    pages.iter_mut().for_each(|(_, page)| directory::seal(page));
    pages.into_iter().map(|(name, page)| (name.to_owned(), page.to_vec())).collect()
}

fn leaf(id: PageId, count: u32) -> Page {
    let mut page = [0; PAGE_SIZE];
    let names: Vec<String> = (0..count).map(|number| format!("name-{number}")).collect();
    let mut entries: Vec<Entry<'_>> =
        names.iter().zip(2..).map(|(name, number)| entry(name, number)).collect();
    entries.sort_by_key(|entry| entry.key);
    assert!(Leaf::write(&mut page, id, entries.into_iter()), "{count} entries fit");
    page
}

fn entry(name: &str, number: u32) -> Entry<'_> {
    let name = name.as_bytes();
    Entry {
        key: Key::of_name(name),
        inode: 0x0100_0000 | number,
        generation: 1,
        file_type: FileType::Regular,
        name,
    }
}
