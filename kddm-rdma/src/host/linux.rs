//! The real world: worker threads for tasks, a pool for jobs that block, one thread for timers.

mod blocking;
mod executor;
mod timer;

use super::{BoxFuture, Disk, Host, Job, disk::NativeDisk};
use blocking::BlockingPool;
use executor::Executor;
use nix::time::{ClockId, clock_gettime};
use parking_lot::Mutex;
use std::{
    fs::File,
    io::{self, Read},
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};
use timer::Timer;

/// Linux as a node sees it.
///
/// Its threads end with [`LinuxHost::shutdown`], or when the last reference goes.
pub struct LinuxHost {
    started: Instant,
    /// What CLOCK_MONOTONIC had then: the hosts of all processes of a machine count from the same moment.
    since_boot: Duration,
    random: Mutex<File>,
    executor: Executor,
    blocking: Arc<BlockingPool>,
    timer: Timer,
    disk: NativeDisk,
}

impl LinuxHost {
    /// A host whose tasks run on `workers` threads (at least one).
    ///
    /// # Errors
    /// If a thread cannot be started or `/dev/urandom` cannot be opened.
    pub fn start(workers: usize) -> io::Result<Arc<LinuxHost>> {
        Ok(Arc::new(LinuxHost {
            since_boot: since_boot()?,
            started: Instant::now(),
            random: Mutex::new(File::open("/dev/urandom")?),
            executor: Executor::start(workers.max(1))?,
            blocking: BlockingPool::new(),
            timer: Timer::start()?,
            disk: NativeDisk::default(),
        }))
    }

    /// Ends the worker and timer threads and waits for them; tasks that have not ended are dropped. Jobs that were
    /// handed to the blocking pool are finished first.
    pub fn shutdown(&self) {
        self.blocking.shutdown();
        self.executor.shutdown();
        self.timer.shutdown();
    }

    #[cfg(test)]
    fn timer_is_empty(&self) -> bool {
        self.timer.is_empty()
    }
}

impl Host for LinuxHost {
    fn now(&self) -> Duration {
        self.since_boot + self.started.elapsed()
    }

    fn wall(&self) -> Duration {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }

    fn random(&self) -> u64 {
        let mut bytes = [0; 8];
        // random(4): reads of up to 256 bytes of an open urandom neither fail nor come back short.
        self.random.lock().read_exact(&mut bytes).expect("BUG: /dev/urandom, once open, always answers");
        u64::from_ne_bytes(bytes)
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.executor.spawn(task);
    }

    fn run_blocking(&self, job: Job) {
        self.blocking.run(job);
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(self.timer.sleep(time))
    }

    fn disk(&self) -> &dyn Disk {
        &self.disk
    }

    fn spawn_thread(&self, name: &str, body: Job) {
        if let Err(error) = thread::Builder::new().name(name.to_owned()).spawn(body) {
            tracing::error!(name, reason = %error, "no thread could be started; raise the limit on processes (ulimit -u)");
        }
    }
}

impl Drop for LinuxHost {
    fn drop(&mut self) {
        self.shutdown();
    }
}

fn since_boot() -> io::Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_MONOTONIC)?.into())
}

/// Waits for `threads` to end, unless one of them is the caller (a task may own the last reference to its host).
fn join(threads: &Mutex<Vec<thread::JoinHandle<()>>>) {
    for thread in std::mem::take(&mut *threads.lock()) {
        if thread.thread().id() != thread::current().id() && thread.join().is_err() {
            tracing::error!("BUG: a thread of the host panicked");
        }
    }
}

#[cfg(test)]
mod tests;
