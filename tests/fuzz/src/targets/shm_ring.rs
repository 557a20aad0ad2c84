//! Rings of the shm fabric (`kddm_fabric`'s shm/ring.rs), whose other side writes what it likes.

use super::{Target, numbered};
use crate::{bound::bounded, input::Input};
use kddm_fabric::{
    shm::fuzz::{BEGIN, ROOM, Taken, Written},
    wire,
};
use std::cell::RefCell;

pub(super) const TARGET: Target = Target {
    name: "shm-ring",
    what: "message rings in memory that a hostile peer shares",
    check,
    seeds,
    longest: 2048,
};

/// What the other side does, one after the other: a letter, and what it needs.
fn check(input: &[u8]) {
    taken(Input(input));
    written(Input(input));
}

thread_local! {
    static RINGS: RefCell<Option<Taken>> = const { RefCell::new(None) };
}

/// We take. The sender writes anywhere, and counts as it likes: at most a ring's worth is believed, and all that is taken is the ring's.
fn taken(mut input: Input<'_>) {
    RINGS.with_borrow_mut(|kept| {
        let mut ring = kept.take().unwrap_or_default();
        let mut put: u64 = 0;
        let mut into = Vec::new();
        while let Some(what) = input.byte() {
            match what {
                b'a' => put = u64::from_le_bytes(input.array()),
                b'+' => put = put.wrapping_add(u64::from(u16::from_le_bytes(input.array()))),
                b'm' => {
                    let message = input.piece().unwrap_or_default();
                    ring.write(BEGIN + put as usize % ROOM, message);
                    put = put.wrapping_add(message.len() as u64);
                }
                _ => ring
                    .write(usize::from(u16::from_le_bytes(input.array())), input.piece().unwrap_or_default()),
            }
            ring.put(put);
            into.clear();
            if bounded(2 * ROOM, || ring.take(&mut into)).is_err() {
                return; // the session ends, and the ring with it
            }
            assert!(into.len() <= ROOM, "{} bytes were taken from a ring of {ROOM}", into.len());
            let mut rest = &into[..];
            while let Ok(Some(_)) = wire::take(&mut rest) {}
        }
    });
}

/// We write. The receiver counts as it likes: never more than a ring's worth is under way.
fn written(mut input: Input<'_>) {
    let mut ring = Written::new();
    let (mut put, mut taken, mut honest) = (0, 0, true);
    while let Some(what) = input.byte() {
        match what {
            b'a' => {
                let before = std::mem::replace(&mut taken, u64::from_le_bytes(input.array()));
                honest &= (before..=put).contains(&taken);
            }
            b'+' => taken += u64::from(u16::from_le_bytes(input.array())).min(put - taken.min(put)),
            _ => {
                let length = 64 + usize::from(u16::from_le_bytes(input.array())) % (wire::MAX_BYTES - 64);
                let message = vec![what; length];
                match bounded(1024, || ring.write(&message)) {
                    Ok(true) => put += length as u64,
                    Ok(false) => {
                        assert!(put - taken.min(put) + length as u64 > ROOM as u64, "no room, where there is")
                    }
                    Err(reason) => {
                        return assert!(!honest, "an honest receiver is said to count wrong: {reason}");
                    }
                }
            }
        }
        if what == b'a' || what == b'+' {
            ring.taken(taken);
        }
    }
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let message = super::wire::TARGET.seeds;
    let honest: Vec<u8> = message()
        .iter()
        .take(4)
        .flat_map(|(_, bytes)| [&b"m"[..], &(bytes.len() as u16).to_le_bytes(), bytes].concat())
        .collect();
    let absolute = |put: u64| [&b"a"[..], &put.to_le_bytes()].concat();
    let seeds = [
        honest.clone(),
        [absolute(ROOM as u64), honest.clone()].concat(),
        absolute(ROOM as u64 + 1),
        [absolute(u64::MAX), honest].concat(),
        b"+\xff\xff+\xff\xff+\xff\xff".to_vec(),
        b"w\x80\x00\x08\x00\xff\xff\xff\xff\xff\xff\xff\xff+\x10\x00".to_vec(),
        b"x\x10\x00x\x10\x00+\x80\x00x\x10\x00a\0\0\0\0\0\0\0\x01x\x10\x00".to_vec(),
    ];
    numbered("ring", seeds)
}
