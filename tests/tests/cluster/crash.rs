//! Servers killed at any moment: what was synced is there, and nothing is half there.

use kddm_bench::random::{Random, fresh_seed};
use kddm_tests::Cluster;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

/// What a file of the load contains, by its number.
fn contents(number: u64) -> Vec<u8> {
    let mut random = Random::new(number);
    let length = random.length(20_000);
    random.bytes(length)
}

#[test]
fn what_fsync_has_acknowledged_outlives_sigkill() {
    synced_and_killed("shm");
}

#[test]
fn what_fsync_has_acknowledged_outlives_sigkill_over_tcp() {
    synced_and_killed("tcp");
}

fn synced_and_killed(fabric: &str) {
    let mut cluster = Cluster::over(fabric, 2);
    fs::create_dir(cluster.at(1, "on-2")).unwrap();
    for round in 0..3u64 {
        for (writer, victim) in [(1, 1), (2, 1), (2, 2), (1, 2)] {
            // Made by the victim, so that it lies on its partition; written and synced by the writer.
            let name = format!("on-2/{round}-{writer}-{victim}");
            File::create_new(cluster.at(victim, &name)).unwrap();
            let mut file = File::options().write(true).open(cluster.at(writer, &name)).unwrap();
            file.write_all(&contents(round)).unwrap();
            file.sync_all().unwrap();
            drop(file);
            cluster.crash(victim);
            cluster.start().unwrap();
            for reader in [1, 2] {
                let path = cluster.at(reader, &name);
                let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                assert_eq!(bytes, contents(round), "{name} through node {reader}");
            }
        }
    }
}

/// A directory's fsync makes the names in it durable, and a rename is whole or not at all.
#[test]
fn a_name_synced_by_its_directory_outlives_sigkill() {
    let mut cluster = Cluster::up(2);
    let folder = cluster.at(1, "folder");
    fs::create_dir(&folder).unwrap();
    for at in 0..20 {
        fs::write(folder.join(format!("{at}.new")), format!("{at}")).unwrap();
        File::open(folder.join(format!("{at}.new"))).unwrap().sync_all().unwrap();
        fs::rename(folder.join(format!("{at}.new")), folder.join(format!("{at}"))).unwrap();
    }
    File::open(&folder).unwrap().sync_all().unwrap();
    cluster.crash(1);
    cluster.start().unwrap();
    for at in 0..20 {
        assert_eq!(fs::read_to_string(cluster.at(2, &format!("folder/{at}"))).unwrap(), format!("{at}"));
    }
    assert_eq!(fs::read_dir(cluster.at(2, "folder")).unwrap().count(), 20);
}

#[test]
fn killed_at_random_moments_under_load() {
    let seed = fresh_seed();
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let mut cluster = Cluster::up(2);
    for round in 0..4 {
        let victims: &[u8] = [&[1][..], &[2], &[1, 2]][random.below(3)];
        let pause = Duration::from_millis(50 + random.below(900) as u64);
        let base = round * 1_000_000;
        let synced = Mutex::new(Vec::new());
        for node in [1, 2] {
            fs::create_dir(cluster.at(node, &format!("load-{round}-{node}"))).unwrap();
        }
        thread::scope(|scope| {
            for node in [1, 2] {
                let folder = format!("load-{round}-{node}");
                let (cluster, synced) = (&cluster, &synced);
                scope.spawn(move || load(&cluster.at(node, &folder), &folder, base, synced));
            }
            thread::sleep(pause);
            victims.iter().for_each(|&victim| cluster.crash(victim));
            // The load on a node that lives stops at its first error, or here.
            fs::write(cluster.directory().join("stop"), "").unwrap();
        });
        fs::remove_file(cluster.directory().join("stop")).unwrap();
        cluster.start().unwrap();
        let synced = synced.into_inner().unwrap();
        println!("round {round}: killed {victims:?} after {pause:?}, {} files synced", synced.len());
        for node in [1, 2] {
            everything_resolves(&cluster.at(node, ""));
        }
        for (name, number) in &synced {
            let read = |name: &str| fs::read(cluster.at(2, name));
            let bytes = read(name).or_else(|_| read(&format!("{name}.new")));
            let bytes = bytes.unwrap_or_else(|error| panic!("seed {seed}: {name} was synced: {error}"));
            assert_eq!(bytes, contents(*number), "seed {seed}: {name}");
        }
        fs::remove_dir_all(cluster.at(1, &format!("load-{round}-2"))).unwrap();
        fs::write(cluster.at(2, &format!("load-{round}-1/afterwards")), "works").unwrap();
    }
}

/// Creates, syncs, renames, links and unlinks until something fails.
fn load(folder: &Path, name: &str, base: u64, synced: &Mutex<Vec<(String, u64)>>) {
    let stop = folder.ancestors().nth(3).unwrap_or(folder).join("stop");
    for number in base.. {
        let step = || -> io::Result<()> {
            let fresh = folder.join(format!("{number}.new"));
            let mut file = File::create_new(&fresh)?;
            file.write_all(&contents(number))?;
            if number % 3 == 0 {
                file.sync_all()?;
                synced.lock().unwrap().push((format!("{name}/{number}"), number));
            }
            fs::rename(&fresh, folder.join(number.to_string()))?;
            if number % 3 == 1 && number > base + 10 {
                let old = folder.join((number - 9).to_string());
                fs::hard_link(&old, folder.join("link"))?;
                fs::remove_file(&old)?;
                fs::remove_file(folder.join("link"))?;
            }
            Ok(())
        };
        if step().is_err() || stop.exists() {
            return;
        }
    }
}

/// Every name leads to something, and everything can be read.
fn everything_resolves(folder: &Path) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.unwrap_or_else(|error| panic!("{}: {error}", folder.display())).path();
        let metadata =
            fs::symlink_metadata(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        if metadata.is_dir() {
            everything_resolves(&path);
        } else {
            let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert_eq!(bytes.len() as u64, metadata.len(), "{}", path.display());
        }
    }
}
