//! `kddm doctor` on the machine that the tests run on, whatever that has.
#![forbid(unsafe_code)]

use kddm_tests::{ByHand, Shell};

/// What every machine is told about.
const EVERYWHERE: [&str; 12] = [
    "cluster file",
    "kernel",
    "shared mappings",
    "memfd",
    "/dev/fuse",
    "mount helper",
    "user",
    "memory",
    "huge pages",
    "locked memory",
    "open files",
    "clock",
];

/// Runs a script for its output and its exit code.
fn said(hand: &ByHand, script: &str) -> (String, String) {
    let all = hand.shell(&format!("code=0; {script} || code=$?; echo \"exit $code\"")).succeeds();
    let (text, code) = all.rsplit_once('\n').expect("output and an exit code");
    (text.to_owned(), code.to_owned())
}

/// The line about `name`, mark included.
#[track_caller]
fn line<'a>(text: &'a str, name: &str) -> &'a str {
    let found = text.lines().find(|line| line.get(9..).is_some_and(|rest| rest.starts_with(name)));
    found.unwrap_or_else(|| panic!("nothing about {name}:\n{text}"))
}

#[test]
fn nothing_stands_in_the_way_of_tcp_here_and_everything_is_told() {
    let hand = ByHand::new();
    let (text, code) = said(&hand, r#""$KDDM" doctor --config "$C""#);
    for name in EVERYWHERE {
        line(&text, name);
    }
    for part in
        ["ok       cluster file", "ok       key ", "ok       node 1", "ok       node 2", "ok       memfd"]
    {
        assert!(text.lines().any(|line| line.starts_with(part)), "{part:?} is not in\n{text}");
    }
    assert!(text.contains("port") && text.contains("is free"), "{text}");
    assert!(text.contains("\nNothing stands in the way of fabric tcp"), "{text}");
    assert_eq!(code, "exit 0");
}

#[test]
fn programs_are_told_the_same_as_people() {
    let hand = ByHand::new();
    let json = hand.shell(r#""$KDDM" doctor --config "$C" --json"#).succeeds();
    assert!(json.starts_with("[{") && json.ends_with("}]") && !json.contains('\n'), "{json}");
    for key in ["\"name\":", "\"state\":", "\"found\":", "\"remedy\":"] {
        assert_eq!(json.matches(key).count(), json.matches("\"name\":").count(), "{key} in {json}");
    }
    for name in EVERYWHERE {
        assert!(json.contains(&format!("\"name\":\"{name}\"")), "{name} is not in {json}");
    }
}

#[test]
fn without_rdma_verbs_is_refused_and_the_way_out_is_told() {
    if std::path::Path::new("/sys/class/infiniband").exists() {
        println!("skipped: this machine has RDMA");
        return;
    }
    let hand = ByHand::new();
    let (text, code) = said(&hand, r#""$KDDM" doctor --config "$C" --fabric verbs"#);
    assert_eq!(code, "exit 1");
    assert!(line(&text, "RDMA  ").starts_with("problem"), "{text}");
    assert!(text.contains("rdma link add") && text.contains("fabric tcp works"), "{text}");
    let (text, code) = said(&hand, r#""$KDDM" doctor --config "$C""#);
    assert_eq!(code, "exit 0");
    assert!(line(&text, "RDMA  ").starts_with("note"), "{text}");
}

#[test]
fn what_is_wrong_with_a_node_is_told_in_words() {
    let hand = ByHand::new();
    hand.write_config("elsewhere.toml", "key", &["198.51.100.1", "198.51.100.2"]);
    hand.shell(r#"cp "$D/key" "$D/open"; chmod 644 "$D/open""#).succeeds();
    hand.write_config("open.toml", "open", &["127.0.0.1"]);
    hand.write_config("keyless.toml", "nokey", &["127.0.0.1"]);
    std::fs::write(hand.path("broken.toml"), "id = 3\n").expect("a new file");
    let cases = [
        ("elsewhere.toml", "none of the nodes' addresses is this machine's: 198.51.100.1, 198.51.100.2"),
        ("elsewhere.toml --node 2", "198.51.100.2 is none of this machine's addresses"),
        ("cluster.toml --node 9", "lists no such node"),
        ("open.toml", "chmod 600"),
        ("keyless.toml", "kddm key new"),
        ("broken.toml", "broken.toml:1: "),
        ("missing.toml", "No such file"),
    ];
    for (options, part) in cases {
        let (text, code) = said(&hand, &format!(r#""$KDDM" doctor --config "$D"/{options}"#));
        assert!(
            text.lines().any(|line| line.starts_with("problem") && line.contains(part)),
            "{part}:\n{text}"
        );
        assert_eq!(code, "exit 1", "{options}");
    }
}

#[test]
fn its_own_server_has_the_port_or_somebody_else() {
    let hand = ByHand::new();
    hand.format();
    hand.mount();
    let (text, code) = said(&hand, r#""$KDDM" doctor --config "$C""#);
    assert!(line(&text, "node 1").contains("its server has 127.0.0.1:"), "{text}");
    assert_eq!(code, "exit 0");
    // A cluster of the same addresses whose servers are others.
    hand.write_config("other/cluster.toml", "../key", &["127.0.0.1", "127.0.0.2"]);
    let (text, code) = said(&hand, r#""$KDDM" doctor --config "$D/other/cluster.toml" --node 2"#);
    assert!(line(&text, "node 2").contains("not by this node's server"), "{text}");
    assert_eq!(code, "exit 1");
    hand.unmount();
}

#[test]
fn a_wrong_command_line_is_no_diagnosis() {
    let hand = ByHand::new();
    for wrong in ["--fabric carrier-pigeon", "--node 255", "--dir x --config y"] {
        let (_, code) = said(&hand, &format!(r#""$KDDM" doctor {wrong} 2>&1"#));
        assert_eq!(code, "exit 2", "{wrong}");
    }
}

#[test]
#[ignore = "needs an RDMA device"]
fn a_device_its_port_and_the_gid_of_the_nodes_address_are_shown() {
    let hand = ByHand::new();
    let address = std::env::var("SOFT_ROCE_ADDRESS").expect("a guest of soft-roce");
    hand.write_config("rdma.toml", "key", &[&address]);
    let doctor = r#""$KDDM" doctor --config "$D/rdma.toml" --fabric verbs"#;
    let (text, code) = said(&hand, doctor);
    assert!(line(&text, "rxe0 port 1 ").contains("active, Ethernet (RoCE)"), "{text}");
    assert!(line(&text, "rxe0 port 1 GIDs").contains(&format!("RoCE v2 {address}")), "{text}");
    assert!(line(&text, "RDMA of node 1").contains("the node's own address"), "{text}");
    assert_eq!(code, "exit 0", "{text}");

    for (options, part) in [
        ("--gid-index 77", "no usable GID at index 77"),
        ("--device mlx5_0", "no RDMA device \"mlx5_0\"; there are: rxe0"),
        ("--device-port 3", "rxe0 has no port 3"),
    ] {
        let (text, code) = said(&hand, &format!("{doctor} {options}"));
        assert!(line(&text, "RDMA of node 1").starts_with("problem"), "{text}");
        assert!(text.contains(part), "{part}:\n{text}");
        assert_eq!(code, "exit 1");
    }

    let (text, _) = said(&hand, &format!("ulimit -l 4096; setpriv --bounding-set -ipc_lock {doctor}"));
    assert!(line(&text, "locked memory").starts_with("problem  locked memory"), "{text}");

    Shell::new("ip link set eth0 down").succeeds();
    let (text, code) = said(&hand, doctor);
    Shell::new("ip link set eth0 up").succeeds();
    assert!(line(&text, "RDMA of node 1").contains("port 1 of rxe0 is down"), "{text}");
    assert_eq!(code, "exit 1");
}
