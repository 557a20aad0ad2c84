//! What explorations are made with: the feature `interleave` alone has this module.

pub use crate::fault::Fault;
pub use loom;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

thread_local! {
    /// All threads of an exploration are coroutines of one thread, so that explorations do not disturb each other.
    static PLANTED: Cell<Option<Fault>> = const { Cell::new(None) };
}

/// Whether a mistake is planted.
pub fn planted(fault: Fault) -> bool {
    PLANTED.get() == Some(fault)
}

/// Runs `body` in every interleaving with at most `preemptions` preemptions, and with every value that the memory model lets
/// a load see, and prints how many there were.
///
/// # Panics
/// With what went wrong in one of them.
pub fn explore(name: &str, preemptions: usize, body: impl Fn() + Send + Sync + 'static) {
    let runs = check(preemptions, body, &Arc::default());
    println!("\ninterleave: {name}: holds in all {runs} runs with up to {preemptions} preemptions");
}

/// As [`explore`] with a mistake planted.
///
/// # Panics
/// If no run goes wrong.
pub fn sees(fault: Fault, name: &str, preemptions: usize, body: impl Fn() + Send + Sync + 'static) {
    PLANTED.set(Some(fault));
    let runs = Arc::default();
    let end = catch_unwind(AssertUnwindSafe(|| check(preemptions, body, &runs)));
    PLANTED.set(None);
    let runs = runs.load(Relaxed);
    assert!(end.is_err(), "{fault:?} is not seen by {runs} runs of {name}");
    println!("\ninterleave: {name}: {fault:?} planted: seen in run {runs}");
}

fn check(preemptions: usize, body: impl Fn() + Send + Sync + 'static, runs: &Arc<AtomicUsize>) -> usize {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    let counted = runs.clone();
    builder.check(move || {
        counted.fetch_add(1, Relaxed);
        body();
    });
    runs.load(Relaxed)
}

/// A mutex with the face of parking_lot's.
#[derive(Debug, Default)]
pub struct Mutex<T>(loom::sync::Mutex<T>);

/// What its lock gives.
pub type MutexGuard<'a, T> = loom::sync::MutexGuard<'a, T>;

const POISONED: &str = "a thread that panics ends the exploration";

impl<T> Mutex<T> {
    /// A mutex.
    pub fn new(value: T) -> Mutex<T> {
        Mutex(loom::sync::Mutex::new(value))
    }

    /// Waits.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().expect(POISONED)
    }

    /// Does not wait.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock().ok()
    }

    /// Needs no lock.
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().expect(POISONED)
    }
}

#[cfg(test)]
mod tests;
