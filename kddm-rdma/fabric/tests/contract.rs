//! One suite for every fabric: what [`kddm_fabric::Transport`] promises.

#[path = "contract/fixture.rs"]
mod fixture;
#[path = "contract/shm.rs"]
mod shm;
#[path = "contract/sim.rs"]
mod sim;
#[path = "contract/suite.rs"]
mod suite;
#[path = "contract/tcp.rs"]
mod tcp;
#[path = "contract/verbs.rs"]
mod verbs;

/// Makes a module of tests, one per promise, for a fabric's fixture.
macro_rules! promises {
    ($name:ident, $fixture:ty, $attributes:tt, [$($promise:ident),* $(,)?]) => {
        mod $name {
            $(crate::promise!($attributes, $promise, $fixture);)*
        }
    };
}

macro_rules! promise {
    ([$($attribute:meta)?], $promise:ident, $fixture:ty) => {
        #[test]
        $(#[$attribute])?
        fn $promise() {
            crate::suite::$promise::<$fixture>();
        }
    };
}
use promise;

macro_rules! for_each_fabric {
    ($($promises:tt)*) => {
        promises!(over_sim, crate::sim::Sim, [], $($promises)*);
        promises!(over_shm, crate::shm::Shm, [], $($promises)*);
        promises!(over_tcp, crate::tcp::Tcp, [], $($promises)*);
        promises!(over_verbs, crate::verbs::Verbs, [ignore = "needs an RDMA device"], $($promises)*);
    };
}

for_each_fabric!([
    peers_meet,
    messages_keep_their_order,
    what_can_wait_goes_with_the_next_or_before_sleep,
    messages_to_oneself_and_to_strangers_are_dropped,
    a_read_brings_the_right_bytes,
    a_read_of_another_slot_or_generation_fails,
    a_read_of_nothing_completes,
    many_reads_are_in_flight,
    large_objects_are_read_whole,
    both_directions_work_at_once_under_load,
    a_lost_peer_fails_its_reads_before_its_news,
    a_silent_peer_is_lost_but_not_for_certain,
    a_life_that_was_lost_does_not_return,
    of_two_equals_one_gives_way,
    a_new_life_is_a_new_session,
    leaving_is_known_at_once,
    everything_is_counted,
]);
