//! One thread that is everybody: tasks, timers and blocking jobs of all nodes, in an order that the seed chooses.

use kddm_rdma::{BoxFuture, Job};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// A life of a node: what it has spawned ends with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Life(pub u32);

/// What can run, and when.
#[derive(Clone, Default)]
pub struct Executor(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    now: Duration,
    number: u64,
    tasks: BTreeMap<u64, Task>,
    ready: BTreeSet<u64>,
    timers: BTreeMap<(Duration, u64), Waker>,
    jobs: BTreeMap<(Duration, u64), (Life, Job)>,
    paused: BTreeSet<Life>,
}

struct Task {
    life: Life,
    /// Belongs to the programs, not to the node.
    program: bool,
    /// Away while it is polled.
    future: Option<BoxFuture<'static, ()>>,
}

struct TaskWaker(Executor, u64);

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.0.0.lock().ready.insert(self.1);
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    fn runs(&self, task: u64) -> bool {
        self.tasks.get(&task).is_some_and(|task| !self.paused.contains(&task.life))
    }
}

impl Executor {
    /// The time.
    pub fn now(&self) -> Duration {
        self.0.lock().now
    }

    /// Adds a task of `life`; `program` if it stands for a thread of a program.
    pub fn spawn(&self, life: Life, program: bool, future: BoxFuture<'static, ()>) {
        let mut state = self.0.lock();
        let number = state.number();
        state.tasks.insert(number, Task { life, program, future: Some(future) });
        state.ready.insert(number);
    }

    /// Adds a job that takes until `time`.
    pub fn job(&self, life: Life, time: Duration, job: Job) {
        let mut state = self.0.lock();
        let number = state.number();
        state.jobs.insert((time, number), (life, job));
    }

    /// Ends after `time`.
    pub fn sleep(&self, time: Duration) -> Sleep {
        Sleep { executor: self.clone(), until: self.now() + time, known: false }
    }

    /// Tasks that can run now.
    pub fn ready(&self) -> Vec<u64> {
        let mut state = self.0.lock();
        let gone: Vec<u64> =
            state.ready.iter().copied().filter(|task| !state.tasks.contains_key(task)).collect();
        gone.iter().for_each(|task| {
            state.ready.remove(task);
        });
        state.ready.iter().copied().filter(|&task| state.runs(task)).collect()
    }

    /// Polls a task that is ready.
    pub fn poll(&self, task: u64) {
        let future = {
            let mut state = self.0.lock();
            state.ready.remove(&task);
            state.tasks.get_mut(&task).and_then(|task| task.future.take())
        };
        let Some(mut future) = future else { return };
        let waker = Waker::from(Arc::new(TaskWaker(self.clone(), task)));
        let ended = future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        let mut state = self.0.lock();
        if ended {
            state.tasks.remove(&task);
        } else if let Some(task) = state.tasks.get_mut(&task) {
            task.future = Some(future);
            return;
        }
        drop(state);
        drop(future);
    }

    /// When the next timer fires or job ends.
    pub fn next_at(&self) -> Option<Duration> {
        let state = self.0.lock();
        let timer = state.timers.first_key_value().map(|(&(time, _), _)| time);
        let mut jobs = state.jobs.iter().filter(|(_, (life, _))| !state.paused.contains(life));
        let job = jobs.next().map(|(&(time, _), _)| time);
        [timer, job].into_iter().flatten().min()
    }

    /// Lets time pass until `time`: timers fire. Gives the jobs that end by then.
    pub fn advance(&self, time: Duration) -> Vec<Job> {
        let mut state = self.0.lock();
        state.now = state.now.max(time);
        let mut wakers = Vec::new();
        while state.timers.first_key_value().is_some_and(|(&(due, _), _)| due <= time) {
            wakers.extend(state.timers.pop_first().map(|(_, waker)| waker));
        }
        let due: Vec<(Duration, u64)> = state
            .jobs
            .range(..=(time, u64::MAX))
            .filter(|(_, (life, _))| !state.paused.contains(life))
            .map(|(&key, _)| key)
            .collect();
        let jobs = due.iter().filter_map(|key| state.jobs.remove(key)).map(|(_, job)| job).collect();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        jobs
    }

    /// Stops a life, or lets it go on.
    pub fn pause(&self, life: Life, pause: bool) {
        let mut state = self.0.lock();
        match pause {
            true => state.paused.insert(life),
            false => state.paused.remove(&life),
        };
    }

    /// Whether a life is stopped.
    pub fn is_paused(&self, life: Life) -> bool {
        self.0.lock().paused.contains(&life)
    }

    /// Ends a life: gives back what it was doing, for the caller to drop, and the jobs that had not ended.
    #[must_use]
    pub fn kill(&self, life: Life) -> (Vec<BoxFuture<'static, ()>>, Vec<Job>) {
        let mut state = self.0.lock();
        let theirs: Vec<u64> =
            state.tasks.iter().filter(|(_, task)| task.life == life).map(|(&number, _)| number).collect();
        let tasks = theirs.iter().filter_map(|number| state.tasks.remove(number)?.future).collect();
        let keys: Vec<(Duration, u64)> =
            state.jobs.iter().filter(|(_, (owner, _))| *owner == life).map(|(&key, _)| key).collect();
        let jobs = keys.iter().filter_map(|key| state.jobs.remove(key)).map(|(_, job)| job).collect();
        state.paused.remove(&life);
        (tasks, jobs)
    }

    /// Ends the programs of a life: gives back what they were doing, for the caller to drop.
    #[must_use]
    pub fn end_programs(&self, life: Life) -> Vec<BoxFuture<'static, ()>> {
        let mut state = self.0.lock();
        let theirs = state.tasks.iter().filter(|(_, task)| task.life == life && task.program);
        let theirs: Vec<u64> = theirs.map(|(&number, _)| number).collect();
        theirs.iter().filter_map(|number| state.tasks.remove(number)?.future).collect()
    }

    /// Threads of programs that have not ended.
    pub fn programs(&self) -> usize {
        self.0.lock().tasks.values().filter(|task| task.program).count()
    }

    /// Those of one life.
    pub fn programs_of(&self, life: Life) -> usize {
        self.0.lock().tasks.values().filter(|task| task.program && task.life == life).count()
    }

    /// Tasks of nodes, and jobs, that have not ended.
    pub fn chores(&self) -> usize {
        let state = self.0.lock();
        state.tasks.values().filter(|task| !task.program).count() + state.jobs.len()
    }
}

/// A wait for a moment.
pub struct Sleep {
    executor: Executor,
    until: Duration,
    known: bool,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let until = self.until;
        let mut state = self.executor.0.lock();
        if state.now >= until {
            return Poll::Ready(());
        }
        if !self.known {
            let number = state.number();
            state.timers.insert((until, number), context.waker().clone());
            drop(state);
            self.known = true;
        }
        Poll::Pending
    }
}
