//! One thing happens: a task runs, a node looks at its network, or time passes.

use crate::executor::{Executor, Life};
use fastrand::Rng;
use kddm_fabric::sim::SimNetwork;
use kddm_object::NodeId;
use kddm_rdma::Node;
use std::time::Duration;

/// A node of the simulation.
pub type Driven<'a> = (NodeId, Life, &'a Node);

/// What could run now: tasks, and nodes that have something to look at.
pub fn ready<'a>(
    executor: &Executor,
    network: &SimNetwork,
    nodes: &[Driven<'a>],
) -> (Vec<u64>, Vec<&'a Node>) {
    let news =
        |&(id, life, node): &Driven<'a>| (network.pending(id) && !executor.is_paused(life)).then_some(node);
    (executor.ready(), nodes.iter().filter_map(news).collect())
}

/// Lets one thing happen, in an order that `rng` chooses; if nothing can run, time passes until something can, or until
/// `other`. False if nothing is left.
pub fn turn(
    executor: &Executor,
    network: &SimNetwork,
    nodes: &[Driven<'_>],
    rng: &mut Rng,
    other: Option<Duration>,
) -> bool {
    let (tasks, nodes) = ready(executor, network, nodes);
    let choices = tasks.len() + nodes.len();
    if choices > 0 {
        let choice = rng.usize(0..choices);
        match tasks.get(choice) {
            Some(&task) => executor.poll(task),
            None => {
                nodes[choice - tasks.len()].drive();
            }
        }
        return true;
    }
    let times = [executor.next_at(), network.next_at(), other];
    let Some(time) = times.into_iter().flatten().min() else { return false };
    let jobs = executor.advance(time);
    // At one moment the network comes first, one thing at a time; then jobs.
    while network.next_at().is_some_and(|next| next <= time) {
        network.step();
    }
    network.advance(time);
    jobs.into_iter().for_each(|job| job());
    true
}
