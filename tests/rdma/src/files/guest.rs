//! A guest as a node of kDFS, set up as its owner would.

use crate::{Meeting, Place};
use anyhow::{Context, Result, bail};
use kddm_bench::programs::{built, run, succeed};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A mount waits for the other node; guests are slow.
const LIMIT: Duration = Duration::from_secs(60);
const PARTITION: &str = "/run/partition";
const MOUNT: &str = "/run/kdfs-mount";

/// A mounted node.
pub struct Guest {
    /// Its rank; its node's id is one more.
    pub rank: usize,
}

/// Of `kddm status --json`.
#[derive(Deserialize)]
struct Report {
    fabric: String,
    nodes: Vec<Node>,
}

/// A node, as its server tells.
#[derive(Clone, Debug, Deserialize)]
pub struct Node {
    /// Its id.
    pub id: u8,
    /// Its server's process, on this host.
    pub pid: Option<i32>,
    /// serving, alone, …
    pub state: String,
    /// What it counts.
    pub counters: BTreeMap<String, u64>,
}

impl Guest {
    /// Cluster file, key, partition, mount: as docs/operations.md says.
    pub fn set_up(place: &Place, meeting: &mut Meeting) -> Result<Guest> {
        let key = place.share.join("cluster.key");
        if place.rank == 0 {
            succeed(Command::new(built("kddm")?).args(["key", "new"]).arg(&key), LIMIT)?;
        }
        meeting.together()?;
        let mut text = String::from(
            "id = \"6f1c2a9e-0b7d-4c55-9a53-0f3b1c2d4e5f\"\nkey_file = \"cluster.key\"\nfabric = \"verbs\"\narena = \"32 MiB\"\n",
        );
        for address in &place.addresses {
            writeln!(text, "[[node]]\naddress = \"{address}\"")?;
        }
        fs::create_dir_all("/etc/kdfs")?;
        fs::write("/etc/kdfs/cluster.toml", text)?;
        // Its mode is 0600, which goes along.
        fs::copy(&key, "/etc/kdfs/cluster.key")?;
        for folder in [PARTITION, MOUNT, "/var/log/kdfs", "/run/kdfs"] {
            fs::create_dir_all(folder).with_context(|| folder.to_owned())?;
        }
        let guest = Guest { rank: place.rank };
        succeed(Command::new(built("mkfs-kdfs")?).args(["--node", &guest.id(), PARTITION, "1"]), LIMIT)?;
        guest.mount()?;
        Ok(guest)
    }

    fn id(&self) -> String {
        (self.rank + 1).to_string()
    }

    /// Mounts, which starts a server.
    pub fn mount(&self) -> Result<()> {
        succeed(Command::new("mount").args(["-t", "kdfs", PARTITION, MOUNT]), LIMIT).map(drop)
    }

    /// A path below the mount.
    pub fn at(&self, path: &str) -> PathBuf {
        Path::new(MOUNT).join(path)
    }

    /// This node, as its own server tells.
    pub fn status(&self) -> Result<Node> {
        // It exits with 1 where not all serve, and tells all the same.
        let output = run(Command::new(built("kddm")?).args(["status", "--json"]), LIMIT)?;
        let report: Report = serde_json::from_slice(&output.stdout).context("kddm status --json")?;
        if report.fabric != "verbs" {
            bail!("the fabric is {}", report.fabric);
        }
        let mine = report.nodes.into_iter().find(|node| usize::from(node.id) == self.rank + 1);
        mine.context("this node is not in the report")
    }

    /// SIGKILL for the server, and what is left of its mount goes.
    pub fn crash(&self) -> Result<()> {
        let pid = self.status()?.pid.context("no server runs")?;
        kill(Pid::from_raw(pid), Signal::SIGKILL)?;
        succeed(Command::new("umount").args(["-l", MOUNT]), LIMIT).map(drop)
    }

    /// As a power cut.
    pub fn go_off(&self) -> Result<()> {
        fs::write("/proc/sysrq-trigger", "b").context("going off")
    }

    /// What the server said last.
    pub fn print_log(&self) {
        let log = fs::read_to_string(format!("/var/log/kdfs/{}.log", self.id())).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        eprintln!("the server's log ends with:\n{}", lines[lines.len().saturating_sub(30)..].join("\n"));
    }
}
