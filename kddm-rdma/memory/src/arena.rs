//! The arena: slots given to objects and taken back, by the engine.

use crate::control::{Control, tenanted};
use crate::guard::Listener;
use crate::index::{Fingerprint, Index, Writer};
use crate::pool::Pool;
use crate::space::{Descriptor, Space};
use crate::sync::Mutex;
use crate::{MemoryError, Miss};
use kddm_object::limits::{SLAB_MAX, SLAB_MIN, size_class};
use kddm_object::{Generation, Incarnation, ObjectKey, SlotId, Word};
use std::mem::ManuallyDrop;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::atomic::{
    AtomicU16, AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};

/// How large an arena is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArenaConfig {
    /// Bytes of objects, at most.
    pub bytes: usize,
    /// Bytes of a slab: a power of two from 64 KiB to 4 MiB. Objects larger than a slab find no place.
    pub slab_bytes: usize,
}

impl ArenaConfig {
    /// An arena of `bytes`, in 16 slabs or more: of 1 to 4 MiB, or smaller if there would be fewer than 16.
    pub fn new(bytes: usize) -> ArenaConfig {
        let sixteenth = (bytes / 16).max(1);
        let slab_bytes = (1usize << sixteenth.ilog2()).clamp(SLAB_MIN, SLAB_MAX);
        ArenaConfig { bytes, slab_bytes }
    }
}

/// A node's memory. Any thread may call anything at any time; hits take no lock.
pub struct Arena {
    config: ArenaConfig,
    /// What is added to the generations that peers are told.
    life: AtomicU32,
    /// How many slabs are mapped.
    mapped: AtomicU16,
    /// Dropped by the arena's drop, unless guards still point to it.
    pub(crate) space: ManuallyDrop<Space>,
    pub(crate) index: Index,
    pub(crate) state: Mutex<State>,
    /// Not in the arena itself: guards point to it.
    listener: NonNull<Listener>,
}

// SAFETY: the listener is Send and Sync, and nobody gets at it but by `&`, until the arena's drop; all else is so by itself.
unsafe impl Send for Arena {}
// SAFETY: as above.
unsafe impl Sync for Arena {}

/// What changes under the lock.
pub(crate) struct State {
    pub(crate) pool: Pool,
    pub(crate) writer: Writer,
    /// The slabs' memfds.
    pub(crate) descriptors: Vec<Descriptor>,
    pub(crate) trouble: Option<MemoryError>,
}

impl Arena {
    /// An arena, with its first slab, so that a kernel that gives none says so now.
    ///
    /// # Errors
    /// Sizes that are not possible, or the kernel's refusal.
    pub fn new(config: ArenaConfig) -> Result<Arena, MemoryError> {
        let ArenaConfig { bytes, slab_bytes } = config;
        if !slab_bytes.is_power_of_two() || !(SLAB_MIN..=SLAB_MAX).contains(&slab_bytes) {
            return Err(MemoryError::SlabSize(slab_bytes));
        }
        let limit = bytes / slab_bytes;
        if !(1..=usize::from(u16::MAX)).contains(&limit) {
            return Err(MemoryError::ArenaSize { bytes, slab_bytes });
        }
        let space = Space::reserve(limit, slab_bytes)?;
        let first = space.map(0)?;
        let (index, writer) = Index::new();
        let pool = Pool::new(slab_bytes, limit);
        let state = Mutex::new(State { pool, writer, descriptors: vec![first], trouble: None });
        let listener = NonNull::from(Box::leak(Box::<Listener>::default()));
        Ok(Arena {
            config,
            life: Default::default(),
            mapped: AtomicU16::new(1),
            space: ManuallyDrop::new(space),
            index,
            state,
            listener,
        })
    }

    /// Names the life of the node whose memory this is, before any peer is told of a slot: generations that peers were told in
    /// other lives then mean none of this one. Without it a node that returns would give its first slots the generations of
    /// its last life, and a READ of what was there would succeed.
    pub fn begin_life(&self, incarnation: Incarnation) {
        // Even, which keeps tenancies odd.
        let life = incarnation.first_number() << 1;
        self.life.store(life, Relaxed);
    }

    /// The generation of this arena that a peer means by `told`.
    pub(crate) fn meant(&self, told: Generation) -> Generation {
        Generation(told.0.wrapping_sub(self.life.load(Relaxed)))
    }

    /// How large it is.
    pub fn config(&self) -> ArenaConfig {
        self.config
    }

    /// Gives a free slot to `key`, of `size` bytes: its word is [`Word::new`] of a new generation, its bytes are whatever was
    /// there, and lookups find it. `None` if there is none: unless `reserve` is set, each class keeps its last few slots.
    pub fn allocate(&self, key: ObjectKey, size: u32, reserve: bool) -> Option<SlotId> {
        let class = size_class(size)?;
        let state = &mut *self.state.lock();
        if let Some(old) = self.lookup(key) {
            debug_assert!(false, "BUG: {key} has slot {old:?} and got another");
            self.index.remove(&mut state.writer, Fingerprint::of(key), old);
        }
        // Neighbours of a set lie side by side, so that one READ can move many.
        let before = key.object.checked_sub(1).map(|object| ObjectKey { object, ..key });
        let near = before.and_then(|before| self.lookup(before)).and_then(after);
        let State { pool, writer, descriptors, trouble } = state;
        let slot = pool.take(class, reserve, near, |slab, new| {
            self.cut(slab, class, new, descriptors).map_err(|error| *trouble = Some(error)).is_ok()
        })?;
        let control = self.known(slot);
        let bytes = self.start(slot, size as usize);
        control.occupy(key, bytes, size);
        if !self.index.insert(writer, Fingerprint::of(key), slot) {
            let freed = control.vacate();
            debug_assert!(freed.is_ok(), "BUG: {slot:?} was held before it had a mode");
            pool.give(slot);
            return None;
        }
        Some(slot)
    }

    /// Makes slab number `slab` one of `class`.
    fn cut(
        &self,
        slab: u16,
        class: usize,
        new: bool,
        descriptors: &mut Vec<Descriptor>,
    ) -> Result<(), MemoryError> {
        if new && descriptors.len() <= usize::from(slab) {
            descriptors.push(self.space.map(slab)?);
            self.mapped.store(descriptors.len() as u16, Release);
        }
        self.space.set_class(slab, class);
        Ok(())
    }

    /// Takes a slot out of the index; its bytes stay until it is released. Its mode must be *none* by now, or a thread that has
    /// just looked it up may still take a hold.
    pub fn retain(&self, slot: SlotId) {
        let state = &mut *self.state.lock();
        self.forget(state, slot);
    }

    /// Puts a retained slot back into the index. Its object has no other slot there.
    pub fn restore(&self, slot: SlotId) {
        let state = &mut *self.state.lock();
        let Some(key) = self.known(slot).tenant() else {
            debug_assert!(false, "BUG: {slot:?} was restored and is free");
            return;
        };
        let indexed = self.lookup(key);
        debug_assert_eq!(indexed, None, "BUG: {slot:?} was restored beside another slot of {key}");
        if indexed.is_none() {
            // There is room: an entry was removed when the slot was retained, and the index is not full before 2^30 objects.
            let added = self.index.insert(&mut state.writer, Fingerprint::of(key), slot);
            debug_assert!(added, "BUG: no room in the index for {slot:?}");
        }
    }

    /// Makes a slot free: its generation ends. Nobody holds it (else it is left as it is), no READ to or from it is under way.
    pub fn release(&self, slot: SlotId) {
        let state = &mut *self.state.lock();
        self.forget(state, slot);
        match self.known(slot).vacate() {
            Ok(()) => state.pool.give(slot),
            Err(word) => debug_assert!(false, "BUG: {slot:?} was released with word {word:?}"),
        }
    }

    /// [`Arena::release`], but nobody gets the slot before [`Arena::reuse`].
    pub fn retire(&self, slot: SlotId) {
        let state = &mut *self.state.lock();
        self.forget(state, slot);
        let vacated = self.known(slot).vacate();
        debug_assert!(vacated.is_ok(), "BUG: {slot:?} was retired with word {vacated:?}");
    }

    /// A retired slot may be used again; the size class that it is of. `None`, and nothing is done, if it has a tenant.
    pub fn reuse(&self, slot: SlotId) -> Option<usize> {
        let state = &mut *self.state.lock();
        let size = self.space.slot_size(slot)?;
        if tenanted(self.known(slot).word().generation()) {
            return None; // it was held when it was to be retired: it is not free
        }
        state.pool.give(slot);
        size_class(size as u32)
    }

    fn forget(&self, state: &mut State, slot: SlotId) {
        if let Some(key) = self.known(slot).tenant() {
            self.index.remove(&mut state.writer, Fingerprint::of(key), slot);
        }
    }

    /// The slot's generation, as peers are told it.
    ///
    /// # Panics
    /// As [`Arena::load`].
    pub fn generation(&self, slot: SlotId) -> Generation {
        Generation(self.load(slot).generation().0.wrapping_add(self.life.load(Relaxed)))
    }

    /// The slot's state word.
    ///
    /// # Panics
    /// If the arena never gave out such a slot: a bug of the caller, for slots named by peers go through
    /// [`Arena::copy_out`] and [`Arena::slot_size`] alone.
    #[inline]
    pub fn load(&self, slot: SlotId) -> Word {
        self.known(slot).word()
    }

    /// Swaps the state word if it is still `old`. Words are changed only by [`Word`]'s transitions: the bytes of a hold
    /// are the holder's because nobody else has swapped the hold away.
    ///
    /// # Errors
    /// The word as it is now.
    ///
    /// # Panics
    /// As [`Arena::load`].
    pub fn swap(&self, slot: SlotId, old: Word, new: Word) -> Result<(), Word> {
        debug_assert_eq!(
            old.generation(),
            new.generation(),
            "BUG: generations change by allocate and release"
        );
        let control = self.known(slot);
        let now = control.word();
        if now != old || !tenanted(now.generation()) {
            return Err(now);
        }
        control.swap(old, new)
    }

    /// Whose bytes the slot has (also if it is retained), or `None` if it is free or there is no such slot.
    pub fn key_of(&self, slot: SlotId) -> Option<ObjectKey> {
        self.control(slot)?.tenant()
    }

    /// The size of a slot that has a tenant; `None` if it is free or there is no such slot.
    pub fn slot_size(&self, slot: SlotId) -> Option<u32> {
        let word = self.control(slot)?.word();
        let size = self.space.slot_size(slot)?;
        tenanted(word.generation()).then_some(size as u32)
    }

    /// How many slabs there are: numbers below this stay mapped as long as the arena.
    pub fn slabs(&self) -> u16 {
        self.mapped.load(Acquire)
    }

    /// The memory of a slab, for a device to register; `None` if there is no such slab.
    pub fn slab_memory(&self, slab: u16) -> Option<NonNull<[u8]>> {
        (slab < self.slabs()).then(|| self.space.slab(slab))
    }

    /// The memfd of a slab, for who may map it.
    pub fn slab_descriptor(&self, slab: u16) -> Option<std::io::Result<OwnedFd>> {
        let state = self.state.lock();
        Some(state.descriptors.get(usize::from(slab))?.try_clone())
    }

    /// The control block of a slot that a caller in this process was given.
    #[inline]
    pub(crate) fn known(&self, slot: SlotId) -> &Control {
        match self.control(slot) {
            Some(control) => control,
            None => unknown(slot),
        }
    }

    /// The control block of any slot.
    #[inline]
    pub(crate) fn control(&self, slot: SlotId) -> Option<&Control> {
        self.space.control(slot)
    }

    /// Who hears of last puts.
    #[inline]
    pub(crate) fn listener(&self) -> &Listener {
        // SAFETY: leaked in `new`, freed by nobody but this arena's drop.
        unsafe { self.listener.as_ref() }
    }
}

impl Drop for Arena {
    /// Unmaps the slabs, unless a guard is still there: then all it points to stays for good.
    fn drop(&mut self) {
        let (space, state) = (&self.space, self.state.get_mut());
        let busy = (0..state.descriptors.len()).any(|slab| {
            let words = state.pool.taken(slab as u16).filter_map(|slot| space.control(slot));
            words.map(Control::word).any(Word::held)
        });
        if busy {
            return;
        }
        // SAFETY: leaked in `new`, and not used after this; nor is the space. A guard that could look at either would hold a slot.
        unsafe {
            drop(Box::from_raw(self.listener.as_ptr()));
            ManuallyDrop::drop(&mut self.space);
        }
    }
}

#[cold]
fn unknown(slot: SlotId) -> ! {
    panic!("BUG: {slot:?} is no slot of this arena")
}

fn after(slot: SlotId) -> Option<SlotId> {
    slot.index().checked_add(1).map(|index| SlotId::new(slot.slab(), index))
}

impl std::fmt::Debug for Arena {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Arena").field("config", &self.config).finish_non_exhaustive()
    }
}

impl From<kddm_object::Refused> for Miss {
    fn from(refused: kddm_object::Refused) -> Miss {
        match refused {
            kddm_object::Refused::Mode => Miss::Mode,
            kddm_object::Refused::Busy => Miss::Busy,
        }
    }
}
