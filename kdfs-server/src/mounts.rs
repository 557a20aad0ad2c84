//! The mounts that a server serves.

use crate::fuse::{Session, SessionError};
use parking_lot::{Condvar, Mutex};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// The mounts that a server serves.
#[derive(Default)]
pub(crate) struct Mounts {
    sessions: Mutex<Vec<Session>>,
    fewer: Condvar,
}

impl Mounts {
    /// Adds what `start` makes. A mount that ends at once is added before it is removed.
    pub fn add(&self, start: impl FnOnce() -> Result<Session, SessionError>) -> Result<(), SessionError> {
        let mut sessions = self.sessions.lock();
        sessions.push(start()?);
        Ok(())
    }

    /// Forgets the mount at `point`, which is gone, and says how many are left.
    pub fn remove(&self, point: &Path) -> usize {
        let mut sessions = self.sessions.lock();
        if let Some(place) = sessions.iter().position(|session| session.point() == point) {
            sessions.remove(place);
        }
        self.fewer.notify_all();
        sessions.len()
    }

    pub fn has(&self, point: &Path) -> bool {
        self.sessions.lock().iter().any(|session| session.point() == point)
    }

    pub fn points(&self) -> Vec<PathBuf> {
        self.sessions.lock().iter().map(|session| session.point().to_owned()).collect()
    }

    pub fn waiting(&self) -> usize {
        self.sessions.lock().iter().map(Session::waiting).sum()
    }

    pub fn wait_gone(&self, point: &Path, time: Duration) {
        let mut sessions = self.sessions.lock();
        let there = |sessions: &mut Vec<Session>| sessions.iter().any(|session| session.point() == point);
        self.fewer.wait_while_for(&mut sessions, there, time);
    }

    pub fn wait_all_gone(&self, time: Duration) {
        let mut sessions = self.sessions.lock();
        self.fewer.wait_while_for(&mut sessions, |sessions| !sessions.is_empty(), time);
    }

    /// Requests of the mount at `point` fail from now on.
    pub fn close(&self, point: &Path) {
        self.sessions.lock().iter().filter(|session| session.point() == point).for_each(Session::close);
    }

    pub fn close_all(&self) {
        self.sessions.lock().iter().for_each(Session::close);
    }
}
