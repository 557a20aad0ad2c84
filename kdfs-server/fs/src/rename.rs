//! rename(2).

use crate::entries::{Found, check_name};
use crate::error::{damaged, on};
use crate::hold::check_directory;
use crate::lookup::{linked, parent_of, set_parent, unlinked};
use crate::permission::{Access, Caller, check, check_removal};
use crate::transaction::Transaction;
use crate::{Errno, FileId, FileSystem, Result, keys, time};

/// What happens to a file that has the new name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenameMode {
    /// It loses the name (a directory must be empty).
    Replace,
    /// The rename fails with `EEXIST` (RENAME_NOREPLACE).
    NoReplace,
    /// It gets the old name (RENAME_EXCHANGE).
    Exchange,
}

/// More directories below each other than a path can name: their parents go in a circle.
const MAX_DEPTH: usize = 1 << 20;

/// A place for a name.
type Place<'a> = (FileId, &'a [u8]);

impl FileSystem {
    /// Moves a name.
    ///
    /// # Errors
    /// `ENOENT`; `EINVAL` for a directory into itself; `EISDIR`, `ENOTDIR`, `ENOTEMPTY` for what cannot be replaced;
    /// `EEXIST`; `EACCES`, `EPERM`.
    pub async fn rename(
        &self,
        caller: &Caller,
        from: Place<'_>,
        to: Place<'_>,
        mode: RenameMode,
    ) -> Result<()> {
        check_name(from.1)?;
        check_name(to.1)?;
        loop {
            let source = self.look(caller, from.0, from.1, Access::EXECUTE).await?.ok_or(Errno::ENOENT)?;
            let target = self.look(caller, to.0, to.1, Access::EXECUTE).await?;
            if let Some(target) = target.filter(|_| mode == RenameMode::NoReplace) {
                self.refuse_existing(to.0, to.1, target).await?;
                continue;
            }
            if !fits(source, target, mode)? {
                return Ok(());
            }
            let moves = |found: Found| found.is_directory() && from.0 != to.0;
            let exchanged = target.filter(|_| mode == RenameMode::Exchange);
            let lock = keys::rename_lock(self.0.config.root);
            let _lock = if moves(source) || exchanged.is_some_and(moves) {
                Some(self.node().grab(lock).await.map_err(on(lock))?)
            } else {
                None
            };
            if moves(source) && self.is_inside(to.0, source.file).await? {
                return Err(Errno::EINVAL);
            }
            if let Some(target) = target.filter(|target| moves(*target))
                && self.is_inside(from.0, target.file).await?
            {
                return Err(if mode == RenameMode::Exchange { Errno::EINVAL } else { Errno::ENOTEMPTY });
            }
            let mut names = vec![(from.0, from.1, source)];
            names.extend(target.map(|target| (to.0, to.1, target)));
            let Some(mut change) = self.begin_named(&[from.0, to.0], &names).await? else { continue };
            if target.is_none() && change.find(to.0, to.1).await?.is_some() {
                continue;
            }
            self.check_rename(caller, &change, (from.0, source), (to.0, target), mode)?;
            let orphan = match exchanged {
                Some(target) => {
                    self.exchange(&mut change, (from, source), (to, target)).await.map(|()| None)?
                }
                None => self.replace(&mut change, (from, source), to, target).await?,
            };
            for directory in [from.0, to.0] {
                time::modified(&mut change[directory], self.now());
            }
            change.commit().await?;
            orphan.into_iter().for_each(|file| self.orphaned(file));
            return Ok(());
        }
    }

    /// Whether `directory` is `ancestor` or lies below it. With the rename lock held, this stays so.
    async fn is_inside(&self, directory: FileId, ancestor: FileId) -> Result<bool> {
        let mut at = directory;
        for _ in 0..MAX_DEPTH {
            if at == ancestor {
                return Ok(true);
            }
            let parent = parent_of(&*self.inode(at).await?);
            if parent == at {
                return Ok(false);
            }
            at = parent;
        }
        Err(damaged(keys::inode(directory), "its parents do not lead to the root"))
    }

    /// Everything that may be wrong, now that nothing can change.
    fn check_rename(
        &self,
        caller: &Caller,
        change: &Transaction<'_>,
        (from, source): (FileId, Found),
        (to, target): (FileId, Option<Found>),
        mode: RenameMode,
    ) -> Result<()> {
        check_directory(&change[from])?;
        check_directory(&change[to])?;
        check_removal(caller, &change[from], &change[source.file])?;
        check(caller, &change[to], Access::CHANGE_ENTRIES)?;
        // A directory that gets another parent has its `..` written.
        let moved = [Some(source), target.filter(|_| mode == RenameMode::Exchange)];
        for directory in moved.into_iter().flatten().filter(|found| found.is_directory() && from != to) {
            check(caller, &change[directory.file], Access::WRITE)?;
        }
        let Some(target) = target else { return Ok(()) };
        check_removal(caller, &change[to], &change[target.file])?;
        let replaced = mode == RenameMode::Replace && target.is_directory();
        if replaced && change[target.file].entries.get() != 0 { Err(Errno::ENOTEMPTY) } else { Ok(()) }
    }

    /// Moves the name; answers the file that lost its last name by that.
    async fn replace(
        &self,
        change: &mut Transaction<'_>,
        ((from, old), source): (Place<'_>, Found),
        (to, name): Place<'_>,
        target: Option<Found>,
    ) -> Result<Option<FileId>> {
        change.remove(from, old, source.key).await?;
        let mut orphan = None;
        match target {
            Some(target) => {
                change.retarget(to, name, target.key, source.file, source.file_type).await?;
                orphan = self.lose_name(change, to, target).then_some(target.file);
            }
            None => change.insert(to, name, source.file, source.file_type).await?,
        }
        self.arrive(change, source, from, to);
        Ok(orphan)
    }

    async fn exchange(
        &self,
        change: &mut Transaction<'_>,
        ((from, old), source): (Place<'_>, Found),
        ((to, new), target): (Place<'_>, Found),
    ) -> Result<()> {
        change.retarget(from, old, source.key, target.file, target.file_type).await?;
        change.retarget(to, new, target.key, source.file, source.file_type).await?;
        self.arrive(change, source, from, to);
        self.arrive(change, target, to, from);
        Ok(())
    }

    /// The moved inode in its new directory.
    fn arrive(&self, change: &mut Transaction<'_>, moved: Found, from: FileId, to: FileId) {
        let inode = &mut change[moved.file];
        set_parent(inode, to);
        time::changed(inode, self.now());
        if moved.is_directory() {
            unlinked(&mut change[from]);
            linked(&mut change[to]);
        }
    }
}

/// Whether there is anything to do: two names of one file stay as they are. Or what forbids it at first sight.
fn fits(source: Found, target: Option<Found>, mode: RenameMode) -> Result<bool> {
    match (target, mode) {
        (None, RenameMode::Exchange) => Err(Errno::ENOENT),
        (None, _) => Ok(true),
        (Some(target), _) if target.file == source.file => Ok(false),
        (Some(_), RenameMode::Exchange) => Ok(true),
        (Some(target), _) => match (source.is_directory(), target.is_directory()) {
            (true, false) => Err(Errno::ENOTDIR),
            (false, true) => Err(Errno::EISDIR),
            _ => Ok(true),
        },
    }
}
