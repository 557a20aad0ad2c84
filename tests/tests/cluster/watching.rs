//! What a cluster tells of itself: metrics, traces, who is busy with what, logs.

use kddm_bench::playground::Options;
use kddm_bench::programs::{built, succeed};
use kddm_tests::metrics::{Page, documented};
use kddm_tests::{Cluster, errno_of};
use nix::errno::Errno;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

fn kddm(cluster: &Cluster, arguments: &[&str]) -> Command {
    let mut command = Command::new(built("kddm").expect("kddm is built"));
    command.args(arguments).arg("--dir").arg(cluster.directory());
    command
}

fn json(cluster: &Cluster, arguments: &[&str]) -> Value {
    let said = succeed(&mut kddm(cluster, arguments), LIMIT).unwrap_or_else(|error| panic!("{error:#}"));
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// Where each node tells its metrics, as `kddm status` shows it.
fn sockets(cluster: &Cluster) -> Vec<SocketAddr> {
    let status = json(cluster, &["status", "--json"]);
    let nodes = status["nodes"].as_array().expect("nodes").clone();
    nodes
        .iter()
        .map(|node| node["metrics"].as_str().expect("a socket").parse().expect("an address"))
        .collect()
}

#[test]
fn a_server_tells_exactly_the_metrics_that_are_documented() {
    let cluster = Cluster::up(2);
    fs::write(cluster.at(1, "file"), vec![1; 10_000]).unwrap();
    assert_eq!(fs::read(cluster.at(2, "file")).unwrap(), vec![1; 10_000]);
    for socket in sockets(&cluster) {
        assert_eq!(Page::fetch(socket).metrics(), documented(), "docs/metrics.md and {socket} differ");
    }
}

#[test]
fn what_happens_is_counted_and_what_never_happened_is_there_as_0() {
    let cluster = Cluster::up(2);
    let [one, two] = sockets(&cluster)[..] else { panic!("two nodes") };
    for series in [
        "kddm_operations_total{operation=\"grab\",outcome=\"timed_out\"}",
        "kddm_operation_duration_seconds_count{operation=\"remove\",outcome=\"failed\"}",
        "kddm_messages_received_total{kind=\"DISCARD\"}",
        "kdfs_requests_total{operation=\"rename\",outcome=\"killed\"}",
        "kdfs_checkpoint_failures_total{step=\"commit\"}",
        "kdfs_log_reports_total{level=\"error\"}",
        "kddm_reads_failed_total",
        "kddm_arena_quarantined_slots",
    ] {
        assert_eq!(Page::fetch(two).value(series), 0.0, "{series}");
    }
    let before = [one, two].map(Page::fetch);
    fs::write(cluster.at(1, "file"), vec![1; 100_000]).unwrap();
    fs::read(cluster.at(2, "file")).unwrap();
    assert!(fs::metadata(cluster.at(2, "nothing")).is_err());
    cluster.playground().sync().unwrap();
    let after = [one, two].map(Page::fetch);
    let grown = |node: usize, series: &str| after[node].value(series) - before[node].value(series);
    // 25 pages of a file that node 1 is home of and had written.
    let from_home = ["get", "prefetch"].map(|kind| format!("{{operation=\"{kind}\",outcome=\"home\"}}"));
    let sum =
        |metric: &str| from_home.iter().map(|labels| grown(1, &format!("{metric}{labels}"))).sum::<f64>();
    assert!(sum("kddm_operations_total") >= 25.0, "{}", sum("kddm_operations_total"));
    assert_eq!(sum("kddm_operations_total"), sum("kddm_operation_duration_seconds_count"));
    assert!(grown(0, "kddm_operations_total{operation=\"grab\",outcome=\"made\"}") >= 25.0);
    assert!(grown(1, "kddm_read_bytes_total") >= 100_000.0);
    assert!(grown(1, "kddm_messages_sent_total{kind=\"REQ\"}") >= 20.0);
    assert!(grown(0, "kddm_messages_received_total{kind=\"REQ\"}") >= 20.0);
    assert!(grown(1, "kdfs_requests_total{operation=\"read\",outcome=\"done\"}") >= 1.0);
    assert!(grown(1, "kdfs_requests_total{operation=\"lookup\",outcome=\"refused\"}") >= 1.0);
    assert!(grown(0, "kdfs_requests_total{operation=\"write\",outcome=\"done\"}") >= 1.0);
    assert!(grown(0, "kdfs_checkpoint_duration_seconds_count{step=\"commit\"}") >= 1.0);
    assert!(grown(0, "kdfs_log_written_bytes_total") > 0.0);
    assert!(after[0].sum("kddm_operations_total") > after[0].value("kddm_operations_waiting"));
    for page in &after {
        assert_eq!(page.value("kdfs_state{state=\"serving\"}"), 1.0);
        assert_eq!((page.sum("kddm_peer_up"), page.value("kdfs_mounts")), (1.0, 1.0));
        let objects = page.value("kddm_arena_objects") + page.value("kddm_arena_retained_slots");
        let slots = [64, 256, 1024, 4096, 65536, 1 << 20];
        let used = slots
            .map(|size| page.value(&format!("kddm_arena_slots{{slot_bytes=\"{size}\",state=\"used\"}}")));
        assert_eq!(used.iter().sum::<f64>(), objects, "every slot in use is an object's");
    }
}

/// Nodes 1 and 2 share a page of a directory; node 3 puts a name into it.
#[test]
fn a_trace_shows_who_said_what_in_the_order_of_causes() {
    let cluster = Cluster::up(3);
    for node in 1..=2 {
        fs::read_dir(cluster.at(node, "")).unwrap().for_each(drop);
        assert!(fs::metadata(cluster.at(node, "nothing")).is_err());
    }
    let arguments = ["trace", "dir:1:1", "1", "--json", "--for", "3"];
    let mut trace = kddm(&cluster, &arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut begun = String::new();
    BufReader::new(trace.stderr.take().unwrap()).read_line(&mut begun).unwrap();
    assert!(begun.starts_with("tracing dir:1:1@1/1 on node 1, 2, 3"), "{begun}");
    fs::write(cluster.at(3, "new"), "").unwrap();
    let output = trace.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    let said = String::from_utf8(output.stdout).unwrap();
    let events: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let grant = |event: &&Value| {
        event["what"] == "received"
            && event["message"] == "GRANT"
            && event["node"] == 3
            && event["detail"].as_str().unwrap().starts_with("exclusive")
    };
    let grant = events.iter().find(grant).unwrap_or_else(|| panic!("no grab of node 3 in\n{said}"));
    let (seq, rid) = (&grant["seq"], &grant["rid"]);
    let at = |node: u8, what: &str, message: &str| {
        let is = |event: &Value| {
            event["node"] == node
                && event["what"] == what
                && event["message"] == message
                && (event["seq"] == *seq || event["rid"] == *rid)
        };
        events.iter().position(is).unwrap_or_else(|| panic!("no {message} {what} by node {node} in\n{said}"))
    };
    let in_order = |steps: &[usize]| assert!(steps.is_sorted_by(|a, b| a < b), "{steps:?} in\n{said}");
    // Node 1 had a copy, too, and acknowledges for itself.
    let of_two =
        |event: &Value| event["message"] == "ACK" && event["what"] == "received" && event["peer"] == 2;
    let ack = events.iter().position(of_two).unwrap_or_else(|| panic!("no ACK of node 2 in\n{said}"));
    in_order(&[
        at(3, "sent", "REQ"),
        at(1, "received", "REQ"),
        at(1, "sent", "GRANT"),
        at(3, "received", "GRANT"),
    ]);
    in_order(&[at(1, "sent", "INV"), at(2, "received", "INV"), at(2, "sent", "ACK"), ack]);
    in_order(&[at(1, "received", "REQ"), at(1, "sent", "INV")]);
    in_order(&[ack, at(3, "sent", "DONE"), at(1, "received", "DONE")]);
    let of_three = |what: &str| events.iter().position(|event| event["node"] == 3 && event["what"] == what);
    let [asked, posted, done, ended] = ["asked", "read_posted", "read_done", "ended"]
        .map(|what| of_three(what).unwrap_or_else(|| panic!("no {what} of node 3 in\n{said}")));
    in_order(&[asked, posted, done, ended]);
    assert!(at(3, "sent", "REQ") > asked && events.iter().any(|event| event["what"] == "state"), "{said}");
}

#[test]
fn top_shows_nodes_sets_latencies_and_objects_without_a_terminal() {
    let cluster = Cluster::up(2);
    for round in 0..20 {
        fs::write(cluster.at(1 + round % 2, "contended"), [round; 5000]).unwrap();
        fs::read(cluster.at(2 - round % 2, "contended")).unwrap();
    }
    let report = json(&cluster, &["top", "--json"]);
    let nodes = report["nodes"].as_array().unwrap();
    assert_eq!(nodes.iter().map(|node| node["node"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2]);
    for node in nodes {
        let ratio = node["hit_ratio"].as_f64().unwrap();
        assert!(ratio > 0.0 && ratio < 1.0, "{node}");
    }
    let all = |name: &str| report[name].as_array().unwrap().clone();
    let inodes =
        all("sets").into_iter().find(|set| set["name"] == "inode").unwrap_or_else(|| panic!("{report}"));
    assert!(inodes["hits"].as_u64() > Some(0) && inodes["misses"].as_u64() > Some(0), "{inodes}");
    assert!(inodes["p50_us"].as_u64() <= inodes["p99_us"].as_u64() && inodes["p50_us"].as_u64() > Some(0));
    assert!(
        all("outcomes").iter().any(|outcome| outcome["operation"] == "grab" && outcome["outcome"] != "hit")
    );
    let hottest = &all("hottest")[0];
    assert!(hottest["weight"].as_u64() > Some(5) && hottest["home"].as_u64() >= Some(1), "{hottest}");
    let text = succeed(&mut kddm(&cluster, &["top", "--once"]), LIMIT).unwrap();
    for part in ["hit ratio", "hottest objects", "most contended objects", "inode", "all inode", "grab"] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    let refused = succeed(&mut kddm(&cluster, &["top"]), LIMIT).unwrap_err().to_string();
    assert!(refused.contains("--once"), "{refused}");
}

#[test]
fn a_name_that_no_set_has_is_refused_in_words() {
    let cluster = Cluster::up(1);
    for command in ["trace", "dump"] {
        let refused =
            succeed(&mut kddm(&cluster, &[command, "nothing", "1"]), LIMIT).unwrap_err().to_string();
        assert!(refused.contains("no set of this name") && refused.contains("dir:INODE"), "{refused}");
    }
}

#[test]
fn a_log_of_json_has_an_object_a_line_that_says_whose_it_is() {
    let mut cluster = Cluster::prepared(Options::nodes(1));
    let mut up = kddm(&cluster, &["playground", "up", "--nodes", "1"]);
    succeed(up.env("KDFS_LOG_FORMAT", "json"), LIMIT).unwrap_or_else(|error| panic!("{error:#}"));
    cluster.start().unwrap();
    let log = fs::read_to_string(cluster.directory().join("n1/server.log")).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert!(lines.iter().all(|line| line["level"].is_string() && line["message"].is_string()), "{log}");
    let mounted = lines.iter().find(|line| line["message"] == "mounted").expect(&log);
    assert_eq!((&mounted["node"], &mounted["level"]), (&Value::from(1), &Value::from("INFO")));
    assert_eq!(
        mounted["point"].as_str().unwrap(),
        cluster.at(1, "").canonicalize().unwrap().to_str().unwrap()
    );
}

/// A name that stays as it is, and one that is not there, while another node changes their directory; and then they change.
#[test]
fn names_are_found_while_others_change_their_directory_and_change_at_once() {
    let cluster = Cluster::up(2);
    fs::create_dir(cluster.at(1, "busy")).unwrap();
    fs::write(cluster.at(1, "busy/there"), "there").unwrap();
    let (there, absent) = (cluster.at(2, "busy/there"), cluster.at(2, "busy/absent"));
    for round in 0..200 {
        let other = cluster.at(1, &format!("busy/other {}", round / 2));
        match round % 2 {
            0 => fs::write(&other, "").unwrap(),
            _ => fs::remove_file(&other).unwrap(),
        }
        assert_eq!(fs::metadata(&there).unwrap().len(), 5);
        assert_eq!(errno_of(fs::metadata(&absent)), Errno::ENOENT);
        if round % 20 == 19 {
            fs::rename(cluster.at(1, "busy/there"), cluster.at(1, "busy/absent")).unwrap();
            assert_eq!(errno_of(fs::metadata(&there)), Errno::ENOENT);
            assert_eq!(fs::metadata(&absent).unwrap().len(), 5);
            fs::rename(cluster.at(1, "busy/absent"), cluster.at(1, "busy/there")).unwrap();
        }
    }
    let recalled = Page::fetch(sockets(&cluster)[1]).value("kdfs_names_recalled_total");
    assert!(recalled >= 200.0, "of 400 lookups {recalled} were answered by what is remembered of the name");
}
