//! The world around a node, simulated: one for each life of it.

use crate::executor::{Executor, Life};
use fastrand::Rng;
use kddm_rdma::host::disk::{DiskEntry, DiskLock, DiskSpace};
use kddm_rdma::{BoxFuture, Disk, Host, Job};
use parking_lot::Mutex;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long jobs take.
#[derive(Clone, Copy, Debug)]
pub struct Speed {
    /// At least.
    pub least: Duration,
    /// At most, as a rule.
    pub most: Duration,
    /// Of a hundred, so many take a hundred times as long.
    pub stalled_percent: u8,
}

/// A node's surroundings.
pub struct SimHost {
    executor: Executor,
    life: Life,
    speed: Speed,
    random: Mutex<Rng>,
    disk: Arc<dyn Disk>,
}

impl SimHost {
    /// Those of `life`.
    pub fn new(executor: Executor, life: Life, speed: Speed, random: Rng, disk: Arc<dyn Disk>) -> SimHost {
        SimHost { executor, life, speed, random: Mutex::new(random), disk }
    }

    fn duration(&self) -> Duration {
        let mut random = self.random.lock();
        let (least, most) = (self.speed.least.as_nanos() as u64, self.speed.most.as_nanos() as u64);
        let usual = Duration::from_nanos(random.u64(least..=most.max(least)));
        if random.u8(0..100) < self.speed.stalled_percent { usual * 100 } else { usual }
    }
}

impl Host for SimHost {
    fn now(&self) -> Duration {
        self.executor.now()
    }
    fn wall(&self) -> Duration {
        Duration::from_secs(1_700_000_000) + self.executor.now()
    }
    fn random(&self) -> u64 {
        self.random.lock().u64(..)
    }
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.executor.spawn(self.life, false, task);
    }
    fn run_blocking(&self, job: Job) {
        self.executor.job(self.life, self.executor.now() + self.duration(), job);
    }
    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(self.executor.sleep(time))
    }
    fn disk(&self) -> &dyn Disk {
        &*self.disk
    }
    fn spawn_thread(&self, _name: &str, body: Job) {
        self.run_blocking(body);
    }
}

/// For nodes whose linkers have devices of their own.
pub struct NoDisk;

fn none<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

impl Disk for NoDisk {
    fn read_at(&self, _: &Path, _: u64, _: &mut [u8]) -> io::Result<usize> {
        none()
    }
    fn write_at(&self, _: &Path, _: u64, _: &[u8]) -> io::Result<()> {
        none()
    }
    fn length(&self, _: &Path) -> io::Result<u64> {
        none()
    }
    fn set_length(&self, _: &Path, _: u64) -> io::Result<()> {
        none()
    }
    fn sync_file(&self, _: &Path) -> io::Result<()> {
        none()
    }
    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        none()
    }
    fn sync_all(&self, _: &Path) -> io::Result<()> {
        none()
    }
    fn create_directory(&self, _: &Path) -> io::Result<()> {
        none()
    }
    fn remove_file(&self, _: &Path) -> io::Result<()> {
        none()
    }
    fn remove_directory(&self, _: &Path) -> io::Result<()> {
        none()
    }
    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        none()
    }
    fn list(&self, _: &Path) -> io::Result<Vec<DiskEntry>> {
        none()
    }
    fn exists(&self, _: &Path) -> io::Result<bool> {
        none()
    }
    fn space(&self, _: &Path) -> io::Result<DiskSpace> {
        none()
    }
    fn lock(&self, _: &Path) -> io::Result<Box<dyn DiskLock>> {
        none()
    }
}
