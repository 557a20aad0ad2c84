//! A process is killed, or stopped, in the middle of its work beside others: they know, they go on, and nothing of it stays.

use futures_lite::future::block_on;
use kddm_fabric::SILENCE;
use kddm_rdma::{Incarnation, Node};
use kddm_rdma_tests::nodes::{self, Fabric, Start};
use kddm_rdma_tests::{ports, serve, standing};
use kddm_tests::Stopped;
use nix::unistd::Pid;
use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::net::IpAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

const NODES: usize = 3;
/// The one that is killed, or stopped. The others are in this process.
const VICTIM: usize = 2;
const MEET: (&str, &str) = ("meet", "met");
const PATIENCE: Duration = Duration::from_secs(30);

/// One at a time: the rings of this process are counted.
static TURN: Mutex<()> = Mutex::new(());

struct World {
    fabric: Fabric,
    port: u16,
    addresses: Vec<IpAddr>,
    nodes: [Node; 2],
    stop: AtomicBool,
    /// Operations of each node in this process that came to an end, and those of them that were good, of objects with their home here.
    ended: [AtomicU64; 2],
    good: [AtomicU64; 2],
    _turn: MutexGuard<'static, ()>,
}

impl World {
    fn new(fabric: Fabric) -> World {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let port = ports::free(NODES as u8);
        let addresses: Vec<IpAddr> = (1..=NODES as u8).map(|node| [127, 0, 0, node].into()).collect();
        let nodes = [0, 2].map(|place| {
            let (unsound, speculate, breaks) = (false, true, None);
            let addresses = addresses.clone();
            Start { fabric, place, addresses, port, unsound, speculate, breaks }.run().expect("a node").0
        });
        let (stop, ended, good) = (false.into(), Default::default(), Default::default());
        World { fabric, port, addresses, nodes, stop, ended, good, _turn: turn }
    }

    /// Runs `story` while both nodes of this process work.
    fn tell(&self, story: impl FnOnce()) {
        thread::scope(|scope| {
            for (place, node) in self.nodes.iter().enumerate() {
                scope.spawn(move || {
                    serve::work(node, NODES, &self.stop, |home, good| {
                        self.ended[place].fetch_add(1, Relaxed);
                        self.good[place].fetch_add(u64::from(good && home != VICTIM), Relaxed);
                    });
                });
            }
            // Whatever becomes of it, the others end.
            let end = Stop(&self.stop);
            story();
            drop(end);
        });
    }

    /// Another life of the victim, of which the others know, and what it is told.
    fn victim(&self, orders: &[(&str, &str)]) -> Victim {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kddm-rdma-tests"));
        command.args([
            "serve",
            "--fabric",
            self.fabric.name(),
            "--port",
            &self.port.to_string(),
            &(VICTIM - 1).to_string(),
        ]);
        command.args(self.addresses.iter().map(IpAddr::to_string));
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("starting a node");
        let answers = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut victim = Victim(child, answers);
        for &(order, answer) in orders {
            assert_eq!(victim.answer(order).as_deref(), Some(answer), "{order}");
        }
        self.until("the victim is there", || self.nodes.iter().all(knows));
        self.goes_on("with the victim");
        victim
    }

    fn life_of_victim(&self) -> Option<Incarnation> {
        let peers = self.nodes[0].status().peers;
        peers.iter().find(|peer| peer.node == nodes::id(VICTIM))?.up
    }

    /// How long it took until both nodes know that the victim is gone.
    fn is_missed(&self) -> Duration {
        let begin = Instant::now();
        self.until("the victim is missed", || !self.nodes.iter().any(knows));
        begin.elapsed()
    }

    /// Both nodes end operations, and good ones.
    fn goes_on(&self, when: &str) {
        for counters in [&self.ended, &self.good] {
            let before = counters.each_ref().map(|counter| counter.load(Relaxed));
            let moved = |place: usize| counters[place].load(Relaxed) > before[place] + 200;
            self.until(&format!("work goes on {when}"), || moved(0) && moved(1));
        }
    }

    fn until(&self, what: &str, done: impl Fn() -> bool) {
        let begin = Instant::now();
        while !done() {
            if begin.elapsed() > PATIENCE {
                self.nodes.iter().for_each(|node| standing::show(node, serve::worked_on(NODES)));
                panic!("waited too long: {what}; ended {:?}, good {:?}", self.ended, self.good);
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.nodes.iter().for_each(Node::shutdown);
    }
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

struct Victim(Child, Lines<BufReader<ChildStdout>>);

impl Victim {
    fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id() as i32)
    }

    fn answer(&mut self, order: &str) -> Option<String> {
        writeln!(self.0.stdin.as_mut()?, "{order}").ok()?;
        self.1.next()?.ok()
    }

    /// SIGKILL.
    fn kill(&mut self) {
        self.0.kill().expect("a child");
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = self.answer("stand");
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn knows(node: &Node) -> bool {
    node.status().peers.iter().any(|peer| peer.node == nodes::id(VICTIM) && peer.up.is_some())
}

/// Rings that this process has mapped: its own, and those of whom it talks to.
fn rings() -> usize {
    let maps = fs::read_to_string("/proc/self/maps").expect("this process");
    maps.lines().filter(|line| line.contains("memfd:kddm-shared")).count()
}

#[test]
fn who_is_killed_is_missed_at_once_and_leaves_nothing_behind() {
    let world = World::new(Fabric::Shm);
    world.tell(|| {
        world.until("the two have met", || rings() == 4);
        for life in 1..=5 {
            let mut victim = world.victim(&[MEET, ("work", "working")]);
            victim.kill();
            let missed = world.is_missed();
            println!("life {life}: missed after {missed:.1?}");
            assert!(missed < SILENCE / 2, "only its silence told of its end: {missed:?}");
            world.goes_on("without the victim");
            world.until("its memory is let go", || rings() == 4);
        }
    });
}

fn stands_still_and_comes_back(fabric: Fabric) {
    let world = World::new(fabric);
    world.tell(|| {
        let victim = world.victim(&[MEET, ("work", "working")]);
        let life = world.life_of_victim();
        let stopped = Stopped::new(victim.pid());
        let missed = world.is_missed();
        println!("missed after {missed:.1?}");
        world.goes_on("without the victim");
        if fabric == Fabric::Shm {
            world.until("its memory is let go", || rings() == 4);
        }
        drop(stopped);
        world.until("the victim is back", || world.nodes.iter().all(knows));
        assert!(world.life_of_victim() > life, "a life that was lost has returned");
        world.goes_on("with the victim again");
    });
    let [one, _] = &world.nodes;
    assert!(block_on(one.get(nodes::object(1, 4096, 100))).is_ok());
}

#[test]
fn who_stands_still_is_missed_and_comes_back() {
    stands_still_and_comes_back(Fabric::Shm);
}

#[test]
fn who_stands_still_over_tcp_comes_back_too() {
    stands_still_and_comes_back(Fabric::Tcp);
}
