//! `kddm_pending`: holds that are on their way.

use crate::{
    answer::{Failure, Result, answer},
    handles::{Handle, SessionId},
    holds::{Guard, Hold},
    options::{HoldOptions, time},
    pointers::{List, Optional, Place, duplicate},
    sets::Set,
};
use kdfs_client::{Exclusive, Shared, session::OnItsWay, wait_any_for};
use nix::errno::Errno;
use parking_lot::Mutex;
use std::{
    ffi::c_int,
    future::Future,
    os::fd::OwnedFd,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

/// A hold that is on its way.
pub(crate) struct Pending {
    /// `None`: a thread waits for it.
    state: Mutex<Option<State>>,
    session: SessionId,
}

enum State {
    Get(kdfs_client::Pending<Shared>),
    Grab(kdfs_client::Pending<Exclusive>),
    Come(kdfs_client::Result<Guard>),
}

/// A pending hold in the hands of one thread; dropped, it is anybody's again.
struct Mine {
    pending: Arc<Pending>,
    state: Option<State>,
}

impl Pending {
    fn mine(self: Arc<Self>) -> Result<Mine> {
        let state = self.state.lock().take();
        match state {
            None => Err(Failure::new(Errno::EBUSY, "another thread waits for this hold")),
            state => Ok(Mine { pending: self, state }),
        }
    }
}

impl Drop for Mine {
    fn drop(&mut self) {
        let state = self.state.take();
        *self.pending.state.lock() = state;
    }
}

impl Mine {
    /// The hold, if it comes in time.
    fn wait(&mut self, time: Duration) -> Result<Option<Guard>> {
        let guard = match &mut self.state {
            Some(State::Get(pending)) => pending.wait_for(time)?.map(Guard::Shared),
            Some(State::Grab(pending)) => pending.wait_for(time)?.map(Guard::Exclusive),
            Some(State::Come(_)) | None => match self.state.take() {
                Some(State::Come(guard)) => Some(guard?),
                _ => None,
            },
        };
        Ok(guard)
    }

    fn on_its_way(&self) -> Option<&dyn OnItsWay> {
        match &self.state {
            Some(State::Get(pending)) => Some(pending),
            Some(State::Grab(pending)) => Some(pending),
            _ => None,
        }
    }

    /// Has `bell` rung when it has come.
    fn notify(&mut self, bell: Bell) {
        let waker = Waker::from(Arc::new(bell));
        let mut context = Context::from_waker(&waker);
        let polled = match &mut self.state {
            Some(State::Get(pending)) => Pin::new(pending).poll(&mut context).map_ok(Guard::Shared),
            Some(State::Grab(pending)) => Pin::new(pending).poll(&mut context).map_ok(Guard::Exclusive),
            _ => return waker.wake(),
        };
        if let Poll::Ready(guard) = polled {
            self.state = Some(State::Come(guard));
            waker.wake();
        }
    }
}

/// An eventfd of the program.
struct Bell(OwnedFd);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        // Full, it has been rung; whatever else it is, the program has been told what it has to be.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }
}

fn begin(
    set: Handle<Set>,
    place: Place<Handle<Pending>>,
    begin: impl FnOnce(&kdfs_client::Set) -> Result<State>,
) -> c_int {
    place.store(Handle::NULL);
    answer(|| {
        place.check("pending")?;
        let set = set.get()?;
        let state = Mutex::new(Some(begin(&set.set)?));
        place.store(Handle::new(Pending { state, session: set.session }, set.session)?);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn kddm_begin_get(
    set: Handle<Set>,
    object: u32,
    options: Optional<HoldOptions>,
    pending: Place<Handle<Pending>>,
) -> c_int {
    begin(set, pending, |set| Ok(State::Get(set.begin_get(object, options.options()?)?)))
}

#[unsafe(no_mangle)]
extern "C" fn kddm_begin_grab(
    set: Handle<Set>,
    object: u32,
    options: Optional<HoldOptions>,
    pending: Place<Handle<Pending>>,
) -> c_int {
    begin(set, pending, |set| Ok(State::Grab(set.begin_grab(object, options.options()?)?)))
}

#[unsafe(no_mangle)]
extern "C" fn kddm_wait(pending: Handle<Pending>, hold: Place<Handle<Hold>>) -> c_int {
    wait(pending, || Ok(Duration::MAX), hold)
}

#[unsafe(no_mangle)]
extern "C" fn kddm_wait_for(pending: Handle<Pending>, time_ns: i64, hold: Place<Handle<Hold>>) -> c_int {
    wait(pending, || time(time_ns), hold)
}

fn wait(
    pending: Handle<Pending>,
    time: impl FnOnce() -> Result<Duration>,
    place: Place<Handle<Hold>>,
) -> c_int {
    place.store(Handle::NULL);
    answer(|| {
        place.check("hold")?;
        let time = time()?;
        let mut mine = pending.get()?.mine()?;
        let session = mine.pending.session;
        let guard = match mine.wait(time) {
            Ok(None) => return Err(Failure::new(Errno::EINPROGRESS, "the hold is on its way still")),
            ended => ended,
        };
        // Gone already if the program detaches; then there is no session to keep the hold for.
        let _ = pending.take();
        let Some(guard) = guard? else { return Ok(()) };
        place.store(Handle::new(guard.into(), session)?);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn kddm_wait_any(
    pending: List<Handle<Pending>>,
    count: usize,
    time_ns: i64,
    which: Place<usize>,
) -> c_int {
    answer(|| {
        which.check("which")?;
        let time = time(time_ns)?;
        let mut mine = Vec::new();
        for (index, handle) in pending.get(count, "pending")?.iter().enumerate() {
            if !handle.is_null() {
                mine.push((index, handle.get()?.mine()?));
            }
        }
        which.store(first_of(&mine, time)?);
        Ok(())
    })
}

fn first_of(mine: &[(usize, Mine)], time: Duration) -> Result<usize> {
    let session = mine.first().map(|(_, mine)| mine.pending.session);
    if session.is_none() || mine.iter().any(|(_, mine)| Some(mine.pending.session) != session) {
        let text = "there is none to wait for, or they are of several attachments";
        return Err(Failure::new(Errno::EINVAL, text));
    }
    if let Some((index, _)) = mine.iter().find(|(_, mine)| mine.on_its_way().is_none()) {
        return Ok(*index);
    }
    let on_their_way: Vec<&dyn OnItsWay> = mine.iter().filter_map(|(_, mine)| mine.on_its_way()).collect();
    let first = wait_any_for(&on_their_way, time)?.and_then(|place| mine.get(place));
    let first = first.ok_or_else(|| Failure::new(Errno::EINPROGRESS, "all are on their way still"))?;
    Ok(first.0)
}

#[unsafe(no_mangle)]
extern "C" fn kddm_pending_notify(pending: Handle<Pending>, descriptor: c_int) -> c_int {
    answer(|| {
        let bell = Bell(duplicate(descriptor)?);
        pending.get()?.mine()?.notify(bell);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn kddm_cancel(pending: Handle<Pending>) -> c_int {
    answer(|| {
        let mut mine = pending.get()?.mine()?;
        pending.take()?;
        mine.state = None;
        Ok(())
    })
}
