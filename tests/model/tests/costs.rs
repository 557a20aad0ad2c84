//! Messages and READs of each operation: the table in docs/protocol.md, counted. Home, owner and requester are different
//! nodes, bytes do not ride along, nothing else goes on.

use kddm_model::{Action, Options, Transitions, Want, World};
use kddm_object::{Hold, NodeId};

const GET: Want = Want::Hold(Hold::Shared);
const GRAB: Want = Want::Hold(Hold::Exclusive);
const HOME: u8 = 8;

fn node(id: u8) -> NodeId {
    NodeId::new(id).expect("1 to 8")
}

/// Eight nodes, one object with its home on the last.
fn options() -> Options {
    Options { nodes: HOME, operations: 9, objects: vec![(HOME, false)], ..Options::default() }
}

fn world() -> World {
    World::new(options())
}

fn apply(world: &mut World, action: Action) {
    world.apply(action, &mut Transitions::new()).unwrap_or_else(|broken| panic!("{action:?}: {broken:?}"));
}

/// Lets messages, READs and linkers go on to the end; how many messages and READs there were.
fn settle(world: &mut World) -> (usize, usize) {
    let (mut messages, mut steps) = (0, 0);
    while let Some(action) = world.actions(true).into_iter().find(|action| !matches!(action, Action::Put(..)))
    {
        messages += usize::from(matches!(action, Action::Deliver(..)));
        steps += usize::from(matches!(action, Action::Read(_)));
        apply(world, action);
    }
    (messages, steps / 2)
}

/// The operation with its put; what it cost.
fn run(world: &mut World, id: u8, want: Want) -> (usize, usize) {
    let key = world.keys()[0];
    apply(world, Action::Start(node(id), 0, key, want));
    let cost = settle(world);
    apply(world, Action::Put(node(id), 0));
    assert_eq!(settle(world), (0, 0), "a put costs nothing when nobody waits");
    cost
}

#[test]
fn a_get_of_a_shared_object_costs_2_messages_and_a_read() {
    let mut world = world();
    run(&mut world, 1, GRAB);
    run(&mut world, 2, GET);
    assert_eq!(run(&mut world, 3, GET), (2, 1));
    assert_eq!(run(&mut world, 3, GET), (0, 0), "a hit");
}

/// The object is shared, node 1 owns it, and `id` has had a copy.
fn remembered(world: &mut World, id: u8) {
    let key = world.keys()[0];
    run(world, 1, GRAB);
    run(world, 2, GET);
    run(world, id, GET);
    apply(world, Action::Evict(node(id), key));
}

#[test]
fn a_good_speculation_spares_no_message_but_the_wait_for_the_grant() {
    for (want, ends) in [(GET, 0), (GRAB, 6)] {
        let mut world = World::new(Options { hints: 1, ..options() });
        remembered(&mut world, 3);
        let key = world.keys()[0];
        apply(&mut world, Action::Start(node(3), 0, key, want));
        apply(&mut world, Action::Read(0));
        apply(&mut world, Action::Read(0));
        apply(&mut world, Action::Deliver(node(3), node(HOME)));
        apply(&mut world, Action::Deliver(node(HOME), node(3)));
        let held = world.actions(true).contains(&Action::Put(node(3), 0));
        assert_eq!(held, want == GET, "the grant is the end of a get");
        assert_eq!(settle(&mut world), (ends, 0), "INV and ACK of two, DONE and FETCHED");
    }
}

#[test]
fn a_bad_speculation_costs_a_read() {
    let mut world = World::new(Options { hints: 1, ..options() });
    remembered(&mut world, 3);
    run(&mut world, 1, GRAB);
    // Unlike the model's worlds, a node does not speculate if it has not heard of the home since.
    assert_eq!(run(&mut world, 3, GET), (4, 1));
    let mut world = World::new(Options { hints: 1, eager: true, ..options() });
    remembered(&mut world, 3);
    run(&mut world, 1, GRAB);
    assert_eq!(run(&mut world, 3, GET), (4, 2));
}

#[test]
fn a_get_of_an_exclusive_object_costs_4_and_a_read() {
    let mut world = world();
    run(&mut world, 1, GRAB);
    assert_eq!(run(&mut world, 2, GET), (4, 1));
}

#[test]
fn a_grab_with_k_sharers_costs_2k_and_4_and_a_read() {
    for k in 2..=5 {
        let mut world = world();
        run(&mut world, 1, GRAB);
        for sharer in 2..=k {
            run(&mut world, sharer, GET);
        }
        assert_eq!(run(&mut world, 7, GRAB), (2 * usize::from(k) + 4, 1), "{k} sharers");
    }
}

#[test]
fn an_upgrade_by_the_owner_with_k_others_costs_2k_and_3_and_no_read() {
    for k in 1..=5 {
        let mut world = world();
        run(&mut world, 1, GRAB);
        for sharer in 2..2 + k {
            run(&mut world, sharer, GET);
        }
        assert_eq!(run(&mut world, 1, GRAB), (2 * usize::from(k) + 3, 0), "{k} others");
    }
}

#[test]
fn a_grab_of_an_exclusive_object_costs_5_and_a_read() {
    let mut world = world();
    run(&mut world, 1, GRAB);
    assert_eq!(run(&mut world, 2, GRAB), (5, 1));
    assert_eq!(run(&mut world, 2, GRAB), (0, 0), "a hit");
}

/// Node 1 holds, node 2 is to be handed the object, node 3 stands in line.
fn contended() -> World {
    let mut world = World::new(Options { cancels: true, ..options() });
    for id in [1, 2, 3] {
        let key = world.keys()[0];
        apply(&mut world, Action::Start(node(id), 0, key, GRAB));
        settle(&mut world);
    }
    world
}

#[test]
fn who_leaves_the_line_costs_two_messages_and_no_hand_over() {
    let mut world = contended();
    apply(&mut world, Action::Cancel(node(3), 0));
    assert_eq!(settle(&mut world), (2, 0), "CANCEL and NACK");
    apply(&mut world, Action::Put(node(1), 0));
    assert_eq!(settle(&mut world), (3, 1), "HAND, DONE and FETCHED");
    apply(&mut world, Action::Put(node(2), 0));
    assert_eq!(settle(&mut world), (0, 0), "nobody waits");
}

#[test]
fn who_is_named_a_successor_takes_the_object_and_serves_its_own() {
    let mut world = contended();
    apply(&mut world, Action::Cancel(node(2), 0));
    assert_eq!(settle(&mut world), (1, 0), "CANCEL, which comes too late");
    apply(&mut world, Action::Put(node(1), 0));
    assert_eq!(settle(&mut world), (3 + 4, 2), "to node 2, and RECALL, HAND, DONE and FETCHED to node 3");
    apply(&mut world, Action::Put(node(3), 0));
    assert_eq!(settle(&mut world), (0, 0));
}
