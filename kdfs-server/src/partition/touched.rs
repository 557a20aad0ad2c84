//! What was written and is not durable yet.
//!
//! Whoever makes something durable works on a copy, and takes out of the set only what it has found there: two can do
//! so at a time, and neither takes for durable what the other is still at.

use kddm_rdma::Disk;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// So many files are made durable one by one; more than that together.
const FEW: usize = 6;

/// Files and directories that were written since they were last made durable.
#[derive(Debug, Default)]
pub(crate) struct Touched(Mutex<State>);

#[derive(Clone, Debug, Default)]
struct State {
    files: BTreeMap<PathBuf, u64>,
    directories: BTreeMap<PathBuf, u64>,
    /// More than is worth telling apart, the last of it at this moment.
    much: Option<u64>,
    moment: u64,
}

impl Touched {
    /// The bytes of a file were changed.
    pub fn file(&self, path: &Path) {
        self.0.lock().note(path, |state| &mut state.files);
    }

    /// The names in a directory were changed.
    pub fn directory(&self, path: &Path) {
        self.0.lock().note(path, |state| &mut state.directories);
    }

    /// Nobody knows what was changed.
    pub fn everything(&self) {
        self.0.lock().everything();
    }

    /// What is below `path` is gone.
    pub fn forget(&self, path: &Path) {
        let mut state = self.0.lock();
        state.files.retain(|file, _| !file.starts_with(path));
        state.directories.retain(|directory, _| !directory.starts_with(path));
    }

    pub fn is_empty(&self) -> bool {
        let state = self.0.lock();
        state.much.is_none() && state.files.is_empty() && state.directories.is_empty()
    }

    /// Takes over what another set has.
    pub fn absorb(&self, other: &Touched) {
        let other = std::mem::take(&mut *other.0.lock());
        let mut state = self.0.lock();
        if other.much.is_some() {
            return state.everything();
        }
        other.files.keys().for_each(|path| state.note(path, |state| &mut state.files));
        other.directories.keys().for_each(|path| state.note(path, |state| &mut state.directories));
    }

    /// Makes everything durable that was changed before this call. After an error all of it is still to be made.
    pub fn make_durable(&self, disk: &dyn Disk, root: &Path) -> io::Result<()> {
        let state = self.0.lock().clone();
        let result = state.make_durable(disk, root);
        let mut now = self.0.lock();
        match result {
            Ok(()) => now.take_out(state.moment),
            // Which of them failed does not matter: next time everything.
            Err(_) => now.everything(),
        }
        result
    }
}

impl State {
    fn note(&mut self, path: &Path, set: impl Fn(&mut State) -> &mut BTreeMap<PathBuf, u64>) {
        self.moment += 1;
        let moment = self.moment;
        if self.much.is_some() {
            self.much = Some(moment);
            return;
        }
        match set(self).get_mut(path) {
            Some(at) => *at = moment,
            None => drop(set(self).insert(path.to_owned(), moment)),
        }
        if self.files.len() + self.directories.len() > FEW {
            self.everything();
        }
    }

    fn everything(&mut self) {
        self.moment += 1;
        self.much = Some(self.moment);
        self.files.clear();
        self.directories.clear();
    }

    fn take_out(&mut self, until: u64) {
        self.much = self.much.filter(|&at| at > until);
        self.files.retain(|_, at| *at > until);
        self.directories.retain(|_, at| *at > until);
    }

    fn make_durable(&self, disk: &dyn Disk, root: &Path) -> io::Result<()> {
        if self.much.is_some() {
            return disk.sync_all(root);
        }
        // What has been removed meanwhile need not be there after the loss of power.
        let unless_gone = |result: io::Result<()>| match result {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        };
        self.files.keys().try_for_each(|path| unless_gone(disk.sync_file(path)))?;
        self.directories.keys().try_for_each(|path| unless_gone(disk.sync_directory(path)))
    }
}
