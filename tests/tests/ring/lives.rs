//! Programs that end in every way, servers that end, children of programs.

use crate::{attach, attached};
use kddm_bench::playground::Options;
use kddm_tests::Cluster;
use kdfs_client::{Attach, Error, HoldOptions, Refusal, Session, Set, SetOptions, Shared};
use nix::{
    sys::{
        signal::{Signal, kill},
        wait::waitpid,
    },
    unistd::{ForkResult, Pid, fork, pipe, read, write},
};
use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const LONG: Duration = Duration::from_secs(30);

/// This test program again, holding what `RING` and a name say, until it is killed.
fn holder(cluster: &Cluster, node: u8) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", "lives::holds_until_it_is_killed"])
        .env("RING", cluster.ring(node))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = lines.map_while(Result::ok).any(|line| line.contains("holding"));
    assert!(ready, "the holder says that it holds");
    child
}

#[test]
#[ignore = "run by other tests, as a program of its own"]
fn holds_until_it_is_killed() {
    let session = Session::attach(std::env::var_os("RING").unwrap()).unwrap();
    let set = session.open_set("set").unwrap();
    let mut held = set.grab(0).unwrap();
    held.fill(0xff);
    let _many: Vec<_> = (1..50).map(|object| set.grab(object).unwrap()).collect();
    println!("holding");
    loop {
        std::thread::park();
    }
}

#[test]
fn a_killed_programs_holds_are_free_at_once_and_nothing_else_has_changed() {
    let cluster = Cluster::up(2);
    let set = attach(&cluster, 2).create_set("set", SetOptions::new(8)).unwrap();
    set.grab(0).unwrap().fill(7);
    for signal in [Signal::SIGKILL, Signal::SIGABRT, Signal::SIGTERM] {
        let mut child = holder(&cluster, 1);
        assert_eq!(set.try_get(0).unwrap_err().refusal(), Some(Refusal::WouldBlock));
        let killed = Instant::now();
        kill(Pid::from_raw(child.id() as i32), signal).unwrap();
        assert_eq!(set.get_for(0, LONG).unwrap()[..], [7; 8], "what it had not put is not there");
        let took = killed.elapsed();
        child.wait().unwrap();
        assert!(took < Duration::from_secs(5), "{took:?} until the hold of a killed program was free");
        for object in 1..50 {
            set.grab_for(object, LONG).unwrap();
        }
    }
    assert_eq!(attached(&cluster, 1), (0, 0));
}

#[test]
fn a_stopped_program_keeps_its_holds_and_others_need_not_wait_for_ever() {
    let cluster = Cluster::up(1);
    let set = attach(&cluster, 1).create_set("set", SetOptions::new(8)).unwrap();
    let mut child = holder(&cluster, 1);
    let pid = Pid::from_raw(child.id() as i32);
    kill(pid, Signal::SIGSTOP).unwrap();
    let error = set.grab_for(0, Duration::from_millis(100)).unwrap_err();
    assert_eq!(error.refusal(), Some(Refusal::TimedOut));
    assert_eq!(set.get(1000).unwrap()[..], [0; 8], "others are served");
    kill(pid, Signal::SIGKILL).unwrap();
    child.wait().unwrap();
    set.grab_for(0, LONG).unwrap();
}

/// Holds as many objects as it may, from `first` on; and why not more.
fn hoard(set: &Set, first: u32) -> (Vec<Shared>, Error) {
    let mut held = Vec::new();
    loop {
        match set.get(first + held.len() as u32) {
            Ok(guard) => held.push(guard),
            Err(error) => return (held, error),
        }
    }
}

#[test]
fn programs_that_never_put_fill_their_part_and_at_last_the_arena_and_nobody_elses_holds_suffer() {
    const BYTES: u32 = 256 << 10;
    let cluster = Cluster::with(Options { arena: Some(64 << 20), ..Options::nodes(1) });
    let other = attach(&cluster, 1).create_set("small", SetOptions::new(8)).unwrap();
    let mut count = other.grab(0).unwrap();
    count[0] = 1;
    drop(count);
    let sessions: Vec<Session> =
        (0..5).map(|_| Attach::default().window(32 << 20).to(cluster.ring(1)).unwrap()).collect();
    sessions[0].create_set("large", SetOptions::new(BYTES)).unwrap();
    let sets: Vec<Set> = sessions.iter().map(|session| session.open_set("large").unwrap()).collect();

    let mut hoards = Vec::new();
    for (set, number) in sets.iter().zip(0..) {
        let (held, error) = hoard(set, number * 1000);
        let refusal = error.refusal().unwrap_or_else(|| panic!("{error}"));
        println!("{} objects held: {error}", held.len());
        hoards.push(held);
        match refusal {
            Refusal::TooMuchHeld(kib) => assert_eq!(kib, 16 << 10, "a quarter of the arena"),
            Refusal::NoMemory => break,
            refusal => panic!("{refusal:?}"),
        }
        assert_eq!(other.get(0).unwrap()[0], 1, "others are served");
    }
    assert!((2..=4).contains(&hoards.len()), "each has its quarter until nothing is left");
    assert_eq!(other.grab(0).unwrap()[0], 1, "what is here is served, though nothing more comes");
    // Objects without a device stay where they are when they are put: there is room when they are removed.
    let first = 1000 * (hoards.len() as u32 - 1);
    let put = hoards.pop().map_or(0, |held| held.len() as u32);
    assert!(put > 0);
    (first..first + put).for_each(|object| sets[4].remove(object).unwrap());
    sets[4].get(9000).unwrap();
}

#[test]
fn a_child_has_no_part_in_its_parents_holds() {
    let cluster = Cluster::up(1);
    let session = attach(&cluster, 1);
    let set = session.create_set("set", SetOptions::new(8)).unwrap();
    let held = set.grab(0).unwrap();
    let (answer, say) = pipe().unwrap();
    // SAFETY: the child of a process with threads may take no lock that another thread could hold: those of this attachment are this
    // thread's alone, and the library looks whose child it is before it takes one.
    let child = match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            let refused =
                matches!(set.grab(1), Err(Error::Child)) && matches!(session.ping(), Err(Error::Child));
            drop(held);
            let _ = write(&say, &[u8::from(refused)]);
            // Not the parent's ways of ending.
            // SAFETY: it ends this process and touches nothing.
            unsafe { nix::libc::_exit(0) }
        }
        ForkResult::Parent { child } => child,
    };
    let mut refused = [9];
    read(&answer, &mut refused).unwrap();
    waitpid(child, None).unwrap();
    assert_eq!(refused, [1]);
    let other = attach(&cluster, 1).open_set("set").unwrap();
    assert_eq!(
        other.try_get(0).unwrap_err().refusal(),
        Some(Refusal::WouldBlock),
        "the parent holds it still"
    );
    drop(held);
    other.get_for(0, LONG).unwrap();
}

#[test]
fn a_child_that_outlives_its_parent_keeps_nothing() {
    let cluster = Cluster::up(1);
    let set = attach(&cluster, 1).create_set("set", SetOptions::new(8)).unwrap();
    let script = format!(
        "'{}' --exact --ignored --nocapture lives::forks_and_dies",
        std::env::current_exe().unwrap().display()
    );
    let said = cluster.shell(&script).env("RING", &cluster.ring(1)).succeeds();
    let child = said.lines().find_map(|line| line.split("child ").nth(1)).unwrap().trim().to_owned();
    set.grab_for(0, LONG).unwrap();
    kill(Pid::from_raw(child.parse().unwrap()), Signal::SIGKILL).unwrap();
}

#[test]
#[ignore = "run by the test above, as a program of its own"]
fn forks_and_dies() {
    let session = Session::attach(std::env::var_os("RING").unwrap()).unwrap();
    let _held = session.open_set("set").unwrap().grab(0).unwrap();
    // SAFETY: the child only sleeps.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            // Its output is not waited for; the connection to the server stays open.
            nix::unistd::dup2_stdout(std::fs::File::open("/dev/null").unwrap()).unwrap();
            nix::unistd::dup2_stderr(std::fs::File::open("/dev/null").unwrap()).unwrap();
            loop {
                nix::unistd::pause();
            }
        }
        ForkResult::Parent { child } => {
            println!("child {child}");
            // SAFETY: it ends this process and touches nothing; not even the hold is put.
            unsafe { nix::libc::_exit(0) }
        }
    }
}

#[test]
fn a_server_that_is_killed_is_noticed_and_can_be_attached_to_again() {
    let mut cluster = Cluster::up(1);
    let session = attach(&cluster, 1);
    let set = session.create_set("set", SetOptions::new(8)).unwrap();
    let held = set.grab(0).unwrap();
    let pending = set.begin_grab(0, HoldOptions::default()).unwrap();
    cluster.crash(1);
    assert!(matches!(pending.wait(), Err(Error::Over(_))));
    assert!(matches!(session.ping(), Err(Error::Over(_))));
    assert_eq!(held[..], [0; 8], "its bytes stay to be read");
    drop(held);
    cluster.start().unwrap();
    let session = attach(&cluster, 1);
    assert_eq!(
        session.open_set("set").unwrap_err().refusal(),
        Some(Refusal::UnknownName),
        "sets are volatile"
    );
}

#[test]
fn a_server_that_leaves_says_so() {
    let mut cluster = Cluster::up(1);
    let session = attach(&cluster, 1);
    cluster.down();
    let error = session.ping().unwrap_err();
    assert!(error.to_string().contains("the server is leaving"), "{error}");
    let error = Session::attach(cluster.ring(1)).unwrap_err();
    assert!(error.to_string().contains("1.ring"), "{error}");
}

/// Programs that attach and die leave nothing behind: no memory, no descriptors.
#[test]
fn many_programs_that_come_and_go_leave_nothing() {
    let cluster = Cluster::up(1);
    let set = attach(&cluster, 1).create_set("set", SetOptions::new(4096)).unwrap();
    let come_and_go = |times: u32| {
        for round in 0..times {
            let session = attach(&cluster, 1);
            let set = session.open_set("set").unwrap();
            let held = set.grab(round % 64).unwrap();
            // Some end in the middle of something.
            match round % 3 {
                0 => drop(held),
                1 => drop((session, set, held)),
                _ => drop((set.begin_grab(round % 64, HoldOptions::default()).unwrap(), held)),
            }
        }
    };
    come_and_go(500);
    let before = usage(&cluster);
    come_and_go(9_500);
    set.grab_range(0..64).unwrap();
    let after = usage(&cluster);
    println!("descriptors and KiB: {before:?}, after 9,500 more programs {after:?}");
    assert_eq!(after.0, before.0, "descriptors");
    assert!(after.1 < before.1 + 4096, "{} KiB before, {} after", before.1, after.1);
    assert_eq!(attached(&cluster, 1), (1, 0));
}

#[test]
fn a_thousand_programs_that_do_nothing_cost_next_to_nothing() {
    let cluster = Cluster::up(1);
    let idle = kddm_bench::ring::idle(cluster.playground(), 1000, Duration::from_secs(3)).unwrap();
    println!("{idle:?}");
    assert!(idle.bytes < 64 << 10, "{} bytes each", idle.bytes);
    assert!(idle.cores < 0.01, "{:.2} % of a core", idle.cores * 100.0);
}

/// Descriptors and resident KiB of node 1's server.
fn usage(cluster: &Cluster) -> (usize, u64) {
    let socket = cluster.directory().join("run/1.sock");
    let mut server = kdfs_client::Connection::open(&socket).unwrap();
    // What is still to be noticed is noticed before this is answered by a server that looks at deaths first come first served.
    let deadline = Instant::now() + LONG;
    while server.status().unwrap().programs.len() > 1 {
        assert!(Instant::now() < deadline, "programs that are gone are still attached");
        std::thread::yield_now();
    }
    let pid = server.status().unwrap().pid;
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    (descriptors, resident.trim().trim_end_matches(" kB").parse().unwrap())
}
