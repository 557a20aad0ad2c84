//! One object that every node wants: how long it is on its way from one to the next.

use crate::{INLINE_MAX, PAGE, SMALL};
use anyhow::{Context, Result, ensure};
use kddm_bench::cores::{Cores, Time, placed};
use kddm_bench::report::Case;
use kddm_object::Hold;

/// How the nodes come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coming {
    /// The next when the one before has put.
    InTurn,
    /// All at once; each puts when it has the object.
    AtOnce,
}

/// The hand-overs of one object between all nodes of a cluster.
#[derive(Clone, Debug)]
pub struct HandOvers {
    /// The nodes in the order in which they had it.
    pub order: Vec<u8>,
    /// One-way latencies from a put to the next hold, on average.
    pub hops: f64,
    /// Messages for each.
    pub messages: f64,
}

/// All `nodes` nodes grab an object of `bytes` bytes. Its home is the last of them, which has it first.
///
/// # Errors
/// If a grab fails or does not end.
pub fn measure(nodes: u8, bytes: u32, coming: Coming) -> Result<HandOvers> {
    let mut cores = Cores::new(nodes, INLINE_MAX);
    let key = placed(nodes, bytes, 0);
    cores.touch(nodes, key, Hold::Exclusive)?;
    let before = cores.traffic();
    let mut order = Vec::new();
    let mut hops: Time = 0;
    match coming {
        Coming::InTurn => {
            for node in 1..nodes {
                hops += cores.touch(node, key, Hold::Exclusive)?;
                order.push(node);
            }
        }
        Coming::AtOnce => {
            for node in 1..nodes {
                cores.begin(node, key, Hold::Exclusive);
            }
            let begin = cores.now();
            for _ in 1..nodes {
                let ended = cores.next_completion().context("a grab did not end")?;
                let slot = ended.result?.context("a grab ended without a slot")?;
                cores.put(ended.node.get(), key, slot, Hold::Exclusive);
                hops = ended.at - begin;
                order.push(ended.node.get());
            }
            cores.settle();
        }
    }
    let each = |sum: u64| sum as f64 / order.len() as f64;
    let messages = each(cores.traffic().since(before).messages);
    ensure!(!order.is_empty(), "a cluster of one hands nothing over");
    Ok(HandOvers { hops: each(hops), order, messages })
}

/// The table: cluster sizes, pages and small objects, both ways of coming.
///
/// # Errors
/// If a grab fails or does not end.
pub fn run(sizes: &[u8]) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for bytes in [PAGE, SMALL] {
        for (coming, name) in [(Coming::InTurn, "grabs in turn"), (Coming::AtOnce, "grabs all at once")] {
            for &nodes in sizes {
                let HandOvers { order, hops, messages } = measure(nodes, bytes, coming)?;
                cases.push(Case {
                    nodes: Some(nodes.into()),
                    bytes: Some(bytes.into()),
                    hops: Some(hops),
                    messages: Some(messages),
                    ..Case::counted(format!("{name}, {bytes} B"), order.len() as u64)
                });
            }
        }
    }
    Ok(cases)
}
