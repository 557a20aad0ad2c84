//! Every schedule of small worlds: the running core, explored by stateright. State counts are pinned: a change of the
//! protocol, wanted or not, moves them.

use kddm_model::{Action, Options, Transitions, Violation, Want, World};
use kddm_object::Hold;
use stateright::{Checker, Model, Property};

struct Explored(Options);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum State {
    Good(Box<World>),
    Broken(Violation),
}

impl Model for Explored {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::Good(Box::new(World::new(self.0.clone())))]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if let State::Good(world) = state {
            actions.extend(world.actions(false));
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let State::Good(world) = state else { return None };
        let mut next = world.clone();
        Some(match next.apply(action, &mut Transitions::new()) {
            Ok(()) => State::Good(next),
            Err(violation) => State::Broken(violation),
        })
    }

    fn properties(&self) -> Vec<Property<Explored>> {
        vec![
            Property::always("every promise is kept", |_, state| matches!(state, State::Good(_))),
            Property::always("nothing stays under way when nothing can happen", |_, state| match state {
                State::Good(world) => !world.actions(false).is_empty() || world.check_rest().is_ok(),
                State::Broken(_) => true,
            }),
        ]
    }
}

/// Explores all of it and compares the number of states.
fn explore(options: Options, states: usize) {
    let begin = std::time::Instant::now();
    let checker = Explored(options).checker().threads(2).spawn_bfs().join();
    if let Some((name, path)) = checker.discoveries().into_iter().next() {
        panic!("{name}: {:#?}\n{:?}", path.clone().into_actions(), path.last_state());
    }
    let (found, depth) = (checker.unique_state_count(), checker.max_depth());
    let thread = std::thread::current();
    let name = thread.name().unwrap_or_default().replace('_', " ");
    println!("model: {name}: {found} states, depth {depth}, {:.1} s", begin.elapsed().as_secs_f64());
    assert_eq!(
        checker.unique_state_count(),
        states,
        "the protocol's state space has changed: look why, then pin anew"
    );
}

const GET: Want = Want::Hold(Hold::Shared);
const GRAB: Want = Want::Hold(Hold::Exclusive);

#[test]
fn two_nodes_one_object_get_grab_put_upgrade() {
    explore(Options { operations: 3, repeats: 1, wants: vec![GET, GRAB], ..Options::default() }, 91_130);
}

#[test]
fn two_nodes_one_object_with_bytes_in_messages() {
    explore(Options { operations: 3, inline: true, wants: vec![GET, GRAB], ..Options::default() }, 34_060);
}

#[test]
fn two_nodes_two_threads_each() {
    explore(Options { threads: 2, operations: 1, wants: vec![GET, GRAB], ..Options::default() }, 16_860);
}

#[test]
fn three_nodes_one_object() {
    explore(Options { nodes: 3, operations: 2, wants: vec![GET, GRAB], ..Options::default() }, 1_557_957);
}

#[test]
fn tries() {
    let wants = vec![GET, Want::Try(Hold::Shared), Want::Try(Hold::Exclusive)];
    explore(Options { operations: 2, wants, ..Options::default() }, 4_244);
}

#[test]
fn remove_and_late_first_touch() {
    explore(
        Options {
            operations: 2,
            wants: vec![GRAB, Want::Existing(Hold::Shared), Want::Remove],
            ..Options::default()
        },
        7_215,
    );
}

#[test]
fn device_sync_and_eviction() {
    let wants = vec![GRAB, Want::Sync];
    let options =
        Options { operations: 2, objects: vec![(1, true)], evictions: 1, wants, ..Options::default() };
    explore(options, 28_137);
}

/// Every READ that can be posted beside its request is, and samples as early or as late as it likes.
fn speculation() -> Options {
    Options { hints: 1, eager: true, slots: 2, wants: vec![GET, GRAB], ..Options::default() }
}

/// Written to the device, an object is shared again without anybody's READ.
fn speculation_and_sync() -> Options {
    Options { objects: vec![(1, true)], wants: vec![GET, GRAB, Want::Sync], ..speculation() }
}

#[test]
fn speculation_after_a_sync() {
    explore(Options { operations: 3, ..speculation_and_sync() }, 402_736);
}

#[test]
fn speculation_and_eviction() {
    explore(Options { operations: 3, evictions: 1, ..speculation() }, 409_975);
}

#[test]
#[ignore = "two million states: make test-long"]
fn speculation_of_three_nodes() {
    explore(Options { nodes: 3, operations: 2, ..speculation() }, 1_868_521);
}

/// READs that are called good although they sampled before the last put.
#[cfg(feature = "mutants")]
#[test]
fn unsound_speculation_is_caught() {
    use kddm_coherence::Mutant;
    for mutant in [Mutant::SpeculationIgnoresPeriod, Mutant::PeriodFromInvalidation] {
        let options = Options { mutant: Some(mutant), operations: 2, ..speculation_and_sync() };
        let checker = Explored(options).checker().threads(2).spawn_bfs().join();
        assert!(checker.discovery("every promise is kept").is_some(), "{mutant:?}");
    }
}

/// Agreed views, and one object whose home moves with them.
fn views() -> Options {
    Options { views: true, objects: vec![(0, false)], wants: vec![GET, GRAB], ..Options::default() }
}

#[test]
fn a_chain_of_grabs() {
    explore(Options { nodes: 3, operations: 2, wants: vec![GRAB], ..views() }, 139_158);
}

#[test]
fn a_chain_of_grabs_that_a_get_ends() {
    explore(Options { nodes: 3, operations: 1, ..views() }, 5_495);
}

#[test]
fn a_node_joins() {
    explore(Options { outsiders: 1, operations: 1, ..views() }, 4_354);
}

#[test]
fn a_node_leaves_in_good_order() {
    explore(Options { leaves: 1, operations: 1, ..views() }, 368_777);
}

#[test]
fn a_node_is_lost_or_only_taken_for_lost() {
    explore(Options { kills: 1, stay_dead: true, operations: 2, ..views() }, 267_895);
}

#[test]
#[ignore = "three million states: make test-long"]
fn one_of_three_nodes_is_lost() {
    let options =
        Options { nodes: 3, kills: 1, stay_dead: true, operations: 1, wants: vec![GRAB], ..views() };
    explore(options, 3_039_958);
}

#[test]
fn a_core_that_keeps_invalidated_copies_is_caught() {
    let options = Options { operations: 2, unsound_keep_copies: true, ..Options::default() };
    let checker = Explored(options).checker().threads(2).spawn_bfs().join();
    assert!(checker.discovery("every promise is kept").is_some(), "the model does not see stale bytes");
}
