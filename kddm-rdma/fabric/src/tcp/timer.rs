//! One timer descriptor for all deadlines.

use nix::{
    errno::Errno,
    sys::{
        time::TimeSpec,
        timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
    },
};
use std::{
    io,
    os::fd::{AsFd, AsRawFd, RawFd},
    time::{Duration, Instant},
};

/// Becomes readable at the deadline that was set last.
pub(super) struct Timer(TimerFd);

impl Timer {
    pub(super) fn new() -> io::Result<Timer> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        Ok(Timer(TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?))
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }

    /// Fires at `deadline` instead of what was set before; `None`: never.
    pub(super) fn set(&self, deadline: Option<Instant>, now: Instant) -> io::Result<()> {
        match deadline {
            None => self.0.unset()?,
            Some(deadline) => {
                // zero would switch it off
                let delay = deadline.saturating_duration_since(now).max(Duration::from_millis(1));
                let expiration = Expiration::OneShot(TimeSpec::from_duration(delay));
                self.0.set(expiration, TimerSetTimeFlags::empty())?;
            }
        }
        Ok(())
    }

    /// Makes it unreadable until it fires again.
    pub(super) fn acknowledge(&self) -> io::Result<()> {
        match self.0.wait() {
            Ok(()) | Err(Errno::EAGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
