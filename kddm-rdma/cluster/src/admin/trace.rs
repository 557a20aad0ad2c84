//! What a server tells of a traced object.

use serde::{Deserialize, Serialize};

/// What happened to an object on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// The node.
    pub node: u8,
    /// What happened after the event that was named, in order.
    pub events: Vec<TraceEvent>,
    /// Whether the object is traced only since now.
    pub fresh: bool,
    /// Events that nobody fetched in time, since the object is traced.
    pub lost: u64,
    /// What happened before this time is in the events, or was told before. Nanoseconds of CLOCK_MONOTONIC, which the servers of
    /// a host have in common.
    pub now: u64,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceEvent {
    /// Larger than that of any event before, on this node.
    pub number: u64,
    /// When, in nanoseconds of CLOCK_MONOTONIC.
    pub at: u64,
    /// What: sent, received, read_posted, read_done, linker_called, linker_done, asked, ended, put, state, peer_up, peer_down, renewed.
    pub what: String,
    /// The node that it was done with.
    pub peer: Option<u8>,
    /// The message's name, as in docs/protocol.md.
    pub message: Option<String>,
    /// The transaction.
    pub seq: Option<u32>,
    /// The request.
    pub rid: Option<u32>,
    /// More, for people.
    pub detail: String,
}
