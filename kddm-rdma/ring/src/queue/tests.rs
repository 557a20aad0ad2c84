use super::*;
use crate::layout::SUBMITTED;
use std::{
    sync::atomic::{AtomicBool, AtomicU64},
    thread,
};

const ENTRIES: u32 = 8;

fn pair() -> (Sender<u64>, Receiver<u64>, Arc<SharedBytes>) {
    let memory = Arc::new(SharedBytes::new(8192).unwrap().0);
    let sender = Sender::new(memory.clone(), SUBMITTED, 4096, ENTRIES);
    let receiver = Receiver::new(memory.clone(), SUBMITTED, 4096, ENTRIES);
    (sender, receiver, memory)
}

#[test]
fn entries_come_in_order_and_only_when_published() {
    let (mut sender, mut receiver, _memory) = pair();
    assert!(sender.write(&7).unwrap() && sender.write(&8).unwrap());
    assert_eq!(receiver.take(), Ok(None));
    assert!(!sender.publish());
    assert_eq!((receiver.take(), receiver.take(), receiver.take()), (Ok(Some(7)), Ok(Some(8)), Ok(None)));
}

#[test]
fn a_full_queue_has_room_again_when_places_are_given_back() {
    let (mut sender, mut receiver, _memory) = pair();
    for n in 0..u64::from(ENTRIES) {
        assert!(sender.write(&n).unwrap());
    }
    assert_eq!(sender.write(&99), Ok(false));
    sender.publish();
    assert_eq!(receiver.take(), Ok(Some(0)));
    assert_eq!(sender.write(&99), Ok(false));
    receiver.release();
    assert_eq!(sender.write(&99), Ok(true));
    assert_eq!(sender.untaken(), Ok(u64::from(ENTRIES)));
}

#[test]
fn impossible_numbers_are_found_out() {
    for said in [1 + u64::from(ENTRIES), u64::MAX, 1 << 63] {
        let (_, mut receiver, memory) = pair();
        memory.word(SUBMITTED.published).store(said, Relaxed);
        assert!(receiver.is_waiting());
        assert!(receiver.take().is_err(), "{said}");
    }
    let (mut sender, mut receiver, memory) = pair();
    for n in 0..u64::from(ENTRIES) {
        assert!(sender.write(&n).unwrap());
    }
    sender.publish();
    assert_eq!(receiver.take(), Ok(Some(0)));
    memory.word(SUBMITTED.taken).store(u64::from(ENTRIES) + 1, Relaxed);
    let error = sender.write(&1).unwrap_err();
    assert!(error.to_string().contains("taken says 9, where 0 to 8 is possible"), "{error}");
    memory.word(SUBMITTED.published).store(0, Relaxed);
    receiver.taken = 8;
    assert!(receiver.take().is_err(), "a sender that goes back");
}

#[test]
fn who_sleeps_is_woken_once() {
    let (mut sender, receiver, _memory) = pair();
    assert!(receiver.sleep());
    sender.write(&1).unwrap();
    assert!(sender.publish());
    sender.write(&2).unwrap();
    assert!(!sender.publish());
    assert!(!receiver.sleep(), "something is there already");
    sender.write(&3).unwrap();
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
            while receiver.take().unwrap().is_none() {
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
        sender.write(&round).unwrap();
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
