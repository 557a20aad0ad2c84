//! Ctrl-C and a friendly kill: what was started is taken down before the program ends.

use crate::playground;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::sync::OnceLock;

/// From now on SIGINT, SIGTERM and SIGHUP take down every playground of this process before it ends.
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
            playground::down_all();
            std::process::exit(128 + signal);
        }
    })?;
    Ok(())
}
