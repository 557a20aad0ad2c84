//! Holds, over two nodes.

use crate::{attach, attached};
use futures_lite::future::{block_on, zip};
use kddm_object::{Home, NodeId};
use kddm_tests::Cluster;
use kdfs_client::{HoldOptions, Refusal, SetOptions, Wait, wait_any};
use std::{thread, time::Duration};

const SHORT: Duration = Duration::from_millis(50);

#[test]
fn programs_on_two_nodes_count_together() {
    const ROUNDS: u64 = 300;
    let cluster = Cluster::up(2);
    let set = attach(&cluster, 1).create_set("counters", SetOptions::new(8)).unwrap();
    let count = |node| {
        let session = attach(&cluster, node);
        let set = session.open_set("counters").unwrap();
        for _ in 0..ROUNDS {
            let mut value = set.grab(7).unwrap();
            let count = u64::from_le_bytes(value[..].try_into().unwrap());
            value.copy_from_slice(&(count + 1).to_le_bytes());
        }
    };
    thread::scope(|scope| {
        for program in 0..4 {
            scope.spawn(move || count(1 + program % 2));
        }
    });
    let count = u64::from_le_bytes(set.get(7).unwrap()[..].try_into().unwrap());
    assert_eq!(count, 4 * ROUNDS);
}

#[test]
fn threads_of_one_program_count_together() {
    const ROUNDS: u32 = 200;
    let cluster = Cluster::up(1);
    let set = attach(&cluster, 1).create_set("counters", SetOptions::new(4)).unwrap();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    let mut value = set.grab(0).unwrap();
                    let count = u32::from_le_bytes(value[..].try_into().unwrap());
                    value.copy_from_slice(&(count + 1).to_le_bytes());
                }
            });
        }
    });
    assert_eq!(set.get(0).unwrap()[..], (8 * ROUNDS).to_le_bytes());
}

#[test]
fn who_may_not_wait_or_not_long_is_told() {
    let cluster = Cluster::up(2);
    let one = attach(&cluster, 1).create_set("set", SetOptions::new(64)).unwrap();
    let two = attach(&cluster, 2).open_set("set").unwrap();
    let only_existing = HoldOptions { only_existing: true, ..HoldOptions::default() };
    assert_eq!(two.get_with(1, only_existing).unwrap_err().refusal(), Some(Refusal::Absent));
    let held = one.grab(1).unwrap();
    assert_eq!(two.try_get(1).unwrap_err().refusal(), Some(Refusal::WouldBlock));
    assert_eq!(two.try_grab(1).unwrap_err().refusal(), Some(Refusal::WouldBlock));
    assert_eq!(two.grab_for(1, SHORT).unwrap_err().refusal(), Some(Refusal::TimedOut));
    drop(held);
    assert_eq!(two.get_for(1, Duration::from_secs(30)).unwrap()[..], [0; 64]);
}

#[test]
fn several_are_under_way_and_come_in_any_order() {
    let cluster = Cluster::up(2);
    let one = attach(&cluster, 1).create_set("set", SetOptions::new(8)).unwrap();
    let two = attach(&cluster, 2).open_set("set").unwrap();
    let held = one.grab(0).unwrap();
    let mut pending: Vec<_> =
        (0..64).map(|object| two.begin_get(object, HoldOptions::default()).unwrap()).collect();
    let mut came = Vec::new();
    while pending.len() > 1 {
        let ended = pending.swap_remove(wait_any(&pending).unwrap().unwrap());
        came.push(ended.wait().unwrap());
    }
    assert_eq!(pending[0].object(), 0, "who is held elsewhere comes last");
    assert!(pending[0].wait_for(SHORT).unwrap().is_none());
    drop(held);
    let last = pending.remove(0).wait().unwrap();
    assert_eq!((last.object(), came.len()), (0, 63));
    assert!(wait_any::<kdfs_client::Shared>(&[]).unwrap().is_none());
}

#[test]
fn holds_are_futures() {
    let cluster = Cluster::up(2);
    let one = attach(&cluster, 1).create_set("set", SetOptions::new(8)).unwrap();
    let two = attach(&cluster, 2).open_set("set").unwrap();
    one.grab(0).unwrap()[0] = 5;
    let read = zip(
        two.begin_get(0, HoldOptions::default()).unwrap(),
        two.begin_grab(1, HoldOptions::default()).unwrap(),
    );
    let (shared, exclusive) = block_on(read);
    assert_eq!((shared.unwrap()[0], exclusive.unwrap().object()), (5, 1));
}

#[test]
fn a_hold_that_nobody_waits_for_is_given_up() {
    let cluster = Cluster::up(2);
    let one = attach(&cluster, 1).create_set("set", SetOptions::new(8)).unwrap();
    let two = attach(&cluster, 2).open_set("set").unwrap();
    let held = one.grab(0).unwrap();
    let waiting = two.begin_grab(0, HoldOptions::default()).unwrap();
    drop(waiting);
    drop(held);
    one.grab_for(0, Duration::from_secs(30)).unwrap().put().unwrap();
    // Whether it was granted before it was given up is chance: either way nothing is left.
    for object in 0..100 {
        drop(two.begin_grab(object, HoldOptions::default()).unwrap());
    }
    for object in 0..100 {
        one.grab_for(object, Duration::from_secs(30)).unwrap();
    }
    one.grab(0).unwrap().put().unwrap();
    assert_eq!((attached(&cluster, 2), attached(&cluster, 1)), ((1, 0), (1, 0)));
}

#[test]
fn what_was_changed_and_forgotten_is_as_before() {
    let cluster = Cluster::up(1);
    let set = attach(&cluster, 1).create_set("set", SetOptions::new(8)).unwrap();
    set.grab(0).unwrap()[0] = 1;
    let mut value = set.grab(0).unwrap();
    value[0] = 2;
    value.forget_changes();
    assert_eq!(set.get(0).unwrap()[0], 1);
}

#[test]
fn ranges_prefetch_remove_flush_and_what_is_local() {
    let cluster = Cluster::up(2);
    let options = SetOptions { home: Home::Node(NodeId::new(1).unwrap()), ..SetOptions::new(4096) };
    let one = attach(&cluster, 1).create_set("set", options).unwrap();
    let two = attach(&cluster, 2).open_set("set").unwrap();
    for (number, object) in one.grab_range(10..74).unwrap().iter_mut().zip(0_u8..) {
        number.fill(object);
    }
    let range = two.get_range(10..74).unwrap();
    assert!(range.iter().zip(0_u8..).all(|(object, value)| object[..] == [value; 4096]));
    drop(range);
    assert!(two.get_range(5..5).unwrap().is_empty());
    let all = two.get_range(0..u32::MAX).unwrap_err();
    assert!(all.to_string().contains("no room"), "{all}");
    let local = || two.local().collect::<kdfs_client::Result<Vec<u32>>>().unwrap();
    assert_eq!(local(), (10..74).collect::<Vec<u32>>());
    two.flush(12).unwrap();
    assert!(!local().contains(&12));
    one.remove(11).unwrap();
    assert!(!local().contains(&11), "the copy went with the object");
    assert_eq!(two.get(11).unwrap()[..], [0; 4096], "it is new");
    two.prefetch(12..13).unwrap();
    two.get(12).unwrap();
    assert!(local().contains(&12));
    two.sync(12).unwrap();
}

#[test]
fn a_set_that_is_destroyed_is_gone_for_all_and_who_holds_holds() {
    let cluster = Cluster::up(2);
    let session = attach(&cluster, 1);
    let one = session.create_set("set", SetOptions::new(64)).unwrap();
    let two = attach(&cluster, 2).open_set("set").unwrap();
    two.grab(0).unwrap()[0] = 7;
    let held = two.get(0).unwrap();
    let waiting = one.begin_grab(0, HoldOptions::default()).unwrap();
    session.destroy_set("set").unwrap();
    assert_eq!(waiting.wait().unwrap_err().refusal(), Some(Refusal::NoSet));
    assert_eq!(held[0], 7);
    drop(held);
    for set in [&one, &two] {
        assert_eq!(set.get(0).unwrap_err().refusal(), Some(Refusal::NoSet));
    }
    let new = session.create_set("set", SetOptions::new(64)).unwrap();
    assert_ne!(new.id(), one.id());
    assert_eq!(new.get(0).unwrap()[0], 0);
}

/// Two programs that take the same ranges, from either end of what they know, never wait for each other for ever.
#[test]
fn crossed_ranges_end() {
    let cluster = Cluster::up(2);
    let one = attach(&cluster, 1).create_set("set", SetOptions::new(8)).unwrap();
    let two = attach(&cluster, 2).open_set("set").unwrap();
    thread::scope(|scope| {
        for set in [&one, &two] {
            scope.spawn(move || {
                for round in 0..30 {
                    let start = round % 5;
                    set.grab_range(start..start + 8).unwrap();
                }
            });
        }
    });
}

#[test]
fn what_a_program_asks_too_much_is_refused_and_costs_it_nothing() {
    let cluster = Cluster::up(1);
    let session = attach(&cluster, 1);
    assert_eq!(session.open_set("none").unwrap_err().refusal(), Some(Refusal::UnknownName));
    assert_eq!(session.create_set("", SetOptions::new(8)).unwrap_err().refusal(), Some(Refusal::Name));
    let name = "n".repeat(300);
    assert_eq!(session.create_set(&name, SetOptions::new(8)).unwrap_err().refusal(), Some(Refusal::Name));
    let too_large = session.create_set("set", SetOptions::new(1 << 21)).unwrap_err();
    assert_eq!(too_large.refusal(), Some(Refusal::Malformed));
    let set = session.create_set("set", SetOptions::new(1 << 20)).unwrap();
    assert_eq!(
        session.create_set("set", SetOptions::new(8)).unwrap_err().refusal(),
        Some(Refusal::NameTaken)
    );
    let mut held = Vec::new();
    let error = loop {
        match set.get(held.len() as u32) {
            Ok(guard) => held.push(guard),
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("put some holds first"), "{error}");
    assert_eq!(held.len(), 4, "a window of 4 MiB");
    held.pop();
    set.get_with(9, HoldOptions { wait: Wait::Never, ..HoldOptions::default() }).unwrap();
    // Puts by dropping are not waited for; what is asked behind them is answered behind them.
    session.ping().unwrap();
    assert_eq!(attached(&cluster, 1), (1, 3));
}
