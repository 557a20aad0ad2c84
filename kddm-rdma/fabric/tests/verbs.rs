//! What can be wrong around a node that uses RDMA: devices that cannot be used, and peers that do not fit.
//!
//! One test at a time: some change the device, which all share.

#[allow(dead_code)]
#[path = "contract/fixture.rs"]
mod fixture;
#[allow(dead_code)]
#[path = "contract/tcp.rs"]
mod nodes;

use fixture::{arena, message, node, numbers};
use kddm_cluster::Key;
use kddm_fabric::{
    Event, Transport,
    tcp::{Tcp, TcpConfig},
    verbs::{Choice, StartError, Verbs, VerbsConfig, VerbsError},
};
use kddm_memory::{Arena, ArenaConfig};
use nix::sys::{
    resource::{Resource, getrlimit, setrlimit},
    socket::{self, AddressFamily, SockFlag, SockType, SockaddrStorage},
};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    os::fd::AsRawFd,
    process::Command,
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

static DEVICE: Mutex<()> = Mutex::new(());

/// The device, for one test; another one's failure is no matter.
fn device() -> MutexGuard<'static, ()> {
    DEVICE.lock().unwrap_or_else(|failed| failed.into_inner())
}

fn config(control: &TcpConfig) -> VerbsConfig {
    VerbsConfig { control: control.clone(), choice: Choice::default() }
}

/// Starts a node on the device that was chosen.
fn start(choice: Choice, arena: Arc<Arena>) -> Result<Verbs, VerbsError> {
    let control = nodes::configs(2)[&node(1)].clone();
    Verbs::start(VerbsConfig { control, choice }, arena).map_err(|error| match error {
        StartError::Device(error) => error,
        error => panic!("{error}"),
    })
}

/// Why a node does not start on the device that was chosen.
fn refusal(choice: Choice) -> VerbsError {
    match start(choice, arena()) {
        Ok(_) => panic!("it started"),
        Err(error) => error,
    }
}

#[test]
#[ignore = "needs an RDMA device"]
fn a_device_a_port_or_a_gid_that_is_not_there_is_named_with_what_is() {
    let _device = device();
    let error = refusal(Choice { device: Some("mlx5_7".into()), ..Choice::default() });
    assert!(
        matches!(&error, VerbsError::UnknownDevice { name, there } if name == "mlx5_7" && !there.is_empty())
    );
    assert!(error.to_string().contains("no RDMA device \"mlx5_7\"; there are: "), "{error}");

    let error = refusal(Choice { port: Some(9), ..Choice::default() });
    assert!(matches!(error, VerbsError::NoPort { port: 9, .. }), "{error}");
    assert!(error.to_string().contains("has no port 9: it has ports 1 to "), "{error}");
    assert!(matches!(refusal(Choice { port: Some(0), ..Choice::default() }), VerbsError::NoPort { .. }));

    for index in [200, 70_000, u32::MAX] {
        let error = refusal(Choice { gid_index: Some(index), ..Choice::default() });
        assert!(matches!(error, VerbsError::WrongGid { .. }), "{error}");
        assert!(error.to_string().contains(&format!("no usable GID at index {index}")), "{error}");
    }
}

#[test]
#[ignore = "needs an RDMA device"]
fn memory_that_may_not_be_locked_is_refused_at_once_with_the_limit() {
    let _device = device();
    let (soft, hard) = getrlimit(Resource::RLIMIT_MEMLOCK).unwrap();
    setrlimit(Resource::RLIMIT_MEMLOCK, 4 << 20, hard).unwrap();
    let started = |bytes| start(Choice::default(), Arc::new(Arena::new(ArenaConfig::new(bytes)).unwrap()));
    let above = started(32 << 20).map(drop);
    // Capabilities are a thread's own.
    let below = thread::spawn(move || {
        let mut sets = capabilities(None).unwrap();
        sets.effective.remove(CapabilitySet::IPC_LOCK);
        set_capabilities(None, sets).unwrap();
        [32 << 20, 2 << 20].map(|bytes| started(bytes).map(drop))
    });
    let below = below.join();
    setrlimit(Resource::RLIMIT_MEMLOCK, soft, hard).unwrap();

    let [large, small] = below.unwrap();
    assert!(above.is_ok(), "CAP_IPC_LOCK is above the limit: {above:?}");
    assert!(small.is_ok(), "it fits: {small:?}");
    let error = large.expect_err("an arena of 32 MiB, where 4 may be locked");
    assert!(matches!(error, VerbsError::Memlock { bytes, .. } if bytes == 32 << 20), "{error}");
    let text = error.to_string();
    for part in
        ["the limit on locked memory is 4194304 bytes", "ulimit -l", "LimitMEMLOCK", "`arena` smaller"]
    {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
#[ignore = "needs an RDMA device"]
fn a_port_that_is_down_is_told_with_what_to_look_at() {
    let _device = device();
    let interface = |state| {
        let done = Command::new("ip").args(["link", "set", "eth0", state]).status();
        assert!(done.unwrap().success(), "ip link set eth0 {state}");
    };
    interface("down");
    let error = start(Choice::default(), arena()).map(drop);
    interface("up");
    let error = error.expect_err("the port is down");
    assert!(matches!(error, VerbsError::PortDown { port: 1, state: "down", .. }), "{error}");
    assert!(error.to_string().contains("its network interface is up (ip link)"), "{error}");
    let begin = Instant::now();
    while start(Choice::default(), arena()).is_err() {
        assert!(begin.elapsed() < Duration::from_secs(10), "the port does not come back");
        thread::yield_now();
    }
}

/// Lets nodes work until `done`.
fn until(
    what: &str,
    nodes: &mut [&mut dyn Transport],
    told: &mut [Vec<Event>],
    done: impl Fn(&[Vec<Event>]) -> bool,
) {
    let begin = Instant::now();
    loop {
        for (node, told) in nodes.iter_mut().zip(told.iter_mut()) {
            node.poll(told);
        }
        if done(told) {
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "waited too long for {what}; told {told:?}");
        nodes.iter_mut().for_each(|node| {
            node.arm();
        });
        nodes::wait_for(nodes.iter().map(|node| &**node as &dyn Transport), Duration::from_millis(10));
    }
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

fn are_up(told: &[Event], peers: usize) -> bool {
    told.iter().filter(|event| matches!(event, Event::PeerUp(..))).count() == peers
}

/// A node 2 that does not fit is refused by both others and refuses them, in those words; they go on.
fn is_refused(start: impl FnOnce(TcpConfig) -> Box<dyn Transport>, parts: [&str; 3]) {
    let _device = device();
    let configs = nodes::configs(3);
    let [mut one, mut three] = [1, 3].map(|id| Verbs::start(config(&configs[&node(id)]), arena()).unwrap());
    let mut two = start(configs[&node(2)].clone());
    let mut told = [Vec::new(), Vec::new(), Vec::new()];
    let mut all: [&mut dyn Transport; 3] = [&mut one, &mut *two, &mut three];
    until("refusals, and the right ones to meet", &mut all, &mut told, |told| {
        let refused = told.iter().all(|told| !refusals(told).is_empty());
        refused && are_up(&told[0], 1) && are_up(&told[2], 1)
    });
    for (told, part) in told.iter().zip(parts) {
        assert!(refusals(told)[0].contains(part), "{told:?} does not say {part:?}");
    }
    let peers = all[1].peers();
    assert!(peers.iter().all(|peer| peer.up.is_none()) && peers.iter().any(|peer| peer.refused), "{peers:?}");
    all[0].send(node(3), &message(5));
    all[0].flush();
    until("a message", &mut all, &mut told, |told| numbers(&told[2], 1) == [5]);
}

#[test]
#[ignore = "needs an RDMA device"]
fn a_peer_of_another_fabric_is_refused_on_both_sides_and_the_others_go_on() {
    let uses = ["uses the fabric \"tcp\"", "uses the fabric \"verbs\"", "uses the fabric \"tcp\""];
    is_refused(|control| Box::new(Tcp::start(control, arena()).unwrap()), uses);
}

#[test]
#[ignore = "needs an RDMA device"]
fn a_peer_with_another_key_is_refused_on_both_sides_and_the_others_go_on() {
    let other = |control| TcpConfig { key: Key::from_bytes([6; 32]), ..control };
    let start =
        |control| -> Box<dyn Transport> { Box::new(Verbs::start(config(&other(control)), arena()).unwrap()) };
    is_refused(start, ["another cluster key"; 3]);
}

#[test]
#[ignore = "needs an RDMA device"]
fn garbage_on_the_control_port_is_told_and_the_queue_pairs_work_on() {
    let _device = device();
    let configs = nodes::configs(2);
    let mut pair = [1, 2].map(|id| Verbs::start(config(&configs[&node(id)]), arena()).unwrap());
    let mut told = [Vec::new(), Vec::new()];
    let [one, two] = &mut pair;
    let mut both: [&mut dyn Transport; 2] = [one, two];
    until("a session", &mut both, &mut told, |told| told.iter().all(|told| are_up(told, 1)));
    told.iter_mut().for_each(Vec::clear);

    let preamble = b"kDDM\x01\x00\x01\x00";
    let garbage: [Vec<u8>; 4] = [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0xff; 100_000],
        [&preamble[..], &[0xff; 70_000]].concat(),
        b"kDDM\x63\x00\x01\x00".to_vec(),
    ];
    let mut callers = Vec::new();
    for (number, bytes) in (0..).zip(&garbage) {
        let mut caller = call(configs[&node(2)].listen.ip(), configs[&node(1)].listen);
        caller.set_nonblocking(true).unwrap();
        let _ = caller.write(bytes); // it may be closed in the middle
        callers.push(caller);
        both[1].send(node(1), &message(number));
        both[1].flush();
        until("a message", &mut both, &mut told, |told| numbers(&told[0], 2).len() as u32 > number);
    }
    until("refusals", &mut both, &mut told, |told| {
        let said = refusals(&told[0]).join("; ");
        ["no kDDM handshake", "handshake version 99"].iter().all(|part| said.contains(part))
    });
    assert_eq!(numbers(&told[0], 2), [0, 1, 2, 3]);
    assert!(!told.iter().flatten().any(|event| matches!(event, Event::PeerDown { .. })), "{told:?}");
    let begin = Instant::now();
    while !callers.iter_mut().all(is_closed) {
        assert!(begin.elapsed() < Duration::from_secs(10), "strangers are kept");
        until("", &mut both, &mut told, |_| true);
    }
}

/// A connection to `to` from the address `from`: that of a member, which is heard.
fn call(from: IpAddr, to: SocketAddr) -> TcpStream {
    let caller = socket::socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    socket::bind(caller.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(from, 0))).unwrap();
    socket::connect(caller.as_raw_fd(), &SockaddrStorage::from(to)).unwrap();
    caller.into()
}

/// Whether the other side has closed; what it said before does not matter.
fn is_closed(stream: &mut TcpStream) -> bool {
    loop {
        match stream.read(&mut [0; 256]) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}
