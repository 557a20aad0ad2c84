//! `kddm-bench latency` between processes: every case, what it moves, and what happens when somebody does not play along.

use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(60);

/// A node's process; it ends with this.
struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Node {
    fn start(rank: usize, addresses: &[String], more: &[&str]) -> Node {
        let mut command = bench();
        command.args(["latency-node", "--rank", &rank.to_string(), "--addresses", &addresses.join(",")]);
        Node(command.args(more).spawn().unwrap())
    }

    /// Waits until a line with `word` comes on its standard error; what it says later is read and dropped.
    fn wait_for(&mut self, word: &str) {
        let mut lines = BufReader::new(self.0.stderr.take().unwrap()).lines().map_while(Result::ok);
        assert!(lines.any(|line| line.contains(word)), "{word:?} was never said");
        std::thread::spawn(move || lines.for_each(drop));
    }

    /// Its end, and what it said on standard error since.
    fn end(mut self) -> (bool, String) {
        let begin = Instant::now();
        while self.0.try_wait().unwrap().is_none() {
            assert!(begin.elapsed() < LIMIT, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
        let said = self.0.stderr.take().map(|said| std::io::read_to_string(said).unwrap());
        (self.0.wait().unwrap().success(), said.unwrap_or_default())
    }
}

fn bench() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kddm-bench"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// Addresses whose port, and the next, is free; `test` keeps tests of one process apart.
fn addresses(test: u16, nodes: usize) -> Vec<String> {
    let first = 22_000 + (std::process::id() % 500) as u16 * 16 + test * 2;
    let free =
        |port: u16| (1..=nodes).all(|node| TcpListener::bind((format!("127.0.0.{node}"), port)).is_ok());
    let port = (first..u16::MAX - 1).step_by(16).find(|&port| free(port) && free(port + 1)).unwrap();
    (1..=nodes).map(|node| format!("127.0.0.{node}:{port}")).collect()
}

fn report(directory: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(directory.join("latency.json")).unwrap()).unwrap()
}

/// The row of an operation on objects of `bytes` bytes.
fn row<'a>(report: &'a Value, case: &str, home: Option<&str>, bytes: u64) -> &'a Value {
    let fits = |row: &&Value| row["case"] == case && row["bytes"] == bytes && row["home"].as_str() == home;
    let rows: Vec<&Value> = report["cases"].as_array().unwrap().iter().filter(fits).collect();
    assert_eq!(rows.len(), 1, "{case}, {home:?}, {bytes} B: {} rows", rows.len());
    rows[0]
}

fn quick_run(directory: &Path) -> Output {
    let mut command = bench();
    let output =
        command.args(["latency", "--quick", "--nodes", "4", "--out"]).arg(directory).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

#[test]
fn four_nodes_over_tcp_measure_every_case_and_move_what_the_protocol_says() {
    let directory = tempfile::tempdir().unwrap();
    quick_run(directory.path());
    let report = report(directory.path());
    for field in ["commit", "host", "kernel", "device", "cases"] {
        assert!(!report[field].is_null(), "{field} is missing");
    }
    assert!(report.get("left_out").is_none(), "{}", report["left_out"]);
    has_every_case(&report);
    moves_what_it_should(&report);
    for picture in ["4", "4-spread", "4096", "4096-spread", "in-flight", "sharing"] {
        for kind in ["svg", "png"] {
            assert!(directory.path().join(format!("latency-{picture}.{kind}")).is_file(), "{picture}.{kind}");
        }
    }
}

fn has_every_case(report: &Value) {
    let matrix = [
        "get, first touch",
        "get first, 1 copy elsewhere",
        "get first, 2 copies elsewhere",
        "get, exclusive elsewhere",
        "grab, first touch",
        "grab, 1 local copy",
        "grab, 1 local + 1 remote (upgrade)",
        "grab, 1 local + 2 remote (upgrade)",
        "grab, 1 local + 3 remote (upgrade)",
        "grab, 1 remote copy",
        "grab, 2 remote copies",
        "grab, 3 remote copies",
        "upgrade, the owner is another",
        "grab, exclusive elsewhere",
        "remove, 1 local copy",
        "remove, 1 remote copy",
        "remove, 2 remote copies",
        "remove, 3 remote copies",
    ];
    let both = matrix.iter().flat_map(|case| [(*case, "local"), (*case, "distant")]);
    let alone = ["get again, speculation good", "get again, speculation bad"];
    let crowds = ["hand-over among 2 nodes", "hand-over among 4 nodes"];
    let distant = alone.iter().chain(&crowds).map(|case| (*case, "distant"));
    let with_floor = [
        "fabric", "node", "bytes", "count", "min_us", "p50_us", "p99_us", "p999_us", "max_us", "messages",
        "reads",
    ];
    for (case, home) in both.chain(distant) {
        for bytes in [4, 4096] {
            let row = row(report, case, Some(home), bytes);
            let missing: Vec<_> = with_floor.iter().filter(|field| row[**field].is_null()).collect();
            assert!(missing.is_empty(), "{missing:?} of {row}");
            let nothing_to_do = home == "local" && (case.ends_with("touch") || case == "grab, 1 local copy");
            for field in ["floor", "floor_us", "ratio"] {
                assert_eq!(row[field].is_null(), nothing_to_do, "{field} of {row}");
            }
        }
    }
    for bytes in [4, 4096] {
        for width in [1, 2, 4, 8, 16, 32, 64] {
            let row = row(report, &format!("get first, {width} in flight"), Some("distant"), bytes);
            assert!(row["ops_s"].is_f64() && row["ratio"].is_f64(), "{row}");
        }
        for percent in [0, 25, 50, 75, 100] {
            assert!(row(report, &format!("mixed, {percent} % shared"), None, bytes)["ops_s"].is_f64());
        }
        assert!(row(report, "bare READ", None, bytes)["p50_us"].is_f64());
    }
    let range = row(report, "sequential range, 256 objects of 4096 B", Some("distant"), 1 << 20);
    assert!(range["mib_s"].is_f64() && range["messages"] == 512.0 && range["reads"] == 256.0, "{range}");
}

/// docs/protocol.md, Cost: home, owner and requester are three nodes, bytes do not ride along.
fn moves_what_it_should(report: &Value) {
    let moves = |case: &str, home: &str, bytes: u64| {
        let row = row(report, case, Some(home), bytes);
        (row["messages"].as_f64().unwrap(), row["reads"].as_f64().unwrap())
    };
    let documented = [
        ("get first, 1 copy elsewhere", (2.0, 1.0)),
        ("get first, 2 copies elsewhere", (2.0, 1.0)),
        ("get, exclusive elsewhere", (4.0, 1.0)),
        ("grab, 1 remote copy", (6.0, 1.0)),
        ("grab, 2 remote copies", (8.0, 1.0)),
        // The third copy is the home's, whose INV is no message.
        ("grab, 3 remote copies", (9.0, 1.0)),
        ("grab, 1 local copy", (3.0, 0.0)),
        ("grab, 1 local + 1 remote (upgrade)", (5.0, 0.0)),
        ("grab, 1 local + 2 remote (upgrade)", (7.0, 0.0)),
        ("grab, exclusive elsewhere", (5.0, 1.0)),
        ("get again, speculation good", (2.0, 1.0)),
        ("get again, speculation bad", (2.0, 2.0)),
    ];
    for (case, expected) in documented {
        assert_eq!(moves(case, "distant", 4096), expected, "{case}");
    }
    // Small bytes ride in HAND. The home is the requester: a round trip less.
    assert_eq!(moves("grab, exclusive elsewhere", "distant", 4), (5.0, 0.0));
    assert_eq!(moves("get first, 1 copy elsewhere", "local", 4096), (0.0, 1.0));
    assert_eq!(moves("grab, 1 local copy", "local", 4096), (0.0, 0.0));
    for (case, good) in [("get again, speculation good", 1.0), ("get again, speculation bad", 0.0)] {
        let row = row(report, case, Some("distant"), 4096);
        assert_eq!((row["speculated"].as_f64(), row["good"].as_f64()), (Some(1.0), Some(good)), "{row}");
    }
    let alone = row(report, "mixed, 0 % shared", None, 4096);
    assert_eq!((alone["messages"].as_f64(), alone["reads"].as_f64()), (Some(0.0), Some(0.0)), "{alone}");
}

#[test]
fn two_nodes_by_hand_say_what_takes_more() {
    let directory = tempfile::tempdir().unwrap();
    let addresses = addresses(0, 2);
    let out = directory.path().to_str().unwrap();
    let other = Node::start(1, &addresses, &[]);
    let (good, said) = Node::start(0, &addresses, &["--quick", "--out", out]).end();
    assert!(good, "{said}");
    let (good, said) = other.end();
    assert!(good, "{said}");
    let report = report(directory.path());
    let left_out = report["left_out"].to_string();
    assert!(left_out.contains("grab, 3 remote copies (4 nodes are needed, here are 2)"), "{left_out}");
    row(&report, "grab, 1 remote copy", Some("owner"), 4096);
}

#[test]
fn a_node_that_dies_in_the_middle_ends_the_run_and_is_named() {
    let addresses = addresses(1, 3);
    let other = Node::start(1, &addresses, &[]);
    let mut dying = Node::start(2, &addresses, &[]);
    let mut conductor = Node::start(0, &addresses, &["--count", "1000000"]);
    // Its last words are in a file of its own, so that nothing is lost between waiting and the end.
    let mut said = BufReader::new(conductor.0.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("have met") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "they never met");
    }
    dying.0.kill().unwrap();
    let last = std::io::read_to_string(said).unwrap();
    assert!(!conductor.end().0);
    assert!(last.contains("node 3"), "{last}");
    // Nobody stays behind.
    other.end();
}

#[test]
fn nobody_stays_when_rank_0_dies() {
    let addresses = addresses(2, 2);
    let other = Node::start(1, &addresses, &[]);
    let mut conductor = Node::start(0, &addresses, &["--count", "1000000"]);
    conductor.wait_for("have met");
    drop(conductor);
    let (good, said) = other.end();
    assert!(!good, "{said}");
    assert!(said.contains("rank 0") || said.contains("node 1"), "{said}");
}

#[test]
fn a_node_of_another_version_is_told_so_and_so_is_rank_0() {
    let addresses = addresses(3, 2);
    let conductor = Node::start(0, &addresses, &[]);
    let stream = dial(&addresses[0]);
    writeln!(&stream, r#"{{"version":"0.0.1/0","rank":1,"nodes":2,"fabric":"tcp"}}"#).unwrap();
    let mut answer = String::new();
    BufReader::new(&stream).read_line(&mut answer).unwrap();
    assert!(answer.contains("Refused") && answer.contains("0.0.1/0"), "{answer}");
    let (good, said) = conductor.end();
    assert!(!good && said.contains("one build everywhere"), "{said}");
}

#[test]
fn garbage_on_the_control_port_changes_nothing_and_who_is_missing_is_named() {
    let addresses = addresses(4, 2);
    let conductor = Node::start(0, &addresses, &["--wait", "2"]);
    dial(&addresses[0]).write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let (good, said) = conductor.end();
    assert!(!good && said.contains("node 2 (rank 1, 127.0.0.2)") && said.contains("--rank"), "{said}");
}

#[test]
fn addresses_that_cannot_be_are_refused() {
    for (addresses, wanted) in
        [("127.0.0.1", "two nodes"), ("127.0.0.1,127.0.0.1", "twice"), ("a,b", "IP:PORT")]
    {
        let output =
            bench().args(["latency-node", "--rank", "0", "--addresses", addresses]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(wanted), "{addresses}: {said}");
    }
}

/// Rank 0's control port, as soon as it is there.
fn dial(first: &str) -> TcpStream {
    let (address, port) = first.split_once(':').unwrap();
    let control = (address, port.parse::<u16>().unwrap() + 1);
    let begin = Instant::now();
    loop {
        match TcpStream::connect(control) {
            Ok(stream) => return stream,
            Err(error) => assert!(begin.elapsed() < LIMIT, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
