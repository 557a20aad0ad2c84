//! The first page of a partition's file `...` (`kdfs_format::Superblock`).

use super::{
    Target,
    damage::{damaged, same, seal},
};
use crate::{bound::bounded, input::padded};
use kdfs_format::{FormatError, SUPERBLOCK_SIZE, Superblock, Timestamp, UnverifiedSuperblock, sets};

pub(super) const TARGET: Target = Target {
    name: "superblock",
    what: "a partition's superblock",
    check,
    seeds,
    longest: SUPERBLOCK_SIZE + 1,
};

/// Where its checksum lies (docs/disk-format.md).
const CHECKSUM: usize = 12;

fn check(input: &[u8]) {
    accepted_as_is(input);
    let mut sealed = padded::<SUPERBLOCK_SIZE>(input);
    seal(&mut sealed, CHECKSUM);
    if accepted_as_is(&sealed) {
        let refused = verify(&damaged(&sealed, input)).expect_err("a damaged superblock was accepted");
        names_what_is_wrong(&refused);
    }
}

/// Whether `bytes` are a superblock; if they are, it can be, and is written as it was read.
fn accepted_as_is(bytes: &[u8]) -> bool {
    let superblock = match bounded(0, || verify(bytes)) {
        Ok(superblock) => superblock,
        Err(error) => {
            names_what_is_wrong(&error);
            return false;
        }
    };
    same(&superblock.sealed(), bytes, "superblock");
    assert!((1..=sets::MAX_NODE).contains(&superblock.node), "node {}", superblock.node);
    let root = superblock.root.get();
    assert!(sets::inode_number(sets::node_of(root), sets::local_of(root)) == Some(root), "root {root:#x}");
    let generation = superblock.root_generation.get();
    assert!((1..=sets::GENERATION_MASK).contains(&generation), "generation {generation} of the root");
    assert!(superblock.formatted.nanoseconds < 1_000_000_000, "formatted at {:?}", superblock.formatted);
    true
}

fn names_what_is_wrong(error: &FormatError) {
    assert!(error.to_string().contains("superblock"), "an error that does not say of what: {error}");
}

fn verify(bytes: &[u8]) -> Result<Superblock, FormatError> {
    UnverifiedSuperblock::parse(bytes)?.verify()
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let new = || Superblock::new(2, 1, [7; 16], Timestamp::new(1_700_000_000, 2)).expect("node ids");
    let mut used = new();
    used.cluster = [9; 16];
    used.mounts = 3.into();
    used.checkpoint = 12.into();
    used.set_clean(false);
    vec![("new".to_owned(), new().sealed().to_vec()), ("used".to_owned(), used.sealed().to_vec())]
}
