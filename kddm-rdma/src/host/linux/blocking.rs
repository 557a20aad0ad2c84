//! Threads for jobs that block: as many as there are jobs, up to a limit, and none when there are none.

use crate::host::Job;
use parking_lot::{Condvar, Mutex};
use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::Duration,
};

/// Enough to keep a disk's queue full; more only wait for it.
const MOST_THREADS: usize = 16;
/// How long a thread waits for another job before it ends.
const IDLE: Duration = Duration::from_secs(10);

pub(super) struct BlockingPool {
    state: Mutex<State>,
    work: Condvar,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    stopping: bool,
}

impl BlockingPool {
    pub(super) fn new() -> Arc<BlockingPool> {
        Arc::new(BlockingPool { state: Mutex::default(), work: Condvar::new(), ended: Condvar::new() })
    }

    pub(super) fn run(self: &Arc<Self>, job: Job) {
        let mut state = self.state.lock();
        state.jobs.push_back(job);
        if state.idle >= state.jobs.len() || state.threads == MOST_THREADS {
            self.work.notify_one();
            return;
        }
        state.threads += 1;
        drop(state);
        let pool = self.clone();
        let thread = thread::Builder::new().name("kddm-blocking".to_owned()).spawn(move || pool.work());
        if let Err(error) = thread {
            tracing::error!(reason = %error, "no thread could be started; raise the limit on processes (ulimit -u)");
            self.state.lock().threads -= 1;
        }
    }

    pub(super) fn shutdown(&self) {
        let mut state = self.state.lock();
        state.stopping = true;
        self.work.notify_all();
        // A job may own the last reference to the host: its thread cannot wait for itself.
        let mine = usize::from(thread::current().name() == Some("kddm-blocking"));
        while state.threads > mine {
            self.ended.wait(&mut state);
        }
    }

    fn work(&self) {
        let mut state = self.state.lock();
        loop {
            while let Some(job) = state.jobs.pop_front() {
                drop(state);
                if catch_unwind(AssertUnwindSafe(job)).is_err() {
                    tracing::error!("BUG: a blocking job panicked; what waits for it may wait for ever");
                }
                state = self.state.lock();
            }
            if state.stopping {
                break;
            }
            state.idle += 1;
            let late = self.work.wait_for(&mut state, IDLE).timed_out();
            state.idle -= 1;
            if late && state.jobs.is_empty() {
                break;
            }
        }
        state.threads -= 1;
        self.ended.notify_all();
    }
}
