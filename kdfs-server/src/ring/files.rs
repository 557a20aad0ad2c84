//! Paths and files, with the eyes of the program's user.

use super::{
    limits::{MAX_PATH, TRANSFER},
    program::{OpenFile, Program},
    work::{Outcome, bytes_of, tell},
};
use kddm_ring::{Done, EntryFacts, FileFacts, Refusal, Region, Request, Tag, push_named};
use kdfs_fs::{Access, Attributes, Caller, Changes, Errno, FileId, FileSystem, FileType, RenameMode};
use nix::libc;
use std::sync::Arc;
use zerocopy::IntoBytes;

/// Entries that are asked for together.
const ENTRIES: usize = 256;

/// Answers a request about files.
pub async fn answer(program: Arc<Program>, tag: Tag, request: Request) -> Outcome {
    let program = &*program;
    let Program { fs, caller, .. } = program;
    match request {
        Request::Open { path, flags, mode } => open(program, tag, path, flags, mode.into()).await,
        Request::Read { file, offset, into } => read(program, file, offset, into).await,
        Request::Write { file, offset, from } => write(program, file, offset, from).await,
        Request::Stat { path, follow, into } => {
            let path = path_of(program, path)?;
            let found = on_file(fs.walk(caller, &path, follow).await)?;
            tell(program, into, facts(&found).as_bytes(), 0)
        }
        Request::ReadDirectory { file, after, into } => read_directory(program, file, after, into).await,
        Request::Fsync { file } => done(fs.fsync(program.file(file)?.file).await),
        Request::Truncate { file, length } => truncate(program, file, length).await,
        Request::Unlink { path } => {
            let path = path_of(program, path)?;
            let (parent, name) = on_file(fs.walk_to_parent(caller, &path).await)?;
            done(fs.unlink(caller, parent, name).await)
        }
        Request::MakeDirectory { path, mode } => {
            let path = path_of(program, path)?;
            let (parent, name) = on_file(fs.walk_to_parent(caller, &path).await)?;
            done(fs.mkdir(caller, parent, name, mode.into()).await.map(|_| ()))
        }
        Request::RemoveDirectory { path } => {
            let path = path_of(program, path)?;
            let (parent, name) = on_file(fs.walk_to_parent(caller, &path).await)?;
            done(fs.rmdir(caller, parent, name).await)
        }
        Request::Rename { from, to } => {
            let (from, to) = (path_of(program, from)?, path_of(program, to)?);
            let from = on_file(fs.walk_to_parent(caller, &from).await)?;
            let to = on_file(fs.walk_to_parent(caller, &to).await)?;
            done(fs.rename(caller, from, to, RenameMode::Replace).await)
        }
        Request::ReadLink { path, into } => {
            let path = path_of(program, path)?;
            let found = on_file(fs.walk(caller, &path, false).await)?;
            let target = on_file(fs.readlink(found.file).await)?;
            tell(program, into, &target, 0)
        }
        Request::Symlink { path, target } => {
            let (path, target) = (path_of(program, path)?, path_of(program, target)?);
            let (parent, name) = on_file(fs.walk_to_parent(caller, &path).await)?;
            done(fs.symlink(caller, parent, name, &target).await.map(|_| ()))
        }
        _ => Err(Refusal::Malformed),
    }
}

/// Closes a file.
pub fn close(program: &Program, file: u64) -> Outcome {
    let open = program.close_file(file)?;
    program.fs.release(open.file);
    Ok(Done::default())
}

async fn open(program: &Program, tag: Tag, path: Region, flags: u32, mode: u32) -> Outcome {
    let Program { fs, caller, .. } = program;
    let path = path_of(program, path)?;
    let flags = flags.cast_signed();
    let access = Access::of_open_flags(flags);
    let file = match flags & libc::O_CREAT {
        0 => open_existing(fs, caller, &path, access, flags).await,
        _ => open_or_create(fs, caller, &path, access, flags, mode).await,
    };
    let file = on_file(file)?;
    let number = program.open_file(OpenFile { file, tag, access, append: flags & libc::O_APPEND != 0 })?;
    if flags & libc::O_TRUNC != 0 {
        let changes = Changes { size: Some(0), opened: true, ..Changes::default() };
        if let Err(errno) = fs.setattr(caller, file, changes).await {
            close(program, number)?;
            return Err(Refusal::File(errno as i32));
        }
    }
    Ok(Done { value: number, length: 0 })
}

async fn open_existing(
    fs: &FileSystem,
    caller: &Caller,
    path: &[u8],
    access: Access,
    flags: i32,
) -> Result<FileId, Errno> {
    let found = fs.walk(caller, path, flags & libc::O_NOFOLLOW == 0).await?;
    if flags & libc::O_DIRECTORY != 0 && found.file_type != FileType::Directory {
        return Err(Errno::ENOTDIR);
    }
    // Devices, pipes and sockets are the kernel's, which is not here.
    if !matches!(found.file_type, FileType::Regular | FileType::Directory | FileType::Symlink) {
        return Err(Errno::ENXIO);
    }
    fs.open(caller, found.file, access).await?;
    Ok(found.file)
}

async fn open_or_create(
    fs: &FileSystem,
    caller: &Caller,
    path: &[u8],
    access: Access,
    flags: i32,
    mode: u32,
) -> Result<FileId, Errno> {
    let exclusive = flags & libc::O_EXCL != 0;
    if !exclusive {
        match open_existing(fs, caller, path, access, flags).await {
            Err(Errno::ENOENT) => {}
            opened => return opened,
        }
    }
    let (parent, name) = fs.walk_to_parent(caller, path).await?;
    let (made, _) = fs.create(caller, parent, name, libc::S_IFREG | mode & 0o7777, access, exclusive).await?;
    Ok(made.file)
}

async fn read(program: &Program, file: u64, offset: u64, into: Region) -> Outcome {
    let open = program.file(file)?;
    if !open.access.reads() {
        return Err(Refusal::File(libc::EBADF));
    }
    let _leave = program.transfer().await;
    let mut bytes = vec![0; TRANSFER.min(into.length as usize)];
    let mut done = 0;
    for piece in pieces(into) {
        let wanted = &mut bytes[..piece.length as usize];
        let length = match program.fs.read(open.file, offset.saturating_add(done), wanted).await {
            Ok(length) => length,
            // As much as there is; who asks for the rest is told.
            Err(_) if done > 0 => break,
            Err(errno) => return Err(Refusal::File(errno as i32)),
        };
        program.window.write(piece, &wanted[..length]).ok_or(Refusal::Region)?;
        done += length as u64;
        if length < wanted.len() {
            break;
        }
    }
    Ok(Done { value: done, length: done as u32 })
}

/// The parts of a region that are moved one after the other.
fn pieces(of: Region) -> impl Iterator<Item = Region> {
    (0..of.length).step_by(TRANSFER).map(move |first| Region {
        offset: of.offset + first,
        length: (of.length - first).min(TRANSFER as u32),
    })
}

async fn write(program: &Program, file: u64, offset: u64, from: Region) -> Outcome {
    let open = program.file(file)?;
    if !open.access.writes() {
        return Err(Refusal::File(libc::EBADF));
    }
    let _leave = program.transfer().await;
    let Program { fs, caller, .. } = program;
    let mut done = 0;
    for piece in pieces(from) {
        let bytes = bytes_of(program, piece)?;
        let written = match open.append {
            true => fs.append(caller, open.file, &bytes).await.map(|(_, written)| written),
            false => fs.write(caller, open.file, offset.saturating_add(done), &bytes).await,
        };
        let written = match written {
            Ok(written) => written,
            Err(_) if done > 0 => break,
            Err(errno) => return Err(Refusal::File(errno as i32)),
        };
        done += written as u64;
        // What is appended at once lies together: the rest is another append's.
        if written < bytes.len() || open.append {
            break;
        }
    }
    Ok(Done { value: done, length: 0 })
}

async fn truncate(program: &Program, file: u64, length: u64) -> Outcome {
    let open = program.file(file)?;
    if !open.access.writes() {
        return Err(Refusal::File(libc::EINVAL));
    }
    let changes = Changes { size: Some(length), opened: true, ..Changes::default() };
    done(program.fs.setattr(&program.caller, open.file, changes).await.map(|_| ()))
}

async fn read_directory(program: &Program, file: u64, after: u64, into: Region) -> Outcome {
    let directory = program.file(file)?.file;
    let entries = on_file(program.fs.readdir(directory, after, ENTRIES).await)?;
    let (mut bytes, mut count) = (Vec::new(), 0);
    for entry in &entries {
        let facts = EntryFacts {
            cookie: entry.cookie,
            inode: entry.file.inode,
            generation: entry.file.generation,
            kind: entry.file_type.entry_byte().into(),
            name: entry.name.len() as u32,
        };
        if !push_named(&mut bytes, into.length as usize, &facts, &entry.name) {
            break;
        }
        count += 1;
    }
    if count == 0 && !entries.is_empty() {
        return Err(Refusal::TooSmall(size_of::<EntryFacts>() as u32 + 256));
    }
    tell(program, into, &bytes, count)
}

fn facts(of: &Attributes) -> FileFacts {
    FileFacts {
        inode: of.file.inode,
        generation: of.file.generation,
        mode: of.file_type.bits() | of.permissions,
        links: of.nlink,
        uid: of.uid,
        gid: of.gid,
        device: of.rdev,
        size: of.size,
        blocks: of.blocks,
        accessed: of.atime.seconds.get(),
        modified: of.mtime.seconds.get(),
        changed: of.ctime.seconds.get(),
        born: of.btime.seconds.get(),
        accessed_nanoseconds: of.atime.nanoseconds.get(),
        modified_nanoseconds: of.mtime.nanoseconds.get(),
        changed_nanoseconds: of.ctime.nanoseconds.get(),
        born_nanoseconds: of.btime.nanoseconds.get(),
    }
}

fn path_of(program: &Program, path: Region) -> Result<Vec<u8>, Refusal> {
    if path.length > MAX_PATH {
        return Err(Refusal::File(libc::ENAMETOOLONG));
    }
    bytes_of(program, path)
}

fn on_file<T>(result: Result<T, Errno>) -> Result<T, Refusal> {
    result.map_err(|errno| Refusal::File(errno as i32))
}

fn done(result: Result<(), Errno>) -> Outcome {
    on_file(result).map(|()| Done::default())
}
