//! A mount that is being served: the introduction, the threads that read, and its end.

use super::{
    abi::{self, InitOut, init},
    device::Device,
    dispatch::Mounted,
    operations::Operations,
    request::{Operation, Request},
};
use kddm_rdma::Host;
use nix::errno::Errno;
use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use zerocopy::IntoBytes;

/// Largest WRITE, and largest READ: 256 pages, what the kernel allows without a change to its limits.
const MAX_WRITE: u32 = 1 << 20;

/// Room for a WRITE's bytes and everything before them.
const BUFFER: usize = MAX_WRITE as usize + 4096;

/// Threads that read requests. Operations that wait leave them, so this only bounds those that compute.
const READERS: usize = 2;

/// What is asked for at INIT, if the kernel has it.
///
/// - Locks are asked for in order to be refused (ENOLCK): else the kernel would grant them, on each node by itself.
/// - Mappings of files that are open for direct I/O are allowed: programs are run, and linked, from the mount.
/// - Not the write-back cache, nor anything else that answers in the server's place.
const WANTED: u64 = init::ASYNC_READ
    | init::POSIX_LOCKS
    | init::BIG_WRITES
    | init::FLOCK_LOCKS
    | init::DO_READDIRPLUS
    | init::READDIRPLUS_AUTO
    | init::PARALLEL_DIROPS
    | init::MAX_PAGES
    | init::EXPLICIT_INVAL_DATA
    | init::INIT_EXT
    | init::DIRECT_IO_ALLOW_MMAP;

/// A mount that is being served.
pub struct Session {
    point: PathBuf,
    mounted: Arc<Mounted>,
}

/// Why a mount cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The descriptor is not what mount(2) was given, or the mount has gone.
    #[error("the descriptor is none of a mounted /dev/fuse: {0}")]
    Device(Errno),
    /// The mount ended before it began.
    #[error("the mount has gone before it was served")]
    Gone,
    /// The kernel's FUSE is too old.
    #[error("the kernel speaks FUSE {0}.{1}; 7.31 (Linux 5.4) or newer is needed")]
    Version(u32, u32),
    /// Something else came first.
    #[error("the kernel did not introduce itself: {0}")]
    Protocol(String),
}

impl Session {
    /// Introduces the server to the kernel and begins to serve. `ended` is called when the mount is gone.
    ///
    /// # Errors
    /// See [`SessionError`]. The descriptor is closed then, which ends the mount for those who use it.
    pub fn start(
        descriptor: OwnedFd,
        point: PathBuf,
        operations: Operations,
        host: Arc<dyn Host>,
        ended: impl FnOnce() + Send + 'static,
    ) -> Result<Session, SessionError> {
        let device = Device::new(descriptor);
        introduce(&device)?;
        let mounted = Arc::new(Mounted::new(device, operations, host.clone()));
        let ended = Arc::new(End {
            readers: AtomicUsize::new(READERS),
            call: parking_lot::Mutex::new(Some(Box::new(ended))),
        });
        for reader in 0..READERS {
            let (mounted, ended) = (mounted.clone(), ended.clone());
            host.spawn_thread(
                &format!("fuse-{reader}"),
                Box::new(move || {
                    read(&mounted);
                    ended.one_less(&mounted);
                }),
            );
        }
        Ok(Session { point, mounted })
    }

    /// Where it is mounted.
    pub fn point(&self) -> &Path {
        &self.point
    }

    /// Requests that wait.
    pub fn waiting(&self) -> usize {
        self.mounted.waiting()
    }

    /// From now on every request fails: the node leaves.
    pub fn close(&self) {
        self.mounted.close();
    }
}

struct End {
    readers: AtomicUsize,
    call: parking_lot::Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl End {
    fn one_less(&self, mounted: &Mounted) {
        if self.readers.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        mounted.release_all();
        let call = self.call.lock().take();
        if let Some(call) = call {
            call();
        }
    }
}

fn introduce(device: &Device) -> Result<(), SessionError> {
    let mut buffer = vec![0; BUFFER];
    let bytes = device.read(&mut buffer).map_err(SessionError::Device)?.ok_or(SessionError::Gone)?;
    let request = Request::parse(bytes).map_err(|error| SessionError::Protocol(error.to_string()))?;
    let unique = request.header.unique;
    let Operation::Init(kernel, offered) = request.operation else {
        return Err(SessionError::Protocol(format!("opcode {}", request.header.opcode)));
    };
    // A newer major version would be negotiated with a second INIT; there has been none in twenty years.
    if kernel.major != abi::MAJOR || kernel.minor < 31 {
        device.fail(unique, Errno::EPROTO);
        return Err(SessionError::Version(kernel.major, kernel.minor));
    }
    let flags = offered & WANTED;
    let answer = InitOut {
        major: abi::MAJOR,
        minor: kernel.minor.min(abi::MINOR),
        max_readahead: kernel.max_readahead,
        flags: flags as u32,
        // With the default of 12, read-ahead waits in the kernel with its pages locked.
        max_background: u16::MAX,
        congestion_threshold: u16::MAX,
        max_write: MAX_WRITE,
        time_gran: 1,
        max_pages: (MAX_WRITE / 4096) as u16,
        map_alignment: 0,
        flags2: (flags >> 32) as u32,
        unused: [0; 7],
    };
    tracing::debug!(kernel.minor, flags = format!("{flags:#x}"), "introduced to the kernel");
    match device.answer(unique, &[answer.as_bytes()]) {
        true => Ok(()),
        false => Err(SessionError::Gone),
    }
}

fn read(mounted: &Arc<Mounted>) {
    let mut buffer = vec![0; BUFFER];
    loop {
        match mounted.device().read(&mut buffer) {
            Ok(Some(bytes)) => match Request::parse(bytes) {
                Ok(request) => mounted.serve(request),
                Err(error) => tracing::error!(reason = %error, "ignored"),
            },
            Ok(None) => return,
            Err(error) => {
                tracing::error!(reason = %error, "/dev/fuse cannot be read; the mount ends");
                return;
            }
        }
    }
}
