//! The promises.

use crate::fixture::{Cluster, Fixture, arena, message, node, numbers, reads};
use kddm_coherence::ReadToken;
use kddm_fabric::Event;
use kddm_object::{Generation, Incarnation, Location, SlotId};
use std::time::Duration;

/// Bytes that tell an object and a place in it.
pub fn pattern(object: u32, length: usize) -> Vec<u8> {
    (0..length as u32)
        .map(|place| (place.wrapping_mul(31) ^ (place >> 8) ^ object.wrapping_mul(101)) as u8)
        .collect()
}

fn down(told: &[Event], id: u8) -> Option<bool> {
    told.iter().find_map(|event| match event {
        Event::PeerDown { node: lost, certain, .. } if *lost == node(id) => Some(*certain),
        _ => None,
    })
}

fn ups(told: &[Event], id: u8) -> Vec<Incarnation> {
    let up = |event: &Event| match event {
        Event::PeerUp(peer, incarnation) if *peer == node(id) => Some(*incarnation),
        _ => None,
    };
    told.iter().filter_map(up).collect()
}

pub fn peers_meet<F: Fixture>() {
    let mut cluster = Cluster::<F>::met(3);
    assert_eq!(ups(cluster.told(1), 2), [Incarnation(1)]);
    let peers = cluster.at(2).peers();
    assert_eq!(peers.iter().map(|peer| peer.node).collect::<Vec<_>>(), [node(1), node(3)]);
    assert!(peers.iter().all(|peer| peer.up == Some(Incarnation(1)) && peer.reason.is_empty()), "{peers:?}");
}

pub fn messages_keep_their_order<F: Fixture>() {
    let mut cluster = Cluster::<F>::met(3);
    for number in 0..2000 {
        let to = 2 + (number % 2) as u8;
        cluster.at(1).send(node(to), &message(number));
        if number % 7 == 0 {
            cluster.at(1).flush();
        }
    }
    cluster.at(1).flush();
    cluster.until("2000 messages", |told| numbers(&told[1], 1).len() + numbers(&told[2], 1).len() == 2000);
    assert_eq!(numbers(cluster.told(2), 1), (0..2000).step_by(2).collect::<Vec<_>>());
    assert_eq!(numbers(cluster.told(3), 1), (1..2000).step_by(2).collect::<Vec<_>>());
    assert!(cluster.told(2).contains(&Event::Message(node(1), message(4))), "the content, too");
}

pub fn messages_to_oneself_and_to_strangers_are_dropped<F: Fixture>() {
    let mut cluster = Cluster::<F>::met(2);
    cluster.forget();
    let nowhere = Location { node: node(77), slot: SlotId(0), generation: Generation(1) };
    for to in [1, 77] {
        cluster.at(1).send(node(to), &message(1));
        cluster.at(1).read(ReadToken(to.into()), Location { node: node(to), ..nowhere }, SlotId(0), 8);
    }
    cluster.at(1).send(node(2), &message(2));
    cluster.at(1).flush();
    cluster.until("the honest message", |told| !numbers(&told[1], 1).is_empty());
    assert_eq!(
        cluster.told(1),
        [Event::ReadDone(ReadToken(1), false), Event::ReadDone(ReadToken(77), false)]
    );
}

pub fn a_read_brings_the_right_bytes<F: Fixture>() {
    let mut cluster = Cluster::<F>::met(2);
    let bytes = pattern(9, 4096);
    let source = cluster.object(2, 9, &bytes);
    let landing = cluster.slot(1, 9, 4096);
    cluster.at(1).read(ReadToken(5), source, landing, 4096);
    cluster.at(1).flush();
    cluster.until("the READ", |told| reads(&told[0]) == [(5, true)]);
    assert_eq!(cluster.bytes(1, landing, 4096), bytes);
    assert!(
        reads(cluster.told(2)).is_empty() && numbers(cluster.told(2), 1).is_empty(),
        "the owner is not involved"
    );
}

pub fn a_read_of_another_slot_or_generation_fails<F: Fixture>() {
    let mut cluster = Cluster::<F>::met(2);
    let source = cluster.object(2, 9, &pattern(9, 64));
    let landing = cluster.slot(1, 9, 4096);
    let wrong = [
        (Location { generation: Generation(source.generation.0 + 1), ..source }, 64),
        (Location { slot: SlotId::new(source.slot.slab(), 60_000), ..source }, 64),
        (Location { slot: SlotId::new(9999, 0), ..source }, 64),
        (source, 4096),
        (source, u32::MAX),
    ];
    // Where nobody is asked, memory that there is can be read whatever it is; what there is not can be read nowhere.
    let seen = |&(place, length): &(Location, u32)| {
        F::SERVES_READS || length == u32::MAX || place.slot.index() == 60_000 || place.slot.slab() == 9999
    };
    for (token, (place, length)) in (0..).zip(wrong) {
        cluster.at(1).read(ReadToken(token), place, landing, length);
    }
    cluster.at(1).read(ReadToken(99), source, landing, 64);
    cluster.at(1).flush();
    cluster.until("6 READs", |told| reads(&told[0]).len() == 6);
    let mut over = reads(cluster.told(1));
    over.sort_unstable();
    let mut expected: Vec<_> = (0..).zip(&wrong).map(|(token, wrong)| (token, !seen(wrong))).collect();
    expected.push((99, true));
    assert_eq!(over, expected);
    let failed = wrong.iter().filter(|wrong| seen(wrong)).count();
    assert_eq!(cluster.at(1).counters().reads_failed, failed as u64);
    assert_eq!(cluster.at(1).checks_generations(), F::SERVES_READS);
}

pub fn a_read_of_nothing_completes<F: Fixture>() {
    let mut cluster = Cluster::<F>::met(2);
    let source = cluster.object(2, 1, &[]);
    let landing = cluster.slot(1, 1, 0);
    cluster.at(1).read(ReadToken(1), source, landing, 0);
    cluster.at(1).flush();
    cluster.until("the READ", |told| reads(&told[0]) == [(1, true)]);
}

pub fn many_reads_are_in_flight<F: Fixture>() {
    let mut cluster = Cluster::<F>::met(2);
    let sources: Vec<_> = (0..1000).map(|object| cluster.object(2, object, &pattern(object, 1024))).collect();
    let landings: Vec<_> = (0..1000).map(|object| cluster.slot(1, object, 1024)).collect();
    for (token, (&source, &landing)) in (0..).zip(sources.iter().zip(&landings)) {
        cluster.at(1).read(ReadToken(token), source, landing, 1024);
    }
    cluster.at(1).flush();
    cluster.until("1000 READs", |told| reads(&told[0]).len() == 1000);
    let mut over = reads(cluster.told(1));
    over.sort_unstable();
    assert_eq!(over, (0..1000).map(|token| (token, true)).collect::<Vec<_>>(), "each exactly once");
    for (object, &landing) in (0..).zip(&landings) {
        assert_eq!(cluster.bytes(1, landing, 1024), pattern(object, 1024), "object {object}");
    }
}

pub fn large_objects_are_read_whole<F: Fixture>() {
    let mut cluster = Cluster::<F>::met(2);
    let length = 1 << 20;
    let sources: Vec<_> = (0..3).map(|object| cluster.object(2, object, &pattern(object, length))).collect();
    let landings: Vec<_> = (0..3).map(|object| cluster.slot(1, object, length)).collect();
    for (token, (&source, &landing)) in (0..).zip(sources.iter().zip(&landings)) {
        cluster.at(1).read(ReadToken(token), source, landing, length as u32);
    }
    cluster.at(1).flush();
    cluster.until("3 READs", |told| reads(&told[0]).iter().filter(|(_, good)| *good).count() == 3);
    for (object, &landing) in (0..).zip(&landings) {
        assert!(cluster.bytes(1, landing, length) == pattern(object, length), "object {object}");
    }
}

pub fn both_directions_work_at_once_under_load<F: Fixture>() {
    const ROUNDS: u32 = 3000;
    let mut cluster = Cluster::<F>::met(2);
    let length = 65536;
    let of = |id: u8| if id == 1 { 2 } else { 1 };
    let sources = [1, 2].map(|id| cluster.object(id, 0, &pattern(id.into(), length)));
    let landings =
        [1, 2].map(|id| (1..=20).map(|object| cluster.slot(id, object, length)).collect::<Vec<_>>());
    for round in 0..ROUNDS {
        for id in [1, 2] {
            cluster.at(id).send(node(of(id)), &message(round));
            if round % 150 == 0 {
                let place = (round / 150) as usize;
                let source = sources[usize::from(of(id)) - 1];
                cluster.at(id).read(
                    ReadToken(round.into()),
                    source,
                    landings[usize::from(id) - 1][place],
                    length as u32,
                );
            }
            if round % 64 == 0 {
                cluster.at(id).flush();
            }
        }
        if round % 100 == 0 {
            cluster.poll();
        }
    }
    cluster.at(1).flush();
    cluster.at(2).flush();
    cluster.until("everything", |told| {
        told.iter().zip([2, 1]).all(|(told, from)| {
            numbers(told, from).len() == ROUNDS as usize
                && reads(told).iter().filter(|(_, good)| *good).count() == 20
        })
    });
    for id in [1, 2] {
        assert_eq!(numbers(cluster.told(id), of(id)), (0..ROUNDS).collect::<Vec<_>>());
        for &landing in &landings[usize::from(id) - 1] {
            assert!(cluster.bytes(id, landing, length) == pattern(of(id).into(), length));
        }
    }
}

pub fn a_lost_peer_fails_its_reads_before_its_news<F: Fixture>() {
    let mut cluster = Cluster::<F>::met(3);
    let source = cluster.object(2, 0, &pattern(0, 1 << 20));
    let landings: Vec<_> = (1..=3).map(|object| cluster.slot(1, object, 1 << 20)).collect();
    cluster.forget();
    for token in 0..300 {
        cluster.at(1).read(ReadToken(token), source, landings[token as usize % 3], 1 << 20);
    }
    cluster.at(1).flush();
    cluster.fabric.kill(node(2));
    cluster.until("the news", |told| down(&told[0], 2).is_some() && down(&told[2], 2).is_some());
    assert_eq!(down(cluster.told(1), 2), Some(true), "its process ended");
    let mut over = reads(cluster.told(1));
    over.sort_unstable();
    assert_eq!(
        over.iter().map(|(token, _)| *token).collect::<Vec<_>>(),
        (0..300).collect::<Vec<_>>(),
        "each once"
    );
    assert!(over.iter().any(|(_, good)| !good));
    assert!(matches!(cluster.told(1).last(), Some(Event::PeerDown { .. })), "after the READs");
    let landed = landings.iter().map(|&slot| cluster.bytes(1, slot, 1 << 20)).collect::<Vec<_>>();

    // What is asked of it now fails or is dropped, and nothing lands any more.
    cluster.forget();
    cluster.at(1).send(node(2), &message(1));
    cluster.at(1).read(ReadToken(1000), source, landings[0], 64);
    cluster.at(1).send(node(3), &message(2));
    cluster.at(1).flush();
    cluster.until("the failure", |told| reads(&told[0]) == [(1000, false)] && numbers(&told[2], 1) == [2]);
    assert!(landings.iter().zip(&landed).all(|(&slot, before)| cluster.bytes(1, slot, 1 << 20) == *before));
    let peers = cluster.at(1).peers();
    assert!(peers[0].up.is_none() && !peers[0].reason.is_empty(), "{peers:?}");
}

pub fn a_silent_peer_is_lost_but_not_for_certain<F: Fixture>() {
    let mut cluster = Cluster::<F>::met(3);
    let source = cluster.object(2, 0, &pattern(0, 64));
    let landing = cluster.slot(1, 0, 64);
    cluster.fabric.freeze(node(2));
    cluster.forget();
    let start = cluster.fabric.now();
    cluster.at(1).read(ReadToken(3), source, landing, 64);
    cluster.at(1).flush();
    cluster.until("the silence", |told| down(&told[0], 2).is_some() && down(&told[2], 2).is_some());
    let time = cluster.fabric.now() - start;
    assert!((Duration::from_millis(2900)..Duration::from_secs(5)).contains(&time), "noticed after {time:?}");
    assert_eq!((down(cluster.told(1), 2), down(cluster.told(3), 2)), (Some(false), Some(false)));
    // One-sided: memory is read whether its process runs or not.
    assert_eq!(reads(cluster.told(1)), [(3, !F::SERVES_READS)]);

    cluster.fabric.thaw(node(2));
    cluster.until("the return", |told| {
        !ups(&told[0], 2).is_empty()
            && !ups(&told[2], 2).is_empty()
            && ups(&told[1], 1).len() + ups(&told[1], 3).len() == 2
    });
    assert_eq!(down(cluster.told(2), 1), Some(false), "the silent one heard nothing either");
    assert_eq!(ups(cluster.told(1), 2), [Incarnation(1)]);
    cluster.at(2).send(node(1), &message(8));
    cluster.at(2).flush();
    cluster.until("a message", |told| numbers(&told[0], 2) == [8]);
}

pub fn a_life_that_was_lost_does_not_return<F: Fixture>() {
    let mut cluster = Cluster::<F>::met(3);
    (1..=3).for_each(|id| cluster.at(id).forbid_returns());
    cluster.fabric.freeze(node(2));
    cluster.forget();
    cluster.until("the silence", |told| down(&told[0], 2).is_some() && down(&told[2], 2).is_some());
    cluster.fabric.thaw(node(2));
    let outlived = |told: &[Event]| told.iter().any(|event| matches!(event, Event::Outlived { .. }));
    cluster.until("the end of its life", |told| {
        outlived(&told[1]) && down(&told[1], 1).is_some() && down(&told[1], 3).is_some()
    });
    assert!(!outlived(cluster.told(1)) && !outlived(cluster.told(3)), "who has more peers goes on");
    assert!((1..=3).all(|id| ups(cluster.told(id), 2).is_empty()), "the old life was let in");

    cluster.at(2).renew(Incarnation(2));
    cluster.until("the new life", |told| {
        !ups(&told[0], 2).is_empty()
            && !ups(&told[2], 2).is_empty()
            && ups(&told[1], 1).len() + ups(&told[1], 3).len() == 2
    });
    for id in [1, 3] {
        assert_eq!(ups(cluster.told(id), 2), [Incarnation(2)]);
        assert_eq!(down(cluster.told(id), 4 - id), None, "the others have not lost each other");
    }
    cluster.at(2).send(node(1), &message(8));
    cluster.at(3).send(node(2), &message(9));
    (2..=3).for_each(|id| cluster.at(id).flush());
    cluster.until("messages", |told| numbers(&told[0], 2) == [8] && numbers(&told[1], 3) == [9]);
}

/// Two that have lost each other, and have nobody else: the one with the larger id begins a new life.
pub fn of_two_equals_one_gives_way<F: Fixture>() {
    let mut cluster = Cluster::<F>::met(2);
    (1..=2).for_each(|id| cluster.at(id).forbid_returns());
    cluster.fabric.freeze(node(1));
    cluster.forget();
    cluster.until("the silence", |told| down(&told[1], 1).is_some());
    cluster.fabric.thaw(node(1));
    let outlived = |told: &[Event]| told.contains(&Event::Outlived { by: node(1) });
    cluster.until("the end of a life", |told| outlived(&told[1]) && down(&told[0], 2).is_some());
    cluster.at(2).renew(Incarnation(7));
    cluster.until("the new life", |told| ups(&told[0], 2) == [Incarnation(7)] && ups(&told[1], 1).len() == 1);
}

pub fn a_new_life_is_a_new_session<F: Fixture>() {
    let mut cluster = Cluster::<F>::met(3);
    for life in 2..5 {
        for id in [1, 3] {
            cluster.forget();
            // messages of the old life, both ways, some of which are under way when it ends
            for number in 0..50 {
                cluster.at(2).send(node(id), &message(number));
                cluster.at(id).send(node(2), &message(number));
            }
            cluster.at(2).flush();
            cluster.at(id).flush();
        }
        cluster.fabric.kill(node(2));
        cluster.arenas[1] = arena();
        let memory = cluster.arenas[1].clone();
        cluster.told[1].clear();
        cluster.fabric.revive(node(2), Incarnation(life), memory);
        cluster.until("the new life", |told| {
            [&told[0], &told[2]].iter().all(|told| ups(told, 2) == [Incarnation(life)])
                && ups(&told[1], 1).len() == 1
                && ups(&told[1], 3).len() == 1
        });
        cluster.at(2).send(node(1), &message(1000));
        cluster.at(1).send(node(2), &message(1001));
        cluster.at(2).flush();
        cluster.at(1).flush();
        cluster.until("news", |told| {
            numbers(&told[0], 2).contains(&1000) && numbers(&told[1], 1).contains(&1001)
        });
        for id in [1, 3] {
            let told = cluster.told(id);
            let session = told.iter().position(|e| matches!(e, Event::PeerUp(..))).unwrap();
            let before = told[..session]
                .iter()
                .filter(|e| matches!(e, Event::PeerDown { node: n, certain: true, .. } if *n == node(2)));
            assert_eq!(before.count(), 1, "down before up: {told:?}");
            let old = numbers(&told[session..], 2).into_iter().filter(|&number| number < 1000).count();
            assert_eq!(old, 0, "messages of the old life in the new session");
        }
        assert_eq!(numbers(cluster.told(2), 1), [1001], "messages to the old life");
    }
}

pub fn leaving_is_known_at_once<F: Fixture>() {
    let mut cluster = Cluster::<F>::met(2);
    let source = cluster.object(1, 0, &pattern(0, 64));
    let landing = cluster.slot(2, 0, 64);
    cluster.forget();
    cluster.at(2).send(node(1), &message(5));
    cluster.at(2).read(ReadToken(1), source, landing, 64);
    cluster.at(2).disconnect();
    let start = cluster.fabric.now();
    cluster.until("the news", |told| down(&told[0], 2).is_some() && down(&told[1], 1).is_some());
    assert!(cluster.fabric.now() - start < Duration::from_secs(2));
    assert_eq!(down(cluster.told(1), 2), Some(true), "who leaves holds nothing");
    assert_eq!(numbers(cluster.told(1), 2), [5], "what was sent before arrives");
    match F::SERVES_READS {
        true => assert_eq!(reads(cluster.told(2)), [(1, false)]),
        false => assert_eq!(reads(cluster.told(2)).len(), 1, "it may have landed before"),
    }
    cluster.forget();
    cluster.at(2).send(node(1), &message(6));
    cluster.at(2).read(ReadToken(2), source, landing, 64);
    cluster.at(2).flush();
    cluster.until("the failure", |told| reads(&told[1]) == [(2, false)]);
    assert!(cluster.told(1).is_empty());
}

pub fn everything_is_counted<F: Fixture>() {
    let mut cluster = Cluster::<F>::met(2);
    let (one, two) = (cluster.at(1).counters(), cluster.at(2).counters());
    let source = cluster.object(2, 0, &pattern(0, 4096));
    let landing = cluster.slot(1, 0, 4096);
    for number in 0..10 {
        cluster.at(1).send(node(2), &message(number));
    }
    cluster.at(1).read(ReadToken(1), source, landing, 4096);
    cluster.at(1).flush();
    cluster.until("all of it", |told| reads(&told[0]).len() == 1 && numbers(&told[1], 1).len() == 10);
    let (one_now, two_now) = (cluster.at(1).counters(), cluster.at(2).counters());
    assert_eq!(one_now.messages_sent - one.messages_sent, 10);
    assert_eq!(two_now.messages_received - two.messages_received, 10);
    assert_eq!((one_now.reads_issued - one.reads_issued, one_now.reads_failed), (1, 0));
    let served = if F::SERVES_READS { 1 } else { 0 };
    assert_eq!((two_now.reads_issued, two_now.reads_served - two.reads_served), (0, served));
    assert!(one_now.bytes_sent - one.bytes_sent >= 10 * 40);
    assert!(one_now.bytes_received - one.bytes_received >= 4096);
    assert!(two_now.bytes_sent - two.bytes_sent >= if F::SERVES_READS { 4096 } else { 0 });
}

pub fn what_can_wait_goes_with_the_next_or_before_sleep<F: Fixture>() {
    let mut cluster = Cluster::<F>::met(3);
    cluster.forget();
    for number in 0..200 {
        let to = node(2 + (number % 2) as u8);
        match number % 5 {
            0 => cluster.at(1).send(to, &message(number)),
            _ => cluster.at(1).send_lazily(to, &message(number)),
        }
        if number % 3 == 0 {
            cluster.at(1).flush_urgent();
        }
    }
    cluster.at(1).flush_urgent();
    // The last are lazy, to either.
    cluster.at(1).arm();
    cluster.until("200 messages", |told| numbers(&told[1], 1).len() + numbers(&told[2], 1).len() == 200);
    assert_eq!(numbers(cluster.told(2), 1), (0..200).step_by(2).collect::<Vec<_>>());
    assert_eq!(numbers(cluster.told(3), 1), (1..200).step_by(2).collect::<Vec<_>>());
}
