//! Every interleaving of sender and receiver: see `tests/interleave`. A wake-up that is lost leaves a run in which all wait.

use super::*;
use kddm_memory::interleave::{
    explore,
    loom::{cell::Cell, sync::Notify, thread},
    sees,
};
use std::sync::Arc;

/// The two ends of a ring, and a bell for each.
fn ends() -> (Inbox, Outlet, [Arc<Notify>; 2]) {
    let (inbox, _) = Inbox::new().unwrap();
    let outlet = Outlet { memory: inbox.memory.twin(), written: 0, put: 0, taken: 0 };
    (inbox, outlet, [Notify::new(), Notify::new()].map(Arc::new))
}

/// Two messages to a receiver that sleeps whenever it finds nothing; what the sender has done before is done when a message comes.
fn a_receiver_sleeps() {
    let (mut inbox, mut outlet, [bell, _]) = ends();
    let rings = bell.clone();
    let told = Arc::new(Cell::new(false));
    let tells = told.clone();
    let sender = thread::spawn(move || {
        // The exploration fails if somebody reads at the same time.
        tells.set(true);
        for message in [b"one", b"two"] {
            assert!(outlet.write(message).unwrap());
            if outlet.publish() {
                rings.notify();
            }
        }
    });
    let mut came = Vec::new();
    while came.len() < 6 {
        let before = came.len();
        inbox.take(&mut came).unwrap();
        if came.len() == before {
            inbox.sleep();
            inbox.take(&mut came).unwrap();
            if came.len() == before {
                bell.wait();
            }
        }
        assert!(came.is_empty() || told.get());
    }
    inbox.wake();
    assert_eq!(came, b"onetwo");
    sender.join().unwrap();
}

/// One message more than there is room for, to a receiver that takes everything once.
fn a_sender_waits() {
    let (mut inbox, mut outlet, [_, bell]) = ends();
    let message = [7; 256];
    while outlet.write(&message).unwrap() {}
    outlet.memory.word(WAITING).store(0, Relaxed);
    outlet.publish();
    let rings = bell.clone();
    let receiver = thread::spawn(move || {
        if inbox.take(&mut Vec::new()).unwrap() {
            rings.notify();
        }
    });
    while !outlet.write(&message).unwrap() {
        bell.wait();
    }
    receiver.join().unwrap();
}

#[test]
fn no_wake_up_is_lost() {
    explore("ring: the receiver sleeps", 4, a_receiver_sleeps);
    sees(Fault::UnfencedSleep, "ring: the receiver sleeps", 4, a_receiver_sleeps);
    sees(Fault::UnfencedPut, "ring: the receiver sleeps", 4, a_receiver_sleeps);
    explore("ring: the sender waits for room", 8, a_sender_waits);
    sees(Fault::UnfencedWait, "ring: the sender waits for room", 8, a_sender_waits);
    sees(Fault::UnfencedTake, "ring: the sender waits for room", 8, a_sender_waits);
}
