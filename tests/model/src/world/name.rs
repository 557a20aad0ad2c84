//! What happens to a node, by the name that the table of transitions uses.

use kddm_coherence::{Asked, Body, Input, RequestKind};
use kddm_object::Hold;

pub(super) fn name(input: &Input) -> &'static str {
    match input {
        Input::Begin(operation) => match operation.asked {
            Asked::Hold { hold: Hold::Shared, .. } => "get",
            Asked::Hold { hold: Hold::Exclusive, .. } => "grab",
            Asked::Prefetch => "prefetch",
            Asked::Remove => "remove",
            Asked::Sync => "sync",
            Asked::Flush => "flush",
        },
        Input::Cancel(..) => "cancel",
        Input::Released(_) => "put",
        Input::ReadDone(_, true) => "READ done",
        Input::ReadDone(_, false) => "READ failed",
        Input::LinkerDone(..) => "linker done",
        Input::Cleaned(_) => "cleaned",
        Input::Evict(_) => "evict",
        Input::MemoryFreed => "memory freed",
        Input::OutOfMemory(_) => "out of memory",
        Input::PeerUp(..) => "peer up",
        Input::PeerDown(_) => "peer down",
        Input::Message(_, message) => match &message.body {
            Body::Request(request) => match request.kind {
                RequestKind::Get => "REQ get",
                RequestKind::Grab => "REQ grab",
                RequestKind::Remove => "REQ remove",
                RequestKind::Sync => "REQ sync",
            },
            Body::Grant { .. } => "GRANT",
            Body::Nack { .. } => "NACK",
            Body::Finished { .. } => "FINISHED",
            Body::Invalidate { .. } => "INV",
            Body::Ack { .. } => "ACK",
            Body::Recall { .. } => "RECALL",
            Body::Refused { .. } => "REFUSED",
            Body::Hand { .. } => "HAND",
            Body::Shared { .. } => "SHARED",
            Body::Done { .. } => "DONE",
            Body::Fetched { .. } => "FETCHED",
            Body::Evict => "EVICT",
            Body::Drain { .. } => "DRAIN",
            Body::Drained { .. } => "DRAINED",
            Body::Free { .. } => "FREE",
            Body::Retry { .. } => "RETRY",
            Body::Restore { .. } => "RESTORE",
            Body::Retrying { .. } => "RETRYING",
            Body::Kept { .. } => "KEPT",
        },
    }
}
