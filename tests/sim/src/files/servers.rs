//! The servers of a cluster: node, partition, file system; started, ended and started again.

use super::World;
use super::disk::MemoryDisk;
use crate::executor::Life;
use crate::findings::Finding;
use crate::host::{SimHost, Speed};
use crate::transport::Recorded;
use crate::turn::turn;
use fastrand::Rng;
use kddm_object::{NodeId, ObjectKey};
use kddm_rdma::{Arena, ArenaConfig, Disk, Host, Inserted, IoLinker, Node, NodeConfig};
use kdfs_format::bitmap::{self, BitmapPage};
use kdfs_format::sets::{self, ROOT_LOCAL_ID, bitmap_object};
use kdfs_format::{Inode, PAGE_SIZE, Superblock, Timestamp, paths};
use kdfs_fs::{FileSystem, FsConfig};
use kdfs_server::partition::{Partition, PartitionConfig};
use parking_lot::Mutex;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// So long an operation may take.
const PATIENCE: Duration = Duration::from_secs(120);
const CLUSTER: [u8; 16] = [9; 16];

struct Server {
    life: Life,
    node: Node,
    partition: Arc<Partition>,
    linker: Arc<WithoutWaiting>,
    fs: FileSystem,
}

/// All of them.
pub struct Servers {
    world: Arc<World>,
    rng: Rng,
    disks: Vec<MemoryDisk>,
    servers: Vec<Server>,
    lives: u32,
}

fn directory() -> PathBuf {
    PathBuf::from("/partition")
}

fn broken(what: &str, error: impl std::fmt::Display) -> Finding {
    Finding::Wrong(format!("{what}: {error}"))
}

impl Servers {
    /// On fresh partitions; the root directory is on node 1.
    pub fn start(world: Arc<World>, rng: Rng) -> Result<Servers, Finding> {
        let disks: Vec<MemoryDisk> = world.members.iter().map(|_| MemoryDisk::default()).collect();
        for (disk, node) in disks.iter().zip(&world.members) {
            format(disk, node.get()).map_err(|error| broken("formatting", error))?;
        }
        let mut servers = Servers { world, rng, disks, servers: Vec::new(), lives: 0 };
        servers.begin()?;
        Ok(servers)
    }

    fn begin(&mut self) -> Result<(), Finding> {
        let members = self.world.members.clone();
        for (&id, disk) in members.iter().zip(self.disks.clone()) {
            let server = self.server(id, disk)?;
            self.servers.push(server);
        }
        let meeting: Vec<Node> = self.servers.iter().map(|server| server.node.clone()).collect();
        self.until_done("nodes meet", async move {
            for node in meeting {
                node.connected().await;
            }
        })?;
        for place in 0..self.servers.len() {
            let Server { fs, partition, .. } = &self.servers[place];
            let (fs, space) = (fs.clone(), partition.space().map_err(|error| broken("space", error))?);
            let published =
                self.until_done("publishing the space", async move { fs.publish_space(&space).await })?;
            published.map_err(|error| broken("publishing the space", error))?;
        }
        Ok(())
    }

    fn server(&mut self, id: NodeId, disk: MemoryDisk) -> Result<Server, Finding> {
        self.lives += 1;
        let (life, world) = (Life(self.lives), self.world.clone());
        let speed = Speed {
            least: Duration::from_micros(5),
            most: Duration::from_micros([50, 2000][self.rng.usize(0..2)]),
            stalled_percent: [0, 3][self.rng.usize(0..2)],
        };
        let disk: Arc<dyn Disk> = Arc::new(disk);
        let host: Arc<dyn Host> =
            Arc::new(SimHost::new(world.executor.clone(), life, speed, self.rng.fork(), disk));
        let config = PartitionConfig { directory: directory(), node: id, root: None, cluster: None };
        let partition = Partition::open(host.clone(), &config).map_err(|error| broken("opening", error))?;
        let arena = Arc::new(Arena::new(ArenaConfig::new(4 << 20)).expect("the kernel gives a few MiB"));
        let incarnation = partition.incarnation();
        let transport = Recorded {
            inner: world.network.attach(id, incarnation, arena.clone()),
            me: id,
            executor: world.executor.clone(),
            log: world.log.clone(),
            lets_return: false,
        };
        let config = NodeConfig {
            me: id,
            incarnation,
            members: world.members.clone(),
            loss: kddm_rdma::Loss::Local,
            inline_max: 256,
            speculate: true,
            unsound_keep_copies: false,
        };
        let linker = Arc::new(WithoutWaiting(Mutex::new(Some(partition.linker()))));
        let families = kdfs_fs::families(Some(linker.clone()));
        let node = Node::start(config, Box::new(transport), arena, host.clone(), families)
            .map_err(|error| broken("starting", error))?;
        let own: Arc<OnceLock<FileSystem>> = Arc::default();
        let (reaping, reaper) = (Arc::downgrade(&own), host.clone());
        let orphan: kdfs_fs::OrphanSink = Arc::new(move |inode, generation| {
            let Some(fs) = reaping.upgrade().and_then(|own| own.get().cloned()) else { return };
            reaper.spawn(Box::pin(async move {
                // What is still open somewhere, or cannot be reached, is tried again at the next start.
                let _reaped = fs.reap(inode, generation).await;
            }));
        });
        let root = sets::inode_number(1, ROOT_LOCAL_ID).expect("the root's number");
        let fs = FileSystem::new(
            node.clone(),
            FsConfig {
                root,
                here: Some(id),
                orphan: orphan.clone(),
                unsound_keep_names: world.unsound_keep_names,
            },
        );
        let _first = own.set(fs.clone());
        partition.start(node.clone(), orphan);
        // The sink has to find the file system as long as this life lasts.
        host.spawn(Box::pin(async move {
            let _own = own;
            std::future::pending::<()>().await;
        }));
        Ok(Server { life, node, partition, linker, fs })
    }

    /// The file system as each node has it.
    pub fn file_systems(&self) -> Vec<FileSystem> {
        self.servers.iter().map(|server| server.fs.clone()).collect()
    }

    /// Brings everything to the partitions.
    pub fn commit(&mut self) -> Result<(), Finding> {
        let partitions: Vec<Arc<Partition>> =
            self.servers.iter().map(|server| server.partition.clone()).collect();
        let committed = self.until_done("a checkpoint", async move {
            for partition in partitions {
                partition.commit(true).await?;
            }
            Ok::<(), io::Error>(())
        })?;
        committed.map_err(|error| broken("a checkpoint", error))
    }

    /// All processes end, without warning, and begin anew.
    pub fn restart(&mut self) -> Result<(), Finding> {
        self.world.coverage.count("file: all processes ended");
        self.world.log.note(self.world.executor.now(), 0, "end", || "all processes end");
        self.end();
        self.begin()
    }

    /// All processes end. Of the jobs that they had under way some had done their work.
    pub fn end(&mut self) {
        for server in &self.servers {
            self.world.coverage.add("file: name recalled", server.fs.recalled());
            self.world.network.kill(server.node.me());
        }
        for server in self.servers.drain(..) {
            let (tasks, jobs) = self.world.executor.kill(server.life);
            jobs.into_iter().filter(|_| self.rng.bool()).for_each(|job| job());
            *server.linker.0.lock() = None;
            drop(tasks);
            drop(server);
        }
        for life in 0..=self.lives {
            drop(self.world.executor.kill(Life(life)));
        }
    }

    /// Runs one thing to its end, and all that happens meanwhile.
    pub fn until_done<T: Send + 'static>(
        &mut self,
        what: &str,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Finding> {
        Ok(self.all_done(what, [Box::pin(task) as kddm_rdma::BoxFuture<'static, T>])?.remove(0))
    }

    /// The same, of several things at a time.
    pub fn all_done<T: Send + 'static>(
        &mut self,
        what: &str,
        tasks: impl IntoIterator<Item = kddm_rdma::BoxFuture<'static, T>>,
    ) -> Result<Vec<T>, Finding> {
        let results: Arc<Mutex<Vec<Option<T>>>> = Arc::default();
        for (place, task) in tasks.into_iter().enumerate() {
            results.lock().push(None);
            let results = results.clone();
            let kept = async move {
                let result = task.await;
                results.lock()[place] = Some(result);
            };
            self.world.executor.spawn(Life(0), true, Box::pin(kept));
        }
        let begun = self.world.executor.now();
        let mut cut: Option<(Duration, NodeId, NodeId)> = None;
        while results.lock().iter().any(Option::is_none) {
            self.world.findings.check()?;
            self.weather(&mut cut);
            let nodes: Vec<(NodeId, Life, &Node)> =
                self.servers.iter().map(|server| (server.node.me(), server.life, &server.node)).collect();
            let until = cut.map(|(until, ..)| until);
            let happened = turn(&self.world.executor, &self.world.network, &nodes, &mut self.rng, until);
            if !happened || self.world.executor.now() > begun + PATIENCE {
                return Err(Finding::Stall(format!("{what} does not end")));
            }
        }
        if let Some((_, from, to)) = cut {
            self.world.network.heal(from, to);
        }
        self.world.findings.check()?;
        Ok(results.lock().drain(..).flatten().collect())
    }

    /// Links that are cut for a moment, now and then.
    fn weather(&mut self, cut: &mut Option<(Duration, NodeId, NodeId)>) {
        let (now, members) = (self.world.executor.now(), &self.world.members);
        match *cut {
            Some((until, from, to)) if now >= until => {
                self.world.network.heal(from, to);
                *cut = None;
            }
            None if members.len() > 1 && self.rng.u32(..) < u32::MAX / 2000 => {
                let from = members[self.rng.usize(0..members.len())];
                let to = members[self.rng.usize(0..members.len())];
                if from != to {
                    self.world.network.cut(from, to);
                    *cut = Some((now + Duration::from_micros(self.rng.u64(1..=50_000)), from, to));
                }
            }
            _ => {}
        }
    }
}

/// The partition's linker, but for the requests that would make the one thread wait: the removal of many pages at once,
/// which the file system then does one by one, and fsync, in whose place the simulator asks the partition.
///
/// It lets go of the partition when the process ends: a node and its linker know each other.
struct WithoutWaiting(Mutex<Option<Arc<dyn IoLinker>>>);

impl WithoutWaiting {
    fn partition(&self) -> io::Result<Arc<dyn IoLinker>> {
        self.0.lock().clone().ok_or_else(|| io::Error::other("the process has ended"))
    }
}

impl IoLinker for WithoutWaiting {
    fn insert_object(&self, key: ObjectKey, bytes: &mut [u8]) -> io::Result<Inserted> {
        match key.set.kind() {
            sets::KIND_CUT => Ok(Inserted::Absent),
            sets::KIND_COMMIT => Ok(Inserted::Filled),
            _ => self.partition()?.insert_object(key, bytes),
        }
    }
    fn sync_object(&self, key: ObjectKey, bytes: &[u8]) -> io::Result<()> {
        self.partition()?.sync_object(key, bytes)
    }
    fn remove_object(&self, key: ObjectKey) -> io::Result<()> {
        self.partition()?.remove_object(key)
    }
}

/// What mkfs.kdfs writes.
fn format(disk: &dyn Disk, node: u8) -> io::Result<()> {
    let directory = directory();
    disk.create_directory(&directory)?;
    let none = || io::Error::other("no such node");
    let superblock = Superblock::new(node, 1, CLUSTER, Timestamp::default()).ok_or_else(none)?;
    let file = directory.join(paths::SUPERBLOCK);
    disk.write_at(&file, 0, &superblock.sealed())?;
    if node != 1 {
        return Ok(());
    }
    let mut page = [0; PAGE_SIZE];
    BitmapPage::of_mut(&mut page, bitmap_object(node, 0)).map_err(io::Error::other)?.take(ROOT_LOCAL_ID);
    bitmap::seal(&mut page);
    disk.write_at(&file, PAGE_SIZE as u64, &page)?;
    let at = |path: String| Path::new(&directory).join(path);
    disk.create_directory(&at(paths::range_directory(ROOT_LOCAL_ID)))?;
    disk.create_directory(&at(paths::inode_directory(ROOT_LOCAL_ID)))?;
    let root = Inode::root(node, Timestamp::default()).ok_or_else(none)?;
    disk.write_at(&at(paths::meta(ROOT_LOCAL_ID)), 0, &root.sealed())?;
    disk.write_at(&at(paths::content(ROOT_LOCAL_ID)), 0, &[])
}
