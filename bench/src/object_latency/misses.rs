//! Misses between nodes over tcp, beside the ping-pong of the same bytes. Home, owner and requester are distinct
//! nodes: 3, 2 and 1.

use super::floor::PingPong;
use super::nodes::{Nodes, object};
use crate::progress::Progress;
use crate::report::{Case, Latencies};
use anyhow::Result;
use kddm_rdma::ObjectKey;
use std::time::{Duration, Instant};

/// Operations in a block.
const BLOCK: u32 = 50;

/// What is done before the clock starts, and then.
#[derive(Clone, Copy)]
enum Miss {
    /// Nobody has the object.
    FirstTouch,
    /// Another node wrote it, a third reads it.
    GetShared,
    /// Another node wrote it.
    GetExclusive,
    /// Another node owns it, a third has a copy.
    GrabShared,
    /// We have a copy, another node owns it.
    Upgrade,
    /// Another node wrote it.
    Handover,
}

impl Miss {
    const ALL: [Miss; 6] = [
        Miss::FirstTouch,
        Miss::GetShared,
        Miss::GetExclusive,
        Miss::GrabShared,
        Miss::Upgrade,
        Miss::Handover,
    ];

    fn name(self) -> &'static str {
        match self {
            Miss::FirstTouch => "grab, first touch",
            Miss::GetShared => "get, shared elsewhere",
            Miss::GetExclusive => "get, exclusive elsewhere",
            Miss::GrabShared => "grab, one sharer and the owner",
            Miss::Upgrade => "grab, upgrade of a copy",
            Miss::Handover => "grab, exclusive elsewhere (hand-over)",
        }
    }

    /// Bytes that come back: the floor answers with as many.
    fn moved(self, bytes: u32) -> u32 {
        match self {
            Miss::FirstTouch | Miss::Upgrade => 64,
            _ => bytes.max(64),
        }
    }

    fn prepare(self, nodes: &Nodes, key: ObjectKey) -> Result<()> {
        match self {
            Miss::FirstTouch => {}
            Miss::GetExclusive | Miss::Handover => drop(nodes.grab(2, key)?),
            Miss::GetShared | Miss::GrabShared => {
                drop(nodes.grab(2, key)?);
                drop(nodes.get(3, key)?);
            }
            Miss::Upgrade => {
                drop(nodes.grab(2, key)?);
                drop(nodes.get(1, key)?);
            }
        }
        Ok(())
    }

    fn time(self, nodes: &Nodes, key: ObjectKey) -> Result<Duration> {
        let begin = Instant::now();
        match self {
            Miss::GetShared | Miss::GetExclusive => drop(nodes.get(1, key)?),
            _ => drop(nodes.grab(1, key)?),
        }
        Ok(begin.elapsed())
    }
}

/// All cases, `count` operations of each.
pub fn run(count: u32) -> Result<Vec<Case>> {
    let nodes = Nodes::start(3, 64 << 20)?;
    let mut floor = PingPong::start()?;
    let sizes = [4, 4096];
    let mut progress = Progress::new("misses", (sizes.len() * Miss::ALL.len()) as u64);
    let mut cases = Vec::new();
    // Every operation meets an object of its own number once.
    let mut next = 0;
    for bytes in sizes {
        for miss in Miss::ALL {
            cases.push(measure(&nodes, &mut floor, miss, bytes, count, &mut next)?);
            progress.step();
        }
    }
    Ok(cases)
}

fn measure(
    nodes: &Nodes,
    floor: &mut PingPong,
    miss: Miss,
    bytes: u32,
    count: u32,
    next: &mut u32,
) -> Result<Case> {
    let [mut ours, mut theirs] = [Latencies::default(), Latencies::default()];
    let mut traffic = [0, 0];
    let blocks = count.div_ceil(BLOCK).max(2);
    for block in 0..blocks {
        let keys: Vec<ObjectKey> = (0..BLOCK).map(|at| object(3, bytes, *next + at)).collect();
        *next += BLOCK;
        for &key in &keys {
            miss.prepare(nodes, key)?;
        }
        // Messages that nobody waited for arrive before the clock starts.
        settle(nodes);
        let before = nodes.traffic();
        for &key in &keys {
            let time = miss.time(nodes, key)?;
            // The first block warms connections and caches up.
            if block > 0 {
                ours.add(time);
            }
        }
        settle(nodes);
        let after = nodes.traffic();
        if block > 0 {
            traffic = [traffic[0] + after[0] - before[0], traffic[1] + after[1] - before[1]];
        }
        for _ in 0..BLOCK {
            let time = floor.round_trip(miss.moved(bytes))?;
            if block > 0 {
                theirs.add(time);
            }
        }
    }
    let done = f64::from((blocks - 1) * BLOCK);
    let case = Case::new(format!("{}, {bytes} B", miss.name()), &ours);
    let [messages, reads] = traffic.map(|count| (count as f64 / done * 100.0).round() / 100.0);
    Ok(Case {
        fabric: Some("tcp".into()),
        bytes: Some(bytes.into()),
        messages: Some(messages),
        reads: Some(reads),
        ..case.on("n1").beside("ping-pong, 2 processes", &theirs)
    })
}

/// Waits until no message has been sent for a moment: what is unfinished belongs to the operation before.
fn settle(nodes: &Nodes) {
    let mut last = nodes.traffic();
    loop {
        std::thread::sleep(Duration::from_millis(2));
        let now = nodes.traffic();
        if now == last {
            return;
        }
        last = now;
    }
}
