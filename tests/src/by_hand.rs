//! A cluster set up step by step, as its owner would on real hosts, to make the mistakes that people make.

use crate::{Cluster, Shell};
use kddm_bench::playground::{Options, servers_of};
use kddm_bench::programs::built;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// A directory with a cluster file for nodes 1 and 2, a key, and empty directories for partitions and mounts.
///
/// Scripts find `$MKFS`, `$MOUNT`, `$KDDM`, `$SERVER`, and `$C` (the cluster file), `$P1`, `$P2`, `$M1`, `$M2`, `$D`.
pub struct ByHand {
    // Taken down like any other cluster, whatever runs below its directory.
    cluster: Cluster,
}

impl Default for ByHand {
    fn default() -> ByHand {
        ByHand::new()
    }
}

impl ByHand {
    /// Nothing is formatted, nothing runs.
    pub fn new() -> ByHand {
        let hand = ByHand { cluster: Cluster::prepared(Options::nodes(2)) };
        for folder in ["p1", "p2", "m1", "m2"] {
            fs::create_dir(hand.path(folder)).expect("a new directory");
        }
        hand.shell(r#""$KDDM" key new "$D/key""#).succeeds();
        hand.write_config("cluster.toml", "key", &["127.0.0.1", "127.0.0.2"]);
        hand
    }

    /// A path below its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.cluster.directory().join(name)
    }

    /// Writes a cluster file of its own name, all of them of one cluster, on one free port.
    pub fn write_config(&self, name: &str, key: &str, addresses: &[&str]) {
        let port = fs::read_to_string(self.path("port")).unwrap_or_else(|_| {
            let port = free_port().to_string();
            fs::write(self.path("port"), &port).expect("a new file");
            port
        });
        let mut text = format!(
            "id = \"6f1c2a9e-0b7d-4c55-9a53-0f3b1c2d4e5f\"\nkey_file = \"{key}\"\narena = \"16 MiB\"\nport = {port}\n"
        );
        for address in addresses {
            text += &format!("[[node]]\naddress = \"{address}\"\n");
        }
        let file = self.path(name);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent).expect("a directory");
        }
        fs::write(file, text).expect("a new file");
    }

    /// A script with all the names above.
    pub fn shell(&self, script: &str) -> Shell {
        let mut shell =
            Shell::new(script).env("D", self.cluster.directory()).env("C", &self.path("cluster.toml"));
        for (name, folder) in [("P1", "p1"), ("P2", "p2"), ("M1", "m1"), ("M2", "m2")] {
            shell = shell.env(name, &self.path(folder));
        }
        for (name, program) in
            [("MKFS", "mkfs-kdfs"), ("MOUNT", "mount-kdfs"), ("KDDM", "kddm"), ("SERVER", "kdfs-server")]
        {
            let path = built(program).unwrap_or_else(|error| panic!("{error}"));
            shell = shell.env(name, &path);
        }
        shell
    }

    /// Formats both partitions, the root on node 1.
    pub fn format(&self) {
        self.shell(r#""$MKFS" --node 1 "$P1" 1; "$MKFS" --node 2 "$P2" 1"#).succeeds();
    }

    /// Mounts both nodes, at once: each waits a while for the other.
    pub fn mount(&self) {
        thread::scope(|scope| {
            for script in [MOUNT_1, MOUNT_2] {
                scope.spawn(move || self.shell(script).succeeds());
            }
        });
    }

    /// Unmounts both nodes, or the one that is mounted, and waits for the servers, which end with their mounts.
    pub fn unmount(&self) {
        for mount in ["m2", "m1"] {
            self.shell(&format!("if mountpoint -q \"$D/{mount}\"; then umount \"$D/{mount}\"; fi"))
                .succeeds();
        }
        let begin = Instant::now();
        let directory = self.cluster.directory().canonicalize().expect("its directory");
        // Without the helper in /sbin, umount(8) does not wait for what is written behind.
        while !servers_of(&directory).is_empty() {
            assert!(begin.elapsed() < Duration::from_secs(20), "the servers do not end");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Changes a byte of a file, as a failing disk would.
    pub fn damage(&self, path: &Path, offset: usize) {
        let mut bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        bytes[offset] ^= 0x55;
        fs::write(path, bytes).expect("the same file");
    }
}

/// Mounts node 1.
pub const MOUNT_1: &str = r#""$MOUNT" "$P1" "$M1" -o config="$C",log="$D/1.log""#;
/// Mounts node 2.
pub const MOUNT_2: &str = r#""$MOUNT" "$P2" "$M2" -o config="$C",log="$D/2.log""#;

fn free_port() -> u16 {
    // Ports below those that the kernel hands out, so that no other program is given it meanwhile.
    let first = 10_000 + (std::process::id() % 8000) as u16;
    let free =
        |port: &u16| ["127.0.0.1", "127.0.0.2"].iter().all(|host| TcpListener::bind((*host, *port)).is_ok());
    (first..20_000).find(free).expect("a free port")
}
