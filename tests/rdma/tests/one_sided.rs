//! A get takes nothing of the owner's processor: it is served while the owner's process stands still.

use kddm_rdma_tests::nodes::Fabric;
use kddm_rdma_tests::ports;
use kddm_tests::Stopped;
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// Nobody notices a silent node within this time.
const UNNOTICED: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(30);
const PAGE: u32 = 4096;

/// A node in a process of its own.
struct Node {
    child: Child,
    orders: ChildStdin,
    answers: Receiver<String>,
}

impl Node {
    fn start(fabric: Fabric, port: u16, place: usize) -> Node {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kddm-rdma-tests"));
        command.args(["serve", "--fabric", fabric.name(), "--port", &port.to_string(), &place.to_string()]);
        command.args(["127.0.0.1", "127.0.0.2", "127.0.0.3"]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("starting a node");
        let orders = child.stdin.take().expect("a pipe");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let (sender, answers) = channel();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Node { child, orders, answers }
    }

    fn order(&mut self, order: &str) {
        writeln!(self.orders, "{order}").expect("the node runs");
    }

    fn answers(&mut self, order: &str) -> String {
        self.order(order);
        self.answers.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no answer to {order:?}"))
    }

    /// Messages that it took, READs that it answered, READs that it issued.
    fn counters(&mut self) -> Vec<u64> {
        self.answers("counters").split(' ').map(|number| number.parse().expect("a number")).collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What node 3's get brings of an object that node 1 owns and node 2 is the home of, while node 1 stands still; none if it is not
/// there before anybody may notice. And what node 1 has done for it, and how many READs node 3 issued.
fn get_of_a_stopped_owner(fabric: Fabric) -> (Option<String>, [u64; 2], u64) {
    let port = ports::free(3);
    let mut nodes = [0, 1, 2].map(|place| Node::start(fabric, port, place));
    nodes.iter_mut().for_each(|node| assert_eq!(node.answers("meet"), "met"));
    let [owner, home, requester] = &mut nodes;
    let object = format!("2 {PAGE} 0");
    assert_eq!(owner.answers(&format!("grab {object} 77")), "saw 0");
    // The home's copy makes it shared; the owner stays who it was.
    assert_eq!(home.answers(&format!("get {object}")), "saw 77");
    (0..2).for_each(|number| assert_eq!(owner.answers(&format!("grab 1 4 {number} 7")), "saw 0"));
    let (before, issued) = (owner.counters(), requester.counters()[2]);
    let stopped = Stopped::new(Pid::from_raw(owner.child.id() as i32));
    requester.order(&format!("get {object}"));
    let seen = requester.answers.recv_timeout(UNNOTICED).ok();
    drop(stopped);
    if seen.is_none() {
        requester.answers.recv_timeout(PATIENCE).expect("its answer, now that the owner goes on");
    }
    let issued = requester.counters()[2] - issued;
    // Each asks the owner for something else: whatever came before that has been counted.
    assert_eq!(home.answers("get 1 4 0"), "saw 7");
    assert_eq!(requester.answers("get 1 4 1"), "saw 7");
    let after = owner.counters();
    (seen, [after[0] - before[0] - 2, after[1] - before[1]], issued)
}

#[test]
#[ignore = "needs an RDMA device"]
fn over_verbs_a_get_needs_nothing_of_the_owners_process() {
    needs_nothing(Fabric::Verbs);
}

#[test]
fn over_shm_a_get_needs_nothing_of_the_owners_process() {
    needs_nothing(Fabric::Shm);
}

fn needs_nothing(fabric: Fabric) {
    let (seen, served, issued) = get_of_a_stopped_owner(fabric);
    assert_eq!(seen.as_deref(), Some("saw 77"));
    assert_eq!(served, [0, 0], "messages that the owner took, READs that its process answered");
    assert_eq!(issued, 1, "READs");
}

/// So the test above can fail.
#[test]
fn over_tcp_it_needs_the_owners_process() {
    let (seen, [_, reads_served], issued) = get_of_a_stopped_owner(Fabric::Tcp);
    assert_eq!(seen, None, "the owner stood still");
    assert_eq!((reads_served, issued), (1, 1), "answered when it went on");
}
