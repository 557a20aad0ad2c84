//! A node's memory without its bytes: slots, their state words, and the index that hits use.

use kddm_coherence::{Inline, Store};
use kddm_object::{
    Durability, Generation, Hold, Home, ObjectKey, Release, SetId, SetPolicy, SlotId, Word,
    limits::INLINE_MAX,
};
use rustc_hash::FxHashMap;

/// The sets here say in their ids what they are: the kind says where their homes are, the subject how large objects are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Volatile; the home is in the top byte of the object's number.
    Placed = 1,
    /// Volatile; homes by hash over the members.
    Spread = 2,
}

/// An object of `bytes` bytes, with its home on node `home`.
pub fn placed(home: u8, bytes: u32, number: u32) -> ObjectKey {
    let set = SetId::from_parts(Kind::Placed as u8, bytes, 0);
    ObjectKey::new(set, u32::from(home) << 24 | number & 0xff_ffff)
}

/// An object of `bytes` bytes, alone in its set, with its home wherever the hash says.
pub fn spread(bytes: u32, number: u32) -> ObjectKey {
    ObjectKey::new(SetId::from_parts(Kind::Spread as u8, bytes, number), 0)
}

fn policy_of(set: SetId) -> Option<SetPolicy> {
    let home = match set.kind() {
        kind if kind == Kind::Placed as u8 => Home::ObjectBits,
        kind if kind == Kind::Spread as u8 => Home::Hash,
        _ => return None,
    };
    Some(SetPolicy { object_size: set.subject(), home, durability: Durability::Volatile })
}

/// As many slots as are wanted; a free one is taken before a new one.
#[derive(Default)]
pub struct Slots {
    words: Vec<Word>,
    keys: Vec<Option<ObjectKey>>,
    free: Vec<SlotId>,
    index: FxHashMap<ObjectKey, SlotId>,
}

impl Slots {
    /// Takes a hold by a hit; `None` if the core has to be asked.
    pub fn hit(&mut self, key: ObjectKey, hold: Hold) -> Option<SlotId> {
        let slot = *self.index.get(&key)?;
        let word = self.words.get_mut(slot.0 as usize)?;
        *word = word.hold(hold).ok()?;
        Some(slot)
    }

    /// Ends a hold; whether the core wants to hear of it.
    ///
    /// # Panics
    /// If there is no such hold: the driver is wrong.
    pub fn put(&mut self, slot: SlotId, hold: Hold) -> Release {
        let word = &mut self.words[slot.0 as usize];
        let (new, told) = word.release(hold).expect("BUG: a put without a hold");
        *word = new;
        told
    }
}

impl Store for Slots {
    fn policy(&self, set: SetId) -> Option<SetPolicy> {
        policy_of(set)
    }

    fn allocate(&mut self, key: ObjectKey, _: u32, _: bool) -> Option<SlotId> {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.words.push(Word::default());
            self.keys.push(None);
            // All of them may be free one day, and that day shall not need memory.
            self.free.reserve(self.words.len());
            SlotId(self.words.len() as u32 - 1)
        });
        let word = &mut self.words[slot.0 as usize];
        *word = Word::new(word.generation().next());
        self.keys[slot.0 as usize] = Some(key);
        self.index.insert(key, slot);
        Some(slot)
    }

    fn room(&self, _: u32) -> u32 {
        0
    }

    fn retain(&mut self, slot: SlotId) {
        if let Some(key) = self.keys[slot.0 as usize] {
            self.index.remove(&key);
        }
    }

    fn restore(&mut self, slot: SlotId) {
        if let Some(key) = self.keys[slot.0 as usize] {
            self.index.insert(key, slot);
        }
    }

    fn release(&mut self, slot: SlotId) {
        let at = slot.0 as usize;
        let key = self.keys[at].take().expect("BUG: the core released a free slot");
        if self.index.get(&key) == Some(&slot) {
            self.index.remove(&key);
        }
        self.words[at] = Word::new(self.words[at].generation().next());
        self.free.push(slot);
    }

    fn generation(&self, slot: SlotId) -> Generation {
        self.words[slot.0 as usize].generation()
    }

    fn load(&self, slot: SlotId) -> Word {
        self.words[slot.0 as usize]
    }

    fn swap(&mut self, slot: SlotId, old: Word, new: Word) -> Result<(), Word> {
        let word = &mut self.words[slot.0 as usize];
        if *word != old {
            return Err(*word);
        }
        *word = new;
        Ok(())
    }

    fn take(&self, _: SlotId, size: u32) -> Inline {
        const ZEROS: [u8; INLINE_MAX] = [0; INLINE_MAX];
        let size = (size as usize).min(INLINE_MAX);
        Inline::new(&ZEROS[..size]).expect("BUG: cut to INLINE_MAX above")
    }

    fn clear(&mut self, _: SlotId, _: u32) {}

    fn fill(&mut self, _: SlotId, _: &Inline) {}
}
