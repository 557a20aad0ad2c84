//! The device of a node: what survives its lives. And the linker that ties a life to it.

use crate::findings::Findings;
use fastrand::Rng;
use kddm_rdma::{Inserted, IoLinker, Mode, ObjectKey};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Objects on a device.
pub struct Device(Mutex<State>);

struct State {
    objects: BTreeMap<ObjectKey, Vec<u8>>,
    failing_percent: u8,
    random: Rng,
    failures: u64,
}

impl Device {
    /// A device of whose calls so many percent fail.
    pub fn new(failing_percent: u8, random: Rng) -> Arc<Device> {
        let objects = BTreeMap::new();
        Arc::new(Device(Mutex::new(State { objects, failing_percent, random, failures: 0 })))
    }

    /// How often it has failed.
    pub fn failures(&self) -> u64 {
        self.0.lock().failures
    }

    /// Writes an object.
    ///
    /// # Errors
    /// As an ill device does: sometimes it has written nevertheless.
    pub fn write(&self, key: ObjectKey, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.0.lock();
        let failure = state.fails();
        if failure.is_ok() || state.random.bool() {
            state.objects.insert(key, bytes.to_vec());
        }
        failure
    }
}

impl State {
    fn fails(&mut self) -> io::Result<()> {
        if self.random.u8(0..100) < self.failing_percent {
            self.failures += 1;
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        Ok(())
    }
}

/// Ties one life of a node to its device.
pub struct Linker {
    /// Where the objects are.
    pub device: Arc<Device>,
    /// Whether its calls are jobs.
    pub jobs: bool,
    /// The life is over.
    pub dead: Arc<AtomicBool>,
    /// Where to complain.
    pub findings: Findings,
    /// What the node has told of its copies.
    pub modes: Mutex<BTreeMap<ObjectKey, Mode>>,
}

impl Linker {
    fn alive(&self) -> io::Result<()> {
        match self.dead.load(Ordering::Relaxed) {
            true => Err(io::ErrorKind::Other.into()),
            false => Ok(()),
        }
    }
}

impl IoLinker for Linker {
    fn blocks(&self) -> bool {
        self.jobs
    }

    fn notified(&self) -> bool {
        true
    }

    fn insert_object(&self, key: ObjectKey, bytes: &mut [u8]) -> io::Result<Inserted> {
        self.alive()?;
        let mut state = self.device.0.lock();
        state.fails()?;
        let Some(stored) = state.objects.get(&key) else { return Ok(Inserted::Absent) };
        bytes.copy_from_slice(stored);
        Ok(Inserted::Filled)
    }

    fn sync_object(&self, key: ObjectKey, bytes: &[u8]) -> io::Result<()> {
        self.alive()?;
        self.device.write(key, bytes)
    }

    fn remove_object(&self, key: ObjectKey) -> io::Result<()> {
        self.alive()?;
        let mut state = self.device.0.lock();
        state.fails()?;
        state.objects.remove(&key);
        Ok(())
    }

    fn change_state(&self, key: ObjectKey, from: Mode, to: Mode) {
        let before = match to {
            Mode::None => self.modes.lock().remove(&key),
            _ => self.modes.lock().insert(key, to),
        };
        if before.unwrap_or(Mode::None) != from {
            self.findings.wrong(format!(
                "the linker is told that {key:?} went from {from:?} to {to:?}, after {before:?}"
            ));
        }
    }
}
