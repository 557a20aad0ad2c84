//! What only a real network can do to a node: strangers, other keys, other clusters, floods.

#[allow(dead_code)]
#[path = "contract/fixture.rs"]
mod fixture;
#[allow(dead_code)]
#[path = "contract/tcp.rs"]
mod nodes;

use fixture::{arena, message, node, numbers};
use kddm_cluster::{ClusterId, Key};
use kddm_fabric::{
    Event, Transport,
    tcp::{FabricError, Greeting, Tcp, TcpConfig},
};
use kddm_object::Incarnation;
use nix::{
    sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrStorage},
    time::{ClockId, clock_gettime},
};
use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    os::fd::AsRawFd,
    time::{Duration, Instant},
};

/// Nodes 1 and 2; the second as `change` makes it.
fn two(change: impl Fn(&mut TcpConfig)) -> (Tcp, Tcp, [TcpConfig; 2]) {
    let configs = nodes::configs(2);
    let [first, mut second] = [1, 2].map(|id| configs[&node(id)].clone());
    change(&mut second);
    let started = [&first, &second].map(|config| Tcp::start(config.clone(), arena()).unwrap());
    let [one, other] = started;
    (one, other, [first, second])
}

/// Lets both work for `time`.
fn run(nodes: &mut [&mut Tcp], told: &mut [Vec<Event>], time: Duration) {
    run_until(nodes, told, time, |_| false);
}

/// Lets them work until `done`, at most for `time`; whether it was done.
fn run_until(
    nodes: &mut [&mut Tcp],
    told: &mut [Vec<Event>],
    time: Duration,
    done: impl Fn(&[Vec<Event>]) -> bool,
) -> bool {
    let start = Instant::now();
    loop {
        for (node, told) in nodes.iter_mut().zip(told.iter_mut()) {
            node.poll(told);
        }
        if done(told) {
            return true;
        }
        if start.elapsed() > time {
            return false;
        }
        nodes::wait_for(
            nodes.iter().map(|node| &**node as &dyn Transport),
            time.saturating_sub(start.elapsed()),
        );
    }
}

const LONG: Duration = Duration::from_secs(10);

fn meet(nodes: &mut [&mut Tcp], told: &mut [Vec<Event>]) {
    let met =
        |told: &[Vec<Event>]| told.iter().all(|told| told.iter().any(|e| matches!(e, Event::PeerUp(..))));
    assert!(run_until(nodes, told, LONG, met), "they do not meet: {told:?}");
}

fn refusals(told: &[Event]) -> Vec<&str> {
    fn reason(event: &Event) -> Option<&str> {
        match event {
            Event::Refused { reason, .. } => Some(reason),
            _ => None,
        }
    }
    told.iter().filter_map(reason).collect()
}

/// A node 2 that `change` makes unfit is refused, both sides say why in those words, once, and it shows in the state.
fn is_refused(change: impl Fn(&mut TcpConfig), parts: [&str; 2]) {
    let (mut one, mut other, _) = two(change);
    let mut told = [Vec::new(), Vec::new()];
    let heard = |told: &[Vec<Event>]| told.iter().all(|told| !refusals(told).is_empty());
    assert!(run_until(&mut [&mut one, &mut other], &mut told, LONG, heard), "{told:?}");
    run(&mut [&mut one, &mut other], &mut told, Duration::from_millis(1500)); // two retries or more
    for ((told, node), part) in told.iter().zip([&one, &other]).zip(parts) {
        assert_eq!(told.len(), 1, "told once: {told:?}");
        let reason = refusals(told)[0];
        assert!(reason.contains(part), "{reason:?} does not say {part:?}");
        let state = &node.peers()[0];
        assert!(state.up.is_none() && state.reason == reason, "{state:?}");
    }
}

#[test]
fn another_key_is_refused() {
    is_refused(
        |config| config.key = Key::from_bytes([6; 32]),
        ["another cluster key", "another cluster key"],
    );
}

#[test]
fn another_cluster_is_refused() {
    is_refused(
        |config| config.cluster = ClusterId([2; 16]),
        ["copy one cluster.toml", "copy one cluster.toml"],
    );
}

#[test]
fn another_protocol_version_is_refused() {
    let change = |config: &mut TcpConfig| config.greeting.protocol_version = 2;
    is_refused(change, ["protocol version 2", "protocol version 1"]);
}

#[test]
fn another_format_version_is_refused() {
    let change = |config: &mut TcpConfig| config.greeting = Greeting { format_version: 9, ..config.greeting };
    is_refused(change, ["format version 9", "format version"]);
}

#[test]
fn another_root_is_refused() {
    is_refused(|config| config.greeting.root = Some(2 << 24 | 1), ["ROOT_NODEID", "ROOT_NODEID"]);
}

#[test]
fn two_nodes_with_one_id_are_told_apart() {
    let configs = nodes::configs(3);
    let mut one = Tcp::start(configs[&node(1)].clone(), arena()).unwrap();
    // The right node 2, and one that runs as node 2 at the address of node 3.
    let mut two = Tcp::start(configs[&node(2)].clone(), arena()).unwrap();
    let copy =
        TcpConfig { me: node(2), peers: vec![configs[&node(2)].peers[0]], ..configs[&node(3)].clone() };
    let mut copy = Tcp::start(copy, arena()).unwrap();
    let mut told = [Vec::new(), Vec::new(), Vec::new()];
    let heard = |told: &[Vec<Event>]| {
        !refusals(&told[2]).is_empty() && told[1].iter().any(|e| matches!(e, Event::PeerUp(..)))
    };
    assert!(run_until(&mut [&mut one, &mut two, &mut copy], &mut told, LONG, heard), "{told:?}");
    assert!(refusals(&told[2])[0].contains("a second server"), "{told:?}");
    assert!(refusals(&told[0])[0].contains("says that it is node 2"), "{told:?}");
    assert!(one.peers()[0].up.is_some(), "the right one is in");

    // One that runs on the address of another.
    match Tcp::start(configs[&node(2)].clone(), arena()) {
        Err(error @ FabricError::Listen { .. }) => {
            assert!(error.to_string().contains("another server runs there"), "{error}")
        }
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("two nodes listen on one address"),
    }
}

#[test]
fn a_life_that_is_over_does_not_come_back() {
    let configs = nodes::configs(2);
    let life = |life| TcpConfig { incarnation: Incarnation(life), ..configs[&node(2)].clone() };
    let mut one = Tcp::start(configs[&node(1)].clone(), arena()).unwrap();
    let mut other = Tcp::start(life(7), arena()).unwrap();
    meet(&mut [&mut one, &mut other], &mut [Vec::new(), Vec::new()]);
    drop(other);
    let mut other = Tcp::start(life(6), arena()).unwrap();
    let mut told = [Vec::new(), Vec::new()];
    let heard = |told: &[Vec<Event>]| told.iter().all(|told| !refusals(told).is_empty());
    assert!(run_until(&mut [&mut one, &mut other], &mut told, LONG, heard), "{told:?}");
    assert!(refusals(&told[0])[0].contains("restart the servers"), "{told:?}");
}

/// A connection to `to` from the address `from`.
fn call(from: IpAddr, to: SocketAddr) -> TcpStream {
    let caller = socket::socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    socket::bind(caller.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(from, 0))).unwrap();
    socket::connect(caller.as_raw_fd(), &SockaddrStorage::from(to)).unwrap();
    caller.into()
}

/// Whether the other side has closed; what it said before does not matter.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    loop {
        match stream.read(&mut [0; 256]) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}

#[test]
fn garbage_on_the_port_is_told_once_and_harms_nobody() {
    let (mut one, mut other, configs) = two(|_| {});
    let mut told = [Vec::new(), Vec::new()];
    meet(&mut [&mut one, &mut other], &mut told);
    told[0].clear();
    let (from, to) = (configs[1].listen.ip(), configs[0].listen);
    let preamble = b"kDDM\x01\x00\x01\x00";
    let garbage: [Vec<u8>; 5] = [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0xff; 100_000],
        [&preamble[..], &[7; 48]].concat(),
        [&preamble[..], &[0xff; 70_000]].concat(),
        b"kDDM\x63\x00\x01\x00".to_vec(),
    ];
    let mut callers: Vec<TcpStream> = garbage.iter().map(|_| call(from, to)).collect();
    for (caller, bytes) in callers.iter_mut().zip(&garbage) {
        caller.set_nonblocking(true).unwrap();
        let _ = caller.write(bytes); // it may be closed in the middle
    }
    run(&mut [&mut one, &mut other], &mut told, Duration::from_millis(300));
    assert!(callers.iter_mut().all(is_closed));
    let reasons = refusals(&told[0]);
    for part in ["no kDDM handshake", "another cluster key", "handshake version 99"] {
        assert!(reasons.iter().any(|reason| reason.contains(part)), "{part}: {reasons:?}");
    }

    // Half a handshake is given up after its time, quietly.
    let mut half = call(from, to);
    half.write_all(&preamble[..6]).unwrap();
    told[0].clear();
    run(&mut [&mut one, &mut other], &mut told, Duration::from_millis(2500));
    assert!(is_closed(&mut half));
    assert_eq!(told[0], []);

    other.send(node(1), &message(4));
    other.flush();
    assert!(run_until(&mut [&mut one, &mut other], &mut told, LONG, |told| numbers(&told[0], 2) == [4]));
}

#[test]
fn an_address_that_is_no_members_is_turned_away() {
    let (mut one, mut other, configs) = two(|_| {});
    let mut told = [Vec::new(), Vec::new()];
    let mut strangers: Vec<_> =
        (0..3).map(|_| call(IpAddr::from([127, 0, 0, 77]), configs[0].listen)).collect();
    meet(&mut [&mut one, &mut other], &mut told);
    run(&mut [&mut one, &mut other], &mut told, Duration::from_millis(100));
    assert!(strangers.iter_mut().all(is_closed));
    assert_eq!(
        refusals(&told[0]),
        ["127.0.0.77 called, but no node of the cluster has that address"],
        "once"
    );
}

#[test]
fn a_flood_of_callers_does_not_keep_a_peer_out() {
    let configs = nodes::configs(2);
    let mut one = Tcp::start(configs[&node(1)].clone(), arena()).unwrap();
    let (from, to) = (configs[&node(2)].listen.ip(), configs[&node(1)].listen);
    let mut told = [Vec::new(), Vec::new()];
    let mut flood = Vec::new();
    for _ in 0..300 {
        flood.push(call(from, to));
        one.poll(&mut told[0]);
    }
    run(&mut [&mut one], &mut told[..1], Duration::from_millis(100));
    let heard = flood.iter_mut().filter_map(|caller| (!is_closed(caller)).then_some(())).count();
    assert!(heard <= 64, "{heard} strangers are being heard");

    let mut other = Tcp::start(configs[&node(2)].clone(), arena()).unwrap();
    let start = Instant::now();
    loop {
        flood.extend((0..8).map(|_| call(from, to)));
        one.poll(&mut told[0]);
        other.poll(&mut told[1]);
        if told.iter().all(|told| told.iter().any(|event| matches!(event, Event::PeerUp(..)))) {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(5), "the flood keeps node 2 out: {told:?}");
    }
    run(&mut [&mut one, &mut other], &mut told, Duration::from_millis(3200));
    assert!(flood.iter_mut().all(is_closed), "after the deadline all are gone");
    assert!(one.peers()[0].up.is_some() && refusals(&told[0]).is_empty(), "{told:?}");
}

#[test]
fn a_peer_that_takes_nothing_is_given_up_before_memory_is() {
    let (mut one, mut other, _) = two(|_| {});
    let mut told = [Vec::new(), Vec::new()];
    meet(&mut [&mut one, &mut other], &mut told);
    // Node 2 does not poll: the network fills up, then the backlog.
    for number in 0..2_000_000 {
        one.send(node(2), &message(number));
        if number % 1000 == 0 {
            one.flush();
            one.poll(&mut told[0]);
            if told[0].iter().any(|event| matches!(event, Event::PeerDown { .. })) {
                // none of these has more than 60 bytes, frame included
                assert!(one.counters().messages_sent * 60 > 16 << 20, "too early");
                break;
            }
        }
    }
    match told[0].last() {
        Some(Event::PeerDown { certain: false, reason, .. }) => {
            assert!(reason.contains("does not take what it is sent"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_idle_fabric_uses_no_measurable_cpu() {
    let (mut one, mut other, _) = two(|_| {});
    let mut told = [Vec::new(), Vec::new()];
    meet(&mut [&mut one, &mut other], &mut told);
    let before = one.counters();
    let (start, used) = (Instant::now(), thread_time());
    run(&mut [&mut one, &mut other], &mut told, Duration::from_millis(2500));
    let (time, used) = (start.elapsed(), thread_time() - used);
    assert!(used * 100 < time, "{used:?} of {time:?}, by two nodes");
    assert!(one.counters().bytes_sent > before.bytes_sent, "heartbeats went");
    assert!(one.peers()[0].up.is_some());
}

#[test]
fn a_peer_that_is_not_there_costs_nothing_and_is_named() {
    let configs = nodes::configs(2);
    let mut other = Tcp::start(configs[&node(2)].clone(), arena()).unwrap();
    let mut told = [Vec::new()];
    let used = thread_time();
    run(&mut [&mut other], &mut told, Duration::from_millis(2000));
    assert!((thread_time() - used) * 50 < Duration::from_millis(2000), "it dials in a loop");
    let reason = &other.peers()[0].reason;
    assert!(
        reason.contains(&configs[&node(1)].listen.to_string()) && reason.contains("is its server running?"),
        "{reason}"
    );
    let mut one = Tcp::start(configs[&node(1)].clone(), arena()).unwrap();
    let mut told = [Vec::new(), Vec::new()];
    meet(&mut [&mut one, &mut other], &mut told);
}

/// The CPU time of this thread, in which both nodes run.
fn thread_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
}
