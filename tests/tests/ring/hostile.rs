//! Programs that say what no library says, while others work.

use crate::attach;
use kddm_object::{FirstTouch, Hold, ObjectKey, SetId};
use kddm_ring::{HELLO_BYTES, HoldId, Layout, Refusal, Region, Request, Submission, Wait, mock::MockProgram};
use kddm_tests::Cluster;
use kdfs_client::{Set, SetOptions};
use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

fn mock(cluster: &Cluster) -> MockProgram {
    MockProgram::attach(UnixStream::connect(cluster.ring(1)).unwrap(), Layout::default()).unwrap()
}

/// Counts as long as `body` runs; what was counted is what is there.
fn while_others_work(set: &Set, body: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let mut count = 0_u64;
            // At least once, while the others are at it or after them.
            while count == 0 || !stop.load(Ordering::Relaxed) {
                let mut value = set.grab(0).unwrap();
                assert_eq!(value[..8], count.to_le_bytes());
                count += 1;
                value[..8].copy_from_slice(&count.to_le_bytes());
            }
            count
        });
        body();
        stop.store(true, Ordering::Relaxed);
        println!("others counted to {}", worker.join().unwrap());
    });
}

#[test]
fn strangers_at_the_door_are_told_or_shown_out() {
    let cluster = Cluster::up(1);
    let set = attach(&cluster, 1).create_set("set", SetOptions::new(64)).unwrap();
    while_others_work(&set, || {
        let mut silent: Vec<UnixStream> = Vec::new();
        for round in 0..200_u8 {
            let mut stream = UnixStream::connect(cluster.ring(1)).unwrap();
            if round % 2 == 0 {
                stream.write_all(&[round; HELLO_BYTES / 2]).unwrap();
                silent.push(stream);
                continue;
            }
            stream.write_all(&[round; HELLO_BYTES]).unwrap();
            let mut said = Vec::new();
            stream.read_to_end(&mut said).unwrap();
            assert!(String::from_utf8_lossy(&said).contains("no program of a kDDM ring"), "{said:?}");
        }
        // There can be only so many who say nothing: the first ones were shown out.
        assert_eq!(silent[0].read(&mut [0]).unwrap(), 0);
    });
}

#[test]
fn another_layout_version_is_told_so() {
    let cluster = Cluster::up(1);
    let mut stream = UnixStream::connect(cluster.ring(1)).unwrap();
    let mut hello = [0_u8; HELLO_BYTES];
    hello[..8].copy_from_slice(b"gnirmddk");
    hello[8..12].copy_from_slice(&77_u32.to_le_bytes());
    stream.write_all(&hello).unwrap();
    let mut said = Vec::new();
    stream.read_to_end(&mut said).unwrap();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(said.contains("the program's ring has version 77, the server's 1"), "{said}");
}

#[test]
fn what_is_asked_wrongly_is_refused() {
    let cluster = Cluster::up(1);
    let session = attach(&cluster, 1);
    let set = session.create_set("set", SetOptions::new(64)).unwrap();
    let mut program = mock(&cluster);
    let outside = Region { offset: u32::MAX - 3, length: 64 };
    let inside = Region { offset: 0, length: 64 };
    let hold = |set, into| Request::Hold {
        key: ObjectKey::new(set, 0),
        hold: Hold::Shared,
        first_touch: FirstTouch::Make,
        wait: Wait::Forever,
        into,
    };
    let requests = [
        (hold(set.id(), inside), Refusal::NotOpened),
        (hold(SetId(0), inside), Refusal::NotOpened),
        (hold(SetId(u64::MAX), outside), Refusal::Region),
        (Request::Put { hold: HoldId(1), changed: None }, Refusal::NoHold),
        (Request::Put { hold: HoldId(u64::MAX), changed: Some(outside) }, Refusal::Region),
        (Request::Remove { key: ObjectKey::new(set.id(), 0) }, Refusal::NotOpened),
        (Request::Prefetch { key: ObjectKey::new(set.id(), 0), count: u32::MAX }, Refusal::NotOpened),
        (Request::OpenSet { name: outside, into: inside }, Refusal::Region),
        (Request::OpenSet { name: inside, into: inside }, Refusal::Name),
        (Request::Read { file: 3, offset: 0, into: inside }, Refusal::File(9)),
        (Request::Close { file: u64::MAX }, Refusal::File(9)),
    ];
    for (tag, (request, refusal)) in requests.into_iter().enumerate() {
        program.submit(&Submission::new(tag as u64, request, false)).unwrap();
        let completion = program.complete().unwrap();
        let expected = match request {
            // Zeros are a name of 64 bytes, which nobody has.
            Request::OpenSet { name, .. } if name == inside => Refusal::UnknownName,
            _ => refusal,
        };
        assert_eq!((completion.tag(), completion.outcome()), (tag as u64, Err(expected)), "{request:?}");
    }
}

/// Random bytes as submissions, and as counts: the program is refused or ended, and nobody else notices.
#[test]
fn random_rings_hurt_nobody_else() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let cluster = Cluster::up(1);
    let session = attach(&cluster, 1);
    let set = session.create_set("set", SetOptions { mode: 0o666, ..SetOptions::new(64) }).unwrap();
    let mut ended = 0;
    while_others_work(&set, || {
        for round in 0..300 {
            let mut program = mock(&cluster);
            ended += u32::from(misbehave(&mut program, &mut random, round % 3 == 0));
        }
    });
    println!("{ended} of 300 were ended");
    assert!(ended >= 100, "seed {seed}: whose counts cannot be is shown out");
    assert_eq!(crate::attached(&cluster, 1).0, 1);
}

/// Whether the server ended it.
fn misbehave(program: &mut MockProgram, random: &mut fastrand::Rng, counts: bool) -> bool {
    for _ in 0..random.u32(1..40) {
        let mut bytes = [0_u8; 64];
        random.fill(&mut bytes);
        if random.bool() {
            // What is known, with anything in it.
            bytes[20] = random.u8(1..48);
            bytes[21] &= 15;
            bytes[60..].fill(0);
        }
        if program.submit(&Submission::from_raw(bytes)).is_err() {
            break;
        }
    }
    if !counts {
        return has_hung_up(program, false);
    }
    program.end.spoil(random.u64(..));
    // More than a ring has room for: the server has to look at the count.
    for tag in 0..300 {
        let nothing = Submission::new(tag, Request::Nothing, false);
        while !program.submit(&nothing).is_ok_and(|written| written) {
            if has_hung_up(program, false) {
                return true;
            }
        }
    }
    has_hung_up(program, true)
}

/// A server that ends an attachment says why and hangs up.
fn has_hung_up(program: &mut MockProgram, wait: bool) -> bool {
    program.stream.set_nonblocking(!wait).unwrap();
    program.stream.read(&mut [0; kddm_ring::WELCOME_BYTES]).is_ok()
}
