//! Worker threads that poll tasks.

use crate::host::BoxFuture;
use parking_lot::Mutex;
use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    thread::{self, JoinHandle},
};

/// The threads and what they share.
pub(super) struct Executor {
    tasks: Arc<async_executor::Executor<'static>>,
    stop: Arc<Stop>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Executor {
    pub(super) fn start(workers: usize) -> io::Result<Executor> {
        let executor = Executor { tasks: Arc::default(), stop: Arc::default(), threads: Mutex::default() };
        for worker in 0..workers {
            let (tasks, stop) = (executor.tasks.clone(), executor.stop.clone());
            let body = move || futures_lite::future::block_on(tasks.run(Stopped(&stop)));
            let thread = thread::Builder::new().name(format!("kddm-worker-{worker}")).spawn(body)?;
            executor.threads.lock().push(thread);
        }
        Ok(executor)
    }

    pub(super) fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.tasks.spawn(task).detach();
    }

    pub(super) fn shutdown(&self) {
        self.stop.now();
        super::join(&self.threads);
    }
}

/// Tells all workers to return.
#[derive(Default)]
struct Stop(Mutex<(bool, Vec<Waker>)>);

impl Stop {
    fn now(&self) {
        let waiting = {
            let mut state = self.0.lock();
            state.0 = true;
            std::mem::take(&mut state.1)
        };
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// Ready when [`Stop::now`] was called.
struct Stopped<'a>(&'a Stop);

impl Future for Stopped<'_> {
    type Output = ();
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.0.lock();
        if state.0 {
            return Poll::Ready(());
        }
        if !state.1.iter().any(|waker| waker.will_wake(context.waker())) {
            state.1.push(context.waker().clone());
        }
        Poll::Pending
    }
}
