use super::*;
use kdfs_format::{FileType, Timestamp};

fn inode(file_type: FileType, mode: u32) -> Inode {
    let mut inode = Inode::new(0x0100_0005, 1, file_type.bits() | mode, Timestamp::default());
    inode.uid = 10.into();
    inode.gid = 20.into();
    inode
}

fn file(mode: u32) -> Inode {
    inode(FileType::Regular, mode)
}

fn caller(uid: u32, gid: u32, groups: &[u32]) -> Caller {
    Caller { uid, gid, groups: groups.to_vec() }
}

/// Every mode against every class of user, beside the rule as POSIX words it.
#[test]
fn permission_bits_bind_by_class() {
    let classes = [
        (caller(10, 20, &[]), 6),
        (caller(11, 20, &[]), 3),
        (caller(11, 5, &[20]), 3),
        (caller(11, 5, &[6]), 0),
    ];
    for mode in 0..0o1000 {
        for (caller, shift) in &classes {
            for wanted in 0..8 {
                let expected = (mode >> shift) & wanted == wanted;
                assert_eq!(
                    allowed(caller, &file(mode), Access(wanted)),
                    expected,
                    "{mode:o} {caller:?} {wanted}"
                );
            }
        }
        for wanted in 0..8 {
            let expected = wanted & 1 == 0 || mode & 0o111 != 0;
            assert_eq!(allowed(&Caller::ROOT, &file(mode), Access(wanted)), expected);
            assert!(allowed(&Caller::ROOT, &inode(FileType::Directory, mode), Access(wanted)));
        }
    }
}

#[test]
fn sticky_directories_keep_names_of_others() {
    let (sticky, open) = (inode(FileType::Directory, 0o1777), inode(FileType::Directory, 0o777));
    let mut victim = file(0o644);
    victim.uid = 11.into();
    let may = |caller: &Caller, directory| check_removal(caller, directory, &victim);
    assert_eq!(may(&caller(10, 1, &[]), &sticky), Ok(()), "the directory's owner");
    assert_eq!(may(&caller(11, 1, &[]), &sticky), Ok(()), "the file's owner");
    assert_eq!(may(&caller(12, 1, &[]), &sticky), Err(Errno::EPERM));
    assert_eq!(may(&caller(12, 1, &[]), &open), Ok(()));
    assert_eq!(may(&Caller::ROOT, &sticky), Ok(()));
    assert_eq!(may(&caller(12, 1, &[]), &inode(FileType::Directory, 0o1755)), Err(Errno::EACCES));
}

#[test]
fn chmod_is_the_owners() {
    assert_eq!(chmod(&caller(11, 20, &[]), &file(0o644), 20, 0o777), Err(Errno::EPERM));
    assert_eq!(chmod(&caller(10, 20, &[]), &file(0o644), 20, 0o106755), Ok(0o6755));
    assert_eq!(chmod(&caller(10, 21, &[]), &file(0o644), 20, 0o6755), Ok(0o4755), "not in the file's group");
    assert_eq!(chmod(&caller(10, 21, &[]), &inode(FileType::Directory, 0o755), 20, 0o2755), Ok(0o2755));
    assert_eq!(chmod(&Caller::ROOT, &file(0o644), 20, 0o6755), Ok(0o6755));
}

#[test]
fn chown_is_roots_and_chgrp_the_owners_within_his_groups() {
    let owner = caller(10, 20, &[30]);
    let may = |caller: &Caller, uid, gid| check_chown(caller, &file(0o644), uid, gid).is_ok();
    assert!(may(&Caller::ROOT, Some(5), Some(5)));
    assert!(may(&owner, None, Some(30)) && may(&owner, Some(10), None) && may(&owner, None, None));
    assert!(!may(&owner, Some(11), None) && !may(&owner, None, Some(31)));
    assert!(!may(&caller(11, 20, &[30]), None, Some(30)) && !may(&caller(11, 20, &[]), None, Some(20)));
    assert!(may(&caller(10, 1, &[]), None, Some(20)), "the group that it has");
}

#[test]
fn set_id_bits_go_when_bytes_change() {
    assert_eq!(without_set_id(&file(0o6755)), 0o755);
    assert_eq!(without_set_id(&file(0o6745)), 0o2745);
    assert_eq!(without_set_id(&inode(FileType::Directory, 0o6755)), 0o6755);
}

#[test]
fn groups_are_inherited_from_set_gid_directories() {
    let (plain, marked) = (inode(FileType::Directory, 0o755), inode(FileType::Directory, 0o2755));
    let user = caller(11, 7, &[]);
    assert_eq!(inherited(&user, &plain, true, 0o755), (7, 0o755));
    assert_eq!(inherited(&user, &marked, true, 0o755), (20, 0o2755));
    assert_eq!(inherited(&user, &marked, false, 0o2755), (20, 0o755), "set-group-id for a foreign group");
    assert_eq!(inherited(&caller(11, 20, &[]), &marked, false, 0o2755), (20, 0o2755));
}

#[test]
fn open_flags_say_what_is_wanted() {
    use nix::libc::{O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY};
    assert_eq!(Access::of_open_flags(O_RDONLY), Access::READ);
    assert_eq!(Access::of_open_flags(O_WRONLY), Access::WRITE);
    assert_eq!(Access::of_open_flags(O_RDWR), Access::READ_WRITE);
    assert_eq!(Access::of_open_flags(O_RDONLY | O_TRUNC), Access::READ_WRITE);
}
