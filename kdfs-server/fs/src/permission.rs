//! Who may do what.

use crate::{Errno, Result};
use kdfs_format::Inode;

/// On whose behalf an operation is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The user.
    pub uid: u32,
    /// The group of what the user creates.
    pub gid: u32,
    /// The user's other groups.
    pub groups: Vec<u32>,
}

impl Caller {
    /// The user who may do everything.
    pub const ROOT: Caller = Caller { uid: 0, gid: 0, groups: Vec::new() };

    /// Whether permission bits do not bind the caller.
    pub fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// Whether the caller is in `group`.
    pub fn is_in(&self, group: u32) -> bool {
        self.gid == group || self.groups.contains(&group)
    }
}

/// A way of using a file, as in access(2): any of 4 read, 2 write, 1 execute (directories: search).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access(u32);

impl Access {
    /// Only that it is there.
    pub const NONE: Access = Access(0);
    /// Read.
    pub const READ: Access = Access(4);
    /// Write.
    pub const WRITE: Access = Access(2);
    /// Read and write.
    pub const READ_WRITE: Access = Access(6);
    /// Execute; search a directory.
    pub const EXECUTE: Access = Access(1);
    /// Change a directory's entries.
    pub const CHANGE_ENTRIES: Access = Access(3);

    /// From the bits of access(2); others are left out.
    pub const fn from_bits(bits: u32) -> Access {
        Access(bits & 7)
    }

    /// Whether it reads.
    pub const fn reads(self) -> bool {
        self.0 & Access::READ.0 != 0
    }

    /// Whether it writes.
    pub const fn writes(self) -> bool {
        self.0 & Access::WRITE.0 != 0
    }

    /// From the flags of open(2): its access mode, and writing if it truncates.
    pub fn of_open_flags(flags: i32) -> Access {
        let asked = match flags & nix::libc::O_ACCMODE {
            nix::libc::O_RDONLY => Access::READ,
            nix::libc::O_WRONLY => Access::WRITE,
            _ => Access::READ_WRITE,
        };
        if flags & nix::libc::O_TRUNC != 0 { Access(asked.0 | Access::WRITE.0) } else { asked }
    }
}

const SET_UID: u32 = 0o4000;
const SET_GID: u32 = 0o2000;
const STICKY: u32 = 0o1000;
const GROUP_EXECUTE: u32 = 0o010;

/// `EACCES` unless the caller may use the inode so.
pub(crate) fn check(caller: &Caller, inode: &Inode, access: Access) -> Result<()> {
    if allowed(caller, inode, access) { Ok(()) } else { Err(Errno::EACCES) }
}

fn allowed(caller: &Caller, inode: &Inode, Access(wanted): Access) -> bool {
    let mode = inode.permissions();
    if caller.is_root() {
        // Even root executes only what somebody may execute.
        return wanted & 1 == 0 || inode.is_directory() || mode & 0o111 != 0;
    }
    let granted = if caller.uid == inode.uid.get() {
        mode >> 6
    } else if caller.is_in(inode.gid.get()) {
        mode >> 3
    } else {
        mode
    };
    wanted & !granted & 7 == 0
}

/// `EPERM` unless the caller owns the inode or is root.
pub(crate) fn check_owner(caller: &Caller, inode: &Inode) -> Result<()> {
    if caller.is_root() || caller.uid == inode.uid.get() { Ok(()) } else { Err(Errno::EPERM) }
}

/// Whether the caller may take the name of `victim` out of `directory`: permission to change its entries, and in a
/// sticky directory ownership of one of the two.
pub(crate) fn check_removal(caller: &Caller, directory: &Inode, victim: &Inode) -> Result<()> {
    check(caller, directory, Access::CHANGE_ENTRIES)?;
    let owns = caller.is_root() || [directory, victim].iter().any(|inode| inode.uid.get() == caller.uid);
    if directory.permissions() & STICKY != 0 && !owns { Err(Errno::EPERM) } else { Ok(()) }
}

/// The permission bits after chmod(2) to `wanted`.
pub(crate) fn chmod(caller: &Caller, inode: &Inode, group: u32, wanted: u32) -> Result<u32> {
    check_owner(caller, inode)?;
    let foreign_group = !caller.is_root() && !caller.is_in(group) && !inode.is_directory();
    Ok(if foreign_group { wanted & 0o7777 & !SET_GID } else { wanted & 0o7777 })
}

/// Whether chown(2) to these is allowed: root may do everything, the owner give it to a group of his.
pub(crate) fn check_chown(caller: &Caller, inode: &Inode, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
    let (owner, group) = (inode.uid.get(), inode.gid.get());
    let owns = caller.uid == owner;
    let uid_stays = uid.is_none_or(|uid| owns && uid == owner);
    let gid_allowed = gid.is_none_or(|gid| owns && (gid == group || caller.is_in(gid)));
    if caller.is_root() || uid_stays && gid_allowed { Ok(()) } else { Err(Errno::EPERM) }
}

/// The permission bits after somebody changed the bytes or the owner: set-id bits go. (Without group execution the
/// set-group-id bit is not that: it marked mandatory locking.)
pub(crate) fn without_set_id(inode: &Inode) -> u32 {
    let mode = inode.permissions();
    if inode.is_directory() {
        return mode;
    }
    let set_gid = if mode & GROUP_EXECUTE != 0 { SET_GID } else { 0 };
    mode & !(SET_UID | set_gid)
}

/// Group and permission bits of what the caller creates in `parent`.
pub(crate) fn inherited(caller: &Caller, parent: &Inode, directory: bool, mode: u32) -> (u32, u32) {
    let mode = mode & 0o7777;
    if parent.permissions() & SET_GID == 0 {
        return (caller.gid, mode);
    }
    let group = parent.gid.get();
    if directory {
        return (group, mode | SET_GID);
    }
    let foreign = !caller.is_root() && !caller.is_in(group);
    let strip = foreign && mode & (SET_GID | GROUP_EXECUTE) == (SET_GID | GROUP_EXECUTE);
    (group, if strip { mode & !SET_GID } else { mode })
}

#[cfg(test)]
mod tests;
