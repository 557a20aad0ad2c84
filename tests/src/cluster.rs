//! A cluster on this host for one test: alone, watched, and gone in the end.

use crate::Shell;
use kddm_bench::playground::{self, Options, Playground};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// No test of a cluster takes longer.
const LIMIT: Duration = Duration::from_secs(120);

/// One cluster at a time in this process …
static TURN: Mutex<()> = Mutex::new(());

/// A running playground below a temporary directory.
///
/// Its fields are dropped in their order: first the servers go, then the directory, then the next test's turn comes.
pub struct Cluster {
    begin: Instant,
    playground: Option<Playground>,
    watchdog: Watchdog,
    options: Options,
    directory: TempDir,
    _turn: Turn,
}

/// The right to run a cluster.
struct Turn {
    _process: MutexGuard<'static, ()>,
    _machine: Flock<File>,
}

impl Turn {
    fn wait() -> Turn {
        // A test that failed leaves nothing behind that the next one could trip over.
        let process = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        // … and on this machine: clusters would fight for its two cores, and timing tests would lie.
        let path = std::env::temp_dir().join("kddm-tests.lock");
        let file = File::create(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let machine = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| error);
        Turn { _process: process, _machine: machine.expect("flock of our own file") }
    }
}

impl Cluster {
    /// `nodes` nodes over shm, freshly formatted.
    pub fn up(nodes: u8) -> Cluster {
        Cluster::with(Options::nodes(nodes))
    }

    /// The same over `fabric`.
    pub fn over(fabric: &str, nodes: u8) -> Cluster {
        Cluster::with(Options { fabric: fabric.into(), ..Options::nodes(nodes) })
    }

    /// A cluster as `options` say.
    pub fn with(options: Options) -> Cluster {
        let mut cluster = Cluster::prepared(options);
        cluster.start().unwrap_or_else(|error| panic!("the cluster does not start: {error}"));
        cluster
    }

    /// A cluster that is yet to be started: its directory can be prepared.
    pub fn prepared(options: Options) -> Cluster {
        assert!(nix::unistd::geteuid().is_root(), "the cluster tests mount file systems: run them as root");
        let turn = Turn::wait();
        let directory =
            tempfile::Builder::new().prefix("kddm-tests-").tempdir().expect("a temporary directory");
        let watchdog = Watchdog::over(directory.path().to_owned());
        let begin = Instant::now();
        Cluster { begin, playground: None, watchdog, options, directory, _turn: turn }
    }

    /// Starts a prepared cluster, or what has been stopped or killed of a running one.
    ///
    /// # Errors
    /// What the command said.
    pub fn start(&mut self) -> Result<(), String> {
        match &self.playground {
            Some(playground) => playground.start(&self.options).map_err(|error| format!("{error:#}"))?,
            None => {
                let playground = Playground::up(self.directory.path(), &self.options);
                self.playground = Some(playground.map_err(|error| format!("{error:#}"))?);
            }
        }
        Ok(())
    }

    /// Down in good order and up again.
    pub fn restart(&mut self) {
        self.playground().restart(&self.options).expect("the cluster restarts");
    }

    /// Down in good order.
    pub fn down(&mut self) {
        self.playground().down().expect("the cluster goes down");
    }

    /// The next start is as `options` say.
    pub fn set_options(&mut self, options: Options) {
        self.options = options;
    }

    /// The playground's commands.
    pub fn playground(&self) -> &Playground {
        self.playground.as_ref().expect("the cluster has been started")
    }

    /// Where everything of it lies.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A path below the mount of `node`.
    pub fn at(&self, node: u8, path: &str) -> PathBuf {
        let mount = self.directory.path().join(format!("n{node}/mnt"));
        if path.is_empty() { mount } else { mount.join(path) }
    }

    /// Where programs attach to `node`.
    pub fn ring(&self, node: u8) -> PathBuf {
        self.directory.path().join(format!("run/{node}.ring"))
    }

    /// SIGKILL for the server of `node`.
    pub fn crash(&self, node: u8) {
        self.playground().crash(node).expect("a running server");
    }

    /// A shell command with `$N1`, `$N2`, `$N3` for the mounts and `$T` for a native directory.
    pub fn shell(&self, script: &str) -> Shell {
        let native = self.directory.path().join("native");
        fs::create_dir_all(&native).expect("a native directory");
        let mut shell = Shell::new(script);
        for node in 1..=3 {
            shell = shell.env(&format!("N{node}"), &self.at(node, ""));
        }
        shell.env("T", &native)
    }

    /// What the servers have logged, for the message of a failure.
    pub fn logs(&self) -> String {
        playground::logs(self.directory.path())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.watchdog.stop();
        println!("{:.1?} with this cluster", self.begin.elapsed());
        if thread::panicking() {
            eprintln!("{}", self.logs());
        }
        let directory = self.directory.path().canonicalize().unwrap_or_default();
        drop(self.playground.take());
        for pid in playground::servers_of(&directory) {
            let _ = kill(pid, Signal::SIGTERM);
            wait_or_kill(pid);
        }
        for point in playground::mounts_below(&directory) {
            let _ = nix::mount::umount2(&point, nix::mount::MntFlags::MNT_DETACH);
        }
    }
}

/// A server that was started by hand gets three seconds to end in good order.
fn wait_or_kill(pid: nix::unistd::Pid) {
    let process = PathBuf::from(format!("/proc/{pid}"));
    for _ in 0..300 {
        if !process.exists() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    let _ = kill(pid, Signal::SIGKILL);
}

/// Kills the servers of a test that hangs: the kernel then fails every call that waits for them, and the test
/// with it.
struct Watchdog {
    stop: Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    fn over(directory: PathBuf) -> Watchdog {
        let (stop, stopped) = channel();
        let begin = Instant::now();
        let thread = thread::spawn(move || {
            if stopped.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
                eprintln!(
                    "WATCHDOG: after {:.0?} the servers are killed\n{}",
                    begin.elapsed(),
                    playground::logs(&directory)
                );
                let directory = directory.canonicalize().unwrap_or(directory);
                for pid in playground::servers_of(&directory) {
                    let _ = kill(pid, Signal::SIGKILL);
                }
            }
        });
        Watchdog { stop, thread: Some(thread) }
    }

    fn stop(&mut self) {
        let _ = self.stop.send(());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
