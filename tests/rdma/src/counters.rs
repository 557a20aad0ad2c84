//! What the device counted of its own trouble.

use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;

/// Each would be a message that came when its receiver had no place for it.
const RECEIVER_NOT_READY: [&str; 3] = ["rcvd_rnr_err", "send_rnr_err", "retry_rnr_exceeded_err"];

/// How often a receiver was not ready so far, on either side of this guest's device.
///
/// # Errors
/// The device does not count.
pub fn not_ready() -> Result<u64> {
    let device = std::env::var("SOFT_ROCE_DEVICE").context("SOFT_ROCE_DEVICE is not set")?;
    let folder = PathBuf::from(format!("/sys/class/infiniband/{device}/ports/1/hw_counters"));
    let count = |name: &str| -> Result<u64> {
        let path = folder.join(name);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        text.trim().parse().with_context(|| path.display().to_string())
    };
    RECEIVER_NOT_READY.into_iter().map(count).sum()
}
