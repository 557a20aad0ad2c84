//! Programs that say what no library says, while others work.

use crate::attach;
use kddm_object::{FirstTouch, Hold, ObjectKey, SetId};
use kddm_ring::{
    Done, HELLO_BYTES, HoldId, Layout, MAX_WINDOW, Refusal, Region, Request, Submission, Wait,
    mock::MockProgram,
};
use kddm_tests::Cluster;
use kdfs_client::{OpenOptions, Set, SetOptions};
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

fn ask(program: &mut MockProgram, tag: u64, request: Request) -> Result<Done, Refusal> {
    program.submit(&Submission::new(tag, request, false)).unwrap();
    let completion = program.complete().unwrap();
    assert_eq!(completion.tag(), tag, "{request:?}");
    completion.outcome()
}

/// A program that has opened `set`, whose library asks nothing.
fn opened(cluster: &Cluster, set: &str) -> MockProgram {
    let mut program = mock(cluster);
    let name = program.end.window().piece_of(set.as_bytes()).unwrap();
    let into = program.end.window().piece(256).unwrap();
    let request = Request::OpenSet { name: name.region(), into: into.region() };
    ask(&mut program, 0, request).unwrap();
    program
}

fn hold(set: &Set, hold: Hold, into: Region) -> Request {
    let (first_touch, wait) = (FirstTouch::Make, Wait::Forever);
    Request::Hold { key: ObjectKey::new(set.id(), 0), hold, first_touch, wait, into }
}

#[test]
fn a_put_that_is_refused_leaves_the_hold_as_it_is() {
    let cluster = Cluster::up(1);
    let session = attach(&cluster, 1);
    let set = session.create_set("set", SetOptions::new(64)).unwrap();
    let mut program = opened(&cluster, "set");
    let mut place = program.end.window().piece(64).unwrap();
    let region = place.region();
    let put = |hold: u64, changed| Request::Put { hold: HoldId(hold), changed };

    let shared = ask(&mut program, 1, hold(&set, Hold::Shared, region)).unwrap().value;
    assert_eq!(ask(&mut program, 2, put(shared, Some(region))), Err(Refusal::SharedHold));
    assert_eq!(set.try_grab(0).unwrap_err().refusal(), Some(Refusal::WouldBlock), "it is held");
    ask(&mut program, 3, put(shared, None)).unwrap();

    let exclusive = ask(&mut program, 4, hold(&set, Hold::Exclusive, region)).unwrap().value;
    place.copy_from_slice(&[7; 64]);
    let longer = Region { length: 65, ..region };
    assert_eq!(ask(&mut program, 5, put(exclusive, Some(longer))), Err(Refusal::TooLong(64)));
    assert_eq!(set.try_get(0).unwrap_err().refusal(), Some(Refusal::WouldBlock), "it is held");
    ask(&mut program, 6, put(exclusive, Some(region))).unwrap();
    assert_eq!(*set.get(0).unwrap(), [7; 64]);
    assert_eq!(ask(&mut program, 7, put(exclusive, None)), Err(Refusal::NoHold));
}

#[test]
fn a_tag_names_one_request_at_a_time() {
    let cluster = Cluster::up(1);
    let session = attach(&cluster, 1);
    let set = session.create_set("set", SetOptions::new(64)).unwrap();
    let mut program = opened(&cluster, "set");
    let ours = set.grab(0).unwrap();
    let place = program.end.window().piece(64).unwrap();
    let request = hold(&set, Hold::Exclusive, place.region());
    program.submit(&Submission::new(9, request, false)).unwrap();
    assert_eq!(ask(&mut program, 9, request), Err(Refusal::TagUnderWay));
    drop(ours);
    let first = program.complete().unwrap();
    assert_eq!(first.tag(), 9);
    let held = first.outcome().expect("the first is as if there had been no other").value;
    ask(&mut program, 9, Request::Put { hold: HoldId(held), changed: None }).unwrap();
    drop(set.grab(0).unwrap());
}

/// Many requests, each for `bytes` of one file, at the same time; gives back the MiB by which the server has grown, at most.
fn moved_at_once(
    cluster: &Cluster,
    flags: i32,
    bytes: u32,
    times: u64,
    request: impl Fn(u64, Region) -> Request,
) -> u64 {
    let layout = Layout::new(64, MAX_WINDOW).unwrap();
    let stream = UnixStream::connect(cluster.ring(1)).unwrap();
    let mut program = MockProgram::attach(stream, layout).unwrap();
    let path = program.end.window().piece_of(b"/long").unwrap();
    let open = Request::Open { path: path.region(), flags: flags.cast_unsigned(), mode: 0 };
    let file = ask(&mut program, 1, open).unwrap().value;
    let before = most_resident(cluster);
    let region = Region { offset: 4096, length: bytes };
    for tag in 2..2 + times {
        program.submit(&Submission::new(tag, request(file, region), false)).unwrap();
    }
    for _ in 0..times {
        assert_eq!(program.complete().unwrap().outcome().map(|done| done.value), Ok(bytes.into()));
    }
    (most_resident(cluster) - before) >> 10
}

/// The window and the file's place in the arena, the pieces that are under way, and as much again: not a copy for each request.
const fn at_most(bytes: u32) -> u64 {
    2 * (2 * (bytes as u64 >> 20) + 8)
}

#[test]
fn many_long_reads_take_little_memory() {
    const BYTES: u32 = 32 << 20;
    let cluster = Cluster::up(1);
    let session = attach(&cluster, 1);
    session.open("/long", OpenOptions::write().create(0o644)).unwrap().set_len(BYTES.into()).unwrap();
    let read = |file, into| Request::Read { file, offset: 0, into };
    let more = moved_at_once(&cluster, nix::libc::O_RDONLY, BYTES, 60, read);
    println!("60 reads of {} MiB at a time took {more} MiB", BYTES >> 20);
    assert!(more <= at_most(BYTES), "{more} MiB");
}

#[test]
fn many_long_writes_take_little_memory() {
    const BYTES: u32 = 8 << 20;
    let cluster = Cluster::up(1);
    let session = attach(&cluster, 1);
    drop(session.open("/long", OpenOptions::write().create(0o644)).unwrap());
    let write = |file, from| Request::Write { file, offset: 0, from };
    let more = moved_at_once(&cluster, nix::libc::O_WRONLY, BYTES, 60, write);
    println!("60 writes of {} MiB at a time took {more} MiB", BYTES >> 20);
    assert!(more <= at_most(BYTES), "{more} MiB");
}

#[test]
fn a_long_append_is_answered_with_what_lies_together() {
    let cluster = Cluster::up(1);
    let session = attach(&cluster, 1);
    drop(session.open("/log", OpenOptions::write().create(0o644)).unwrap());
    let mut program =
        MockProgram::attach(UnixStream::connect(cluster.ring(1)).unwrap(), Layout::default()).unwrap();
    let path = program.end.window().piece_of(b"/log").unwrap();
    let flags = (nix::libc::O_WRONLY | nix::libc::O_APPEND).cast_unsigned();
    let file = ask(&mut program, 1, Request::Open { path: path.region(), flags, mode: 0 }).unwrap().value;
    let mut wanted = 0;
    for (tag, length) in [(2, 10), (3, (1 << 20) + 5)] {
        let mut from = program.end.window().piece(length).unwrap();
        from.fill(tag as u8);
        let done = ask(&mut program, tag, Request::Write { file, offset: 0, from: from.region() }).unwrap();
        assert_eq!(done.value, u64::from(length).min(1 << 20), "what does not lie together is left");
        wanted += done.value;
    }
    assert_eq!(session.metadata("/log").unwrap().len(), wanted);
}

/// KiB of the server's memory that were there at the same time, at most.
fn most_resident(cluster: &Cluster) -> u64 {
    let mut server = kdfs_client::Connection::open(&cluster.directory().join("run/1.sock")).unwrap();
    let pid = server.status().unwrap().pid;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    most.trim().trim_end_matches(" kB").parse().unwrap()
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
