//! Hits of an arena.

use crate::compare::{Case, OBJECTS, Way, cases, each};
use kddm_memory::{Arena, ArenaConfig, MemoryError};
use kddm_object::{Hold, Mode, ObjectKey, SetId};
use std::hint::black_box;

/// All cases.
///
/// # Errors
/// The arena's.
pub fn all() -> Result<Vec<Case>, MemoryError> {
    let arena = filled()?;
    let get = |objects: &[u32]| each(objects, |object| drop(black_box(arena.get(key(object)))));
    let grab = |objects: &[u32]| each(objects, |object| drop(black_box(arena.grab(key(object)))));
    let raw = |objects: &[u32]| {
        each(objects, |object| {
            if let Ok(slot) = arena.try_hold(key(object), Hold::Shared) {
                black_box(arena.put(black_box(slot), Hold::Shared));
            }
        })
    };
    Ok(cases(&[
        ("get + put", Way::Get(&get)),
        ("grab + put", Way::Grab(&grab)),
        ("try_hold + put", Way::Get(&raw)),
    ]))
}

/// 65536 pages that this node has exclusively. Their bytes are never touched.
fn filled() -> Result<Arena, MemoryError> {
    let arena = Arena::new(ArenaConfig::new(512 << 20))?;
    for object in 0..OBJECTS {
        let slot = arena.allocate(key(object), 4096, false);
        let slot = slot.unwrap_or_else(|| panic!("BUG: no slot for object {object}"));
        let word = arena.load(slot);
        assert!(arena.swap(slot, word, word.with_mode(Mode::Exclusive)).is_ok());
        assert!(arena.get(key(object)).is_ok());
    }
    Ok(arena)
}

fn key(object: u32) -> ObjectKey {
    ObjectKey::new(SetId::from_parts(3, 0x0100_0001, 1), object)
}
