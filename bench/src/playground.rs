//! Clusters on this host, by the same commands that a person uses: `kddm playground up` and `down`.

use crate::interrupt;
use crate::programs::{built, said, succeed};
use anyhow::{Context, Result, bail, ensure};
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long an `up` or `down` may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Directories of the playgrounds of this process that are up.
static LIVE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// How a playground is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many nodes.
    pub nodes: u8,
    /// The fabric between them.
    pub fabric: String,
    /// Bytes of each node's arena, if not the usual.
    pub arena: Option<u64>,
    /// Leaves invalidations out. The cluster is then incoherent, on purpose.
    pub unsound: bool,
}

impl Options {
    /// `nodes` nodes over shm.
    pub fn nodes(nodes: u8) -> Options {
        Options { nodes, fabric: "shm".into(), arena: None, unsound: false }
    }
}

/// A cluster on this host; taken down when dropped.
#[derive(Debug)]
pub struct Playground {
    directory: PathBuf,
}

/// A node as `kddm status --json` describes it.
#[derive(Clone, Debug, Deserialize)]
pub struct NodeStatus {
    /// Its id.
    pub id: u8,
    /// The server's process, if one runs.
    pub pid: Option<i32>,
    /// starting, serving, alone, leaving; or what the command says of a node that does not answer.
    pub state: String,
}

#[derive(Deserialize)]
struct Status {
    nodes: Vec<NodeStatus>,
}

impl Playground {
    /// Starts a playground in `directory`, or starts the one that is there again.
    ///
    /// # Errors
    /// What the command said.
    pub fn up(directory: &Path, options: &Options) -> Result<Playground> {
        std::fs::create_dir_all(directory).with_context(|| format!("creating {}", directory.display()))?;
        let directory = directory.canonicalize()?;
        live().push(directory.clone());
        ensure!(!interrupt::stopping(), "interrupted");
        // From here on a failure takes down whatever has come up.
        let playground = Playground { directory };
        playground.start(options)?;
        Ok(playground)
    }

    /// Where programs attach to `node`.
    pub fn ring(&self, node: u8) -> PathBuf {
        self.directory.join(format!("run/{node}.ring"))
    }

    /// Takes it down and starts it again, perhaps in another way.
    ///
    /// # Errors
    /// What the commands said.
    pub fn restart(&self, options: &Options) -> Result<()> {
        self.down()?;
        self.start(options)
    }

    /// Starts what is not running.
    ///
    /// # Errors
    /// What the command said.
    pub fn start(&self, options: &Options) -> Result<()> {
        let mut command = Command::new(built("kddm")?);
        command.args([
            "playground",
            "up",
            "--nodes",
            &options.nodes.to_string(),
            "--fabric",
            &options.fabric,
        ]);
        command.arg("--dir").arg(&self.directory);
        if let Some(bytes) = options.arena {
            command.args(["--arena", &bytes.to_string()]);
        }
        if options.unsound {
            command.arg("--unsound-skip-invalidations");
        }
        succeed(&mut command, LIMIT).map(drop)
    }

    /// Unmounts and stops every node in good order.
    ///
    /// # Errors
    /// What the command said.
    pub fn down(&self) -> Result<()> {
        let mut command = Command::new(built("kddm")?);
        command.args(["playground", "down", "--dir"]).arg(&self.directory);
        succeed(&mut command, LIMIT).map(drop)
    }

    /// Makes everything durable, so that no server has anything left to do.
    ///
    /// # Errors
    /// What the command said.
    pub fn sync(&self) -> Result<()> {
        succeed(Command::new(built("kddm")?).args(["sync", "--dir"]).arg(&self.directory), LIMIT).map(drop)
    }

    /// The playground's directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where node `node` is mounted.
    pub fn mount(&self, node: u8) -> PathBuf {
        self.directory.join(format!("n{node}/mnt"))
    }

    /// The native partition of node `node`.
    pub fn partition(&self, node: u8) -> PathBuf {
        self.directory.join(format!("n{node}/part"))
    }

    /// All nodes.
    ///
    /// # Errors
    /// What the command said.
    pub fn status(&self) -> Result<Vec<NodeStatus>> {
        let mut command = Command::new(built("kddm")?);
        command.args(["status", "--json", "--dir"]).arg(&self.directory);
        // The exit code tells whether all nodes serve; the figures are there in any case.
        let output = crate::programs::run(&mut command, LIMIT)?;
        let status: Status = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("kddm status --json said: {}", said(&output)))?;
        Ok(status.nodes)
    }

    /// The process of node `node`'s server.
    ///
    /// # Errors
    /// If it is not running.
    pub fn pid(&self, node: u8) -> Result<Pid> {
        let found = self.status()?.into_iter().find(|status| status.id == node).and_then(|status| status.pid);
        found.map(Pid::from_raw).with_context(|| format!("node {node} is not running"))
    }

    /// Kills the server of `node` with SIGKILL, as a crash would, and drops what is left of its mount.
    ///
    /// # Errors
    /// If it is not running.
    pub fn crash(&self, node: u8) -> Result<()> {
        let pid = self.pid(node)?;
        kill(pid, Signal::SIGKILL).with_context(|| format!("killing the server of node {node}"))?;
        wait_for_end(pid)?;
        let _ = umount2(&self.mount(node), MntFlags::MNT_DETACH);
        Ok(())
    }
}

impl Drop for Playground {
    fn drop(&mut self) {
        take_down(&self.directory);
        live().retain(|directory| *directory != self.directory);
    }
}

/// Takes down every playground of this process that is still up.
pub fn down_all() {
    for directory in live().drain(..) {
        take_down(&directory);
    }
}

fn live() -> std::sync::MutexGuard<'static, Vec<PathBuf>> {
    // The list is whole between any two statements, whoever panicked.
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// In good order if that works, else by force: nothing stays mounted or running.
fn take_down(directory: &Path) {
    let orderly = built("kddm").and_then(|kddm| {
        succeed(Command::new(kddm).args(["playground", "down", "--dir"]).arg(directory), LIMIT)
    });
    if let Err(error) = orderly {
        eprintln!("taking down {} by force: {error:#}", directory.display());
    }
    for pid in servers_of(directory) {
        let _ = kill(pid, Signal::SIGKILL);
    }
    for point in mounts_below(directory) {
        let _ = umount2(&point, MntFlags::MNT_DETACH);
    }
}

/// Running kdfs-servers that were told of a path below `directory`.
pub fn servers_of(directory: &Path) -> Vec<Pid> {
    let below = format!("{}/", directory.display());
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let numbers = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let ours = numbers.filter(|number| {
        let words = std::fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words);
        let mut words = words.split('\0');
        words.next().is_some_and(|program| program.ends_with("kdfs-server"))
            && words.any(|word| word.contains(&below))
    });
    ours.map(Pid::from_raw).collect()
}

/// The last lines of every server's log below `directory`, for the message of a failure.
pub fn logs(directory: &Path) -> String {
    let mut text = String::new();
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        // Never into a mount, whose server may be gone.
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.extension().is_some_and(|extension| extension == "log") {
                let log = std::fs::read_to_string(&path).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                let last = lines[lines.len().saturating_sub(30)..].join("\n");
                text += &format!("---- {}\n{last}\n", path.display());
            } else if name.starts_with('n') && name.len() < 5 || ["cluster", "unsound"].contains(&&*name) {
                folders.push(path);
            }
        }
    }
    text
}

/// Mount points below `directory`, innermost first.
pub fn mounts_below(directory: &Path) -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    let points = points.map(|point| PathBuf::from(point.replace("\\040", " ")));
    let mut points: Vec<PathBuf> = points.filter(|point| point.starts_with(directory)).collect();
    points.reverse();
    points
}

fn wait_for_end(pid: Pid) -> Result<()> {
    let tasks = PathBuf::from(format!("/proc/{pid}/task"));
    // A zombie (state Z) is dead: whoever started the server may never reap it. But its first thread may be one while another
    // still ends a call, and keeps its files and locks until then.
    let ended = |task: PathBuf| {
        let state = std::fs::read_to_string(task.join("stat")).unwrap_or_default();
        state.is_empty() || state.rsplit(')').next().is_some_and(|rest| rest.trim().starts_with('Z'))
    };
    for _ in 0..1000 {
        let left = std::fs::read_dir(&tasks)
            .map_or(0, |tasks| tasks.flatten().filter(|task| !ended(task.path())).count());
        if left == 0 {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    bail!("process {pid} is still there 5 s after SIGKILL")
}
