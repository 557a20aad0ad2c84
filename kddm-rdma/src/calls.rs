//! Calling linkers: their bytes, their errors, their sets.

use crate::{Inserted, IoLinker, Keep, inner::Inner, sync::Mutex};
use kddm_coherence::{LinkerCall, LinkerReply};
use kddm_object::{ObjectKey, SetId, SlotId};
use std::{
    cell::Cell,
    collections::HashMap,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

/// The sets that were instantiated, for the linkers that want it.
#[derive(Default)]
pub(crate) struct Instances(Mutex<HashMap<SetId, Arc<Mutex<bool>>>>);

thread_local! {
    /// Where a linker fills in or finds the bytes of an object. They are copied from and to the slot, so that no
    /// reference to memory that peers read is ever in the hands of others.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl Inner {
    /// Runs one call, on a thread that may block if the linker does. Must not be called with the engine's lock held.
    pub(crate) fn call_linker(&self, key: ObjectKey, call: LinkerCall) -> LinkerReply {
        let Some(linker) = self.families.linker(key.set) else {
            return LinkerReply::Failed(nix::libc::ENODEV);
        };
        match catch_unwind(AssertUnwindSafe(|| self.try_call(&**linker, key, call))) {
            Ok(Ok(reply)) => reply,
            Ok(Err(error)) => {
                tracing::warn!(set = %key.set, object = key.object, ?call, reason = %error, "the linker failed");
                LinkerReply::Failed(error.raw_os_error().unwrap_or(nix::libc::EIO))
            }
            Err(_) => {
                tracing::error!(set = %key.set, object = key.object, ?call, "BUG: the linker panicked");
                LinkerReply::Failed(nix::libc::EIO)
            }
        }
    }

    fn try_call(&self, linker: &dyn IoLinker, key: ObjectKey, call: LinkerCall) -> io::Result<LinkerReply> {
        self.instantiate(linker, key.set)?;
        match call {
            LinkerCall::FirstTouch { slot } => {
                self.filled(key, slot, |bytes| linker.first_touch(key, bytes).map(|()| true))
            }
            LinkerCall::Insert { slot, make } => {
                self.filled(key, slot, |bytes| match (linker.insert_object(key, bytes)?, make) {
                    (Inserted::Filled, _) => Ok(true),
                    (Inserted::Absent, true) => linker.first_touch(key, bytes).map(|()| true),
                    (Inserted::Absent, false) => Ok(false),
                })
            }
            LinkerCall::Sync { slot } => {
                let generation = self.arena.generation(slot);
                self.with_scratch(key, |bytes| {
                    if !self.arena.copy_out(slot, generation, bytes) {
                        return Err(io::Error::other("BUG: the slot to be written changed hands"));
                    }
                    linker.sync_object(key, bytes)
                })?;
                Ok(LinkerReply::Ok)
            }
            LinkerCall::Remove => linker.remove_object(key).map(|()| LinkerReply::Ok),
        }
    }

    /// `fill` says whether there are bytes now.
    fn filled(
        &self,
        key: ObjectKey,
        slot: SlotId,
        fill: impl FnOnce(&mut [u8]) -> io::Result<bool>,
    ) -> io::Result<LinkerReply> {
        self.with_scratch(key, |bytes| {
            if !fill(bytes)? {
                return Ok(LinkerReply::Absent);
            }
            if !self.arena.copy_in(slot, 0, bytes) {
                return Err(io::Error::other("BUG: the slot to be filled is too small"));
            }
            Ok(LinkerReply::Ok)
        })
    }

    fn with_scratch<R>(
        &self,
        key: ObjectKey,
        action: impl FnOnce(&mut [u8]) -> io::Result<R>,
    ) -> io::Result<R> {
        let policy = self.families.policy(key.set).ok_or(io::ErrorKind::NotFound)?;
        let mut scratch = SCRATCH.take();
        scratch.resize(policy.object_size as usize, 0);
        let result = action(&mut scratch);
        SCRATCH.set(scratch);
        result
    }

    fn instantiate(&self, linker: &dyn IoLinker, set: SetId) -> io::Result<()> {
        if !linker.per_set() {
            return Ok(());
        }
        let instance = self.instances.0.lock().entry(set).or_default().clone();
        let mut there = instance.lock();
        if !*there {
            linker.instantiate(set)?;
            *there = true;
        }
        Ok(())
    }

    pub(crate) fn uninstantiate_all(&self) {
        let instances = std::mem::take(&mut *self.instances.0.lock());
        for (set, there) in instances {
            if let (true, Some(linker)) = (*there.lock(), self.families.linker(set)) {
                linker.uninstantiate(set);
            }
        }
    }

    /// Whether the linker wants to know what happens to `key`.
    pub(crate) fn notified(&self, key: ObjectKey) -> bool {
        self.families.linker(key.set).is_some_and(|linker| linker.notified())
    }

    /// Whether the linker asks to spare this copy.
    pub(crate) fn wants_to_keep(&self, key: ObjectKey) -> bool {
        self.families
            .linker(key.set)
            .is_some_and(|linker| linker.notified() && linker.invalidate_object(key) == Keep::Keep)
    }
}
