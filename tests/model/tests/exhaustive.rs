//! Every schedule of small worlds: the running core, explored by stateright. State counts are pinned: a change of the
//! protocol, wanted or not, moves them.

use kddm_model::{Action, Options, Transitions, Unsound, Violation, Want, World};
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

/// Looks for a schedule that breaks a promise in that way.
fn caught(options: Options, how: &str) {
    let checker = Explored(options).checker().threads(2).spawn_bfs().join();
    let said = checker.discoveries().into_values().map(|path| match path.last_state() {
        State::Broken(Violation(what)) => what.clone(),
        State::Good(world) => world.check_rest().expect_err("that is what was discovered").0,
    });
    let said: Vec<String> = said.collect();
    assert!(said.iter().any(|what| what.contains(how)), "not found: {how}; but {said:?}");
}

const GET: Want = Want::Hold(Hold::Shared);
const GRAB: Want = Want::Hold(Hold::Exclusive);
const RANGES: [Want; 2] = [Want::Range(Hold::Shared), Want::Range(Hold::Exclusive)];

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
        8_124,
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
    explore(Options { operations: 3, ..speculation_and_sync() }, 403_030);
}

#[test]
fn speculation_and_eviction() {
    explore(Options { operations: 3, evictions: 1, ..speculation() }, 644_741);
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
    explore(Options { leaves: 1, operations: 1, ..views() }, 405_178);
}

#[test]
fn a_node_leaves_beside_a_lock() {
    let wants = vec![GRAB, Want::Existing(Hold::Exclusive)];
    explore(Options { leaves: 1, operations: 1, locks: true, wants, ..views() }, 188_209);
}

#[test]
fn a_node_is_lost_or_only_taken_for_lost() {
    explore(Options { kills: 1, stay_dead: true, operations: 2, ..views() }, 267_895);
}

/// One object, whose device is where its home is.
fn durable() -> Options {
    Options { objects: vec![(1, true)], ..Options::default() }
}

/// Two objects with different homes.
fn two_objects() -> Options {
    Options { objects: vec![(1, false), (2, false)], ..Options::default() }
}

#[test]
fn two_nodes_two_objects() {
    explore(two_objects(), 40_093);
}

#[test]
fn two_nodes_two_objects_grabs() {
    explore(Options { operations: 3, wants: vec![GRAB], ..two_objects() }, 161_055);
}

#[test]
fn tries_and_upgrades() {
    let wants = vec![GET, GRAB, Want::Try(Hold::Exclusive)];
    explore(Options { operations: 3, wants, ..Options::default() }, 169_944);
}

#[test]
fn tries_and_removes() {
    let wants = vec![GRAB, Want::Try(Hold::Exclusive), Want::Remove];
    explore(Options { operations: 3, wants, ..Options::default() }, 137_515);
}

#[test]
fn cancelled_operations() {
    explore(Options { cancels: true, ..Options::default() }, 28_224);
}

/// Sets that end while others use them.
fn destroys() -> Options {
    Options { wants: vec![GET, GRAB, Want::Destroy], ..Options::default() }
}

#[test]
fn a_set_is_destroyed() {
    explore(destroys(), 7_923);
}

#[test]
fn a_set_is_destroyed_beside_two_threads_each() {
    explore(
        Options { operations: 1, threads: 2, wants: vec![GRAB, Want::Destroy], ..Options::default() },
        15_953,
    );
}

#[test]
fn a_set_is_destroyed_by_one_of_three_nodes() {
    explore(Options { wants: vec![GET, GRAB, Want::Destroy], ..three_nodes() }, 33_790);
}

#[test]
fn a_set_is_destroyed_while_a_node_joins() {
    let wants = vec![GRAB, Want::Destroy];
    explore(Options { outsiders: 1, operations: 1, wants, ..views() }, 3_573);
}

#[test]
fn prefetch_and_manual_first_touch() {
    explore(Options { wants: vec![GET, Want::Manual, Want::Prefetch], ..Options::default() }, 5_680);
}

#[test]
fn flush_and_eviction_with_two_slots() {
    let wants = vec![GET, GRAB, Want::Flush];
    explore(Options { slots: 2, evictions: 1, wants, ..Options::default() }, 31_948);
}

#[test]
fn flush_with_one_slot() {
    let wants = vec![GET, GRAB, Want::Flush];
    explore(Options { operations: 3, slots: 1, wants, ..Options::default() }, 35_124);
}

#[test]
fn two_objects_in_two_slots() {
    explore(Options { slots: 2, wants: vec![GRAB, Want::Flush], ..two_objects() }, 10_643);
}

/// More objects of one home than it has slots, and no device: another node has room for one.
#[test]
fn three_objects_of_a_home_with_two_slots() {
    let objects = vec![(1, false); 3];
    explore(Options { slots: 2, objects, wants: vec![GRAB], ..Options::default() }, 28_027);
}

#[test]
fn a_device_that_fails() {
    let wants = vec![GRAB, Want::Sync, Want::Remove];
    explore(Options { device_fails: true, wants, ..durable() }, 24_918);
}

#[test]
fn a_device_that_fails_under_eviction() {
    let wants = vec![GRAB, Want::Sync];
    explore(Options { device_fails: true, evictions: 1, wants, ..durable() }, 53_540);
}

/// Three nodes, with an operation each.
fn three_nodes() -> Options {
    Options { nodes: 3, operations: 1, ..Options::default() }
}

#[test]
fn three_nodes_with_flush_and_eviction() {
    explore(Options { evictions: 1, wants: vec![GET, GRAB, Want::Flush], ..three_nodes() }, 33_608);
}

#[test]
fn three_nodes_with_device_and_eviction() {
    let (objects, wants) = (vec![(1, true)], vec![GRAB, Want::Sync]);
    explore(Options { evictions: 1, objects, wants, ..three_nodes() }, 29_353);
}

#[test]
fn three_nodes_with_remove() {
    explore(Options { wants: vec![GET, GRAB, Want::Remove], ..three_nodes() }, 13_393);
}

#[test]
#[ignore = "more than a million states: make test-long"]
fn three_nodes_grab_and_remove() {
    explore(Options { operations: 2, wants: vec![GRAB, Want::Remove], ..three_nodes() }, 279_241);
}

#[test]
fn three_nodes_with_tries() {
    explore(Options { wants: vec![GRAB, Want::Try(Hold::Exclusive)], ..three_nodes() }, 1_957);
}

#[test]
fn ranges() {
    explore(Options { wants: RANGES.to_vec(), ..two_objects() }, 134_790);
}

#[test]
fn ranges_of_two_threads_each() {
    let wants = vec![Want::Range(Hold::Exclusive)];
    explore(Options { operations: 1, threads: 2, wants, ..two_objects() }, 122_308);
}

#[test]
fn ranges_beside_single_grabs() {
    explore(Options { wants: vec![Want::Range(Hold::Exclusive), GRAB], ..two_objects() }, 214_389);
}

#[test]
fn ranges_and_remove() {
    explore(Options { wants: vec![Want::Range(Hold::Exclusive), Want::Remove], ..two_objects() }, 105_461);
}

#[test]
fn ranges_of_three_nodes() {
    let wants = vec![Want::Range(Hold::Exclusive)];
    explore(Options { nodes: 3, operations: 1, wants, ..two_objects() }, 127_274);
}

#[test]
fn crossed_ranges_are_caught() {
    let unsound = Some(Unsound::CrossedRanges);
    let options = Options { unsound, operations: 1, wants: RANGES.to_vec(), ..two_objects() };
    caught(options, "an operation never ends");
}

#[test]
fn a_program_dies() {
    explore(Options { deaths: 1, ..Options::default() }, 19_570);
}

#[test]
fn a_program_dies_beside_another() {
    explore(Options { operations: 1, threads: 2, deaths: 1, ..Options::default() }, 77_277);
}

#[test]
fn a_program_dies_on_one_of_three_nodes() {
    explore(Options { deaths: 1, ..three_nodes() }, 25_665);
}

#[test]
fn a_program_dies_with_a_range() {
    explore(Options { operations: 1, deaths: 1, wants: RANGES.to_vec(), ..two_objects() }, 14_108);
}

#[test]
fn a_program_dies_between_the_steps_of_the_word() {
    let options = Options { operations: 1, threads: 2, ..Options::default() };
    explore(Options { word_steps: true, deaths: 1, ..options }, 353_497);
}

#[test]
fn the_word_in_steps() {
    explore(Options { operations: 3, word_steps: true, ..Options::default() }, 90_860);
}

#[test]
fn the_word_in_steps_of_two_threads_each() {
    explore(Options { operations: 1, threads: 2, word_steps: true, ..Options::default() }, 81_976);
}

#[test]
fn a_put_that_writes_what_it_loaded_is_caught() {
    let options = Options { unsound: Some(Unsound::BlindPut), word_steps: true, ..Options::default() };
    caught(options, "an operation never ends");
}

#[test]
fn a_node_is_lost_without_views() {
    explore(Options { kills: 1, operations: 3, stay_dead: true, ..Options::default() }, 117_574);
}

#[test]
fn a_node_is_lost_without_views_and_returns() {
    explore(Options { kills: 1, ..Options::default() }, 41_631);
}

#[test]
fn one_of_three_nodes_is_lost_without_views() {
    explore(Options { kills: 1, stay_dead: true, ..three_nodes() }, 89_503);
}

#[test]
fn one_of_three_nodes_is_lost_without_views_and_returns() {
    explore(Options { kills: 1, ..three_nodes() }, 482_669);
}

/// Of three members, the first ones work; one is lost, or only taken for lost.
fn one_of_three_members_is_lost(idle: u8) -> Options {
    Options { nodes: 3, operations: 1, idle, kills: 1, stay_dead: true, ..views() }
}

#[test]
fn one_of_three_members_is_lost_and_one_works() {
    explore(one_of_three_members_is_lost(2), 49_591);
}

#[test]
fn one_of_three_members_is_lost_and_two_grab() {
    explore(Options { wants: vec![GRAB], ..one_of_three_members_is_lost(1) }, 233_657);
}

#[test]
fn a_home_returns_while_a_range_holds_its_object() {
    let (objects, wants) = (vec![(2, true), (0, false)], vec![Want::Range(Hold::Exclusive)]);
    explore(Options { kills: 1, idle: 1, operations: 1, objects, wants, ..views() }, 97_168);
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
