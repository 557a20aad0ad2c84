//! What the compiler does not check: where the system may be touched, words that must not stay, sizes of files.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A call that is refused in library code, what takes its place, and the paths where it is at home.
struct Ban {
    what: &'static [&'static str],
    instead: &'static str,
    allowed: &'static [&'static str],
}

/// Programs and tests: nobody simulates them.
const PROGRAMS: [&str; 8] = [
    "bench/",
    "soft-roce/",
    "tests/",
    "mkfs/src/",
    "kdfs-client/",
    "kdfs-server/src/main.rs",
    "kdfs-server/src/doctor/",
    "kdfs-server/tests/",
];

const BANS: [Ban; 3] = [
    Ban {
        what: &["std::fs", "fs::File", "File::open"],
        instead: "Host::disk() (kddm_rdma::Disk)",
        allowed: &["kddm-rdma/src/host/", "kddm-rdma/cluster/src/file.rs"],
    },
    Ban {
        what: &["Instant::now", "SystemTime::now"],
        instead: "Host::now() or Host::wall()",
        allowed: &[
            "kddm-rdma/src/host/",
            "kddm-rdma/fabric/src/tcp/",
            "kddm-rdma/fabric/src/verbs/",
            "kddm-rdma/fabric/src/shm/",
        ],
    },
    Ban {
        what: &["thread::spawn", "thread::Builder", "thread::sleep"],
        instead: "Host::spawn, Host::run_blocking, Host::sleep or Host::spawn_thread",
        allowed: &["kddm-rdma/src/host/"],
    },
];

/// Words that say that something is not done.
const UNFINISHED: [&str; 4] = ["TODO", "FIXME", "XXX", "HACK"];

/// Source files beyond this are named; they want to be cut by concern.
const LONG: usize = 500;
/// Beyond this they have to be.
const TOO_LONG: usize = 900;

/// Crates that share memory with other processes or with a device, or call C.
const UNSAFE_CRATES: [&str; 5] =
    ["kddm-rdma/memory", "kddm-rdma/ring", "kddm-rdma/verbs", "kdfs-client/c", "bench"];

#[test]
fn the_system_is_touched_only_where_it_may_be() {
    let mut findings = Vec::new();
    for (path, text) in sources() {
        for ban in &BANS {
            let at_home = ban.allowed.iter().chain(&PROGRAMS).any(|home| path.starts_with(home));
            if at_home
                || path.contains("/tests/")
                || path.contains("/examples/")
                || path.ends_with("tests.rs")
            {
                continue;
            }
            for (number, line) in code_lines(&text) {
                if let Some(what) = ban.what.iter().find(|what| names(line, what)) {
                    findings.push(format!("{path}:{number}: {what}; use {} instead", ban.instead));
                }
            }
        }
    }
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

/// docs/operations.md names the fields of the log: the one who logs is `node`, so another is `peer`.
#[test]
fn fields_of_the_log_have_the_same_names_everywhere() {
    let words = [
        ("%error", "reason = %error"),
        ("%errno", "reason = %errno"),
        ("why", "reason = why"),
        ("%key", "set = %key.set, object = key.object"),
        ("%node", "peer = %node"),
        ("node", "peer"),
    ];
    let mut findings = Vec::new();
    for (path, text) in sources().into_iter().filter(|(path, _)| !path.starts_with("tests/")) {
        for (place, _) in text.match_indices("tracing::").filter(|(place, _)| is_event(&text[*place..])) {
            let call = &text[place..];
            // What stands before the words for people.
            let fields =
                call.split_once('(').map_or("", |(_, rest)| rest).split('"').next().unwrap_or_default();
            for field in fields.split(',').map(str::trim) {
                let name = field.split(['=', ' ']).next().unwrap_or_default();
                if let Some((_, instead)) = words.iter().find(|(wrong, _)| *wrong == name) {
                    let line = 1 + text[..place].matches('\n').count();
                    findings.push(format!("{path}:{line}: {field}; write {instead}"));
                }
            }
        }
    }
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

fn is_event(call: &str) -> bool {
    ["error!(", "warn!(", "info!(", "debug!(", "trace!("]
        .iter()
        .any(|name| call["tracing::".len()..].starts_with(name))
}

/// Whether a line names it, and not something that only begins so.
fn names(line: &str, what: &str) -> bool {
    let goes_on = |rest: &str| rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    line.match_indices(what).any(|(at, _)| !goes_on(&line[at + what.len()..]))
}

#[test]
fn nothing_says_that_it_is_unfinished() {
    let mut findings = Vec::new();
    for (path, text) in every_text() {
        if path == "tests/tests/tidy.rs" {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let mut words = line.split(|c: char| !c.is_alphanumeric());
            if let Some(word) = words.find(|word| UNFINISHED.contains(word)) {
                findings.push(format!("{path}:{}: {word}: finish it, or write an issue", number + 1));
            }
            // A home directory or a checkout's place is this machine's, nobody else's.
            let own =
                manifest().ancestors().nth(1).map(|root| root.display().to_string()).unwrap_or_default();
            if line.contains("/root/") || line.contains("/home/") || (own.len() > 5 && line.contains(&own)) {
                findings.push(format!("{path}:{}: a path of one machine", number + 1));
            }
        }
    }
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

#[test]
fn files_are_of_a_size_that_can_be_read() {
    let mut sizes = BTreeSet::new();
    for (path, text) in sources() {
        let lines = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().lines().count();
        sizes.insert((lines, path));
    }
    for (lines, path) in sizes.iter().rev().take_while(|(lines, _)| *lines > LONG) {
        println!("{lines:5} lines: {path}: cut it by concern");
    }
    let long: Vec<_> = sizes.iter().filter(|(lines, _)| *lines > TOO_LONG).collect();
    assert!(long.is_empty(), "more than {TOO_LONG} lines: {long:?}");
}

#[test]
fn every_crate_but_those_that_share_memory_forbids_unsafe_code() {
    let mut crates = 0;
    for (path, text) in sources() {
        let folder = path.split("/src/").next().unwrap_or_default();
        let root = ["/src/lib.rs", "/src/main.rs"].iter().any(|root| path == format!("{folder}{root}"));
        if root && !UNSAFE_CRATES.contains(&folder) {
            crates += 1;
            assert!(text.contains("#![forbid(unsafe_code)]"), "{path}: add #![forbid(unsafe_code)]");
        }
    }
    assert!(crates > 8, "only {crates} crates were found: is the walk right?");
}

#[test]
fn whoever_the_house_lets_in_and_nobody_else() {
    // Who may import whom; the reasons are in ARCHITECTURE.md.
    let rules: [(&str, &[&str]); 13] = [
        ("kddm-rdma/object", &[]),
        ("mkfs/format", &[]),
        ("soft-roce", &[]),
        ("kddm-rdma/coherence", &["kddm-object"]),
        ("kddm-rdma/memory", &["kddm-object"]),
        ("kddm-rdma/cluster", &["kddm-object"]),
        ("kddm-rdma/ring", &["kddm-object", "kddm-memory"]),
        ("kddm-rdma/verbs", &["kddm-object", "kddm-memory"]),
        ("kddm-rdma/fabric", &["kddm-object", "kddm-coherence", "kddm-memory", "kddm-cluster", "kddm-verbs"]),
        ("kdfs-server/fs", &["kddm-object", "kddm-rdma", "kdfs-format"]),
        ("kdfs-client/c", &["kddm-object", "kddm-memory", "kdfs-client"]),
        ("kdfs-client", &["kddm-object", "kddm-memory", "kddm-ring", "kddm-cluster", "kdfs-format"]),
        ("mkfs", &["kdfs-format", "kddm-cluster", "kddm-object"]),
    ];
    for (folder, allowed) in rules {
        let path = root().join(folder).join("Cargo.toml");
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let normal = text.split("[dependencies]").nth(1).unwrap_or_default();
        let normal = normal.split("\n[").next().unwrap_or_default();
        for line in normal.lines() {
            let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
            if name.starts_with("kddm-") || name.starts_with("kdfs-") {
                assert!(
                    allowed.contains(&name),
                    "{folder} must not import {name}; it may import {allowed:?}"
                );
            }
        }
    }
}

fn manifest() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn root() -> PathBuf {
    manifest().parent().expect("tests/ lies in the workspace").to_owned()
}

/// Lines of code with their numbers: no comments, and nothing of a unit-test module at the end.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = code.lines().enumerate().map(|(at, line)| (at + 1, line.trim_start()));
    lines.filter(|(_, line)| !line.starts_with("//"))
}

/// Rust sources: path relative to the workspace, text.
fn sources() -> Vec<(String, String)> {
    let all: Vec<_> = every_text().into_iter().filter(|(path, _)| path.ends_with(".rs")).collect();
    assert!(all.len() > 40, "only {} sources were found: is the walk right?", all.len());
    all
}

/// All text files of the workspace.
fn every_text() -> Vec<(String, String)> {
    let root = root();
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("a directory entry").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                if name != "target" && name != ".git" {
                    folders.push(path);
                }
            } else if let Ok(text) = fs::read_to_string(&path) {
                let relative = path.strip_prefix(&root).expect("below the root").display().to_string();
                files.push((relative, text));
            }
        }
    }
    files.sort();
    files
}
