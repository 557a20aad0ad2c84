//! `kddm_hold`: bytes of an object while they are held.

use crate::{
    answer::{Failure, Result, answer, answer_or, count},
    handles::{Handle, SessionId},
    options::{HoldOptions, wait},
    pointers::{List, Optional, Place},
    sets::{Set, range},
};
use kdfs_client::{Exclusive, Shared, Wait};
use nix::errno::Errno;
use parking_lot::Mutex;
use std::{
    ffi::{c_int, c_void},
    ptr,
    sync::atomic::{AtomicBool, AtomicPtr, Ordering::Relaxed},
};

/// A hold.
pub(crate) struct Hold {
    /// `None`: it is being put.
    guard: Mutex<Option<Guard>>,
    first: AtomicPtr<u8>,
    length: usize,
    exclusive: bool,
    changed: AtomicBool,
}

/// A hold of either kind.
pub(crate) enum Guard {
    Shared(Shared),
    Exclusive(Exclusive),
}

impl From<Shared> for Hold {
    fn from(guard: Shared) -> Hold {
        // Nobody writes there: `kddm_hold_bytes` gives it as a pointer to constant bytes.
        let (first, length) = (guard.as_ptr().cast_mut(), guard.len());
        Hold::new(Guard::Shared(guard), first, length)
    }
}

impl From<Exclusive> for Hold {
    fn from(mut guard: Exclusive) -> Hold {
        let (first, length) = (guard.as_mut_ptr(), guard.len());
        guard.set_changed(false);
        Hold::new(Guard::Exclusive(guard), first, length)
    }
}

impl From<Guard> for Hold {
    fn from(guard: Guard) -> Hold {
        match guard {
            Guard::Shared(guard) => guard.into(),
            Guard::Exclusive(guard) => guard.into(),
        }
    }
}

impl Hold {
    fn new(guard: Guard, first: *mut u8, length: usize) -> Hold {
        let exclusive = matches!(guard, Guard::Exclusive(_));
        let (guard, first, changed) =
            (Mutex::new(Some(guard)), AtomicPtr::new(first), AtomicBool::new(false));
        Hold { guard, first, length, exclusive, changed }
    }

    pub(crate) fn forget_changes(&self) {
        self.changed.store(false, Relaxed);
    }

    /// With its changes.
    fn guard(&self) -> Option<Guard> {
        let mut guard = self.guard.lock().take();
        if let Some(Guard::Exclusive(guard)) = &mut guard {
            guard.set_changed(self.changed.load(Relaxed));
        }
        guard
    }

    fn put(&self) -> Result<()> {
        match self.guard() {
            Some(Guard::Shared(guard)) => Ok(guard.put()?),
            Some(Guard::Exclusive(guard)) => Ok(guard.put()?),
            None => Ok(()),
        }
    }
}

/// Takes a hold and gives C a handle of it.
fn take<G: Into<Hold>>(
    set: Handle<Set>,
    place: Place<Handle<Hold>>,
    take: impl FnOnce(&kdfs_client::Set) -> Result<G>,
) -> c_int {
    place.store(Handle::NULL);
    answer(|| {
        place.check("hold")?;
        let set = set.get()?;
        place.store(Handle::new(take(&set.set)?.into(), set.session)?);
        Ok(())
    })
}

fn options(wait: Wait) -> kdfs_client::HoldOptions {
    kdfs_client::HoldOptions { wait, ..Default::default() }
}

#[unsafe(no_mangle)]
extern "C" fn kddm_get(set: Handle<Set>, object: u32, hold: Place<Handle<Hold>>) -> c_int {
    take(set, hold, |set| Ok(set.get(object)?))
}

#[unsafe(no_mangle)]
extern "C" fn kddm_grab(set: Handle<Set>, object: u32, hold: Place<Handle<Hold>>) -> c_int {
    take(set, hold, |set| Ok(set.grab(object)?))
}

#[unsafe(no_mangle)]
extern "C" fn kddm_try_get(set: Handle<Set>, object: u32, hold: Place<Handle<Hold>>) -> c_int {
    take(set, hold, |set| Ok(set.try_get(object)?))
}

#[unsafe(no_mangle)]
extern "C" fn kddm_try_grab(set: Handle<Set>, object: u32, hold: Place<Handle<Hold>>) -> c_int {
    take(set, hold, |set| Ok(set.try_grab(object)?))
}

#[unsafe(no_mangle)]
extern "C" fn kddm_get_for(set: Handle<Set>, object: u32, time_ns: i64, hold: Place<Handle<Hold>>) -> c_int {
    take(set, hold, |set| Ok(set.get_with(object, options(wait(time_ns)?))?))
}

#[unsafe(no_mangle)]
extern "C" fn kddm_grab_for(set: Handle<Set>, object: u32, time_ns: i64, hold: Place<Handle<Hold>>) -> c_int {
    take(set, hold, |set| Ok(set.grab_with(object, options(wait(time_ns)?))?))
}

#[unsafe(no_mangle)]
extern "C" fn kddm_get_with(
    set: Handle<Set>,
    object: u32,
    options: Optional<HoldOptions>,
    hold: Place<Handle<Hold>>,
) -> c_int {
    take(set, hold, |set| Ok(set.get_with(object, options.options()?)?))
}

#[unsafe(no_mangle)]
extern "C" fn kddm_grab_with(
    set: Handle<Set>,
    object: u32,
    options: Optional<HoldOptions>,
    hold: Place<Handle<Hold>>,
) -> c_int {
    take(set, hold, |set| Ok(set.grab_with(object, options.options()?)?))
}

#[unsafe(no_mangle)]
extern "C" fn kddm_get_range(set: Handle<Set>, first: u32, count: u32, holds: Place<Handle<Hold>>) -> c_int {
    take_range(set, count, holds, |set| Ok(set.get_range(range(first, count)?)?))
}

#[unsafe(no_mangle)]
extern "C" fn kddm_grab_range(set: Handle<Set>, first: u32, count: u32, holds: Place<Handle<Hold>>) -> c_int {
    take_range(set, count, holds, |set| Ok(set.grab_range(range(first, count)?)?))
}

fn take_range<G: Into<Hold>>(
    set: Handle<Set>,
    count: u32,
    places: Place<Handle<Hold>>,
    take: impl FnOnce(&kdfs_client::Set) -> Result<Vec<G>>,
) -> c_int {
    for index in 0..count as usize {
        places.store_at(index, Handle::NULL);
    }
    answer(|| {
        if count == 0 {
            return Ok(());
        }
        places.check("holds")?;
        let set = set.get()?;
        let handles = name_all(take(&set.set)?, set.session)?;
        for (index, handle) in handles.into_iter().enumerate() {
            places.store_at(index, handle);
        }
        Ok(())
    })
}

/// Handles of all, or of none.
fn name_all<G: Into<Hold>>(guards: Vec<G>, session: SessionId) -> Result<Vec<Handle<Hold>>> {
    let mut handles = Vec::with_capacity(guards.len());
    for guard in guards {
        match Handle::new(guard.into(), session) {
            Ok(handle) => handles.push(handle),
            Err(failure) => {
                for handle in handles {
                    // Gone already only if the program detaches, and then it is put.
                    let _ = handle.take();
                }
                return Err(failure);
            }
        }
    }
    Ok(handles)
}

#[unsafe(no_mangle)]
extern "C" fn kddm_hold_bytes(hold: Handle<Hold>) -> *const c_void {
    answer_or(|_| ptr::null(), || Ok(hold.get()?.first.load(Relaxed).cast_const().cast()))
}

#[unsafe(no_mangle)]
extern "C" fn kddm_hold_mutable(hold: Handle<Hold>) -> *mut c_void {
    answer_or(
        |_| ptr::null_mut(),
        || {
            let hold = hold.get()?;
            if !hold.exclusive {
                let text = "a shared hold's bytes are only to be read; grab the object to change it";
                return Err(Failure::new(Errno::EINVAL, text));
            }
            hold.changed.store(true, Relaxed);
            Ok(hold.first.load(Relaxed).cast())
        },
    )
}

#[unsafe(no_mangle)]
extern "C" fn kddm_hold_length(hold: Handle<Hold>) -> isize {
    count(|| Ok(hold.get()?.length))
}

#[unsafe(no_mangle)]
extern "C" fn kddm_hold_forget_changes(hold: Handle<Hold>) -> c_int {
    answer(|| {
        hold.get()?.forget_changes();
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn kddm_put(hold: Handle<Hold>) -> c_int {
    answer(|| hold.take()?.put())
}

#[unsafe(no_mangle)]
extern "C" fn kddm_put_nowait(hold: Handle<Hold>) -> c_int {
    answer(|| {
        drop(hold.take()?.guard());
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn kddm_put_range(holds: List<Handle<Hold>>, count: usize) -> c_int {
    answer(|| {
        let mut result = Ok(());
        for hold in holds.get(count, "holds")?.iter().filter(|hold| !hold.is_null()) {
            let put = hold.take().and_then(|hold| hold.put());
            result = result.and(put);
        }
        result
    })
}
