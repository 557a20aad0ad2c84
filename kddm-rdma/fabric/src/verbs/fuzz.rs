//! Doors for fuzz targets: the words of a link, and what is believed of a peer's slabs.

use super::{
    exchange::{Connect, Word},
    slabs::{Found, PeerSlabs},
};
use crate::tcp::{decode_word, encode_word};
use kddm_object::{Location, SlotId};

/// The word in `bytes`, encoded again.
pub fn word(bytes: &[u8]) -> Option<Vec<u8>> {
    decode_word::<Word>(bytes).map(|word| encode_word(&word))
}

/// A word of each kind.
pub fn words() -> Vec<Vec<u8>> {
    let address = |number| kddm_verbs::Address {
        number,
        first_packet: 9,
        gid: [3; 16],
        lid: 7,
        mtu: 1024,
        reads_answered: 128,
    };
    let connect = Connect {
        epoch: 1,
        messages: address(17),
        reads: address(18),
        credits: 64,
        taken: u32::MAX,
        slab_bytes: 4 << 20,
        slab_limit: 64,
    };
    let slabs = vec![(1 << 40, 0x1234), (0, 0), (u64::MAX - (4 << 20), u32::MAX)];
    [Word::Connect(connect), Word::Connected(3), Word::Slabs(0, slabs)].iter().map(encode_word).collect()
}

/// What a peer has told of its slabs.
#[derive(Default)]
pub struct Told {
    slabs: PeerSlabs,
    slab_bytes: u32,
    addresses: Vec<u64>,
}

impl Told {
    /// Hears a word; false if it is none, or must not be said.
    pub fn hear(&mut self, bytes: &[u8]) -> bool {
        match decode_word::<Word>(bytes) {
            Some(Word::Connect(connect)) => {
                self.slabs.set_geometry(connect.slab_bytes, connect.slab_limit);
                self.slab_bytes = connect.slab_bytes;
                true
            }
            Some(Word::Slabs(first, slabs)) => {
                let added = self.slabs.add(first, &slabs).is_ok();
                self.addresses.extend(slabs.iter().filter(|_| added).map(|slab| slab.0));
                added
            }
            Some(Word::Connected(_)) => true,
            None => false,
        }
    }

    /// Whether a READ of `length` bytes at `place` would stay inside the slab that it names, or is refused.
    pub fn stays_inside(&self, slot: SlotId, mut place: Location, length: u32) -> bool {
        place.slot = slot;
        let Found::At(source) = self.slabs.find(place, length) else { return true };
        let begin = self.addresses[usize::from(slot.slab())];
        begin != 0
            && source.address >= begin
            && source.address - begin + u64::from(length) <= u64::from(self.slab_bytes)
    }
}
