use super::*;
use crate::layout::SUBMITTED;
use std::{
    sync::atomic::{AtomicBool, AtomicU64},
    thread,
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

const ENTRIES: u32 = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Number {
    value: u64,
    again: u32,
    number: u32,
}

entry!(Number);

fn n(value: u64) -> Number {
    Number { value, again: value as u32, number: 0 }
}

fn pair() -> (Sender<Number>, Receiver<Number>, Arc<SharedBytes>) {
    let memory = Arc::new(SharedBytes::new(8192).unwrap().0);
    let sender = Sender::new(memory.clone(), SUBMITTED, 4096, ENTRIES);
    let receiver = Receiver::new(memory.clone(), SUBMITTED, 4096, ENTRIES);
    (sender, receiver, memory)
}

#[test]
fn entries_come_in_order_round_and_round() {
    let (mut sender, mut receiver, _memory) = pair();
    for value in 0..100 {
        assert_eq!(receiver.take(), None);
        assert!(sender.write(&n(2 * value)).unwrap() && sender.write(&n(2 * value + 1)).unwrap());
        assert!(!sender.publish());
        assert_eq!([receiver.take(), receiver.take()], [Some(n(2 * value)), Some(n(2 * value + 1))]);
        receiver.release();
    }
}

#[test]
fn a_full_queue_has_room_again_when_places_are_given_back() {
    let (mut sender, mut receiver, _memory) = pair();
    for value in 0..u64::from(ENTRIES) {
        assert!(sender.write(&n(value)).unwrap());
    }
    assert_eq!(sender.write(&n(99)), Ok(false));
    assert_eq!(receiver.take(), Some(n(0)));
    assert_eq!(sender.write(&n(99)), Ok(false));
    receiver.release();
    assert_eq!((sender.room(1), sender.write(&n(99))), (Ok(1), Ok(true)));
    assert_eq!(sender.untaken(), Ok(u64::from(ENTRIES)));
}

#[test]
fn impossible_numbers_are_found_out() {
    let (mut sender, receiver, _memory) = pair();
    for value in 0..u64::from(ENTRIES) {
        assert!(sender.write(&n(value)).unwrap());
    }
    receiver.spoil(u64::from(ENTRIES) + 1);
    let error = sender.write(&n(1)).unwrap_err();
    assert!(error.to_string().contains("taken says 9, where 0 to 8 is possible"), "{error}");
    receiver.spoil(3);
    assert_eq!(sender.room(2), Ok(3));
    receiver.spoil(2);
    assert!(sender.untaken().is_err(), "a receiver that goes back");
}

#[test]
fn numbers_that_are_not_the_next_are_no_entries() {
    for said in [0, 2, 1 + u64::from(ENTRIES), u64::from(u32::MAX)] {
        let (_, mut receiver, memory) = pair();
        memory.word(4096 + 8).store(said << 32, Relaxed);
        assert_eq!(receiver.take(), None, "{said}");
        assert!(!receiver.look(1));
    }
}

#[test]
fn who_sleeps_is_woken_once() {
    let (mut sender, receiver, _memory) = pair();
    assert!(receiver.sleep());
    sender.write(&n(1)).unwrap();
    assert!(sender.publish());
    sender.write(&n(2)).unwrap();
    assert!(!sender.publish());
    assert!(!receiver.sleep(), "something is there already");
    sender.write(&n(3)).unwrap();
    assert!(!sender.publish(), "it did not go to sleep");
}

/// With one of the two fences left out, this fails in most runs.
#[test]
fn no_wake_up_is_lost() {
    const ROUNDS: u64 = 200_000;
    let (mut sender, mut receiver, _memory) = pair();
    let shared = Arc::new(Shared::default());
    let other = shared.clone();
    let taker = thread::spawn(move || {
        for round in 0..ROUNDS {
            while receiver.take().is_none() {
                if receiver.sleep() {
                    other.wait_for_bell(round);
                    receiver.wake();
                }
            }
            receiver.release();
            other.taken.store(round + 1, Release);
        }
    });
    for round in 0..ROUNDS {
        let mut turns = 0_u32;
        while shared.taken.load(Acquire) < round {
            turns += 1;
            if turns.is_multiple_of(1 << 14) {
                assert!(!taker.is_finished(), "the taker has failed");
                thread::yield_now();
            }
        }
        // So that the two meet at every step of each other.
        for _ in 0..round % 64 {
            std::hint::black_box(());
        }
        sender.write(&n(round)).unwrap();
        if sender.publish() {
            shared.bell.store(true, SeqCst);
        }
        shared.sent.store(round + 1, SeqCst);
    }
    taker.join().unwrap();
}

#[derive(Default)]
struct Shared {
    bell: AtomicBool,
    sent: AtomicU64,
    taken: AtomicU64,
}

impl Shared {
    fn wait_for_bell(&self, round: u64) {
        loop {
            let sent = self.sent.load(SeqCst) > round;
            if self.bell.swap(false, SeqCst) {
                return;
            }
            assert!(!sent, "round {round}: an entry was published, and the sleeper was not rung for");
            std::hint::spin_loop();
        }
    }
}
