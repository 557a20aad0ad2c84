//! Reliable-connected queue pairs.

use crate::{Completions, Domain, Gid, Link, Receives, VerbsError, completion, receive};
use ibverbs_sys as sys;
use serde::{Deserialize, Serialize};
use std::{
    ptr::{self, NonNull},
    sync::Arc,
};

/// An acknowledgement that has not come after 4.096 µs · 2^15 = 134 ms is missing (InfiniBand specification, 9.7.6.1.3).
const TIMEOUT: u8 = 15;
/// Sent so often again: a peer that does not answer for about a second. One more, the most that fits, soft-RoCE takes for "without end":
/// whoever sends to a queue pair that broke without a word would never hear of it.
const RETRIES: u8 = 6;
/// 7: without end. Credits keep it from ever being needed; if it is, messages wait instead of being lost.
const RECEIVER_NOT_READY_RETRIES: u8 = 7;
/// 12: 0.64 ms.
const RECEIVER_NOT_READY_TIMER: u8 = 12;
const HOPS: u8 = 64;

/// What a queue pair is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueuePairConfig {
    /// Work requests that are posted and not complete, at most.
    pub depth: u32,
    /// Parts of memory that one READ lands in.
    pub landings: u32,
    /// Bytes of the longest message that should go inline, if the device can.
    pub inline: u32,
    /// Whether the peer may READ through it.
    pub serves_reads: bool,
}

/// Where a queue pair is reached: what its two sides tell each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// Its number.
    pub number: u32,
    /// The number of its first packet, 24 bits.
    pub first_packet: u32,
    /// The port's GID.
    pub gid: [u8; 16],
    /// The port's LID.
    pub lid: u16,
    /// Bytes of a packet, at most.
    pub mtu: u32,
    /// READs that it answers at a time.
    pub reads_answered: u8,
}

/// A reliable-connected queue pair, whose messages land in a shared receive queue.
pub struct QueuePair {
    pointer: NonNull<sys::ibv_qp>,
    inline: u32,
    first_packet: u32,
    domain: Domain,
    _completions: Arc<completion::Queue>,
    _receives: Arc<receive::Queue>,
}

// SAFETY: as for `Device`.
unsafe impl Send for QueuePair {}
// SAFETY: as above.
unsafe impl Sync for QueuePair {}

impl QueuePair {
    /// A queue pair that can be connected. `first_packet` should differ from that of the last connection between the two nodes.
    ///
    /// # Errors
    /// The device or the system refused it.
    pub fn new(
        domain: &Domain,
        completions: &Completions,
        receives: &Receives,
        config: QueuePairConfig,
        first_packet: u32,
    ) -> Result<QueuePair, VerbsError> {
        let create = |inline| {
            let mut wanted = sys::ibv_qp_init_attr {
                qp_context: ptr::null_mut(),
                send_cq: completions.queue.pointer.as_ptr(),
                recv_cq: completions.queue.pointer.as_ptr(),
                srq: receives.queue.pointer.as_ptr(),
                cap: sys::ibv_qp_cap {
                    max_send_wr: config.depth,
                    max_recv_wr: 0,
                    max_send_sge: config.landings,
                    max_recv_sge: 0,
                    max_inline_data: inline,
                },
                qp_type: sys::ibv_qp_type::IBV_QPT_RC,
                sq_sig_all: 0,
            };
            // SAFETY: a domain, a completion queue and a receive queue of one open device.
            let pointer = unsafe { sys::ibv_create_qp(domain.0.pointer.as_ptr(), &mut wanted) };
            NonNull::new(pointer).map(|pointer| (pointer, wanted.cap.max_inline_data))
        };
        // A device that cannot take so much inline refuses to make the queue pair.
        let (pointer, inline) = create(config.inline)
            .or_else(|| create(0))
            .ok_or_else(|| VerbsError::last(domain.device().name(), "making a queue pair"))?;
        let queue_pair = QueuePair {
            pointer,
            inline,
            first_packet: first_packet & 0xff_ffff,
            domain: domain.clone(),
            _completions: completions.queue.clone(),
            _receives: receives.queue.clone(),
        };
        queue_pair.initialize(config.serves_reads)?;
        Ok(queue_pair)
    }

    /// Its number on this device.
    pub fn number(&self) -> u32 {
        // SAFETY: lives until the drop; its number does not change.
        unsafe { self.pointer.as_ref() }.qp_num
    }

    /// Bytes of the longest message that can go inline.
    pub fn inline(&self) -> u32 {
        self.inline
    }

    /// What the peer has to know to connect to it.
    pub fn address(&self) -> Address {
        let endpoint = self.domain.endpoint();
        Address {
            number: self.number(),
            first_packet: self.first_packet,
            gid: endpoint.gid.bytes,
            lid: endpoint.port.lid,
            mtu: endpoint.port.mtu,
            reads_answered: endpoint.device.limits().reads_answered,
        }
    }

    fn initialize(&self, serves_reads: bool) -> Result<(), VerbsError> {
        use sys::ibv_qp_attr_mask as mask;
        let access = if serves_reads { sys::ibv_access_flags::IBV_ACCESS_REMOTE_READ.0 } else { 0 };
        let mut attributes = sys::ibv_qp_attr {
            qp_state: sys::ibv_qp_state::IBV_QPS_INIT,
            pkey_index: 0,
            port_num: self.domain.endpoint().port.number,
            qp_access_flags: access,
            ..Default::default()
        };
        let given =
            mask::IBV_QP_STATE | mask::IBV_QP_PKEY_INDEX | mask::IBV_QP_PORT | mask::IBV_QP_ACCESS_FLAGS;
        self.modify(&mut attributes, given, "initializing a queue pair")
    }

    /// Connects it to the peer's: afterwards it receives and sends.
    ///
    /// # Errors
    /// The device does not reach that address.
    pub fn connect(&self, peer: &Address) -> Result<(), VerbsError> {
        use sys::ibv_qp_attr_mask as mask;
        let endpoint = self.domain.endpoint();
        let limits = endpoint.device.limits();
        let mut attributes = sys::ibv_qp_attr {
            qp_state: sys::ibv_qp_state::IBV_QPS_RTR,
            path_mtu: mtu(peer.mtu.min(endpoint.port.mtu)),
            dest_qp_num: peer.number,
            rq_psn: peer.first_packet & 0xff_ffff,
            max_dest_rd_atomic: limits.reads_answered,
            min_rnr_timer: RECEIVER_NOT_READY_TIMER,
            ah_attr: self.path(peer, endpoint.port.link, &endpoint.gid),
            ..Default::default()
        };
        let given = mask::IBV_QP_STATE
            | mask::IBV_QP_AV
            | mask::IBV_QP_PATH_MTU
            | mask::IBV_QP_DEST_QPN
            | mask::IBV_QP_RQ_PSN
            | mask::IBV_QP_MAX_DEST_RD_ATOMIC
            | mask::IBV_QP_MIN_RNR_TIMER;
        self.modify(&mut attributes, given, "connecting a queue pair")?;
        let mut attributes = sys::ibv_qp_attr {
            qp_state: sys::ibv_qp_state::IBV_QPS_RTS,
            timeout: TIMEOUT,
            retry_cnt: RETRIES,
            rnr_retry: RECEIVER_NOT_READY_RETRIES,
            sq_psn: self.first_packet,
            max_rd_atomic: limits.reads_issued.min(peer.reads_answered).max(1),
            ..Default::default()
        };
        let given = mask::IBV_QP_STATE
            | mask::IBV_QP_TIMEOUT
            | mask::IBV_QP_RETRY_CNT
            | mask::IBV_QP_RNR_RETRY
            | mask::IBV_QP_SQ_PSN
            | mask::IBV_QP_MAX_QP_RD_ATOMIC;
        self.modify(&mut attributes, given, "opening a queue pair for sending")
    }

    fn path(&self, peer: &Address, link: Link, gid: &Gid) -> sys::ibv_ah_attr {
        let mut path = sys::ibv_ah_attr {
            dlid: peer.lid,
            port_num: self.domain.endpoint().port.number,
            ..Default::default()
        };
        if link == Link::Ethernet {
            path.is_global = 1;
            path.grh.dgid = sys::ibv_gid { raw: peer.gid };
            path.grh.sgid_index = gid.index as u8;
            path.grh.hop_limit = HOPS;
        }
        path
    }

    /// Breaks it: whatever is posted, or will be, completes as flushed.
    ///
    /// # Errors
    /// The device refused.
    pub fn fail(&self) -> Result<(), VerbsError> {
        let mut attributes =
            sys::ibv_qp_attr { qp_state: sys::ibv_qp_state::IBV_QPS_ERR, ..Default::default() };
        self.modify(&mut attributes, sys::ibv_qp_attr_mask::IBV_QP_STATE, "breaking a queue pair")
    }

    fn modify(
        &self,
        attributes: &mut sys::ibv_qp_attr,
        given: sys::ibv_qp_attr_mask,
        what: &'static str,
    ) -> Result<(), VerbsError> {
        // SAFETY: a queue pair of an open device.
        let answer = unsafe { sys::ibv_modify_qp(self.pointer.as_ptr(), attributes, given.0 as i32) };
        VerbsError::check(self.domain.device().name(), what, answer)
    }

    /// Posts a list of requests: [`Chain`](crate::Chain) knows that it is one.
    pub(crate) fn post(&self, first: *mut sys::ibv_send_wr) -> Result<(), VerbsError> {
        let (queue_pair, mut bad) = (self.pointer.as_ptr(), ptr::null_mut());
        // SAFETY: a queue pair of an open device, which has a `post_send`; requests are copied before it returns, and what they name is
        // registered, or the device refuses it.
        let answer = unsafe {
            let post = (*(*queue_pair).context).ops.post_send;
            post.map_or(-1, |post| post(queue_pair, first, &mut bad))
        };
        VerbsError::check(self.domain.device().name(), "posting work", answer)
    }
}

impl Drop for QueuePair {
    fn drop(&mut self) {
        // SAFETY: made by `new`, ended once. Nothing is sent or answered through it any more when this returns.
        unsafe { sys::ibv_destroy_qp(self.pointer.as_ptr()) };
    }
}

fn mtu(bytes: u32) -> sys::ibv_mtu {
    match bytes {
        4096.. => sys::IBV_MTU_4096,
        2048.. => sys::IBV_MTU_2048,
        1024.. => sys::IBV_MTU_1024,
        512.. => sys::IBV_MTU_512,
        _ => sys::IBV_MTU_256,
    }
}
