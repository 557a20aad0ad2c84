//! Work requests, posted together.

use crate::{Buffer, QueuePair, VerbsError};
use ibverbs_sys as sys;
use serde::{Deserialize, Serialize};
use std::{ops::Range, ptr, sync::Arc};

/// Where a READ lands, or a message lies: registered memory of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Landing {
    pub(crate) address: u64,
    pub(crate) length: u32,
    pub(crate) key: u32,
}

impl Landing {
    pub(crate) fn element(self) -> sys::ibv_sge {
        sys::ibv_sge { addr: self.address, length: self.length, lkey: self.key }
    }
}

/// Where a READ reads: memory that a peer has registered, and told of. If what it told is not true, the peer's device refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The address of the first byte, at the peer.
    pub address: u64,
    /// The remote key.
    pub key: u32,
}

/// Work requests for one queue pair, posted with one call. Used again and again, it allocates nothing.
#[derive(Default)]
pub struct Chain {
    requests: Vec<sys::ibv_send_wr>,
    parts: Vec<sys::ibv_sge>,
    /// Of each request, the first of its parts.
    firsts: Vec<usize>,
    /// What inline messages are copied from when they are posted.
    kept: Vec<Arc<Buffer>>,
}

// SAFETY: the pointers inside are set by `post`, and mean nothing afterwards.
unsafe impl Send for Chain {}

impl Chain {
    /// Number of requests.
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Bytes of the messages in it.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| u64::from(part.length)).sum()
    }

    /// Whether nothing is to be posted.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// A message: `range` of `buffer` and `immediate`. The bytes must stay until it is complete, unless it is `inline`; it completes
    /// visibly if `signalled` (or if it fails).
    pub fn send(
        &mut self,
        work: u64,
        buffer: &Arc<Buffer>,
        range: Range<usize>,
        immediate: u32,
        signalled: bool,
        inline: bool,
    ) {
        let part = buffer.landing(range).filter(|part| part.length > 0);
        let mut request = self.begin(work, sys::ibv_wr_opcode::IBV_WR_SEND_WITH_IMM, part);
        request.__bindgen_anon_1 = sys::ibv_send_wr__bindgen_ty_1 { imm_data: immediate.to_be() };
        if signalled {
            request.send_flags |= sys::ibv_send_flags::IBV_SEND_SIGNALED.0;
        }
        if inline && request.num_sge > 0 {
            request.send_flags |= sys::ibv_send_flags::IBV_SEND_INLINE.0;
            self.kept.push(buffer.clone());
        }
        self.requests.push(request);
    }

    /// A READ of neighbouring bytes from `source` on, which land one part after the other. It always completes visibly.
    pub fn read(&mut self, work: u64, source: Source, landings: impl IntoIterator<Item = Landing>) {
        let mut request = self.begin(work, sys::ibv_wr_opcode::IBV_WR_RDMA_READ, landings);
        request.send_flags |= sys::ibv_send_flags::IBV_SEND_SIGNALED.0;
        request.wr.rdma.remote_addr = source.address;
        request.wr.rdma.rkey = source.key;
        self.requests.push(request);
    }

    fn begin(
        &mut self,
        work: u64,
        opcode: sys::ibv_wr_opcode::Type,
        parts: impl IntoIterator<Item = Landing>,
    ) -> sys::ibv_send_wr {
        let first = self.parts.len();
        self.firsts.push(first);
        self.parts.extend(parts.into_iter().map(Landing::element));
        sys::ibv_send_wr {
            wr_id: work,
            opcode,
            num_sge: (self.parts.len() - first) as i32,
            ..Default::default()
        }
    }

    /// Posts everything, in order, and is empty then.
    ///
    /// # Errors
    /// The queue pair took some of it at most, and is of no use any more.
    pub fn post(&mut self, queue_pair: &QueuePair) -> Result<(), VerbsError> {
        let last = self.requests.len().saturating_sub(1);
        let (requests, parts) = (self.requests.as_mut_ptr(), self.parts.as_mut_ptr());
        for (place, &first) in self.firsts.iter().enumerate() {
            // SAFETY: `firsts` has an entry for each request, which names places of `parts`; neither moves before the post.
            unsafe {
                (*requests.add(place)).sg_list = parts.add(first);
                (*requests.add(place)).next =
                    if place < last { requests.add(place + 1) } else { ptr::null_mut() };
            }
        }
        let posted = if self.is_empty() { Ok(()) } else { queue_pair.post(requests) };
        self.requests.clear();
        self.parts.clear();
        self.firsts.clear();
        self.kept.clear();
        posted
    }
}
