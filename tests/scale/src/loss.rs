//! The loss of a node: what the others say to each other until they are at rest, and what is left of the objects.

use crate::{INLINE_MAX, PAGE};
use anyhow::Result;
use kddm_bench::cores::{Cores, Time, Traffic, spread};
use kddm_bench::report::Case;
use kddm_coherence::OpError;
use kddm_object::{Hold, ObjectKey};

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// From the loss until nothing was under way.
    pub time: Time,
    /// What was said meanwhile.
    pub traffic: Traffic,
    /// Objects that a survivor gets afterwards.
    pub served: u64,
    /// Objects whose only copy was on the lost node.
    pub lost: u64,
    /// Objects whose home was the lost node and has no successor.
    pub homeless: u64,
}

/// A cluster of `nodes` with `objects` objects, of which half are exclusive and half have a sharer; then the last node is lost
/// and a survivor asks for every object.
///
/// # Errors
/// If something fails before the loss, or otherwise than by it afterwards.
pub fn measure(nodes: u8, objects: u32) -> Result<Loss> {
    let mut cores = Cores::new(nodes, INLINE_MAX);
    let keys: Vec<ObjectKey> = (0..objects).map(|number| spread(PAGE, number)).collect();
    for (&key, number) in keys.iter().zip(0..) {
        cores.touch(owner(nodes, number), key, Hold::Exclusive)?;
        if let Some(sharer) = sharer(nodes, number) {
            cores.touch(sharer, key, Hold::Shared)?;
        }
    }
    cores.weigh();
    let (begin, before) = (cores.now(), cores.traffic());
    cores.lose(nodes);
    cores.settle();
    let mut loss =
        Loss { time: cores.now() - begin, traffic: cores.traffic().since(before), ..Loss::default() };
    for key in keys {
        match cores.touch(1, key, Hold::Shared) {
            Ok(_) => loss.served += 1,
            Err(OpError::Lost) => loss.lost += 1,
            Err(OpError::PeerLost(_)) => loss.homeless += 1,
            Err(other) => return Err(other.into()),
        }
    }
    Ok(loss)
}

/// Who has written object `number`: the nodes in turn.
pub fn owner(nodes: u8, number: u32) -> u8 {
    (number % u32::from(nodes)) as u8 + 1
}

/// Who has read it since; nobody, in every other round.
pub fn sharer(nodes: u8, number: u32) -> Option<u8> {
    (number / u32::from(nodes) % 2 == 1).then(|| owner(nodes, number + 1))
}

/// The table: cluster sizes, always with as many objects.
///
/// # Errors
/// As [`measure`].
pub fn run(sizes: &[u8], objects: u32) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for &nodes in sizes {
        let loss = measure(nodes, objects)?;
        let row = |name: &str, count: u64| Case { nodes: Some(nodes.into()), ..Case::counted(name, count) };
        cases.push(Case {
            hops: Some(loss.time as f64),
            messages: Some(loss.traffic.messages as f64),
            wire_bytes: Some(loss.traffic.bytes as f64),
            reads: Some(loss.traffic.reads as f64),
            ..row("loss of a node, until the others rest", 1)
        });
        cases.push(row("  objects that are there afterwards", loss.served));
        cases.push(row("  objects lost with their last copy", loss.lost));
        cases.push(row("  objects without a home", loss.homeless));
    }
    Ok(cases)
}
