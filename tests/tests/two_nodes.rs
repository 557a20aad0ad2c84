//! `bench/two-nodes`, with a local shell in the place of ssh and loopback addresses in the place of hosts.
#![forbid(unsafe_code)]

use kddm_bench::programs::{built, run, said};
use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command, time::Duration};

/// Runs the script; its exit code and all that it said.
fn two_nodes(folder: &Path, arguments: &str) -> (Option<i32>, String) {
    let shell = folder.join("rsh");
    fs::write(&shell, "#!/bin/sh\nshift\nexec sh -c \"$*\"\n").unwrap();
    fs::set_permissions(&shell, fs::Permissions::from_mode(0o755)).unwrap();
    let target = built("kddm-bench").unwrap().ancestors().nth(2).unwrap().to_owned();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench/two-nodes");
    let mut command = Command::new(script);
    command.args(arguments.split_whitespace()).env("RSH", &shell).env("CARGO_TARGET_DIR", target);
    command.env("TMPDIR", folder);
    let output = run(&mut command, Duration::from_secs(120)).unwrap();
    (output.status.code(), said(&output))
}

#[test]
fn a_report_of_two_hosts_comes_back_and_nothing_stays() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("report");
    let arguments = format!(
        "--fabric tcp --spin 0 --out {} alpha=127.0.0.191:5349 beta=127.0.0.192:5349 -- --quick",
        out.display()
    );
    let (code, text) = two_nodes(folder.path(), &arguments);
    assert_eq!(code, Some(0), "{text}");
    let report = fs::read_to_string(out.join("latency.json")).unwrap();
    assert!(report.contains("get first, 1 copy elsewhere") && report.contains("ratio"), "{report}");
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "rsh and report alone: {left:?}");
}

#[test]
fn what_to_type_is_printed_for_each_host() {
    let folder = tempfile::tempdir().unwrap();
    let (code, text) = two_nodes(folder.path(), "--print alpha=10.0.0.1 beta=10.0.0.2 -- --count 5000");
    assert_eq!(code, Some(0), "{text}");
    for line in [
        "./kddm doctor --address 10.0.0.2 --fabric verbs",
        "--rank 0 --addresses 10.0.0.1,10.0.0.2 --fabric verbs --spin 100 --count 5000 --out report",
        "--rank 1 --addresses 10.0.0.1,10.0.0.2 --fabric verbs --spin 100 --count 5000",
    ] {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
}

#[test]
fn a_host_that_is_not_ready_ends_it_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let (code, text) = two_nodes(folder.path(), "--fabric tcp alpha=127.0.0.191 beta=198.51.100.9");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("198.51.100.9 cannot be used here"), "{text}");
    assert!(text.contains("beta is not ready for fabric tcp"), "{text}");
    for (wrong, part) in
        [("alpha=1", "two to eight hosts"), ("alpha", "HOST=ADDRESS"), ("--speed 3", "--speed")]
    {
        let (code, text) = two_nodes(folder.path(), wrong);
        assert_eq!(code, Some(2), "{wrong}: {text}");
        assert!(text.contains(part), "{wrong}: {text}");
    }
}
