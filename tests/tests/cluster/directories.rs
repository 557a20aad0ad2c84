//! Names: their lengths, their number, their moves between directories of different nodes.

use kddm_tests::{Cluster, errno_of};
use nix::errno::Errno;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::thread;

#[test]
fn names_of_255_bytes_and_none_of_256() {
    let cluster = Cluster::up(2);
    for name in ["n".repeat(255), "ü".repeat(127) + "x"] {
        fs::write(cluster.at(1, &name), &name).unwrap();
        assert_eq!(fs::read_to_string(cluster.at(2, &name)).unwrap(), name);
    }
    let long = "n".repeat(256);
    assert_eq!(errno_of(fs::write(cluster.at(1, &long), "")), Errno::ENAMETOOLONG);
    assert_eq!(errno_of(fs::create_dir(cluster.at(2, &long))), Errno::ENAMETOOLONG);
    assert_eq!(
        errno_of(fs::rename(cluster.at(1, &"n".repeat(255)), cluster.at(1, &long))),
        Errno::ENAMETOOLONG
    );
    assert_eq!(errno_of(fs::metadata(cluster.at(2, &long))), Errno::ENAMETOOLONG);
    let listed = fs::read_dir(cluster.at(2, "")).unwrap().count();
    assert_eq!(listed, 2);
}

/// Every entry once, while the directory has many pages and others come and go.
#[test]
fn listings_are_complete_while_others_come_and_go() {
    const STEADY: usize = 800;
    let cluster = Cluster::up(2);
    fs::create_dir(cluster.at(1, "many")).unwrap();
    thread::scope(|scope| {
        for node in [1, 2] {
            let folder = cluster.at(node, "many");
            scope.spawn(move || {
                for at in 0..STEADY / 2 {
                    fs::write(folder.join(format!("steady-{node}-{at}")), "").unwrap();
                }
            });
        }
    });
    thread::scope(|scope| {
        let folder = cluster.at(2, "many");
        let busy = scope.spawn(move || {
            for at in 0..300 {
                fs::write(folder.join(format!("coming-{at}")), "").unwrap();
                if at >= 10 {
                    fs::remove_file(folder.join(format!("coming-{}", at - 10))).unwrap();
                }
            }
        });
        while !busy.is_finished() {
            let names: Vec<String> = fs::read_dir(cluster.at(1, "many"))
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            let steady: BTreeSet<_> = names.iter().filter(|name| name.starts_with("steady")).collect();
            assert_eq!(steady.len(), STEADY, "entries are missing");
            assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "entries are listed twice");
        }
    });
    fs::remove_dir_all(cluster.at(2, "many")).unwrap();
    assert_eq!(errno_of(fs::metadata(cluster.at(1, "many"))), Errno::ENOENT);
}

/// Two nodes move things between the same two directories in opposite directions: nobody waits for ever, nothing is lost.
#[test]
fn crossed_renames_end_and_lose_nothing() {
    let cluster = Cluster::up(2);
    fs::create_dir(cluster.at(1, "left")).unwrap();
    fs::create_dir(cluster.at(2, "right")).unwrap();
    for at in 0..20 {
        fs::write(cluster.at(1, &format!("left/a{at}")), "").unwrap();
        fs::write(cluster.at(2, &format!("right/b{at}")), "").unwrap();
    }
    thread::scope(|scope| {
        for (node, prefix, from, to) in [(1, 'a', "left", "right"), (2, 'b', "right", "left")] {
            let cluster = &cluster;
            scope.spawn(move || {
                for round in 0..10 {
                    let (from, to) = if round % 2 == 0 { (from, to) } else { (to, from) };
                    for at in 0..20 {
                        let place = |folder| cluster.at(node, &format!("{folder}/{prefix}{at}"));
                        fs::rename(place(from), place(to)).unwrap();
                    }
                }
            });
        }
    });
    for (folder, prefix) in [("left", 'a'), ("right", 'b')] {
        let names: BTreeSet<_> =
            fs::read_dir(cluster.at(1, folder)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        let known: BTreeSet<_> = (0..20).map(|at| format!("{prefix}{at}").into()).collect();
        assert_eq!(names, known);
    }
}

/// Of two nodes that make the same name, one succeeds.
#[test]
fn one_of_two_makes_a_name() {
    let cluster = Cluster::up(2);
    for round in 0..100 {
        let name = format!("name-{round}");
        let made: Vec<bool> = thread::scope(|scope| {
            let makers = [1, 2].map(|node| {
                let path = cluster.at(node, &name);
                scope.spawn(move || match fs::File::create_new(path) {
                    Ok(_) => true,
                    Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => false,
                    Err(error) => panic!("{error}"),
                })
            });
            makers.map(|maker| maker.join().unwrap()).to_vec()
        });
        assert_eq!(made.iter().filter(|made| **made).count(), 1, "round {round}: {made:?}");
    }
}

#[test]
fn directories_are_counted_and_not_put_into_themselves() {
    let cluster = Cluster::up(2);
    fs::create_dir_all(cluster.at(1, "a/b/c")).unwrap();
    assert_eq!(fs::metadata(cluster.at(2, "a")).unwrap().nlink(), 3);
    assert_eq!(errno_of(fs::rename(cluster.at(2, "a"), cluster.at(2, "a/b/c/d"))), Errno::EINVAL);
    assert_eq!(errno_of(fs::remove_dir(cluster.at(1, "a"))), Errno::ENOTEMPTY);
    fs::create_dir(cluster.at(2, "other")).unwrap();
    fs::rename(cluster.at(2, "a/b"), cluster.at(2, "other/b")).unwrap();
    assert_eq!(fs::metadata(cluster.at(1, "a")).unwrap().nlink(), 2);
    let parent = fs::metadata(cluster.at(1, "other")).unwrap().ino();
    assert_eq!(fs::metadata(cluster.at(1, "other/b/..")).unwrap().ino(), parent);
    fs::remove_dir(cluster.at(1, "a")).unwrap();
}

/// A directory that gets the inode number of a removed one has nothing of it, on disk or in memory.
#[test]
fn a_recycled_directory_is_empty() {
    let cluster = Cluster::up(2);
    let folder = cluster.at(2, "folder");
    let number = || {
        fs::create_dir(&folder).unwrap();
        fs::metadata(&folder).unwrap().ino()
    };
    let first = number();
    for round in 0..4 {
        // What is still to be written of the directory before is written now.
        cluster.playground().sync().unwrap();
        for at in 0..300 {
            fs::write(folder.join(format!("a-name-of-some-length-{round}-{at}")), "").unwrap();
        }
        assert_eq!(fs::read_dir(cluster.at(1, "folder")).unwrap().count(), 300, "round {round}");
        fs::remove_dir_all(&folder).unwrap();
        // A removed directory is left alone for a while, then its number is the lowest that is free.
        let mut tries = 0;
        while number() != first {
            assert!(tries < 200, "number {first:x} does not come again");
            tries += 1;
            fs::remove_dir(&folder).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}
