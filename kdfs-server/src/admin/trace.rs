//! What happened to a traced object.

use super::answer::failed;
use crate::Server;
use kddm_cluster::admin::{Reply, Trace, TraceEvent};
use kddm_object::ObjectKey;
use kdfs_fs::Errno;
use std::time::Duration;

/// Events of one reply, which has to fit a line.
const LIMIT: usize = 1000;

pub fn answer(server: &Server, key: ObjectKey, after: u64) -> Reply {
    let trace = server.node().trace(key, after, LIMIT);
    if trace.refused {
        return failed("too many objects are traced; end another kddm trace first".into(), Errno::EBUSY);
    }
    Reply::Trace(Trace {
        node: server.node().me().get(),
        events: trace.events.into_iter().map(event).collect(),
        fresh: trace.fresh,
        lost: trace.lost,
        now: nanos(trace.now),
    })
}

fn event(event: kddm_rdma::trace::TraceEvent) -> TraceEvent {
    TraceEvent {
        number: event.number,
        at: nanos(event.at),
        what: event.what.name().to_owned(),
        peer: event.peer.map(|peer| peer.get()),
        message: event.message.map(str::to_owned),
        seq: event.seq,
        rid: event.rid,
        detail: event.detail,
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
