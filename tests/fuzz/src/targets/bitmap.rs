//! Pages of the inode bitmap (`kdfs_format::bitmap`).

use super::{
    Target,
    damage::{damaged, same, seal},
};
use crate::{
    bound::bounded,
    input::{Input, padded},
};
use kdfs_format::{
    FormatError, PAGE_SIZE,
    bitmap::{self, BitmapPage, IDS_PER_PAGE, PAGES},
    sets,
};

pub(super) const TARGET: Target = Target {
    name: "bitmap",
    what: "a page of the inode bitmap: read, ids taken and given back",
    check,
    seeds,
    longest: PAGE_SIZE + 1,
};

type Page = [u8; PAGE_SIZE];

/// Where its checksum, and node and page, lie (docs/disk-format.md).
const CHECKSUM: usize = 4;
const OBJECT: std::ops::Range<usize> = 8..12;
const NODE: u8 = 3;

fn check(input: &[u8]) {
    if let Ok(page) = <&Page>::try_from(input) {
        accepted_as_is(page, sets::bitmap_object(NODE, 0), input);
    }
    let mut sealed = padded::<PAGE_SIZE>(input);
    let object =
        sets::bitmap_object(NODE, u32::from(sealed[OBJECT.start]) % PAGES / 2 + u32::from(sealed[9] & 1));
    sealed[OBJECT].copy_from_slice(&object.to_le_bytes());
    seal(&mut sealed, CHECKSUM);
    if accepted_as_is(&sealed, object, input) {
        let refused = read(&damaged(&sealed, input), object).expect_err("a damaged page was accepted");
        assert!(refused.to_string().contains("bitmap page"), "{refused}");
        assert!(read(&sealed, object ^ 1).is_err(), "accepted as another page");
    }
}

fn accepted_as_is(bytes: &Page, object: u32, input: &[u8]) -> bool {
    let page = match bounded(0, || read(bytes, object)) {
        Ok(page) => page,
        Err(error) => {
            assert!(error.to_string().contains("bitmap page"), "an error that does not say of what: {error}");
            return false;
        }
    };
    let mut again = page;
    bitmap::seal(&mut again);
    same(&again, bytes, "page");
    let mut changed = page;
    let bitmap = BitmapPage::of_mut(&mut changed, object).expect("it was verified");
    let first = (object & 0xff_ffff) * IDS_PER_PAGE;
    keeps_the_rules(bitmap, first);
    changes(bitmap, first, Input(input));
    keeps_the_rules(bitmap, first);
    true
}

/// What is said to be free is what can be taken.
fn keeps_the_rules(bitmap: &BitmapPage, first: u32) {
    let exist = |local: &u32| (1..=sets::MAX_LOCAL_ID).contains(local);
    let ids = (first..first + IDS_PER_PAGE).filter(exist).count() as u32;
    let taken = bitmap.taken().count() as u32;
    assert!(bitmap.taken().all(|local| exist(&local)), "an id is taken that does not exist");
    assert_eq!(bitmap.free(), ids - taken, "of {ids} ids {taken} are taken");
}

fn changes(bitmap: &mut BitmapPage, first: u32, mut input: Input<'_>) {
    bitmap.begin_life(u32::from_le_bytes(input.array()));
    for _ in 0..4 {
        let before = bitmap.free();
        let Some((local, generation)) = bitmap.allocate() else {
            assert_eq!(before, 0, "nothing was given out, where {before} are free");
            break;
        };
        assert!((1..=sets::GENERATION_MASK).contains(&generation), "generation {generation}");
        assert!(bitmap.is_taken(local) && bitmap.free() == before - 1);
        assert_eq!(bitmap.take(local), None, "an id was given out twice");
    }
    let local = first + u32::from(u16::from_le_bytes(input.array()));
    let was = bitmap.is_taken(local);
    assert_eq!(bitmap.release(local), was);
    assert!(!bitmap.is_taken(local), "given back and taken");
}

fn read(bytes: &Page, object: u32) -> Result<Page, FormatError> {
    let mut page = *bytes;
    bitmap::verify(&mut page, object).map(|()| page)
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let page = |number, ids: u32| {
        let (mut bytes, object) = ([0; PAGE_SIZE], sets::bitmap_object(NODE, number));
        let bitmap = BitmapPage::of_mut(&mut bytes, object).expect("a page that was never written");
        bitmap.begin_life(4);
        (0..ids).for_each(|_| assert!(bitmap.allocate().is_some()));
        bitmap::seal(&mut bytes);
        bytes.to_vec()
    };
    let named = |name: &str, bytes| (name.to_owned(), bytes);
    vec![
        named("unwritten", vec![0; PAGE_SIZE]),
        named("few", page(0, 40)),
        named("full", page(0, IDS_PER_PAGE - 1)),
        named("last", page(PAGES - 1, 3)),
    ]
}
