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
fn world() -> World {
    World::new(Options { nodes: HOME, operations: 9, objects: vec![(HOME, false)], ..Options::default() })
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
