//! A node's memory of a few slots. An object's bytes are two words that a writer always makes equal: a torn READ shows.

use kddm_coherence::{Inline, Store};
use kddm_object::{Durability, Generation, Home, Incarnation, ObjectKey, SetId, SetPolicy, SlotId, Word};

/// What a released slot holds: a READ that comes too late shows.
const POISON: u64 = 0xdead_dead_dead_dead;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Slot {
    word: Word,
    key: Option<ObjectKey>,
    indexed: bool,
    bytes: [u64; 2],
}

const DEVICE: u8 = 1;
const HASHED: u8 = 2;
const LOCK: u8 = 4;

/// The slots of a node and the policies of its sets (see [`set_of`]).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Memory {
    slots: Vec<Slot>,
    reserved: usize,
}

impl Memory {
    /// `slots` slots, of which the last `reserved` are for those who free memory. Their generations are those of no other life.
    pub fn new(slots: usize, reserved: usize, life: Incarnation) -> Memory {
        let word = Word::new(Generation((life.0 as u32 - 1) << 16));
        let slot = Slot { word, key: None, indexed: false, bytes: [POISON; 2] };
        Memory { slots: vec![slot; slots], reserved }
    }

    fn slot(&self, slot: SlotId) -> &Slot {
        &self.slots[slot.0 as usize]
    }

    fn slot_mut(&mut self, slot: SlotId) -> &mut Slot {
        &mut self.slots[slot.0 as usize]
    }

    /// Where a hit on `key` looks.
    pub fn lookup(&self, key: ObjectKey) -> Option<SlotId> {
        let found = self.slots.iter().position(|slot| slot.indexed && slot.key == Some(key))?;
        Some(SlotId(found as u32))
    }

    /// One of the two words of a slot, whoever has it now.
    pub fn peek(&self, slot: SlotId, word: usize) -> u64 {
        self.slot(slot).bytes[word]
    }

    /// Writes one of the two words.
    pub fn poke(&mut self, slot: SlotId, word: usize, value: u64) {
        self.slot_mut(slot).bytes[word] = value;
    }

    /// How many slots are given to objects.
    pub fn taken(&self) -> usize {
        self.slots.iter().filter(|slot| slot.key.is_some()).count()
    }

    /// The words of all slots that hits can find.
    pub fn indexed(&self) -> impl Iterator<Item = (ObjectKey, SlotId, Word)> + '_ {
        self.slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.indexed)
            .filter_map(|(place, slot)| Some((slot.key?, SlotId(place as u32), slot.word)))
    }
}

/// The set of the objects with that home (0: wherever the hash says), with a device or without. Volatile ones may be `locks`, which
/// have no bytes as far as the core knows: their two words are there all the same, to show which object it is.
pub fn set_of(home: u8, durable: bool, locks: bool) -> SetId {
    let kind = match (home, durable) {
        (0, _) => HASHED,
        (_, true) => DEVICE,
        (_, false) => 0,
    };
    let lock = if locks && kind != DEVICE { LOCK } else { 0 };
    SetId::from_parts(kind | lock, u32::from(home) << 24, 0)
}

/// Whether the homes of a set's objects are spread over the members.
pub fn is_hashed(set: SetId) -> bool {
    set.kind() & HASHED != 0
}

/// Whether a set's objects have no bytes.
pub fn is_lock(set: SetId) -> bool {
    set.kind() & LOCK != 0
}

/// The policy of a set of this world.
pub fn policy(set: SetId) -> SetPolicy {
    let durability = if set.kind() == DEVICE { Durability::WriteBack } else { Durability::Volatile };
    let home = if is_hashed(set) { Home::Hash } else { Home::SubjectBits };
    SetPolicy { object_size: if is_lock(set) { 0 } else { 16 }, home, durability }
}

impl Store for Memory {
    fn policy(&self, set: SetId) -> Option<SetPolicy> {
        Some(policy(set))
    }

    fn allocate(&mut self, key: ObjectKey, _: u32, reserve: bool) -> Option<SlotId> {
        assert_eq!(self.lookup(key), None, "a second slot for {key:?}");
        let free = self.slots.iter().filter(|slot| slot.key.is_none()).count();
        if free <= if reserve { 0 } else { self.reserved } {
            return None;
        }
        let place = self.slots.iter().position(|slot| slot.key.is_none())?;
        let slot = &mut self.slots[place];
        slot.word = Word::new(slot.word.generation().next());
        (slot.key, slot.indexed, slot.bytes) = (Some(key), true, [POISON; 2]);
        Some(SlotId(place as u32))
    }

    fn room(&self, _: u32) -> u32 {
        (self.slots.len() - self.taken()).saturating_sub(self.reserved) as u32 / 2
    }

    fn retain(&mut self, slot: SlotId) {
        self.slot_mut(slot).indexed = false;
    }

    fn restore(&mut self, slot: SlotId) {
        self.slot_mut(slot).indexed = true;
    }

    fn release(&mut self, slot: SlotId) {
        let it = self.slot_mut(slot);
        assert!(it.key.is_some() && !it.word.held(), "release of {slot:?}, which is free or held: {it:?}");
        it.word = Word::new(it.word.generation().next());
        (it.key, it.indexed, it.bytes) = (None, false, [POISON; 2]);
    }

    fn generation(&self, slot: SlotId) -> Generation {
        self.slot(slot).word.generation()
    }

    fn load(&self, slot: SlotId) -> Word {
        self.slot(slot).word
    }

    fn swap(&mut self, slot: SlotId, old: Word, new: Word) -> Result<(), Word> {
        let it = self.slot_mut(slot);
        if it.word != old {
            return Err(it.word);
        }
        it.word = new;
        Ok(())
    }

    fn take(&self, slot: SlotId, _: u32) -> Inline {
        let [low, high] = self.slot(slot).bytes;
        let bytes: Vec<u8> = low.to_le_bytes().into_iter().chain(high.to_le_bytes()).collect();
        Inline::new(&bytes).expect("16 bytes are few enough")
    }

    fn clear(&mut self, slot: SlotId, _: u32) {
        self.slot_mut(slot).bytes = [0; 2];
    }

    fn fill(&mut self, slot: SlotId, bytes: &Inline) {
        for (word, chunk) in self.slot_mut(slot).bytes.iter_mut().zip(bytes.as_slice().chunks(8)) {
            *word = u64::from_le_bytes(chunk.try_into().expect("16 bytes ride in two words"));
        }
    }
}
