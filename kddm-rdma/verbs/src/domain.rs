//! A protection domain, and the slabs that are registered in it.

use crate::{Buffer, Device, Endpoint, Landing, Source, VerbsError};
use ibverbs_sys as sys;
use kddm_memory::Arena;
use kddm_object::SlotId;
use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::resource::{RLIM_INFINITY, Resource, getrlimit},
};
use rustix::thread::{CapabilitySet, capabilities};
use std::{ffi::c_void, io, os::fd::BorrowedFd, ptr::NonNull, sync::Arc};

/// A protection domain of a device: queue pairs of one reach the memory of the same alone.
#[derive(Clone)]
pub struct Domain(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) endpoint: Endpoint,
    pub(crate) pointer: NonNull<sys::ibv_pd>,
}

// SAFETY: as for `Device`.
unsafe impl Send for Inner {}
// SAFETY: as above.
unsafe impl Sync for Inner {}

impl Domain {
    /// A domain of the endpoint's device. The device's descriptor is made non-blocking.
    ///
    /// # Errors
    /// The device has no more of them.
    pub fn new(endpoint: Endpoint) -> Result<Domain, VerbsError> {
        let device = endpoint.device.name();
        nonblocking(endpoint.device.descriptor(), device)?;
        // SAFETY: an open device.
        let pointer = unsafe { sys::ibv_alloc_pd(endpoint.device.context.as_ptr()) };
        let pointer =
            NonNull::new(pointer).ok_or_else(|| VerbsError::last(device, "making a protection domain"))?;
        Ok(Domain(Arc::new(Inner { endpoint, pointer })))
    }

    /// Where peers reach it.
    pub fn endpoint(&self) -> &Endpoint {
        &self.0.endpoint
    }

    pub(crate) fn device(&self) -> &Device {
        &self.0.endpoint.device
    }

    /// Registers a slab of the arena, for remote reading and local landing. Its memory is pinned from now on.
    ///
    /// # Errors
    /// There is no such slab, or its memory cannot be pinned.
    pub fn register_slab(&self, arena: &Arc<Arena>, slab: u16) -> Result<Region, VerbsError> {
        let memory = arena.slab_memory(slab).ok_or_else(|| VerbsError::Refused {
            device: self.device().name().to_owned(),
            what: "registering a slab",
            error: io::Error::other(format!("BUG: the arena has no slab {slab}")),
        })?;
        let access =
            sys::ibv_access_flags::IBV_ACCESS_LOCAL_WRITE.0 | sys::ibv_access_flags::IBV_ACCESS_REMOTE_READ.0;
        let key = self.register(memory, access)?;
        Ok(Region { key, arena: arena.clone(), slab, length: memory.len() })
    }

    /// Memory of its own for messages, in whole pages.
    ///
    /// # Errors
    /// There is no memory, or it cannot be pinned.
    pub fn buffer(&self, bytes: usize) -> Result<Arc<Buffer>, VerbsError> {
        Buffer::new(self, bytes).map(Arc::new)
    }

    /// Registers memory that the caller keeps mapped for as long as the key lives.
    pub(crate) fn register(&self, memory: NonNull<[u8]>, access: u32) -> Result<MemoryKey, VerbsError> {
        let length = memory.len();
        let start = memory.cast::<c_void>().as_ptr();
        // SAFETY: the memory is mapped (the caller's promise), and the domain lives.
        let region = unsafe { sys::ibv_reg_mr(self.0.pointer.as_ptr(), start, length, access as i32) };
        match NonNull::new(region) {
            Some(region) => Ok(MemoryKey { region, _domain: self.clone() }),
            None => Err(refused(self.device().name(), length, io::Error::last_os_error())),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // SAFETY: made by `new`, ended once; all that was made in it holds an Arc of it.
        unsafe { sys::ibv_dealloc_pd(self.pointer.as_ptr()) };
    }
}

/// Whether so many bytes may be locked in memory, as registering does.
///
/// # Errors
/// The limit is lower, and this process is not above limits (CAP_IPC_LOCK, which root may lack and others may have).
pub fn check_memlock(device: &str, bytes: usize) -> Result<(), VerbsError> {
    let above = capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK));
    match getrlimit(Resource::RLIMIT_MEMLOCK) {
        Ok((soft, _)) if !above && soft < bytes as u64 => {
            let error = io::Error::from_raw_os_error(nix::libc::ENOMEM);
            Err(VerbsError::Memlock {
                device: device.to_owned(),
                bytes,
                error,
                limit: format!("{soft} bytes"),
            })
        }
        _ => Ok(()),
    }
}

fn refused(device: &str, bytes: usize, error: io::Error) -> VerbsError {
    let device = device.to_owned();
    match error.raw_os_error() {
        Some(nix::libc::ENOMEM | nix::libc::EPERM) => {
            let limit = match getrlimit(Resource::RLIMIT_MEMLOCK) {
                Ok((RLIM_INFINITY, _)) => "none, so memory itself is short".to_owned(),
                Ok((soft, _)) => format!("{soft} bytes"),
                Err(error) => format!("unknown ({error})"),
            };
            VerbsError::Memlock { device, bytes, error, limit }
        }
        _ => VerbsError::Refused { device, what: "registering memory", error },
    }
}

pub(crate) fn nonblocking(descriptor: i32, device: &str) -> Result<(), VerbsError> {
    // SAFETY: a descriptor of an object that the caller keeps open.
    let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor) };
    fcntl(descriptor, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map(drop).map_err(|error| VerbsError::Refused {
        device: device.to_owned(),
        what: "making a descriptor non-blocking",
        error: error.into(),
    })
}

/// A registration.
pub(crate) struct MemoryKey {
    region: NonNull<sys::ibv_mr>,
    _domain: Domain,
}

// SAFETY: as for `Device`.
unsafe impl Send for MemoryKey {}
// SAFETY: as above.
unsafe impl Sync for MemoryKey {}

impl MemoryKey {
    pub(crate) fn local(&self) -> u32 {
        // SAFETY: lives until the drop, and keys do not change.
        unsafe { self.region.as_ref() }.lkey
    }

    pub(crate) fn remote(&self) -> u32 {
        // SAFETY: as above.
        unsafe { self.region.as_ref() }.rkey
    }

    pub(crate) fn address(&self) -> u64 {
        // SAFETY: as above.
        unsafe { self.region.as_ref() }.addr as u64
    }
}

impl Drop for MemoryKey {
    fn drop(&mut self) {
        // SAFETY: registered once, ended once. The device refuses the keys from now on.
        unsafe { sys::ibv_dereg_mr(self.region.as_ptr()) };
    }
}

/// A slab that peers may READ, and READs may land in.
pub struct Region {
    /// Before the arena: it ends first.
    key: MemoryKey,
    arena: Arc<Arena>,
    slab: u16,
    length: usize,
}

impl Region {
    /// What a peer needs to READ from it: its first byte.
    pub fn source(&self) -> Source {
        Source { address: self.key.address(), key: self.key.remote() }
    }

    /// Bytes of the slab.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Where a READ of `length` bytes into `slot`, of this slab, lands; `None` where [`Arena::landing`] says so.
    pub fn landing(&self, slot: SlotId, length: u32) -> Option<Landing> {
        if slot.slab() != self.slab {
            return None;
        }
        let first = self.arena.landing(slot, length as usize)?;
        Some(Landing { address: first.as_ptr() as u64, length, key: self.key.local() })
    }
}
