//! The other forms of the operations: timed ones; the end of whole sets; homes that a function says; many objects at once; read-ahead; room at other nodes.

mod cluster;

use cluster::{Cluster, Setup, page, small};
use futures_lite::future::{block_on, or, poll_once};
use kddm_rdma::{
    Home, HomeFunction, Host, Mode, Node, NodeId, ObjectKey, OpError, Options, Owner, RegistryError,
    SetFamily, SetId, SetPolicy,
};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// Fails the test instead of hanging it.
fn within<T>(cluster: &Cluster, seconds: u64, future: impl Future<Output = T>) -> T {
    let late = async {
        cluster.host.sleep(Duration::from_secs(seconds)).await;
        panic!("not done after {seconds} s");
    };
    block_on(or(future, late))
}

const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(60);

fn rest(cluster: &Cluster) {
    while !cluster.nodes.iter().all(|node| node.is_quiet()) {
        std::thread::yield_now();
    }
}

#[test]
fn who_is_late_hears_so_and_nothing_stays_held() {
    let cluster = Cluster::new(2);
    let (one, two) = (&cluster.nodes[0], &cluster.nodes[1]);
    for object in 0..4 {
        let key = page(object * 64);
        within(&cluster, 20, async {
            let held = one.grab_for(key, Options::default(), LONG).await.unwrap();
            let late = two.get_for(key, Options::default(), SHORT).await.map(drop);
            assert_eq!(late, Err(OpError::TimedOut));
            let late = two.grab_for(key, Options::default(), Duration::ZERO).await.map(drop);
            assert_eq!(late, Err(OpError::TimedOut));
            let late = one.get_for(key, Options::default(), SHORT).await.map(drop);
            assert_eq!(late, Err(OpError::TimedOut), "threads of one node exclude each other too");
            drop(held);
            drop(two.grab_for(key, Options::default(), LONG).await.unwrap());
            drop(one.grab_for(key, Options::default(), LONG).await.unwrap());
        });
        rest(&cluster);
    }
}

#[test]
fn who_left_the_line_is_not_handed_the_object() {
    let cluster = Cluster::new(4);
    let key = page(0);
    let [one, two, three, ..] = &cluster.nodes[..] else { unreachable!() };
    within(&cluster, 20, async {
        let held = one.grab(key).await.unwrap();
        let mut next = pin!(two.grab(key));
        assert!(poll_once(&mut next).await.is_none());
        // It is named the successor by now: whoever comes stands in line.
        while !cluster.nodes.iter().any(|home| home.dump(key).state.contains("busy")) {
            std::thread::yield_now();
        }
        let late = three.grab_for(key, Options::default(), SHORT).await.map(drop);
        assert_eq!(late, Err(OpError::TimedOut));
        while !three.is_quiet() {
            std::thread::yield_now();
        }
        drop(held);
        drop(next.await.unwrap());
        rest(&cluster);
        let misses = two.status().counts.misses;
        drop(two.grab(key).await.unwrap());
        assert_eq!(two.status().counts.misses, misses, "it went on to a node that did not wait any more");
    });
}

const OWNER: Owner = Owner { uid: 0, gid: 0, mode: 0o600 };

fn slots_in_use(node: &Node) -> usize {
    node.status().memory.classes.iter().map(|class| class.slots - class.free).sum()
}

async fn create(node: &Node, name: &str, size: u32) -> SetId {
    node.create_set(name, SetPolicy::volatile(size), OWNER).await.unwrap()
}

#[test]
fn a_destroyed_set_ends_for_all_and_gives_its_memory_back() {
    let cluster = Cluster::new(3);
    let [one, two, three] = &cluster.nodes[..] else { unreachable!() };
    within(&cluster, 20, async {
        let set = create(one, "short", 4096).await;
        let key = |object| ObjectKey::new(set, object);
        for object in 0..200 {
            two.grab(key(object)).await.unwrap().fill(1);
            drop(three.get(key(object)).await.unwrap());
        }
        let held = two.grab(key(7)).await.unwrap();
        let mut waits = pin!(three.grab(key(7)));
        let mut waits_there = pin!(two.get(key(7)));
        assert!(poll_once(&mut waits).await.is_none() && poll_once(&mut waits_there).await.is_none());
        one.destroy_set("short").await.unwrap();
        assert_eq!(waits.await.map(drop), Err(OpError::Destroyed(set)), "who waits elsewhere");
        assert_eq!(waits_there.await.map(drop), Err(OpError::Destroyed(set)), "who waits where it is held");
        for node in &cluster.nodes {
            assert_eq!(node.get(key(3)).await.map(drop), Err(OpError::Destroyed(set)));
            assert_eq!(node.grab(key(1000)).await.map(drop), Err(OpError::Destroyed(set)));
            assert_eq!(
                node.try_get(key(4), Options::default()).await.map(drop),
                Err(OpError::Destroyed(set))
            );
            assert_eq!(node.open_set("short").await, Err(RegistryError::Unknown));
        }
        assert_eq!(&*held, &[1; 4096], "a hold lasts");
        drop(held);
        rest(&cluster);
        for object in 0..200 {
            for node in &cluster.nodes {
                let dump = node.dump(key(object));
                assert_eq!((dump.word, &*dump.state), (None, "nothing known"), "{object} on {}", node.me());
            }
        }
        let again = create(three, "short", 4096).await;
        assert_ne!(again, set);
        assert_eq!(&*two.get(ObjectKey::new(again, 7)).await.unwrap(), &[0; 4096]);
    });
}

/// Offers a function that says where objects are, and no sets.
struct Homes;

fn second_or_third(key: ObjectKey, _: &[NodeId]) -> Option<NodeId> {
    NodeId::new(2 + (key.object % 2) as u8).ok()
}

const FUNCTIONS: [HomeFunction; 1] = [HomeFunction { number: 9, home: second_or_third }];

impl SetFamily for Homes {
    fn kind(&self) -> u8 {
        99
    }
    fn name(&self) -> &str {
        "homes"
    }
    fn policy(&self, _: SetId) -> Option<SetPolicy> {
        None
    }
    fn home_functions(&self) -> &[HomeFunction] {
        &FUNCTIONS
    }
}

#[test]
fn a_function_says_where_the_objects_of_a_set_have_their_home() {
    let cluster = Setup { families: vec![Arc::new(Homes)], ..Setup::nodes(3) }.start();
    let [one, two, three] = &cluster.nodes[..] else { unreachable!() };
    within(&cluster, 20, async {
        let policy = SetPolicy { home: Home::Custom(FUNCTIONS[0]), ..SetPolicy::volatile(64) };
        let set = one.create_set("spread", policy, OWNER).await.unwrap();
        assert_eq!(three.open_set("spread").await.unwrap().policy, policy);
        for object in 0..10 {
            let key = ObjectKey::new(set, object);
            one.grab(key).await.unwrap().fill(1);
            rest(&cluster);
            let home = [two, three][object as usize % 2];
            assert_eq!(one.dump(key).home, Some(home.me()));
            assert_eq!(home.dump(key).state, "entry exclusive, owner 1");
        }
        let unknown = HomeFunction { number: 8, home: second_or_third };
        let policy = SetPolicy { home: Home::Custom(unknown), ..policy };
        assert_eq!(one.create_set("unknown", policy, OWNER).await, Err(RegistryError::Policy));
    });
}

#[test]
fn memory_does_not_grow_with_the_sets_that_were() {
    let cluster = Cluster::new(2);
    let (one, two) = (&cluster.nodes[0], &cluster.nodes[1]);
    let round = |number: u32| {
        within(&cluster, 20, async {
            let set = create(if number.is_multiple_of(2) { one } else { two }, "again", 4096).await;
            for object in 0..40 {
                two.grab(ObjectKey::new(set, object)).await.unwrap().fill(3);
            }
            one.destroy_set("again").await.unwrap();
        });
        rest(&cluster);
        (slots_in_use(one), slots_in_use(two))
    };
    let first = round(0);
    for number in 1..50 {
        assert_eq!(round(number), first, "round {number}");
    }
}

#[test]
fn a_range_is_asked_for_together_and_held_in_order() {
    let cluster = Cluster::new(3);
    let [one, two, three] = &cluster.nodes[..] else { unreachable!() };
    // Several homes: each has 64 neighbours.
    let keys = || (0..200).rev().map(page);
    within(&cluster, 30, async {
        let held = one.grab(page(0)).await.unwrap();
        let mut range = pin!(two.grab_all(keys(), Options::default()));
        assert!(poll_once(&mut range).await.is_none());
        let has = |object| two.dump(page(object)).word.is_some_and(|word| word.mode() == Mode::Exclusive);
        while !(1..200).all(has) {
            std::thread::yield_now();
        }
        // Mere copies: whoever asks gets them.
        three.grab(page(150)).await.unwrap().fill(3);
        one.grab(page(151)).await.unwrap().fill(1);
        drop(held);
        let all = range.await.unwrap();
        assert!(all.iter().map(|held| held.key()).eq((0..200).map(page)));
        assert_eq!((all[150][0], all[151][0], all[152][0]), (3, 1, 0));
        drop(all);
        let shared = one.get_range(page(0).set, 100..180, Options::default()).await.unwrap();
        assert_eq!((shared.len(), shared[50][0], shared[51][0]), (80, 3, 1));
        let other = three.get_range(page(0).set, 140..160, Options::default()).await.unwrap();
        assert_eq!(other[10][0], 3);
    });
}

#[test]
fn crossed_ranges_do_not_wait_for_each_other() {
    const ROUNDS: u32 = 60;
    let cluster = Cluster::new(3);
    within(&cluster, 60, async {
        let count = async |node: Node, step: u32| {
            for round in 0..ROUNDS {
                // The same objects in orders of their own.
                let keys = (0..8).map(|place| small((place * step + round) % 8 * 64));
                for mut held in node.grab_all(keys, Options::default()).await.unwrap() {
                    held[0] += 1;
                }
            }
        };
        let threads = [1, 3, 5].map(|step| {
            let node = cluster.nodes[step as usize / 2].clone();
            std::thread::spawn(move || block_on(count(node, step)))
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        for held in
            cluster.nodes[0].get_all((0..8).map(|at| small(at * 64)), Options::default()).await.unwrap()
        {
            assert_eq!(u32::from(held[0]), 3 * ROUNDS);
        }
    });
}

#[test]
fn a_home_without_room_gives_objects_without_a_device_to_who_has_room() {
    let cluster = Setup { arena: 4 << 20, ..Setup::nodes(3) }.start();
    let [one, two, three] = &cluster.nodes[..] else { unreachable!() };
    within(&cluster, 60, async {
        let policy = SetPolicy { home: Home::Node(one.me()), ..SetPolicy::volatile(4096) };
        let set = one.create_set("large", policy, OWNER).await.unwrap();
        let key = |object| ObjectKey::new(set, object);
        let fits = one.status().memory.room(4096);
        assert!(fits > 200, "{fits}");
        let value = |object: u32| (object % 251) as u8 + 1;
        for object in 0..2 * fits {
            one.grab(key(object)).await.unwrap().fill(value(object));
        }
        let has = |node: &Node| (0..2 * fits).filter(|&object| node.dump(key(object)).word.is_some()).count();
        let there = [two, three].map(has);
        assert!(there.iter().all(|&count| count > fits as usize / 4), "{there:?} of {}", 2 * fits);
        for node in &cluster.nodes {
            for object in 0..2 * fits {
                assert_eq!(
                    node.get(key(object)).await.unwrap()[17],
                    value(object),
                    "{object} at {}",
                    node.me()
                );
            }
        }
    });
}

#[test]
fn gets_in_order_find_what_was_brought_ahead() {
    const OBJECTS: u32 = 500;
    let cluster = Cluster::new(3);
    let [one, two, three] = &cluster.nodes[..] else { unreachable!() };
    three.read_ahead(0);
    let set = within(&cluster, 20, create(one, "in order", 4096));
    let misses = |node: &Node| {
        let before = node.status().counts;
        for object in 0..OBJECTS {
            within(&cluster, 20, async { drop(node.get(ObjectKey::new(set, object)).await.unwrap()) });
            rest(&cluster);
        }
        let after = node.status().counts;
        (after.misses - before.misses, after.read_ahead - before.read_ahead)
    };
    let (made, ahead) = misses(one);
    assert_eq!(made, u64::from(OBJECTS), "what nobody has touched cannot be brought; {ahead} asked for");
    let (missed, ahead) = misses(two);
    assert!(missed < 30 && ahead <= u64::from(OBJECTS + 32), "{missed} misses, {ahead} asked for");
    assert_eq!(misses(three), (u64::from(OBJECTS), 0), "turned off");
}
