//! Threads of a node that get, grab, try, prefetch and remove a few hot objects, and note what they saw and when.

use crate::clocks::{Here, Nanos};
use crate::nodes::object;
use crate::values;
use futures_lite::future::block_on;
use kddm_bench::random::Random;
use kddm_rdma::{Exclusive, FirstTouch, Node, ObjectKey, OpError, Options, Shared};
use serde::{Deserialize, Serialize};
use std::ops::Deref;
use std::time::Duration;

/// Sizes of the objects: in messages, by one READ, by a READ of several packets.
const SIZES: [u32; 3] = [4, 4096, 65536];
/// One in so many holds lasts long enough to be told from others, whatever the clocks.
const LONG: usize = 24;

/// What the threads of a node do.
#[derive(Clone, Debug)]
pub struct Load {
    /// Where every choice comes from.
    pub seed: u64,
    /// Threads of this node.
    pub threads: u8,
    /// Operations of each thread.
    pub operations: u32,
    /// Nodes of the run.
    pub nodes: usize,
    /// Node 1 writes, the others read, and nothing else: all that nodes which keep old copies can do without coming to grief
    /// before anybody has seen it.
    pub apart: bool,
}

/// An operation, with times of this node's clock.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// The thread.
    pub thread: u8,
    /// The object, by its place in [`objects`].
    pub object: usize,
    /// What came of it.
    pub what: What,
    /// When it was asked for, granted, given back, and over. Without a hold the middle two are the last.
    pub times: [Nanos; 4],
}

/// What came of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// A get, which saw this.
    Got(u32),
    /// A grab, which saw this, and wrote that.
    Grabbed(u32, Option<u32>),
    /// A try that would have had to wait.
    Refused,
    /// It would not make the object, and there was none.
    Absent,
    /// A remove.
    Removed,
}

/// What a node did and saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Log {
    /// The operations, each thread's in its order.
    pub entries: Vec<Entry>,
    /// What must never be, in words: torn bytes, failures.
    pub wrong: Vec<String>,
}

/// The objects: one of each size with its home at each node.
pub fn objects(nodes: usize) -> Vec<ObjectKey> {
    let of = |home: usize| SIZES.map(|bytes| object(home as u8, bytes, 0));
    (1..=nodes).flat_map(of).collect()
}

/// Does it all.
pub fn run(node: &Node, here: Here, load: &Load) -> Log {
    let logs = std::thread::scope(|scope| {
        let begin = |thread| scope.spawn(move || Thread::new(node, here, load, thread).run());
        let threads: Vec<_> = (0..load.threads).map(begin).collect();
        threads.into_iter().map(|thread| thread.join()).collect::<Vec<_>>()
    });
    logs.into_iter().fold(Log::default(), |mut all, log| {
        match log {
            Ok(log) => {
                all.entries.extend(log.entries);
                all.wrong.extend(log.wrong);
            }
            Err(_) => all.wrong.push("a thread panicked".into()),
        }
        all
    })
}

struct Thread<'a> {
    node: &'a Node,
    here: Here,
    load: &'a Load,
    thread: u8,
    objects: Vec<ObjectKey>,
    random: Random,
    written: u32,
    log: Log,
}

impl Thread<'_> {
    fn new<'a>(node: &'a Node, here: Here, load: &'a Load, thread: u8) -> Thread<'a> {
        let own = u64::from(node.me().get()) << 8 | u64::from(thread);
        let random = Random::new(Random::new(load.seed ^ own << 32).number());
        let objects = objects(load.nodes);
        Thread { node, here, load, thread, objects, random, written: 0, log: Log::default() }
    }

    fn run(mut self) -> Log {
        for _ in 0..self.load.operations {
            let object = self.random.below(self.objects.len());
            let key = self.objects[object];
            let node = self.node;
            let refuse = Options { first_touch: FirstTouch::Refuse, ..Options::default() };
            match self.random.below(100) {
                _ if self.load.apart && node.me().get() == 1 => {
                    self.grab(object, || block_on(node.grab(key)))
                }
                _ if self.load.apart => self.get(object, || block_on(node.get(key))),
                0..45 => self.get(object, || block_on(node.get(key))),
                45..50 => self.get(object, || block_on(node.get_with(key, refuse))),
                50..55 => self.get(object, || block_on(node.try_get(key, Options::default()))),
                55..83 => self.grab(object, || block_on(node.grab(key))),
                83..90 => self.grab(object, || block_on(node.try_grab(key, Options::default()))),
                90..96 => node.prefetch(self.objects.clone()),
                _ => self.remove(object),
            }
        }
        self.log
    }

    fn get(&mut self, object: usize, ask: impl FnOnce() -> Result<Shared, OpError>) {
        let asked = self.here.now();
        let result = ask();
        let had = self.here.now();
        match result {
            Err(error) => self.without(object, asked, error),
            Ok(guard) => {
                let saw = self.look(object, &guard);
                self.linger();
                if values::read(&guard) != Ok(saw) {
                    self.wrong(object, format!("changed under a get: {saw:#x}, {:x?}", values::read(&guard)));
                }
                let put = self.here.now();
                drop(guard);
                self.note(object, What::Got(saw), [asked, had, put, self.here.now()]);
            }
        }
    }

    fn grab(&mut self, object: usize, ask: impl FnOnce() -> Result<Exclusive, OpError>) {
        let asked = self.here.now();
        let result = ask();
        let had = self.here.now();
        match result {
            Err(error) => self.without(object, asked, error),
            Ok(mut guard) => {
                let saw = self.look(object, &guard);
                let wrote = (self.random.below(5) > 0).then(|| self.fresh());
                if let Some(value) = wrote {
                    values::write(&mut guard, value);
                }
                self.linger();
                if values::read(&guard) != Ok(wrote.unwrap_or(saw)) {
                    self.wrong(object, format!("changed under a grab: {:x?}", values::read(&guard)));
                }
                let put = self.here.now();
                drop(guard);
                self.note(object, What::Grabbed(saw, wrote), [asked, had, put, self.here.now()]);
            }
        }
    }

    fn remove(&mut self, object: usize) {
        let asked = self.here.now();
        let result = block_on(self.node.remove(self.objects[object]));
        let over = self.here.now();
        match result {
            Ok(()) => self.note(object, What::Removed, [asked, over, over, over]),
            Err(error) => self.wrong(object, format!("remove failed: {error}")),
        }
    }

    fn without(&mut self, object: usize, asked: Nanos, error: OpError) {
        let over = self.here.now();
        match error {
            OpError::WouldBlock => self.note(object, What::Refused, [asked, over, over, over]),
            OpError::Absent => self.note(object, What::Absent, [asked, over, over, over]),
            error => self.wrong(object, format!("an operation failed: {error}")),
        }
    }

    fn look(&mut self, object: usize, bytes: &impl Deref<Target = [u8]>) -> u32 {
        values::read(bytes).unwrap_or_else(|(first, place)| {
            self.wrong(object, format!("torn: {first:#x}, and another from word {place} on"));
            first
        })
    }

    /// A value that nobody else writes.
    fn fresh(&mut self) -> u32 {
        self.written += 1;
        u32::from(self.node.me().get()) << 28 | u32::from(self.thread) << 24 | self.written
    }

    fn linger(&mut self) {
        if self.random.below(LONG) == 0 {
            std::thread::sleep(Duration::from_millis(1 + self.random.below(12) as u64));
        }
    }

    fn note(&mut self, object: usize, what: What, times: [Nanos; 4]) {
        self.log.entries.push(Entry { thread: self.thread, object, what, times });
    }

    fn wrong(&mut self, object: usize, words: String) {
        let (me, thread, key) = (self.node.me(), self.thread, self.objects[object]);
        self.log.wrong.push(format!("n{me}.{thread}, {key:?}: {words}"));
    }
}
