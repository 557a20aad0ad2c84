//! A node's server: what it is made of, what it can be asked, and how it ends.

use crate::{
    fuse::{Operations, Session},
    metrics::Metrics,
    mounts::Mounts,
    partition::Partition,
    reaper::Reaper,
    ring::Rings,
};
use futures_lite::future::block_on;
use kddm_cluster::{Cluster, Member, admin::State};
use kddm_memory::Arena;
use kddm_rdma::{Host, LinuxHost, Node};
use kdfs_fs::{Errno, FileSystem};
use nix::mount::{MntFlags, umount2};
use parking_lot::{Condvar, Mutex};
use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// How long a mount that was taken away may take to end.
const END_OF_MOUNT: Duration = Duration::from_secs(5);

/// A node's server. Made by [`start`](crate::start()).
pub struct Server {
    pub(crate) cluster: Cluster,
    pub(crate) member: Member,
    pub(crate) host: Arc<LinuxHost>,
    pub(crate) arena: Arc<Arena>,
    pub(crate) node: Node,
    pub(crate) partition: Option<Arc<Partition>>,
    pub(crate) fs: FileSystem,
    pub(crate) reaper: Arc<Reaper>,
    pub(crate) mounts: Mounts,
    pub(crate) rings: Rings,
    pub(crate) metrics: Metrics,
    pub(crate) on_demand: bool,
    pub(crate) life: Life,
}

/// How far a server's life has come.
#[derive(Default)]
pub(crate) struct Life {
    stage: Mutex<Stage>,
    changed: Condvar,
}

#[derive(Default)]
struct Stage {
    met: bool,
    stop: bool,
    /// How the end was.
    stopped: Option<Result<(), String>>,
    /// Clients who unmount, and look after what follows.
    unmounting: usize,
    /// Clients who wait for the end, and are to hear of it before the process ends.
    waiters: usize,
}

/// What a request did not do, and why.
type Refusal = (String, Errno);

impl Server {
    /// What the cluster file says.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// This node in it.
    pub fn member(&self) -> &Member {
        &self.member
    }

    /// The world around.
    pub fn host(&self) -> &Arc<LinuxHost> {
        &self.host
    }

    /// The node's memory.
    pub fn arena(&self) -> &Arena {
        &self.arena
    }

    /// The node.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The name space.
    pub fn file_system(&self) -> &FileSystem {
        &self.fs
    }

    /// Where the partition is; a diskless node has none.
    pub fn partition_directory(&self) -> Option<&Path> {
        self.partition.as_ref().map(|partition| partition.directory())
    }

    /// The number of the view: the configured list, all of it, until there is membership.
    pub fn view(&self) -> u32 {
        1
    }

    /// What it is doing.
    pub fn state(&self) -> State {
        let stage = self.life.stage.lock();
        if stage.stop {
            State::Leaving
        } else if !stage.met {
            State::Starting
        } else if self.node.status().peers.iter().all(|peer| peer.up.is_some()) {
            State::Serving
        } else {
            State::Alone
        }
    }

    /// Where it is mounted.
    pub fn mount_points(&self) -> Vec<PathBuf> {
        self.mounts.points()
    }

    /// Requests of mounts that wait for something.
    pub fn requests_waiting(&self) -> usize {
        self.mounts.waiting()
    }

    /// The programs that are attached.
    pub fn programs(&self) -> Vec<kddm_cluster::admin::Program> {
        self.rings.attached()
    }

    /// The peers have been met, or waited for long enough.
    pub(crate) fn met(&self) {
        self.life.stage.lock().met = true;
    }

    /// Serves the mount at `point`, whose /dev/fuse is `descriptor`. Returns when its root can be read.
    pub(crate) fn mount(self: &Arc<Self>, descriptor: OwnedFd, point: PathBuf) -> Result<(), Refusal> {
        if self.life.stage.lock().stop {
            return Err(("the server is leaving; mount again when it has ended".into(), Errno::ESHUTDOWN));
        }
        let root = self.fs.root();
        block_on(self.fs.getattr(root)).map_err(|errno| (self.rootless(errno), errno))?;
        let operations = Operations::new(self.fs.clone(), self.metrics.requests.clone());
        let (server, ended) = (self.clone(), point.clone());
        let host = self.host.clone();
        let session =
            || Session::start(descriptor, point.clone(), operations, host, move || server.unmounted(&ended));
        self.mounts.add(session).map_err(|error| (error.to_string(), Errno::EIO))?;
        tracing::info!(point = %point.display(), "mounted");
        Ok(())
    }

    fn rootless(&self, errno: Errno) -> String {
        let root = self.fs.root();
        let node = root.node();
        let peers = self.node.status().peers;
        match peers.iter().find(|peer| peer.node.get() == node && peer.up.is_none()) {
            Some(peer) => format!(
                "the root directory (inode {}) lies on node {node}, which is not reachable: {}; start that node, then mount again",
                root.inode, peer.reason
            ),
            None => format!(
                "the root directory (inode {} on node {node}) cannot be read: {}; is root= right, and is that node's partition whole?",
                root.inode,
                errno.desc()
            ),
        }
    }

    /// Unmounts `point` and makes everything durable.
    pub(crate) fn unmount(&self, point: &Path) -> Result<(), Refusal> {
        self.life.stage.lock().unmounting += 1;
        let given = self.take_away(point).and_then(|()| self.give_back());
        self.life.stage.lock().unmounting -= 1;
        if self.on_demand && self.mounts.points().is_empty() {
            return given.and(self.stop_and_wait());
        }
        given
    }

    fn take_away(&self, point: &Path) -> Result<(), Refusal> {
        if self.mounts.has(point) {
            umount2(point, MntFlags::empty()).map_err(|errno| {
                let remedy = match errno {
                    Errno::EBUSY => "some program still uses it (fuser -vm shows which)",
                    _ => errno.desc(),
                };
                (format!("{}: not unmounted: {remedy}", point.display()), errno)
            })?;
            self.mounts.wait_gone(point, END_OF_MOUNT);
        }
        Ok(())
    }

    /// Makes everything durable whose home is here, wherever it was changed.
    pub(crate) fn sync(&self) -> Result<(), Refusal> {
        match &self.partition {
            Some(partition) => partition.sync().map_err(|error| {
                let errno = Errno::from_raw(error.raw_os_error().unwrap_or(nix::libc::EIO));
                (format!("{}: not everything is written: {error}", partition.directory().display()), errno)
            }),
            None => Ok(()),
        }
    }

    fn unmounted(self: &Arc<Self>, point: &Path) {
        tracing::info!(point = %point.display(), "unmounted");
        let others_care = {
            let stage = self.life.stage.lock();
            stage.stop || stage.unmounting > 0
        };
        let left = self.mounts.remove(point);
        if others_care {
            return;
        }
        let server = self.clone();
        self.host.run_blocking(Box::new(move || {
            if let Err((reason, _)) = server.give_back() {
                tracing::error!("{reason}");
            }
            if server.on_demand && left == 0 {
                server.stop();
            }
        }));
    }

    /// Asks the server to end. [`Server::run`] returns some time after.
    pub fn stop(&self) {
        self.life.stage.lock().stop = true;
        self.life.changed.notify_all();
    }

    /// Asks the server to end, and waits until everything is written and it has left the cluster.
    ///
    /// # Errors
    /// What was not written. The server ends all the same.
    pub(crate) fn stop_and_wait(&self) -> Result<(), Refusal> {
        let mut stage = self.life.stage.lock();
        stage.stop = true;
        stage.waiters += 1;
        self.life.changed.notify_all();
        self.life.changed.wait_while(&mut stage, |stage| stage.stopped.is_none());
        stage.stopped.clone().unwrap_or(Ok(())).map_err(|reason| (reason, Errno::EIO))
    }

    /// A client has its answer.
    pub(crate) fn answered(&self) {
        let mut stage = self.life.stage.lock();
        if stage.stopped.is_some() {
            stage.waiters = stage.waiters.saturating_sub(1);
            self.life.changed.notify_all();
        }
    }

    /// Serves until somebody asks for the end, then unmounts, writes everything back and leaves in good order.
    ///
    /// # Errors
    /// What could not be written back.
    pub fn run(&self) -> Result<(), String> {
        let mut stage = self.life.stage.lock();
        self.life.changed.wait_while(&mut stage, |stage| !stage.stop);
        drop(stage);
        let result = self.leave();
        let mut stage = self.life.stage.lock();
        stage.stopped = Some(result.clone());
        self.life.changed.notify_all();
        // Whoever asked hears of it first; one who has hung up is not waited for.
        self.life.changed.wait_while_for(&mut stage, |stage| stage.waiters > 0, Duration::from_secs(1));
        result
    }

    fn leave(&self) -> Result<(), String> {
        tracing::info!("leaving");
        let points = self.mounts.points();
        let mounted = !points.is_empty();
        for point in points {
            if let Err(errno) = umount2(&point, MntFlags::empty()) {
                tracing::warn!(point = %point.display(), reason = %errno, "in use; unmounted lazily, its programs get errors");
                if let Err(errno) = umount2(&point, MntFlags::MNT_DETACH) {
                    tracing::error!(point = %point.display(), reason = %errno, "stays mounted, without a server");
                }
                self.mounts.close(&point);
            }
        }
        self.mounts.wait_all_gone(END_OF_MOUNT);
        self.mounts.close_all();
        // Only mounts change anything: without one there is nothing to give back.
        if mounted && let Err((reason, _)) = self.give_back() {
            tracing::error!("{reason}");
        }
        self.rings.close();
        self.reaper.hurry();
        let closed = match &self.partition {
            Some(partition) => partition.close().map_err(|error| {
                let directory = partition.directory().display();
                format!(
                    "{directory}: not everything is written: {error}; the next start recovers what is there"
                )
            }),
            None => Ok(()),
        };
        self.node.shutdown();
        tracing::info!("left");
        closed
    }

    /// Ends a server that nobody has used.
    pub(crate) fn abandon(&self) {
        self.rings.close();
        if let Some(Err(error)) = self.partition.as_ref().map(|partition| partition.close()) {
            tracing::warn!(reason = %error, "the partition is not marked as closed in good order");
        }
        self.node.shutdown();
    }

    /// Makes everything durable everywhere: other partitions take what was changed here of theirs, while this node
    /// still has it. Those that are away cannot, and will ask nobody when they are back.
    fn give_back(&self) -> Result<(), Refusal> {
        if self.mounts.points().is_empty() {
            self.reaper.hurry();
        }
        if let Err(errno) = block_on(self.fs.sync()) {
            tracing::warn!(reason = %errno, "a partition that is away or failing did not take what was changed here of its files");
        }
        self.sync()
    }
}
