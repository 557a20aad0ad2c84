//! Where a run stands that does not end: said again and again, before whoever waits for it loses patience.

use crate::PATIENCE;
use crate::load::objects;
use kddm_rdma::{Node, ObjectKey};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;

/// Does `work` with `node`, one of `nodes`, and says where that stands whenever it has gone on for half of [`PATIENCE`].
pub fn watched<R>(node: &Node, nodes: usize, work: impl FnOnce() -> R) -> R {
    thread::scope(|scope| {
        let (working, ends) = channel();
        scope.spawn(move || watch(node, nodes, &ends));
        let result = work();
        drop(working);
        result
    })
}

fn watch(node: &Node, nodes: usize, ends: &Receiver<()>) {
    while ends.recv_timeout(PATIENCE / 2) == Err(RecvTimeoutError::Timeout) {
        show(node, objects(nodes));
    }
}

/// Says where `node` stands, and all that is under way of these objects.
pub fn show(node: &Node, objects: impl IntoIterator<Item = ObjectKey>) {
    let me = node.me();
    eprintln!("n{me} is still at work: {:?}", node.status());
    for key in objects {
        eprintln!("n{me} is still at work: {:?}", node.dump(key));
    }
}
