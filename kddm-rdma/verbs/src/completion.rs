//! Completions: what has become of work requests.

use crate::{Domain, RECEIVE, VerbsError, domain::nonblocking};
use ibverbs_sys as sys;
use std::{
    ffi::{CStr, c_void},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, RawFd},
    ptr::{self, NonNull},
    sync::Arc,
};

/// Completions taken at a time.
const BATCH: usize = 32;

/// A completion queue with a channel to sleep on. One thread at a time polls it.
pub struct Completions {
    pub(crate) queue: Arc<Queue>,
    /// A completion event is on its way, or here.
    armed: bool,
}

pub(crate) struct Queue {
    pub(crate) pointer: NonNull<sys::ibv_cq>,
    channel: NonNull<sys::ibv_comp_channel>,
    domain: Domain,
}

// SAFETY: as for `Device`.
unsafe impl Send for Queue {}
// SAFETY: as above.
unsafe impl Sync for Queue {}

/// One work request that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The number that it was posted with.
    pub work: u64,
    /// The queue pair.
    pub queue_pair: u32,
    /// What has become of it.
    pub outcome: Outcome,
}

/// What has become of a work request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Done,
    /// A message of so many bytes came, with this number beside it.
    Received {
        /// Bytes of it.
        length: u32,
        /// The number that was sent along.
        immediate: u32,
    },
    /// The queue pair failed before its turn came.
    Flushed,
    /// It failed, and with it the queue pair: libibverbs' status.
    Failed(u32),
}

impl Outcome {
    /// What went wrong, for people.
    pub fn text(self) -> String {
        match self {
            Outcome::Done | Outcome::Received { .. } => "done".to_owned(),
            Outcome::Flushed => "the queue pair failed before".to_owned(),
            Outcome::Failed(status) => {
                // SAFETY: answers a static text for any number.
                let text = unsafe { CStr::from_ptr(sys::ibv_wc_status_str(status)) };
                text.to_string_lossy().into_owned()
            }
        }
    }

    /// Whether it failed because of what it asked for, so that asking again would fail again.
    pub fn is_refused(self) -> bool {
        use sys::ibv_wc_status as status;
        matches!(
            self,
            Outcome::Failed(
                status::IBV_WC_REM_ACCESS_ERR
                    | status::IBV_WC_REM_INV_REQ_ERR
                    | status::IBV_WC_REM_OP_ERR
                    | status::IBV_WC_LOC_PROT_ERR
                    | status::IBV_WC_LOC_LEN_ERR
                    | status::IBV_WC_LOC_QP_OP_ERR
            )
        )
    }
}

impl Completions {
    /// A queue with room for `entries`.
    ///
    /// # Errors
    /// The device or the system refused it.
    pub fn new(domain: &Domain, entries: u32) -> Result<Completions, VerbsError> {
        let device = domain.device();
        let context = device.context.as_ptr();
        // SAFETY: an open device.
        let channel = NonNull::new(unsafe { sys::ibv_create_comp_channel(context) })
            .ok_or_else(|| VerbsError::last(device.name(), "making a completion channel"))?;
        // SAFETY: just made.
        let descriptor = unsafe { channel.as_ref() }.fd;
        let entries = i32::try_from(entries).unwrap_or(i32::MAX);
        let queue = nonblocking(descriptor, device.name()).and_then(|()| {
            // SAFETY: an open device and a channel of it.
            let queue = unsafe { sys::ibv_create_cq(context, entries, ptr::null_mut(), channel.as_ptr(), 0) };
            NonNull::new(queue).ok_or_else(|| VerbsError::last(device.name(), "making a completion queue"))
        });
        match queue {
            Ok(pointer) => {
                let queue = Arc::new(Queue { pointer, channel, domain: domain.clone() });
                Ok(Completions { queue, armed: false })
            }
            Err(error) => {
                // SAFETY: just made, and nobody uses it.
                unsafe { sys::ibv_destroy_comp_channel(channel.as_ptr()) };
                Err(error)
            }
        }
    }

    /// Readable when something has completed since [`Completions::arm`].
    pub fn descriptor(&self) -> RawFd {
        // SAFETY: lives as long as the queue.
        unsafe { self.queue.channel.as_ref() }.fd
    }

    /// Appends up to 32 completions; says whether there may be more.
    ///
    /// # Errors
    /// The queue itself is broken.
    pub fn poll(&mut self, into: &mut Vec<Completion>) -> Result<bool, VerbsError> {
        let mut batch = [const { MaybeUninit::<sys::ibv_wc>::zeroed() }; BATCH];
        let queue = self.queue.pointer.as_ptr();
        // SAFETY: a queue of an open device, which has a `poll_cq`; room for BATCH completions.
        let count = unsafe {
            let poll = (*(*queue).context).ops.poll_cq;
            poll.map_or(-1, |poll| poll(queue, BATCH as i32, batch.as_mut_ptr().cast()))
        };
        let count = usize::try_from(count)
            .map_err(|_| VerbsError::last(self.queue.domain.device().name(), "polling completions"))?;
        // SAFETY: the first `count` were filled in.
        into.extend(batch[..count].iter().map(|entry| completion(unsafe { entry.assume_init_ref() })));
        Ok(count == BATCH)
    }

    /// Makes the descriptor readable with the next completion. What completed before is not told of: poll once more afterwards.
    ///
    /// # Errors
    /// The device refused.
    pub fn arm(&mut self) -> Result<(), VerbsError> {
        if self.armed && !self.take_event() {
            return Ok(());
        }
        let queue = self.queue.pointer.as_ptr();
        // SAFETY: a queue of an open device, which has a `req_notify_cq`.
        let answer = unsafe {
            let arm = (*(*queue).context).ops.req_notify_cq;
            arm.map_or(-1, |arm| arm(queue, 0))
        };
        VerbsError::check(self.queue.domain.device().name(), "asking for a completion event", answer)?;
        self.armed = true;
        Ok(())
    }

    /// Makes the descriptor unreadable, if the one event that was asked for has come.
    fn take_event(&mut self) -> bool {
        let (mut queue, mut context) = (ptr::null_mut(), ptr::null_mut::<c_void>());
        // SAFETY: a non-blocking channel; the event is acknowledged at once, as the queue's end waits for that.
        unsafe {
            let come = sys::ibv_get_cq_event(self.queue.channel.as_ptr(), &mut queue, &mut context) == 0;
            if come {
                sys::ibv_ack_cq_events(queue, 1);
            }
            come
        }
    }
}

impl AsFd for Completions {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the channel stays open as long as `self` is there.
        unsafe { BorrowedFd::borrow_raw(self.descriptor()) }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: made by `Completions::new`; queue pairs and receive queues that use it hold an Arc of it.
        unsafe {
            sys::ibv_destroy_cq(self.pointer.as_ptr());
            sys::ibv_destroy_comp_channel(self.channel.as_ptr());
        }
    }
}

fn completion(entry: &sys::ibv_wc) -> Completion {
    let outcome = match entry.error() {
        Some((sys::ibv_wc_status::IBV_WC_WR_FLUSH_ERR, _)) => Outcome::Flushed,
        Some((status, _)) => Outcome::Failed(status),
        None if entry.wr_id() & RECEIVE != 0 => {
            let length = u32::try_from(entry.len()).unwrap_or(u32::MAX);
            Outcome::Received { length, immediate: u32::from_be(entry.imm_data) }
        }
        None => Outcome::Done,
    };
    Completion { work: entry.wr_id(), queue_pair: entry.qp_num, outcome }
}
