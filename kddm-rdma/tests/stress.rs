//! Random operations by many threads of several nodes, checked against a model: whoever holds an object sees exactly what was
//! last written to it. `KDDM_SEED=n` replays the operations of a run (not their interleaving).

mod cluster;

use cluster::{Cluster, Setup, page, small, stored};
use futures_lite::future::{block_on, or, poll_once};
use kddm_rdma::{Host, Node, ObjectKey, OpError, Options};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

/// splitmix64 (Steele, Lea, Flood, OOPSLA 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

fn seed() -> u64 {
    let chosen = std::env::var("KDDM_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = chosen.unwrap_or_else(|| {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().subsec_nanos().into()
    });
    println!("KDDM_SEED={seed}");
    seed
}

/// An object and what was last written to it. Read and written only under a hold of the object.
struct Checked {
    key: ObjectKey,
    last: AtomicU64,
    wrong: AtomicU64,
}

impl Checked {
    fn check(&self, bytes: &[u8], node: &Node) {
        let last = self.last.load(Ordering::SeqCst);
        let values = bytes.chunks_exact(8).map(|chunk| u64::from_le_bytes(chunk.try_into().unwrap()));
        let Some((place, value)) = values.enumerate().find(|&(_, value)| value != last) else { return };
        if self.wrong.fetch_add(1, Ordering::SeqCst) == 0 {
            let (key, me, state) = (self.key, node.me(), node.dump(self.key).state);
            eprintln!("{key:?} on node {me}: {value} instead of {last} at word {place}; {state}");
        }
    }

    fn write(&self, bytes: &mut [u8]) {
        let next = self.last.load(Ordering::SeqCst) + 1;
        bytes.chunks_exact_mut(8).for_each(|chunk| chunk.copy_from_slice(&next.to_le_bytes()));
        self.last.store(next, Ordering::SeqCst);
    }
}

/// One random operation.
async fn operate(node: &Node, object: &Checked, what: usize) -> Result<(), OpError> {
    let key = object.key;
    match what {
        0..40 => {
            let guard = node.get(key).await?;
            object.check(&guard, node);
        }
        40..70 => {
            let mut guard = node.grab(key).await?;
            object.check(&guard, node);
            object.write(&mut guard);
        }
        70..76 => {
            if let Ok(guard) = node.try_get(key, Options::default()).await {
                object.check(&guard, node);
            }
        }
        76..82 => {
            if let Ok(mut guard) = node.try_grab(key, Options::default()).await {
                object.check(&guard, node);
                object.write(&mut guard);
            }
        }
        82..86 => node.flush(key).await?,
        86..90 => node.sync(key).await?,
        90..94 => node.prefetch([key]),
        94..97 => drop(poll_once(node.grab(key)).await),
        _ => drop(poll_once(node.get(key)).await),
    }
    Ok(())
}

/// How often something else was seen than what was last written.
fn run(cluster: &Cluster, objects: &[Checked], threads: usize, rounds: usize) -> u64 {
    let seed = seed();
    let ended = AtomicU64::new(0);
    thread::scope(|scope| {
        for node in &cluster.nodes {
            for worker in 0..threads {
                let mut random = Random(seed ^ u64::from(node.me().get()) << 32 ^ (worker as u64) << 40);
                let (host, ended) = (&cluster.host, &ended);
                scope.spawn(move || {
                    for _ in 0..rounds {
                        let (object, what) = (&objects[random.below(objects.len())], random.below(100));
                        block_on(or(async { operate(node, object, what).await.unwrap() }, async {
                            host.sleep(Duration::from_secs(10)).await;
                            for node in &cluster.nodes {
                                eprintln!("{:?}", node.dump(object.key));
                                eprintln!("{:?}", node.status());
                            }
                            panic!("{what} on {:?} does not end on {}", object.key, node.me());
                        }));
                    }
                    ended.fetch_add(1, Ordering::Relaxed);
                });
            }
        }
    });
    assert_eq!(ended.into_inner() as usize, cluster.nodes.len() * threads);
    objects.iter().map(|object| object.wrong.load(Ordering::SeqCst)).sum()
}

fn objects(keys: impl IntoIterator<Item = ObjectKey>) -> Vec<Checked> {
    keys.into_iter().map(|key| Checked { key, last: AtomicU64::new(0), wrong: AtomicU64::new(0) }).collect()
}

#[test]
fn few_hot_objects() {
    let cluster = Cluster::new(3);
    assert_eq!(run(&cluster, &objects([small(1), page(2), stored(3)]), 2, 2000), 0);
}

#[test]
fn many_objects() {
    let cluster = Cluster::new(3);
    let keys = (0..20).flat_map(|number| [small(number * 16), page(number * 16), stored(number * 16)]);
    assert_eq!(run(&cluster, &objects(keys), 2, 4000), 0);
}

#[test]
fn more_objects_than_memory() {
    let cluster = Cluster::with_arena(3, 1 << 20);
    assert_eq!(run(&cluster, &objects((0..600).map(stored)), 2, 4000), 0);
}

#[test]
fn few_hot_objects_over_tcp() {
    let cluster = Setup { tcp: true, ..Setup::nodes(3) }.start();
    assert_eq!(run(&cluster, &objects([small(1), page(2), stored(3)]), 2, 500), 0);
}

#[test]
fn many_objects_over_tcp() {
    let cluster = Setup { tcp: true, ..Setup::nodes(2) }.start();
    let keys = (0..20).flat_map(|number| [small(number * 16), page(number * 16), stored(number * 16)]);
    assert_eq!(run(&cluster, &objects(keys), 2, 1000), 0);
}

#[test]
fn few_hot_objects_over_shm() {
    let cluster = Setup { shm: true, ..Setup::nodes(3) }.start();
    assert_eq!(run(&cluster, &objects([small(1), page(2), stored(3)]), 2, 2000), 0);
}

#[test]
fn many_objects_over_shm() {
    let cluster = Setup { shm: true, ..Setup::nodes(3) }.start();
    let keys = (0..20).flat_map(|number| [small(number * 16), page(number * 16), stored(number * 16)]);
    assert_eq!(run(&cluster, &objects(keys), 2, 2000), 0);
}

#[test]
fn more_objects_than_memory_over_shm() {
    let cluster = Setup { shm: true, arena: 1 << 20, ..Setup::nodes(3) }.start();
    assert_eq!(run(&cluster, &objects((0..600).map(stored)), 2, 2000), 0);
}

#[test]
fn without_invalidations_this_test_sees_old_bytes() {
    let cluster = Setup { unsound: true, ..Setup::nodes(2) }.start();
    let (one, two) = (&cluster.nodes[0], &cluster.nodes[1]);
    let object = &objects([page(1)])[0];
    block_on(async {
        object.write(&mut one.grab(page(1)).await.unwrap());
        object.check(&two.get(page(1)).await.unwrap(), two);
        assert_eq!(object.wrong.load(Ordering::SeqCst), 0);
        object.write(&mut one.grab(page(1)).await.unwrap());
        object.check(&two.get(page(1)).await.unwrap(), two);
    });
    assert_eq!(object.wrong.load(Ordering::SeqCst), 1);
}
