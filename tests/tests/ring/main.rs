//! Programs that are attached to the servers of a real cluster.

mod counted;
mod files;
mod hostile;
mod lives;
mod objects;
mod users;

use kddm_tests::Cluster;
use kdfs_client::Session;

/// A program attached to a node.
fn attach(cluster: &Cluster, node: u8) -> Session {
    let session = Session::attach(cluster.ring(node)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(session.node(), node);
    session
}

/// How many programs a node says are attached, and how many holds they have.
fn attached(cluster: &Cluster, node: u8) -> (usize, usize) {
    let socket = cluster.directory().join(format!("run/{node}.sock"));
    let status = kdfs_client::Connection::open(&socket).and_then(|mut server| server.status()).unwrap();
    (status.programs.len(), status.programs.iter().map(|program| program.holds).sum())
}
