//! Headers of checkpoints and of their records (`kdfs_format::batch`).

use super::{
    Target,
    damage::{damaged, same, seal},
    numbered,
};
use crate::{bound::bounded, input::padded};
use kdfs_format::{
    FormatError, INODE_SIZE, PAGE_SIZE,
    batch::{BATCH_HEADER_SIZE, BatchHeader, Change, RECORD_HEADER_SIZE, RecordHeader},
    sets,
};

pub(super) const TARGET: Target = Target {
    name: "batch",
    what: "headers of a checkpoint and of its records",
    check,
    seeds,
    longest: BATCH_HEADER_SIZE + RECORD_HEADER_SIZE,
};

const CHECKSUM: usize = 12;
const PARTITION: std::ops::Range<usize> = 16..32;
const HERE: [u8; 16] = [3; 16];

fn check(input: &[u8]) {
    header(input);
    let mut sealed = padded::<BATCH_HEADER_SIZE>(input);
    seal(&mut sealed, CHECKSUM);
    header(&sealed);
    sealed[PARTITION].copy_from_slice(&HERE);
    seal(&mut sealed, CHECKSUM);
    if header(&sealed) {
        let refused = BatchHeader::verify(&damaged(&sealed, input), HERE);
        assert!(refused.is_err(), "a damaged header was accepted");
        assert!(BatchHeader::verify(&sealed, [4; 16]).is_err(), "of another partition");
    }
    record(input);
    record(&padded::<RECORD_HEADER_SIZE>(input));
    record(&input[input.len().saturating_sub(RECORD_HEADER_SIZE)..]);
}

fn header(bytes: &[u8]) -> bool {
    match bounded(0, || BatchHeader::verify(bytes, HERE)) {
        Ok(header) => {
            same(&header.sealed(), bytes, "header");
            assert_eq!(header.partition, HERE);
            true
        }
        Err(error) => {
            names_what_is_wrong(&error);
            false
        }
    }
}

/// One encoding of each change, of bytes that fit.
fn record(bytes: &[u8]) {
    match bounded(0, || RecordHeader::verify(bytes)) {
        Ok(change) => {
            assert_eq!(RecordHeader::of(change).bytes(), bytes, "another encoding of {change:?}");
            let (local, length) = match change {
                Change::Meta { local } => (local, INODE_SIZE),
                Change::Page { local, .. } => (local, PAGE_SIZE),
                Change::Bitmap { .. } => (1, PAGE_SIZE),
                Change::Truncate { local, .. } | Change::Remove { local } => (local, 0),
            };
            assert!((1..=sets::MAX_LOCAL_ID).contains(&local), "{change:?} of an inode that cannot be");
            assert_eq!(change.length(), length);
        }
        Err(error) => names_what_is_wrong(&error),
    }
}

fn names_what_is_wrong(error: &FormatError) {
    assert!(error.to_string().contains("checkpoint"), "an error that does not say of what: {error}");
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let changes = [
        Change::Meta { local: 1 },
        Change::Page { local: 0x12_3456, page: u32::MAX },
        Change::Bitmap { page: 2 },
        Change::Truncate { local: 7, page: 3 },
        Change::Remove { local: sets::MAX_LOCAL_ID },
    ];
    let header = BatchHeader::new(HERE, 8, 4096 + 16, 1, 0xdead_beef).sealed();
    let headers = [header.to_vec(), BatchHeader::new(HERE, 0, 0, 0, 0).sealed().to_vec()];
    let records = changes.map(|change| [&header[..], RecordHeader::of(change).bytes()].concat());
    let mut seeds = numbered("header", headers);
    seeds.extend(numbered("record", records));
    seeds.extend(numbered("change", changes.map(|change| RecordHeader::of(change).bytes().to_vec())));
    seeds
}
