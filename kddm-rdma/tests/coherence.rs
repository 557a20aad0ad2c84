//! What a node promises: one value of an object in the whole cluster, holds that exclude, operations that end.

mod cluster;

use cluster::{Cluster, id, page, small, stored};
use futures_lite::future::{block_on, or, poll_once};
use kddm_rdma::{FirstTouch, Host, Node, ObjectKey, OpError, Options};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

fn value(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes[..8].try_into().unwrap())
}

fn set_value(bytes: &mut [u8], value: u64) {
    let word = value.to_le_bytes();
    bytes.chunks_exact_mut(8).for_each(|chunk| chunk.copy_from_slice(&word));
}

fn is_whole(bytes: &[u8]) -> bool {
    bytes.chunks_exact(8).all(|chunk| chunk == &bytes[..8])
}

/// Fails the test instead of hanging it.
fn within<T>(cluster: &Cluster, seconds: u64, future: impl Future<Output = T>) -> T {
    let late = async {
        cluster.host.sleep(Duration::from_secs(seconds)).await;
        panic!("not done after {seconds} s");
    };
    block_on(or(future, late))
}

fn increment(node: &Node, key: ObjectKey) -> Result<u64, OpError> {
    block_on(async {
        let mut guard = node.grab(key).await?;
        assert!(is_whole(&guard));
        let next = value(&guard) + 1;
        set_value(&mut guard, next);
        Ok(next)
    })
}

fn increments_add_up(nodes: u8, threads: usize, rounds: usize, keys: &[ObjectKey]) {
    let cluster = Cluster::new(nodes);
    thread::scope(|scope| {
        for node in &cluster.nodes {
            for worker in 0..threads {
                scope.spawn(move || {
                    for round in 0..rounds {
                        increment(node, keys[(round + worker) % keys.len()]).unwrap();
                    }
                });
            }
        }
    });
    let total: u64 = keys
        .iter()
        .map(|&key| within(&cluster, 5, async { value(&cluster.nodes[0].get(key).await.unwrap()) }))
        .sum();
    assert_eq!(total, (usize::from(nodes) * threads * rounds) as u64);
}

#[test]
fn increments_of_one_small_object_by_two_nodes_add_up() {
    increments_add_up(2, 2, 1000, &[small(1)]);
}

#[test]
fn increments_of_one_page_by_three_nodes_add_up() {
    increments_add_up(3, 2, 500, &[page(1)]);
}

#[test]
fn increments_of_many_objects_add_up() {
    let keys: Vec<ObjectKey> =
        (0..100).map(|object| if object % 2 == 0 { small(object) } else { page(object) }).collect();
    increments_add_up(3, 2, 2000, &keys);
}

#[test]
fn increments_of_stored_objects_add_up() {
    increments_add_up(2, 2, 500, &[stored(1), stored(64), stored(128)]);
}

#[test]
fn readers_see_no_old_bytes_and_none_that_are_torn() {
    let cluster = Cluster::new(3);
    let written = std::sync::atomic::AtomicU64::new(0);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for node in &cluster.nodes[1..] {
            for _ in 0..2 {
                let (written, over) = (&written, &over);
                scope.spawn(move || {
                    while !over.load(Ordering::Relaxed) {
                        let before = written.load(Ordering::SeqCst);
                        let guard = block_on(node.get(page(7))).unwrap();
                        assert!(is_whole(&guard), "torn");
                        assert!(value(&guard) >= before, "old: {} after {before}", value(&guard));
                    }
                });
            }
        }
        for _ in 0..2000 {
            let new = increment(&cluster.nodes[0], page(7)).unwrap();
            written.store(new, Ordering::SeqCst);
        }
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn tries_do_not_wait_and_change_nothing() {
    let cluster = Cluster::new(2);
    let (one, two) = (&cluster.nodes[0], &cluster.nodes[1]);
    let options = Options::default();
    within(&cluster, 5, async {
        let holder = one.grab(small(1)).await.unwrap();
        assert_eq!(two.try_get(small(1), options).await.unwrap_err(), OpError::WouldBlock);
        assert_eq!(two.try_grab(small(1), options).await.unwrap_err(), OpError::WouldBlock);
        assert_eq!(one.try_get(small(1), options).await.unwrap_err(), OpError::WouldBlock);
        drop(holder);
        let messages = one.status().fabric.messages_sent;
        drop(one.grab(small(1)).await.unwrap());
        assert_eq!(one.status().fabric.messages_sent, messages, "the failed tries left the ownership alone");
        // What the failed tries have said may still be on its way, which is something to wait for.
        while two.try_grab(small(1), options).await.is_err() {}
        while one.try_get(small(1), options).await.is_err() {}
    });
}

#[test]
fn untouched_removed_and_manual_objects() {
    let cluster = Cluster::new(2);
    let (one, two) = (&cluster.nodes[0], &cluster.nodes[1]);
    let refuse = Options { first_touch: FirstTouch::Refuse, ..Options::default() };
    let manual = Options { first_touch: FirstTouch::Manual, ..Options::default() };
    within(&cluster, 10, async {
        for key in [small(1), page(1), stored(1), small(1000), page(1000), stored(1000)] {
            assert_eq!(one.get_with(key, refuse).await.unwrap_err(), OpError::Absent, "{key:?}");
            two.grab_with(key, manual).await.unwrap().fill(3);
            assert!(one.get_with(key, refuse).await.unwrap().iter().all(|&byte| byte == 3));
            one.remove(key).await.unwrap();
            assert_eq!(two.get_with(key, refuse).await.unwrap_err(), OpError::Absent, "{key:?}");
            assert!(two.get(key).await.unwrap().iter().all(|&byte| byte == 0));
        }
        assert!(cluster.device.objects.lock().is_empty(), "nothing was synced, all was removed");
    });
}

#[test]
fn sync_writes_what_was_put_wherever_it_is() {
    let cluster = Cluster::new(2);
    within(&cluster, 10, async {
        for object in [0, 64, 128, 192] {
            let key = stored(object);
            for node in &cluster.nodes {
                set_value(&mut node.grab(key).await.unwrap(), u64::from(node.me().get()));
                cluster.nodes[0].sync(key).await.unwrap();
                assert_eq!(value(&cluster.device.objects.lock()[&key]), u64::from(node.me().get()));
            }
        }
        assert!(cluster.nodes.iter().all(|node| node.dirty().is_empty()));
    });
}

#[test]
fn a_broken_device_fails_operations_and_loses_nothing() {
    let cluster = Cluster::new(2);
    let node = &cluster.nodes[0];
    within(&cluster, 10, async {
        set_value(&mut node.grab(stored(1)).await.unwrap(), 5);
        cluster.device.broken.store(true, Ordering::Relaxed);
        assert_eq!(node.sync(stored(1)).await, Err(OpError::Device(nix::libc::EIO)));
        assert_eq!(node.get(stored(2)).await.unwrap_err(), OpError::Device(nix::libc::EIO));
        cluster.device.broken.store(false, Ordering::Relaxed);
        assert_eq!(value(&cluster.nodes[1].get(stored(1)).await.unwrap()), 5);
        node.sync(stored(1)).await.unwrap();
        node.get(stored(2)).await.unwrap();
    });
}

#[test]
fn a_dropped_future_leaves_no_hold_behind() {
    let cluster = Cluster::new(2);
    let (one, two) = (&cluster.nodes[0], &cluster.nodes[1]);
    within(&cluster, 10, async {
        for round in 0..200 {
            let key = page(round % 3);
            let mut holder = Some(one.grab(key).await.unwrap());
            {
                let mut waiting = pin!(two.grab(key));
                assert!(poll_once(&mut waiting).await.is_none());
                // Every other time the hold may be granted while the future is dropped.
                holder = holder.filter(|_| round % 2 == 0);
            }
            drop(holder);
            drop(one.grab(key).await.unwrap());
            drop(two.get(key).await.unwrap());
        }
    });
}

#[test]
fn flush_drops_a_copy_but_never_the_last() {
    let cluster = Cluster::new(2);
    let (one, two) = (&cluster.nodes[0], &cluster.nodes[1]);
    within(&cluster, 10, async {
        set_value(&mut one.grab(page(1)).await.unwrap(), 9);
        drop(two.get(page(1)).await.unwrap());
        for node in [one, two, one, two] {
            let _ = node.flush(page(1)).await;
            assert_eq!(value(&node.get(page(1)).await.unwrap()), 9);
        }
    });
}

#[test]
fn prefetched_objects_hit() {
    let cluster = Cluster::new(2);
    let (one, two) = (&cluster.nodes[0], &cluster.nodes[1]);
    within(&cluster, 10, async {
        for object in 0..50 {
            set_value(&mut one.grab(page(object)).await.unwrap(), 1);
        }
        two.prefetch((0..50).map(page));
        while (0..50)
            .any(|object| two.dump(page(object)).word.is_none_or(|word| word.mode() == kddm_rdma::Mode::None))
        {
            cluster.host.sleep(Duration::from_millis(1)).await;
        }
        let before = two.status().counts;
        for object in 0..50 {
            assert_eq!(value(&two.get(page(object)).await.unwrap()), 1);
        }
        let after = two.status().counts;
        assert_eq!((after.hits - before.hits, after.misses - before.misses), (50, 0));
    });
}

#[test]
fn an_arena_far_smaller_than_the_set_works_on_a_device() {
    let cluster = Cluster::with_arena(2, 1 << 20);
    const OBJECTS: u32 = 1500;
    within(&cluster, 20, async {
        for object in 0..OBJECTS {
            let node = &cluster.nodes[(object % 2) as usize];
            let mut guard =
                node.grab(stored(object)).await.unwrap_or_else(|error| panic!("{object}: {error}"));
            set_value(&mut guard, u64::from(object) + 1);
        }
        for object in 0..OBJECTS {
            for node in &cluster.nodes {
                let guard =
                    node.get(stored(object)).await.unwrap_or_else(|error| panic!("{object}: {error}"));
                assert!(is_whole(&guard));
                assert_eq!(value(&guard), u64::from(object) + 1, "object {object} on {}", node.me());
            }
        }
    });
}

#[test]
fn an_arena_full_of_held_objects_fails_instead_of_hanging() {
    let cluster = Cluster::with_arena(1, 1 << 20);
    let node = &cluster.nodes[0];
    within(&cluster, 10, async {
        let mut held = Vec::new();
        let failed = loop {
            match node.grab(stored(held.len() as u32)).await {
                Ok(guard) => held.push(guard),
                Err(error) => break error,
            }
        };
        assert_eq!(failed, OpError::NoMemory);
        assert!(held.len() > 100, "only {} of 256 pages could be held", held.len());
        let more = held.len() as u32;
        held.clear();
        drop(node.grab(stored(more)).await.unwrap());
    });
}

#[test]
fn what_needs_a_lost_node_fails_soon() {
    let cluster = Cluster::new(3);
    let (one, three) = (&cluster.nodes[0], &cluster.nodes[2]);
    let held: Vec<_> = (0..8).map(|object| block_on(three.grab(page(object * 64))).unwrap()).collect();
    let began = Instant::now();
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..8)
            .map(|object| scope.spawn(move || block_on(one.grab(page(object * 64))).map(drop)))
            .collect();
        while one.status().counts.misses < 8 {
            thread::yield_now();
        }
        cluster.network.cut(id(3));
        for thread in waiting {
            let outcome = thread.join().unwrap();
            assert!(matches!(outcome, Err(OpError::PeerLost(_) | OpError::Lost)), "{outcome:?}");
        }
    });
    assert!(began.elapsed() < Duration::from_secs(5));
    drop(held);
    let policy = |object| one.dump(small(object)).home;
    let elsewhere = (0..100).map(|number| number * 64).find(|&object| policy(object) == Some(id(2))).unwrap();
    within(&cluster, 5, async { drop(one.grab(small(elsewhere)).await.unwrap()) });
    assert!(one.status().peers.iter().any(|peer| peer.node == id(3) && peer.up.is_none()));
}

#[test]
fn shutdown_ends_those_who_wait() {
    let cluster = Cluster::new(2);
    let (one, two) = (&cluster.nodes[0], &cluster.nodes[1]);
    let held = block_on(one.grab(page(1))).unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| block_on(two.grab(page(1))).map(drop));
        while two.status().counts.misses < 1 {
            thread::yield_now();
        }
        two.shutdown();
        assert_eq!(waiting.join().unwrap(), Err(OpError::PeerLost(id(2))));
    });
    assert_eq!(block_on(two.get(page(2))).unwrap_err(), OpError::PeerLost(id(2)));
    drop(held);
}

#[test]
fn sets_have_names() {
    use kddm_rdma::{Owner, RegistryError, SetInfo, SetPolicy};
    let cluster = Cluster::new(2);
    let (one, two) = (&cluster.nodes[0], &cluster.nodes[1]);
    within(&cluster, 10, async {
        assert_eq!(two.open_set("a").await, Err(RegistryError::Unknown));
        let policy = SetPolicy::volatile(100);
        let owner = Owner { uid: 1000, gid: 100, mode: 0o640 };
        let set = two.create_set("a", policy, owner).await.unwrap();
        assert_eq!(one.create_set("a", policy, owner).await, Err(RegistryError::Exists));
        assert_eq!(one.open_set("a").await, Ok(SetInfo { id: set, policy, owner }));
        one.grab(ObjectKey::new(set, 5)).await.unwrap().fill(1);
        assert_eq!(&*two.get(ObjectKey::new(set, 5)).await.unwrap(), &[1; 100]);
        for number in 0..50 {
            one.create_set(&format!("set {number}"), policy, owner).await.unwrap();
        }
        one.destroy_set("a").await.unwrap();
        assert_eq!(two.open_set("a").await, Err(RegistryError::Unknown));
        assert_ne!(two.create_set("a", policy, owner).await.unwrap(), set, "an id is used once");
        assert!(two.open_set("set 49").await.is_ok());
        assert_eq!(two.open_set("").await, Err(RegistryError::Name));
    });
}

#[test]
fn sets_are_listed_with_their_owners() {
    use kddm_rdma::{Home, Owner, SetInfo, SetPolicy};
    let cluster = Cluster::new(2);
    let (one, two) = (&cluster.nodes[0], &cluster.nodes[1]);
    within(&cluster, 20, async {
        assert_eq!(one.sets().await, Ok(vec![]));
        let mut made = Vec::new();
        for number in 0..200 {
            let (name, policy) = (format!("set {number:03}"), SetPolicy::volatile(number));
            let owner = Owner { uid: number, gid: 1, mode: 0o600 };
            let id = two.create_set(&name, policy, owner).await.unwrap();
            made.push((name, SetInfo { id, policy, owner }));
        }
        assert_eq!(one.sets().await.as_ref(), Ok(&made));
        for (name, _) in made.iter().step_by(2) {
            one.destroy_set(name).await.unwrap();
        }
        let mut left: Vec<_> = made.into_iter().skip(1).step_by(2).collect();
        let (policy, owner) = (SetPolicy { home: Home::ObjectBits, ..left[0].1.policy }, left[0].1.owner);
        let id = two.create_set("a", policy, owner).await.unwrap();
        left.insert(0, ("a".to_owned(), SetInfo { id, policy, owner }));
        assert_eq!(two.sets().await, Ok(left));
    });
}
