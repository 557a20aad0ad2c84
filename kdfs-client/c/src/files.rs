//! `kddm_file`, `kddm_dir`, and paths.

use crate::{
    answer::{Failure, Result, answer, answer_or, count},
    handles::Handle,
    pointers::{Bytes, Place, Room, Text, empty_status},
    session::Session,
};
use kdfs_client::{OpenOptions, session::Metadata};
use nix::{errno::Errno, libc};
use parking_lot::Mutex;
use std::{ffi::c_int, os::unix::ffi::OsStrExt, path::Path};

/// An open file, and its place.
pub(crate) struct File {
    file: kdfs_client::File,
    place: Mutex<u64>,
}

/// An open directory.
pub(crate) struct Directory(Mutex<kdfs_client::session::Directory>);

/// `kddm_entry`.
#[repr(C)]
pub struct Entry {
    inode: u64,
    kind: u32,
    zero: u32,
    name: [u8; 256],
}

impl Entry {
    /// Where each field is, and how many bytes there are: as kddm.h has it.
    pub const LAYOUT: &'static [(&'static str, usize)] = &[
        ("inode", std::mem::offset_of!(Entry, inode)),
        ("type", std::mem::offset_of!(Entry, kind)),
        ("zero", std::mem::offset_of!(Entry, zero)),
        ("name", std::mem::offset_of!(Entry, name)),
        ("", size_of::<Entry>()),
    ];
}

#[unsafe(no_mangle)]
extern "C" fn kddm_open(
    session: Handle<Session>,
    path: Text,
    flags: c_int,
    mode: libc::mode_t,
    file: Place<Handle<File>>,
) -> c_int {
    file.store(Handle::NULL);
    answer(|| {
        file.check("file")?;
        let options = OpenOptions::from_flags(flags, permissions(mode)?);
        let opened = session.get()?.0.open(path.path("path")?, options)?;
        file.store(Handle::new(File { file: opened, place: Mutex::new(0) }, session.id())?);
        Ok(())
    })
}

fn permissions(mode: libc::mode_t) -> Result<u16> {
    let wrong = || Failure::new(Errno::EINVAL, format!("the mode {mode:#o} is more than permission bits"));
    u16::try_from(mode).ok().filter(|mode| *mode <= 0o7777).ok_or_else(wrong)
}

#[unsafe(no_mangle)]
extern "C" fn kddm_close(file: Handle<File>) -> c_int {
    answer(|| file.take().map(drop))
}

#[unsafe(no_mangle)]
extern "C" fn kddm_read(file: Handle<File>, mut bytes: Room, length: usize) -> isize {
    count(|| {
        let (file, bytes) = (file.get()?, bytes.get(length, "bytes")?);
        let mut place = file.place.lock();
        let read = file.file.read_at(bytes, *place)?;
        *place += read as u64;
        Ok(read)
    })
}

#[unsafe(no_mangle)]
extern "C" fn kddm_write(file: Handle<File>, bytes: Bytes, length: usize) -> isize {
    count(|| {
        let (file, bytes) = (file.get()?, bytes.get(length, "bytes")?);
        let mut place = file.place.lock();
        file.file.write_at(bytes, *place)?;
        *place += bytes.len() as u64;
        Ok(bytes.len())
    })
}

#[unsafe(no_mangle)]
extern "C" fn kddm_pread(file: Handle<File>, mut bytes: Room, length: usize, offset: libc::off_t) -> isize {
    count(|| Ok(file.get()?.file.read_at(bytes.get(length, "bytes")?, unsigned(offset)?)?))
}

#[unsafe(no_mangle)]
extern "C" fn kddm_pwrite(file: Handle<File>, bytes: Bytes, length: usize, offset: libc::off_t) -> isize {
    count(|| {
        file.get()?.file.write_at(bytes.get(length, "bytes")?, unsigned(offset)?)?;
        Ok(length)
    })
}

fn unsigned(offset: libc::off_t) -> Result<u64> {
    u64::try_from(offset).map_err(|_| Failure::new(Errno::EINVAL, "an offset or a length is less than 0"))
}

#[unsafe(no_mangle)]
extern "C" fn kddm_lseek(file: Handle<File>, offset: libc::off_t, whence: c_int) -> libc::off_t {
    answer_or(libc::off_t::from, || {
        let file = file.get()?;
        let mut place = file.place.lock();
        let moved = match whence {
            libc::SEEK_SET => 0_u64.checked_add_signed(offset),
            libc::SEEK_CUR => place.checked_add_signed(offset),
            // The size is another node's to change at any time.
            _ => return Err(Failure::new(Errno::EINVAL, "whence is SEEK_SET or SEEK_CUR")),
        };
        let moved = moved.and_then(|moved| libc::off_t::try_from(moved).ok());
        let moved =
            moved.ok_or_else(|| Failure::new(Errno::EINVAL, "the place is less than 0, or too large"))?;
        *place = unsigned(moved)?;
        Ok(moved)
    })
}

#[unsafe(no_mangle)]
extern "C" fn kddm_ftruncate(file: Handle<File>, length: libc::off_t) -> c_int {
    answer(|| Ok(file.get()?.file.set_len(unsigned(length)?)?))
}

#[unsafe(no_mangle)]
extern "C" fn kddm_fsync(file: Handle<File>) -> c_int {
    answer(|| Ok(file.get()?.file.sync()?))
}

#[unsafe(no_mangle)]
extern "C" fn kddm_stat(session: Handle<Session>, path: Text, status: Place<libc::stat>) -> c_int {
    stat(status, || Ok(session.get()?.0.metadata(path.path("path")?)?))
}

#[unsafe(no_mangle)]
extern "C" fn kddm_lstat(session: Handle<Session>, path: Text, status: Place<libc::stat>) -> c_int {
    stat(status, || Ok(session.get()?.0.symlink_metadata(path.path("path")?)?))
}

fn stat(place: Place<libc::stat>, metadata: impl FnOnce() -> Result<Metadata>) -> c_int {
    answer(|| {
        place.check("status")?;
        place.store(status(&metadata()?));
        Ok(())
    })
}

#[allow(
    clippy::unnecessary_cast,
    clippy::useless_conversion,
    reason = "types of fields differ from machine to machine"
)]
fn status(of: &Metadata) -> libc::stat {
    let (facts, mut status) = (of.facts(), empty_status());
    status.st_ino = facts.inode.into();
    status.st_mode = facts.mode;
    status.st_nlink = facts.links.into();
    (status.st_uid, status.st_gid) = (facts.uid, facts.gid);
    status.st_rdev = facts.device;
    status.st_size = facts.size as libc::off_t;
    status.st_blksize = 4096;
    status.st_blocks = facts.blocks as libc::blkcnt_t;
    (status.st_atime, status.st_atime_nsec) = (facts.accessed, facts.accessed_nanoseconds.into());
    (status.st_mtime, status.st_mtime_nsec) = (facts.modified, facts.modified_nanoseconds.into());
    (status.st_ctime, status.st_ctime_nsec) = (facts.changed, facts.changed_nanoseconds.into());
    status
}

#[unsafe(no_mangle)]
extern "C" fn kddm_opendir(session: Handle<Session>, path: Text, dir: Place<Handle<Directory>>) -> c_int {
    dir.store(Handle::NULL);
    answer(|| {
        dir.check("dir")?;
        let opened = session.get()?.0.read_dir(path.path("path")?)?;
        dir.store(Handle::new(Directory(Mutex::new(opened)), session.id())?);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn kddm_readdir(dir: Handle<Directory>, entry: Place<Entry>) -> c_int {
    answer_or(
        |errno| errno,
        || {
            entry.check("entry")?;
            let found = dir.get()?.0.lock().next().transpose()?;
            let Some(found) = found else { return Ok(0) };
            let (text, mut name) = (found.name.as_bytes(), [0; 256]);
            let place = name.get_mut(..text.len()).filter(|place| place.len() < 256);
            let place =
                place.ok_or_else(|| Failure::new(Errno::EOVERFLOW, "a name is longer than 255 bytes"))?;
            place.copy_from_slice(text);
            entry.store(Entry { inode: found.inode.into(), kind: found.kind, zero: 0, name });
            Ok(1)
        },
    )
}

#[unsafe(no_mangle)]
extern "C" fn kddm_closedir(dir: Handle<Directory>) -> c_int {
    answer(|| dir.take().map(drop))
}

#[unsafe(no_mangle)]
extern "C" fn kddm_unlink(session: Handle<Session>, path: Text) -> c_int {
    on_path(session, &path, |session, path| session.remove_file(path))
}

#[unsafe(no_mangle)]
extern "C" fn kddm_mkdir(session: Handle<Session>, path: Text, mode: libc::mode_t) -> c_int {
    answer(|| Ok(session.get()?.0.create_dir(path.path("path")?, permissions(mode)?)?))
}

#[unsafe(no_mangle)]
extern "C" fn kddm_rmdir(session: Handle<Session>, path: Text) -> c_int {
    on_path(session, &path, |session, path| session.remove_dir(path))
}

fn on_path(
    session: Handle<Session>,
    path: &Text,
    body: impl FnOnce(&kdfs_client::Session, &Path) -> kdfs_client::Result<()>,
) -> c_int {
    answer(|| Ok(body(&session.get()?.0, path.path("path")?)?))
}

#[unsafe(no_mangle)]
extern "C" fn kddm_rename(session: Handle<Session>, from: Text, to: Text) -> c_int {
    answer(|| Ok(session.get()?.0.rename(from.path("from")?, to.path("to")?)?))
}

#[unsafe(no_mangle)]
extern "C" fn kddm_symlink(session: Handle<Session>, target: Text, path: Text) -> c_int {
    answer(|| Ok(session.get()?.0.symlink(target.path("target")?, path.path("path")?)?))
}

#[unsafe(no_mangle)]
extern "C" fn kddm_readlink(session: Handle<Session>, path: Text, mut target: Room, length: usize) -> isize {
    count(|| {
        let room = target.get(length, "target")?;
        let found = session.get()?.0.read_link(path.path("path")?)?;
        let found = found.as_os_str().as_bytes();
        let count = found.len().min(room.len());
        room[..count].copy_from_slice(&found[..count]);
        Ok(count)
    })
}
