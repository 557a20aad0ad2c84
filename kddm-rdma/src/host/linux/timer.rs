//! One thread that sleeps until the next timer is due.

use parking_lot::{Condvar, Mutex};
use std::{
    collections::BTreeMap,
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

pub(super) struct Timer {
    shared: Arc<Shared>,
    thread: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Who is to be woken when; the number tells timers of one moment apart.
    due: BTreeMap<(Instant, u64), Waker>,
    last: u64,
    stopping: bool,
}

impl Timer {
    pub(super) fn start() -> io::Result<Timer> {
        let shared = Arc::<Shared>::default();
        let body = {
            let shared = shared.clone();
            move || shared.run()
        };
        let thread = thread::Builder::new().name("kddm-timer".to_owned()).spawn(body)?;
        Ok(Timer { shared, thread: Mutex::new(vec![thread]) })
    }

    pub(super) fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send + 'static {
        // A time too long to add is as good as a century.
        let now = Instant::now();
        let until = now.checked_add(time).unwrap_or(now + Duration::from_secs(100 * 365 * 86400));
        Sleep { shared: self.shared.clone(), until, number: None }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.shared.state.lock().due.is_empty()
    }

    pub(super) fn shutdown(&self) {
        self.shared.state.lock().stopping = true;
        self.shared.changed.notify_one();
        super::join(&self.thread);
    }
}

impl Shared {
    fn run(&self) {
        let mut state = self.state.lock();
        while !state.stopping {
            let now = Instant::now();
            match state.due.first_key_value() {
                Some((&(until, _), _)) if until <= now => {
                    if let Some((_, waker)) = state.due.pop_first() {
                        drop(state);
                        waker.wake();
                        state = self.state.lock();
                    }
                }
                Some((&(until, _), _)) => drop(self.changed.wait_until(&mut state, until)),
                None => self.changed.wait(&mut state),
            }
        }
    }
}

/// Ready when its time has come; forgotten by the timer when dropped.
struct Sleep {
    shared: Arc<Shared>,
    until: Instant,
    number: Option<u64>,
}

impl Future for Sleep {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.until {
            return Poll::Ready(());
        }
        let shared = self.shared.clone();
        let mut state = shared.state.lock();
        let number = *self.number.get_or_insert_with(|| {
            state.last += 1;
            state.last
        });
        let _old = state.due.insert((self.until, number), context.waker().clone());
        if state.due.first_key_value().is_some_and(|(first, _)| *first == (self.until, number)) {
            shared.changed.notify_one();
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            // The waker is dropped after the lock: it may own a task that owns another sleep.
            let _waker = self.shared.state.lock().due.remove(&(self.until, number));
        }
    }
}
