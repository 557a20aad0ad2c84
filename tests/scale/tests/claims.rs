//! What docs/protocol.md promises about cost, at every cluster size.

use kddm_bench::allocations::Counting;
use kddm_bench::cores::{Cores, spread};
use kddm_object::{NodeId, ObjectKey, SetPolicy};
use kddm_scale::costs::{Outcome, Roles, all, measure};
use kddm_scale::hand_over::{self, Coming};
use kddm_scale::{HINTS, INLINE_MAX, PAGE, SIZES, SMALL, directory, loss};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn the_documented_counts_hold_at_every_size() {
    for nodes in SIZES {
        let mut cores = Cores::speculating(nodes, INLINE_MAX, HINTS);
        let mut apart = 0;
        for ((outcome, place, roles), number) in all(nodes).into_iter().zip(0..) {
            let cost = measure(&mut cores, outcome, roles, PAGE, number).unwrap();
            assert_eq!(cost, outcome.expected(roles), "{nodes} nodes, home {place}: {outcome:?}");
            if place == "another" {
                apart += 1;
                assert_eq!((cost.messages, cost.reads), outcome.documented(), "{nodes} nodes: {outcome:?}");
            }
        }
        assert!(apart >= 10 || nodes == 2, "{nodes} nodes: {apart} outcomes with three nodes");
    }
}

/// Hops of a grab for 1 to 32 other nodes with copies, on 64 nodes.
fn hops(outcome: fn(u8) -> Outcome, roles: Roles, bytes: u32) -> Vec<u64> {
    let mut cores = Cores::new(64, INLINE_MAX);
    let hops = (1..=32u8).map(|k| measure(&mut cores, outcome(k), roles, bytes, k.into()).unwrap().hops);
    hops.collect()
}

#[test]
fn a_grab_is_flat_in_the_number_of_sharers() {
    let upgrade = hops(Outcome::Upgrade, Roles { home: 64, owner: 1, requester: 1 }, PAGE);
    assert_eq!(upgrade, [3; 32], "request, invalidation, ack");
    // The first sharer is the home itself, which needs no message.
    let riding = hops(Outcome::GrabShared, Roles { home: 1, owner: 1, requester: 2 }, SMALL);
    assert_eq!(riding[1..], [3; 31], "bytes ride in the grant");
    let read = hops(Outcome::GrabShared, Roles { home: 64, owner: 1, requester: 2 }, PAGE);
    assert_eq!(read, [4; 32], "request, grant, and the READ beside the acks");
}

/// What an object with few sharers may take of the directory: its entry and its share of the index, of which a just doubled
/// one has most.
const DIRECTORY_BYTES: f64 = 64.0;

#[test]
fn the_directory_of_few_sharers_is_small_at_every_size() {
    let full = (1 << 13) / 8 * 7;
    for (sharers, objects) in (0..=3).flat_map(|sharers| [(sharers, full), (sharers, full + 1)]) {
        let sizes = SIZES.into_iter().filter(|nodes| sharers + 2 <= *nodes);
        let bytes = |nodes| directory::bytes_per_object(nodes, sharers, objects).unwrap();
        let bytes: Vec<f64> = sizes.map(bytes).collect();
        let [least, most] =
            [bytes.iter().copied().fold(f64::MAX, f64::min), bytes.iter().copied().fold(0.0, f64::max)];
        assert!(least > 12.0, "a key alone has 12 bytes: {bytes:?}");
        assert!(most - least < 0.5, "{sharers} sharers: not the same at every size: {bytes:?}");
        assert!(most <= DIRECTORY_BYTES, "{sharers} sharers, {objects} objects: {bytes:?}");
    }
}

#[test]
fn a_hot_object_goes_round_in_the_order_of_arrival_and_as_fast_for_many_as_for_few() {
    let most = [(PAGE, 5.0), (SMALL, 3.0)];
    for (bytes, most) in most {
        for nodes in SIZES {
            let in_turn = hand_over::measure(nodes, bytes, Coming::InTurn).unwrap();
            let at_once = hand_over::measure(nodes, bytes, Coming::AtOnce).unwrap();
            assert_eq!(at_once.order, (1..nodes).collect::<Vec<u8>>(), "{nodes} nodes");
            assert!(in_turn.hops <= most, "{nodes} nodes, {bytes} B: {in_turn:?}");
            assert!(at_once.hops <= in_turn.hops, "{nodes} nodes, {bytes} B: {at_once:?}");
            assert!(in_turn.messages <= 5.0 && at_once.messages <= 5.0, "{nodes} nodes, {bytes} B");
        }
    }
}

#[test]
fn the_loss_of_a_node_takes_its_own_objects_and_is_over_as_soon_in_a_large_cluster() {
    let objects = 2000;
    let mut times = Vec::new();
    for nodes in [8, 64, 250] {
        let loss = loss::measure(nodes, objects).unwrap();
        assert_eq!(loss, loss::measure(nodes, objects).unwrap(), "a run is not like the other");
        let members: Vec<NodeId> = (1..=nodes).map(|id| NodeId::new(id).unwrap()).collect();
        let home = |key| SetPolicy::volatile(PAGE).home_of(key, &members).unwrap().get();
        let keys: Vec<ObjectKey> = (0..objects).map(|number| spread(PAGE, number)).collect();
        let homeless = keys.iter().filter(|&&key| home(key) == nodes).count() as u64;
        let lost = keys.iter().zip(0u32..).filter(|&(&key, number)| {
            home(key) != nodes && loss::owner(nodes, number) == nodes && loss::sharer(nodes, number).is_none()
        });
        let lost = lost.count() as u64;
        assert!(lost > 0 && homeless > 0, "the case is not there");
        assert_eq!(
            (loss.lost, loss.homeless, loss.served),
            (lost, homeless, u64::from(objects) - lost - homeless)
        );
        times.push(loss.time);
    }
    assert!(times.iter().all(|time| *time == times[0] && *time <= 4), "{times:?}");
}
