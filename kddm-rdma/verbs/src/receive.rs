//! A shared receive queue: buffers that messages of any peer land in.

use crate::{Buffer, Domain, VerbsError};
use ibverbs_sys as sys;
use std::{
    ptr::{self, NonNull},
    sync::Arc,
};

/// Set in the number of every receive, and of nothing else.
pub const RECEIVE: u64 = 1 << 63;

/// Receive buffers, all of one size.
pub struct Receives {
    pub(crate) queue: Arc<Queue>,
    buffer: Arc<Buffer>,
    size: usize,
}

pub(crate) struct Queue {
    pub(crate) pointer: NonNull<sys::ibv_srq>,
    domain: Domain,
}

// SAFETY: as for `Device`.
unsafe impl Send for Queue {}
// SAFETY: as above.
unsafe impl Sync for Queue {}

impl Receives {
    /// `count` buffers of `size` bytes, all of them posted.
    ///
    /// # Errors
    /// The device or the system refused them.
    pub fn new(domain: &Domain, count: u32, size: usize) -> Result<Receives, VerbsError> {
        let buffer = domain.buffer(count as usize * size)?;
        let mut wanted = sys::ibv_srq_init_attr {
            srq_context: ptr::null_mut(),
            attr: sys::ibv_srq_attr { max_wr: count, max_sge: 1, srq_limit: 0 },
        };
        // SAFETY: a domain of an open device.
        let pointer = unsafe { sys::ibv_create_srq(domain.0.pointer.as_ptr(), &mut wanted) };
        let pointer = NonNull::new(pointer)
            .ok_or_else(|| VerbsError::last(domain.device().name(), "making a shared receive queue"))?;
        let receives = Receives { queue: Arc::new(Queue { pointer, domain: domain.clone() }), buffer, size };
        (0..count).try_for_each(|place| receives.post(RECEIVE | u64::from(place)))?;
        Ok(receives)
    }

    /// Copies what a completed receive brought.
    pub fn read(&self, work: u64, into: &mut [u8]) {
        self.buffer.read(self.place(work), into);
    }

    /// Posts the buffer of a completed receive again.
    ///
    /// # Errors
    /// The device refused it.
    pub fn post(&self, work: u64) -> Result<(), VerbsError> {
        let start = self.place(work);
        let part = self.buffer.landing(start..start + self.size).ok_or_else(|| VerbsError::Refused {
            device: self.queue.domain.device().name().to_owned(),
            what: "posting a receive",
            error: std::io::Error::other("BUG: no such buffer"),
        })?;
        let mut part = part.element();
        let mut request =
            sys::ibv_recv_wr { wr_id: work, next: ptr::null_mut(), sg_list: &mut part, num_sge: 1 };
        let (queue, mut bad) = (self.queue.pointer.as_ptr(), ptr::null_mut());
        // SAFETY: a queue of an open device, which has a `post_srq_recv`; the request is copied before it returns, and what it names is
        // registered for as long as `self` lives; after that the device refuses the key.
        let answer = unsafe {
            let post = (*(*queue).context).ops.post_srq_recv;
            post.map_or(-1, |post| post(queue, &mut request, &mut bad))
        };
        VerbsError::check(self.queue.domain.device().name(), "posting a receive", answer)
    }

    fn place(&self, work: u64) -> usize {
        (work & !RECEIVE) as usize * self.size
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: made by `Receives::new`; queue pairs that use it hold an Arc of it.
        unsafe { sys::ibv_destroy_srq(self.pointer.as_ptr()) };
    }
}
