//! Ctrl-C and a friendly kill: what was started is taken down before the program ends.

use crate::playground;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Whether a signal has come.
static STOPPING: AtomicBool = AtomicBool::new(false);
/// Directories that are ours alone.
static SCRATCH: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// From now on SIGINT, SIGTERM and SIGHUP take down every playground of this process, and remove its scratch
/// directories, before it ends.
///
/// # Errors
/// If the signals cannot be caught.
pub fn clean_up_on_signals() -> std::io::Result<()> {
    static ONCE: OnceLock<()> = OnceLock::new();
    if ONCE.set(()).is_err() {
        return Ok(());
    }
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        if let Some(signal) = signals.forever().next() {
            eprintln!("\ninterrupted: taking everything down");
            STOPPING.store(true, Ordering::SeqCst);
            playground::down_all();
            scratch().iter().for_each(|directory| remove(directory));
            std::process::exit(128 + signal);
        }
    })?;
    Ok(())
}

/// A directory of this run alone, removed also when a signal ends it.
pub fn remove_in_the_end(directory: &Path) {
    scratch().push(directory.to_owned());
}

/// Whether this process is about to end: nothing may be started any more.
pub fn stopping() -> bool {
    STOPPING.load(Ordering::SeqCst)
}

fn scratch() -> std::sync::MutexGuard<'static, Vec<PathBuf>> {
    // The list is whole between any two statements, whoever panicked.
    SCRATCH.lock().unwrap_or_else(PoisonError::into_inner)
}

fn remove(directory: &Path) {
    // Another thread may still be writing there; it ends with us.
    for _ in 0..3 {
        // Never through a mount that could not be taken away.
        if playground::mounts_below(directory).is_empty() && std::fs::remove_dir_all(directory).is_ok() {
            return;
        }
    }
}
