//! Rings and bells: what is written comes whole, and nobody sleeps over it.

use super::{
    Shm,
    bell::Bell,
    ring::{Inbox, Outlet},
    tests::Random,
};
use crate::{
    Event, Transport,
    tests::meeting::{Meeting, message, node},
};
use kddm_object::NodeId;
use mio::{Events, Interest, Poll, Token, unix::SourceFd};
use std::{
    os::fd::{AsFd, AsRawFd, RawFd},
    sync::{
        Barrier,
        atomic::{
            AtomicU32, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    thread,
    time::{Duration, Instant},
};

#[test]
fn what_is_written_is_taken_whole_wherever_the_ring_ends() {
    let (mut inbox, descriptor) = Inbox::new().unwrap();
    let mut outlet = Outlet::map(&descriptor).unwrap();
    let (mut sent, mut came) = (Vec::new(), Vec::new());
    for number in 0..10_000usize {
        let bytes: Vec<u8> = (0..number * 37 % 350).map(|at| (number ^ at) as u8).collect();
        if !outlet.write(&bytes).unwrap() {
            outlet.publish();
            assert!(inbox.take(&mut came).unwrap(), "the sender waits for room");
            assert!(outlet.write(&bytes).unwrap());
        }
        sent.extend(bytes);
    }
    outlet.publish();
    inbox.take(&mut came).unwrap();
    assert!(sent == came);
}

/// A processor lets a load overtake a store before it: of a sender that puts and looks, and a receiver that says that it sleeps and looks,
/// then neither would see the other. Without one of the two fences this fails within some ten thousand rounds on two x86 cores.
#[test]
fn of_two_who_look_at_the_same_time_one_sees_the_other() {
    const ROUNDS: u64 = 1_000_000;
    const TIME: Duration = Duration::from_secs(3);
    let (mut inbox, of_inbox) = Inbox::new().unwrap();
    let mut outlet = Outlet::map(&of_inbox).unwrap();
    let (begun, ended, last) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(ROUNDS));
    let wait = |counter: &AtomicU64, round: u64| {
        while counter.load(Acquire) >> 1 < round && last.load(Acquire) >= round {
            (0..64).for_each(|_| std::hint::spin_loop());
        }
    };
    let begin = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..=ROUNDS {
                wait(&begun, round);
                if last.load(Acquire) < round {
                    return;
                }
                assert!(outlet.write(&round.to_le_bytes()).unwrap());
                let rings = outlet.publish();
                ended.store(round << 1 | u64::from(rings), Release);
            }
        });
        let (mut bytes, mut random) = (Vec::new(), Random(7));
        for round in 1..=ROUNDS {
            begun.store(round << 1, Release);
            random.dawdle(16);
            bytes.clear();
            inbox.sleep();
            inbox.take(&mut bytes).unwrap();
            let seen = !bytes.is_empty();
            wait(&ended, round);
            let rung = ended.load(Acquire) & 1 == 1;
            inbox.take(&mut bytes).unwrap();
            inbox.wake();
            if !(seen || rung) || begin.elapsed() > TIME {
                last.store(round, Release);
            }
            assert!(seen || rung, "round {round}: neither saw the other");
            assert_eq!(bytes, round.to_le_bytes());
            if last.load(Relaxed) == round {
                break;
            }
        }
    });
}

/// Two threads that send each other one number after the other, and sleep in between: a wake-up that is lost stops both.
#[test]
fn no_wake_up_is_lost() {
    const ROUNDS: u64 = 100_000;
    let (one, of_one) = Inbox::new().unwrap();
    let (two, of_two) = Inbox::new().unwrap();
    let (to_one, to_two) = (Outlet::map(&of_one).unwrap(), Outlet::map(&of_two).unwrap());
    let bells = [Bell::new().unwrap(), Bell::new().unwrap()];
    let start = Barrier::new(2);
    let play = |me: u64, mut inbox: Inbox, mut outlet: Outlet, rings: &Bell, hears: &Bell| {
        let mut poll = Poll::new().unwrap();
        let mut events = Events::with_capacity(4);
        poll.registry()
            .register(&mut SourceFd(&hears.as_fd().as_raw_fd()), Token(0), Interest::READABLE)
            .unwrap();
        start.wait();
        let (mut bytes, mut slept, mut random) = (Vec::new(), 0, Random(me + 1));
        for round in 0..ROUNDS {
            if round % 2 == me {
                assert!(outlet.write(&round.to_le_bytes()).unwrap());
                if outlet.publish() {
                    rings.ring();
                }
                continue;
            }
            bytes.clear();
            random.dawdle(64);
            while bytes.is_empty() {
                inbox.take(&mut bytes).unwrap();
                if bytes.is_empty() {
                    inbox.sleep();
                    inbox.take(&mut bytes).unwrap();
                    if bytes.is_empty() {
                        poll.poll(&mut events, Some(Duration::from_secs(10))).unwrap();
                        assert!(!events.is_empty(), "round {round}: nobody rang");
                        slept += 1;
                    }
                }
            }
            inbox.wake();
            assert_eq!(bytes, round.to_le_bytes());
        }
        slept
    };
    let slept = thread::scope(|scope| {
        let first = scope.spawn(|| play(0, one, to_two, &bells[0], &bells[1]));
        let second = scope.spawn(|| play(1, two, to_one, &bells[1], &bells[0]));
        first.join().unwrap() + second.join().unwrap()
    });
    assert!(slept > 0, "nobody ever slept: nothing was tried");
}

/// Two nodes that send each other one message after the other, and sleep on their descriptors in between as event loops do.
#[test]
fn nothing_that_comes_is_slept_over() {
    const ROUNDS: u32 = 20_000;
    let Meeting { nodes: [mut one, mut two, _three], .. } = Meeting::new(242);
    let sent = AtomicU32::new(0);
    let play = |me: u32, fabric: &mut Shm, to: NodeId| {
        let mut bed = Bed::beside(fabric);
        let (mut told, mut slept, mut random) = (Vec::new(), 0, Random(u64::from(me) + 1));
        for round in (1..=ROUNDS).filter(|round| round % 2 == me) {
            while round > 1 && !told.contains(&Event::Message(to, message(round - 1))) {
                told.clear();
                fabric.poll(&mut told);
                random.dawdle(1024);
                if told.is_empty() && fabric.arm() {
                    fabric.poll(&mut told);
                }
                if told.is_empty() {
                    slept += 1;
                    // Peers say that they live every second: that would wake, too, and hide what was lost.
                    let woken = bed.sleep(Duration::from_millis(250));
                    let there = sent.load(Acquire) == round - 1;
                    assert!(woken || !there || bed.sleep(Duration::ZERO), "round {round} was slept over");
                }
            }
            told.clear();
            fabric.send(to, &message(round));
            fabric.flush();
            sent.store(round, Release);
        }
        slept
    };
    let slept = thread::scope(|scope| {
        let first = scope.spawn(|| play(1, &mut one, node(2)));
        let second = scope.spawn(|| play(0, &mut two, node(1)));
        first.join().unwrap() + second.join().unwrap()
    });
    assert!(slept > 0, "nobody ever slept: nothing was tried");
}

/// A bell that is taken note of before what it rings for is looked for may be slept over: nobody rings twice.
#[test]
fn the_last_look_before_sleeping_takes_no_note_of_bells() {
    let mut meeting = Meeting::new(243);
    let mut bed = Bed::beside(&meeting.nodes[0]);
    for round in 0..100 {
        // Until nothing is there, as after sleeping.
        while bed.sleep(Duration::ZERO) {
            meeting.nodes[0].poll(&mut meeting.told[0]);
        }
        meeting.told[0].clear();
        assert!(meeting.nodes[0].arm());
        meeting.nodes[1].send(node(1), &message(round));
        meeting.nodes[1].flush();
        meeting.nodes[0].poll(&mut meeting.told[0]);
        assert_eq!(meeting.told[0], [Event::Message(node(2), message(round))]);
        assert!(bed.sleep(Duration::ZERO), "round {round}: the bell is not heard any more");
    }
}

/// Where a node sleeps.
struct Bed {
    descriptor: RawFd,
    poll: Poll,
    events: Events,
}

impl Bed {
    fn beside(fabric: &Shm) -> Bed {
        let (descriptor, poll) = (fabric.descriptor().unwrap(), Poll::new().unwrap());
        poll.registry().register(&mut SourceFd(&descriptor), Token(0), Interest::READABLE).unwrap();
        Bed { descriptor, poll, events: Events::with_capacity(1) }
    }

    /// Whether the descriptor is readable, or becomes so within this time.
    fn sleep(&mut self, time: Duration) -> bool {
        let mut source = SourceFd(&self.descriptor);
        self.poll.registry().reregister(&mut source, Token(0), Interest::READABLE).unwrap();
        self.poll.poll(&mut self.events, Some(time)).unwrap();
        !self.events.is_empty()
    }
}
