//! From a snapshot to a committed checkpoint, and from there to the native files.
//!
//! ```text
//! seal     under the holds of the snapshot: its bytes are copied, in memory
//! commit   without holds: what it builds upon is made durable, then it is; whoever asked for durability is answered
//! settle   later, beside other commits: it is applied, that is made durable, and it is removed
//! ```
//!
//! **The holds may be put before anything is durable.** What others see then, and a crash may take back, is no more
//! than what they see without any checkpoint: an operation is seen when its holds are put, and promised only when
//! somebody's request for durability is answered. What they do upon it comes into a later checkpoint of this partition,
//! which is committed after this one, and contains this one if this one failed; a checkpoint of another partition was
//! never ordered against this one, but for fsync, which asks one partition after the other. And an object may leave
//! memory after its bytes were copied, since it is read from the copy, which goes only when the native files have it.
//!
//! **Only one thread commits** (the one that makes checkpoints), and one at a time settles. While the first writes to the
//! log it is pinned: the second does not remove it.

use super::apply::{apply, forget};
use super::device::{Device, Layers, Short};
use super::layer::{Layer, is_full};
use super::log::LONG;
use kddm_object::ObjectKey;
use kdfs_format::paths;
use std::io;
use std::sync::Arc;

impl Device {
    /// Takes everything that was taken so far and `held` together, for [`Device::commit`]. `is_complete` says, while
    /// nothing else can be taken, whether these are all the objects that changed: if not, nothing counts, and the answer
    /// is false.
    ///
    /// Files that are `short` are committed without the bytes that they lack; their whole inodes wait for the next
    /// checkpoint.
    pub fn seal<'a>(
        &self,
        held: impl Iterator<Item = (ObjectKey, &'a [u8])>,
        short: &Short,
        is_complete: impl FnOnce() -> bool,
    ) -> io::Result<bool> {
        let mut layers = self.layers.lock();
        layers.unseal(self.native.disk())?;
        if !is_complete() {
            return Ok(false);
        }
        for (key, bytes) in held {
            self.append(&mut layers.draft, key, bytes)?;
        }
        if layers.draft.is_empty() {
            return Ok(true);
        }
        let Layers { draft, log, .. } = &mut *layers;
        let whole = self.shorten(draft, log, short)?;
        layers.seal();
        whole.into_iter().try_for_each(|(key, bytes)| self.append(&mut layers.draft, key, &bytes))?;
        Ok(true)
    }

    /// Commits what was sealed. On an error it is as if that had not happened, to be tried again, except that a disk that
    /// is full for the bytes of files may have got all the rest.
    pub fn commit(&self, durable: bool) -> io::Result<()> {
        self.layers.lock().log.pinned = true;
        let result = self.commit_pinned(durable);
        self.full.note_commit(&result);
        let mut layers = self.layers.lock();
        layers.log.pinned = false;
        if result.is_err() {
            layers.unseal(self.native.disk())?;
        }
        result
    }

    fn commit_pinned(&self, durable: bool) -> io::Result<()> {
        if durable {
            // Bytes of files before the attributes that let them be seen. The log is pinned, so that nothing of it can
            // be counted as applied, and owed, behind our back.
            self.native.make_durable()?;
        }
        if self.layers.lock().sealed.is_none() {
            return if durable { self.make_log_durable() } else { Ok(()) };
        }
        match self.write(durable) {
            Err(error) if is_full(&error) => self.commit_in_little_room(durable),
            result => result,
        }
    }

    /// The ways to do with less room, one after the other.
    fn commit_in_little_room(&self, durable: bool) -> io::Result<()> {
        let disk = self.native.disk();
        self.layers.lock().change_sealed(|sealed| sealed.compacted(disk))?;
        match self.write(durable) {
            Err(error) if is_full(&error) => {}
            result => return result,
        }
        // Bytes of files come later: what this checkpoint frees may make room for them.
        let waits = self.leave_out_pages()?;
        let mut result = self.write(durable);
        let length = self.layers.lock().sealed.as_ref().map_or(0, |sealed| sealed.length());
        if result.as_ref().is_err_and(is_full) && self.native.give_up_reserve(length, 0)? {
            result = self.write(durable);
        }
        if waits { result.and(Err(io::Error::from_raw_os_error(nix::libc::ENOSPC))) } else { result }
    }

    /// Moves the pages of files to the next checkpoint; whether there were any.
    fn leave_out_pages(&self) -> io::Result<bool> {
        let disk = self.native.disk();
        let mut layers = self.layers.lock();
        let mut left_out = None;
        layers.change_sealed(|sealed| {
            let (others, pages) = sealed.without_pages(disk)?;
            left_out = Some(pages);
            Ok(others)
        })?;
        let Some(pages) = left_out.filter(|pages| !pages.is_empty()) else { return Ok(false) };
        let Layers { draft, sealed, log, .. } = &mut *layers;
        let Some(mut others) = sealed.take().map(Arc::unwrap_or_clone) else { return Ok(false) };
        let mut short = Short::new();
        for page in pages.keys() {
            let first = short.entry(super::key::inode(page)).or_insert(page.object);
            *first = page.object.min(*first);
        }
        let mut later = pages;
        for (key, bytes) in self.shorten(&mut others, log, &short)? {
            self.append(&mut later, key, &bytes)?;
        }
        *sealed = Some(Arc::new(others));
        draft.put_under(disk, &later).map(|()| true)
    }

    /// Writes what was sealed, and counts it as committed.
    fn write(&self, durable: bool) -> io::Result<()> {
        let (sealed, number, log) = {
            let layers = self.layers.lock();
            let Some(sealed) = layers.sealed.clone() else { return Ok(()) };
            (sealed, layers.number + 1, layers.log.length())
        };
        let goes_on = sealed.is_in_memory() && log + sealed.length() <= LONG;
        if log > 0 && !goes_on {
            match self.settle_pinned() {
                // What it says may be what makes room for what has been committed before.
                Err(error) if is_full(&error) && sealed.is_in_memory() => {}
                result => result?,
            }
        }
        let begin = self.layers.lock().log.length();
        match sealed.image(self.partition, number).filter(|_| begin > 0) {
            Some(image) => {
                drop(sealed);
                self.write_behind(begin, &image, durable)?;
            }
            None => self.write_first(sealed, number, durable)?,
        }
        // Nobody else can be asked to answer for the name of the file.
        if durable { self.make_name_durable() } else { Ok(()) }
    }

    fn write_behind(&self, begin: u64, image: &[u8], durable: bool) -> io::Result<()> {
        let (disk, path) = (self.native.disk(), self.native.path(paths::BATCH));
        let written = disk.write_at(&path, begin, image);
        let written = written.and_then(|()| if durable { disk.sync_file(&path) } else { Ok(()) });
        if let Err(error) = written {
            // A part of it would end the log just as well.
            disk.set_length(&path, begin).ok();
            return Err(error);
        }
        self.layers.lock().committed(path, begin, durable);
        self.counting.logged(image.len() as u64);
        Ok(())
    }

    fn write_first(&self, sealed: Arc<Layer>, number: u64, durable: bool) -> io::Result<()> {
        let (disk, path) = (self.native.disk(), self.native.path(paths::BATCH));
        sealed.complete(disk, self.partition, number)?;
        let (name, bytes) = (sealed.path().to_owned(), sealed.length());
        drop(sealed);
        if durable {
            disk.sync_file(&name)?;
        }
        let mut layers = self.layers.lock();
        // Under the lock: who reads finds the bytes under the one name or under the other.
        disk.rename(&name, &path)?;
        layers.log.named = false;
        layers.committed(path, 0, durable);
        self.counting.logged(bytes);
        Ok(())
    }

    /// Makes durable what is committed already.
    fn make_log_durable(&self) -> io::Result<()> {
        let (is_empty, durable) = {
            let log = &self.layers.lock().log;
            (log.is_empty(), log.durable)
        };
        if is_empty {
            return self.native.bury_old_checkpoint();
        }
        if !durable {
            self.native.disk().sync_file(&self.native.path(paths::BATCH))?;
            let log = &mut self.layers.lock().log;
            (log.durable, log.promised) = (true, true);
        }
        self.make_name_durable()
    }

    fn make_name_durable(&self) -> io::Result<()> {
        if !self.layers.lock().log.named {
            self.native.disk().sync_directory(self.native.root())?;
            self.layers.lock().log.named = true;
            // It has taken the place of the old one.
            self.native.note_old_checkpoint(false);
        }
        Ok(())
    }

    /// Brings what was committed to the native files, and if it was durable makes that durable, so that the log can go.
    /// Beside a commit the log stays, for the next call. True if it is gone.
    pub fn settle(&self) -> io::Result<bool> {
        let closed = self.settling.lock();
        if *closed || self.layers.lock().log.is_empty() {
            return Ok(true);
        }
        let gone = self.apply_log(false);
        self.full.note_settle(&gone);
        self.native.take_reserve()?;
        gone
    }

    /// Takes what is missing of the reserve.
    pub fn take_reserve(&self) -> io::Result<()> {
        let closed = self.settling.lock();
        if *closed { Ok(()) } else { self.native.take_reserve() }
    }

    /// The native files are somebody else's from now on.
    pub fn close(&self) {
        *self.settling.lock() = true;
    }

    /// As [`Device::settle`], by the one who has pinned the log and is not writing to it.
    fn settle_pinned(&self) -> io::Result<()> {
        let _one_at_a_time = self.settling.lock();
        self.apply_log(true).map(drop)
    }

    fn apply_log(&self, despite_pin: bool) -> io::Result<bool> {
        let (mut applied, mut is_durable) = (0, false);
        loop {
            let (places, promised) = {
                let log = &self.layers.lock().log;
                (log.places()[applied..].to_vec(), log.promised)
            };
            if !places.is_empty() {
                // Writes that began before these checkpoints knew of a removal must not come after it.
                drop(self.native.direct.write());
                apply(&self.native, &places)?;
                applied += places.len();
                is_durable = false;
            }
            if promised && !is_durable {
                self.native.make_all_durable()?;
                is_durable = true;
            }
            let mut layers = self.layers.lock();
            if layers.log.places().len() > applied || (layers.log.promised && !is_durable) {
                continue;
            }
            if layers.log.pinned && !despite_pin {
                return Ok(false);
            }
            if !is_durable {
                self.native.owe_applied();
            }
            // Nobody may read what is applied from a file that is gone.
            forget(&self.native)?;
            layers.log.clear();
            return Ok(true);
        }
    }
}
