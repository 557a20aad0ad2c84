//! The program `mkfs.kdfs`, run as people run it.

use kdfs_format::bitmap::{self, BitmapPage};
use kdfs_format::sets::bitmap_object;
use kdfs_format::{Inode, Superblock, UnverifiedInode, UnverifiedSuperblock};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_mkfs-kdfs");

fn scratch() -> (TempDir, PathBuf) {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("part");
    fs::create_dir(&directory).unwrap();
    (scratch, directory)
}

fn mkfs(arguments: &[&str], directory: &Path, root: &str) -> Output {
    Command::new(PROGRAM).args(arguments).arg(directory).arg(root).output().unwrap()
}

fn superblock(directory: &Path) -> Superblock {
    let bytes = fs::read(directory.join("...")).unwrap();
    UnverifiedSuperblock::parse(&bytes[..4096]).unwrap().verify().unwrap()
}

fn root_inode(directory: &Path, number: u32) -> Inode {
    let bytes = fs::read(directory.join("0-99/1/.meta")).unwrap();
    UnverifiedInode::parse(&bytes).unwrap().verify(number).unwrap()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[track_caller]
fn assert_fails(output: &Output, code: i32, words: &[&str]) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{error}");
    for word in words {
        assert!(error.contains(word), "{word:?} is missing in: {error}");
    }
}

#[track_caller]
fn assert_good(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_root_node_gets_the_root_directory() {
    let (_scratch, directory) = scratch();
    let said = assert_good(&mkfs(&["--node", "1"], &directory, "1"));
    assert!(said.contains("partition of node 1") && said.contains("mount -t kdfs"), "{said}");
    assert_eq!(names(&directory), ["...", "0-99"]);
    assert_eq!(names(&directory.join("0-99/1")), [".content", ".meta"]);
    let superblock = superblock(&directory);
    assert_eq!((superblock.node, superblock.root.get(), superblock.is_clean()), (1, 0x0100_0001, true));
    let root = root_inode(&directory, 0x0100_0001);
    assert_eq!((root.mode.get(), root.nlink.get(), root.depth), (0o040755, 2, 0));
    assert_eq!((root.parent, root.parent_generation), (root.inode, root.generation));
    assert_eq!((root.uid.get(), root.gid.get(), root.entries.get()), (0, 0, 0));
    let mut page: [u8; 4096] = fs::read(directory.join("...")).unwrap()[4096..].try_into().unwrap();
    bitmap::verify(&mut page, bitmap_object(1, 0)).unwrap();
    let page = BitmapPage::of(&page, bitmap_object(1, 0)).unwrap().unwrap();
    assert_eq!(page.taken().collect::<Vec<_>>(), [1]);
}

#[test]
fn every_other_node_gets_the_superblock_only() {
    let (_scratch, directory) = scratch();
    fs::create_dir(directory.join("lost+found")).unwrap();
    assert_good(&mkfs(&["--node", "2"], &directory, "1"));
    assert_eq!(names(&directory), ["...", "lost+found"]);
    assert_eq!(fs::metadata(directory.join("...")).unwrap().len(), 4096);
    let superblock = superblock(&directory);
    assert_eq!((superblock.node, superblock.root.get()), (2, 0x0100_0001));
}

#[test]
fn the_node_id_is_the_last_byte_of_the_address() {
    let (_scratch, directory) = scratch();
    let said = assert_good(&mkfs(&["--address", "10.1.2.77"], &directory, "1"));
    assert!(said.contains("node 77 (the last byte of 10.1.2.77)"), "{said}");
    assert_eq!(superblock(&directory).node, 77);
    assert_fails(&mkfs(&["--address", "10.1.2.255"], &directory, "1"), 1, &["last byte", "--node"]);
}

#[test]
fn the_cluster_file_names_the_node() {
    let (scratch, directory) = scratch();
    let config = scratch.path().join("cluster.toml");
    let text = "id = \"6f1c2a9e-0b7d-4c55-9a53-0f3b1c2d4e5f\"\nkey_file = \"key\"\n\
                [[node]]\nid = 9\naddress = \"127.0.0.1\"\n[[node]]\nid = 8\naddress = \"192.0.2.8\"\n";
    fs::write(&config, text).unwrap();
    let config = config.to_str().unwrap();
    let said = assert_good(&mkfs(&["--config", config], &directory, "8"));
    assert!(said.contains("node 9 (127.0.0.1 in"), "{said}");
    assert_eq!(superblock(&directory).cluster[..2], [0x6f, 0x1c]);

    let other = scratch.path().join("other");
    fs::create_dir(&other).unwrap();
    assert_good(&mkfs(&["--config", config, "--address", "192.0.2.8"], &other, "8"));
    assert_eq!(superblock(&other).node, 8);
    assert_fails(
        &mkfs(&["--config", config, "--node", "3"], &other, "8"),
        1,
        &["no node 3", "9 (127.0.0.1)"],
    );
    let unknown = mkfs(&["--config", config, "--address", "192.0.2.1"], &other, "8");
    assert_fails(&unknown, 1, &["192.0.2.1", "--node ID"]);
    assert_fails(&mkfs(&["--config", "/nowhere.toml"], &other, "8"), 1, &["/nowhere.toml"]);
}

#[test]
fn wrong_ids_are_refused_with_the_range() {
    let (_scratch, directory) = scratch();
    for wrong in ["0", "255", "300", "-1", "one", "1.5", ""] {
        assert_eq!(mkfs(&["--node", "1"], &directory, wrong).status.code(), Some(2), "root {wrong:?}");
        let node = format!("--node={wrong}");
        assert_fails(&mkfs(&[&node], &directory, "1"), 2, &["1 to 254"]);
    }
    assert!(names(&directory).is_empty());
}

#[test]
fn a_directory_with_files_is_refused() {
    let (_scratch, directory) = scratch();
    fs::write(directory.join("thesis.tex"), "years of work").unwrap();
    assert_fails(&mkfs(&["--node", "1"], &directory, "1"), 3, &["not empty", "thesis.tex", "--force"]);
    assert_eq!(names(&directory), ["thesis.tex"]);
    let said = assert_good(&mkfs(&["--node", "1", "--force"], &directory, "1"));
    assert!(said.contains("left alone") && said.contains("thesis.tex"), "{said}");
    assert_eq!(fs::read(directory.join("thesis.tex")).unwrap(), b"years of work");
}

#[test]
fn a_partition_is_replaced_only_by_force() {
    let (_scratch, directory) = scratch();
    assert_good(&mkfs(&["--node", "4"], &directory, "4"));
    let first = superblock(&directory);
    let old = directory.join("100-199/150");
    fs::create_dir_all(&old).unwrap();
    fs::write(old.join(".meta"), "old").unwrap();
    fs::write(old.join(".content"), "old").unwrap();
    fs::write(directory.join("0-99/stranger"), "mine").unwrap();
    fs::write(directory.join("....batch.7"), "old").unwrap();

    let refused = mkfs(&["--node", "4"], &directory, "4");
    assert_fails(&refused, 3, &["already a partition", "of node 4", "--force"]);
    assert_eq!(superblock(&directory), first);

    let said = assert_good(&mkfs(&["--node", "5", "--force", "--json"], &directory, "4"));
    for word in
        ["\"replaced\":true", "\"inodes_removed\":2", "0-99/stranger", "\"node\":5", "\"holds_root\":false"]
    {
        assert!(said.contains(word), "{word} is missing in {said}");
    }
    assert_eq!(names(&directory), ["...", "0-99"]);
    assert_eq!(names(&directory.join("0-99")), ["stranger"]);
    assert_ne!(superblock(&directory).partition, first.partition);
}

#[test]
fn a_damaged_superblock_is_no_reason_to_format() {
    let (_scratch, directory) = scratch();
    fs::write(directory.join("..."), "three dots").unwrap();
    assert_fails(&mkfs(&["--node", "1"], &directory, "1"), 3, &["`...`", "4096 bytes", "--force"]);
    assert_eq!(fs::read(directory.join("...")).unwrap(), b"three dots");
    assert_good(&mkfs(&["--node", "1", "--force"], &directory, "1"));
    superblock(&directory);
}

#[test]
fn a_partition_in_use_is_never_formatted() {
    let (_scratch, directory) = scratch();
    assert_good(&mkfs(&["--node", "1"], &directory, "1"));
    let file = fs::File::options().read(true).write(true).open(directory.join("...")).unwrap();
    let held = nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusiveNonblock).unwrap();
    let before = superblock(&directory);
    assert_fails(&mkfs(&["--node", "1", "--force"], &directory, "1"), 3, &["open", "unmount"]);
    assert_eq!(superblock(&directory), before);
    drop(held);
}

#[test]
fn no_directory_and_a_file_are_told_apart() {
    let (scratch, _directory) = scratch();
    assert_fails(&mkfs(&["--node", "1"], &scratch.path().join("nowhere"), "1"), 1, &["nowhere", "mkdir"]);
    let file = scratch.path().join("file");
    fs::write(&file, "x").unwrap();
    assert_fails(&mkfs(&["--node", "1"], &file, "1"), 1, &["is no directory"]);
}

/// A read-only mount in a user namespace of its own, so that being root does not help.
#[test]
fn a_read_only_directory_is_reported() {
    let (_scratch, directory) = scratch();
    let script = "mount -t tmpfs -o ro none \"$2\" || exit 77; exec \"$1\" --node 1 \"$2\" 1";
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", PROGRAM]).arg(&directory);
    let output = unshare.output();
    match output {
        Ok(output) if output.status.code() == Some(1) && !output.stderr.starts_with(b"unshare") => {
            assert_fails(&output, 1, &["cannot format", "Read-only file system"]);
        }
        _ => eprintln!("SKIPPED: this host allows no mount in a user namespace"),
    }
}

#[test]
fn help_teaches() {
    let output = Command::new(PROGRAM).arg("--help").output().unwrap();
    let help = assert_good(&output);
    for word in ["DIR_PATHNAME", "ROOT_NODEID", "Examples", "254 nodes", "2^24", "mount -t kdfs"] {
        assert!(help.contains(word), "{word:?} is missing in: {help}");
    }
}
