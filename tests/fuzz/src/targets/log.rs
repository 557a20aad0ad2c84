//! A partition's log (`kdfs_server`'s partition/apply.rs): checkpoints, one after the other, as recovery reads them.

use super::{Target, damage::same, numbered};
use crate::{
    bound::bounded,
    input::{Input, add_piece},
};
use kdfs_format::batch::{BATCH_HEADER_SIZE, BatchHeader, Change, RecordHeader};
use kdfs_server::fuzz::log;

pub(super) const TARGET: Target = Target {
    name: "log",
    what: "a partition's log of checkpoints, as recovery reads it",
    check,
    seeds,
    longest: 16 << 10,
};

const HERE: [u8; 16] = [3; 16];

/// Chunks that are read at a time (two: one is checked, one replayed).
const CHUNKS: usize = 4 * (256 << 10);

fn check(input: &[u8]) {
    read(input);
    read(&sealed(input));
}

/// Checkpoints whose records are the input's pieces, with headers that are right.
fn sealed(input: &[u8]) -> Vec<u8> {
    let (mut log, mut input, mut number) = (Vec::new(), Input(input), 7);
    while let Some(records) = input.piece() {
        let count = count(records);
        log.extend_from_slice(&checkpoint(number, count, records));
        number += 1;
    }
    log
}

fn checkpoint(number: u64, count: u64, records: &[u8]) -> Vec<u8> {
    let header = BatchHeader::new(HERE, number, records.len() as u64, count, crc32fast::hash(records));
    [&header.sealed()[..], records].concat()
}

/// How many records there are, as far as they are records.
fn count(mut records: &[u8]) -> u64 {
    let mut count = 0;
    while let Some(change) = records.get(..16).and_then(|header| RecordHeader::verify(header).ok()) {
        let Some(rest) = records.get(16 + change.length()..) else { break };
        (records, count) = (rest, count + 1);
    }
    count
}

/// What counts in a log is what stands there from its beginning on, and is written as it was read.
fn read(bytes: &[u8]) {
    let read = bounded(CHUNKS + 8 * bytes.len() + 4096, || log(bytes, HERE));
    let Ok((checkpoints, last)) = read else { return };
    let mut place = 0;
    let first = last.wrapping_sub((checkpoints.len() as u64).saturating_sub(1));
    for (checkpoint, number) in checkpoints.iter().zip(first..) {
        let records: Vec<u8> =
            checkpoint.changes.iter().flat_map(|(change, bytes)| record(*change, bytes)).collect();
        let end = place + BATCH_HEADER_SIZE + records.len();
        assert_eq!(checkpoint.place, place as u64..end as u64, "records beside their checkpoint");
        let count = checkpoint.changes.len() as u64;
        same(&self::checkpoint(number, count, &records), &bytes[place..end], "checkpoint");
        place = end;
    }
}

fn record(change: Change, bytes: &[u8]) -> Vec<u8> {
    [RecordHeader::of(change).bytes(), bytes].concat()
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let zeros = |change: Change| record(change, &vec![0x5a; change.length()]);
    let small = [zeros(Change::Meta { local: 7 }), zeros(Change::Remove { local: 8 })].concat();
    let pages = [zeros(Change::Page { local: 9, page: 1 }), zeros(Change::Bitmap { page: 0 })].concat();
    let cut = zeros(Change::Truncate { local: 7, page: 2 });
    let raw = [checkpoint(7, 2, &small), checkpoint(8, 1, &cut)].concat();
    let jump = [checkpoint(7, 2, &small), checkpoint(9, 1, &cut)].concat();
    let torn = [&raw[..], &checkpoint(9, 2, &pages)[..4000]].concat();
    let pieces = |records: &[&[u8]]| {
        let mut input = Vec::new();
        records.iter().for_each(|records| add_piece(&mut input, records));
        input
    };
    numbered("log", [raw, jump, torn, pieces(&[&small, &cut]), pieces(&[&pages]), pieces(&[b"", &cut])])
}
