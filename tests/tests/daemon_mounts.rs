//! What the kernel is told and asked: mappings, processes that are killed while they wait, mounts that come and go.
#![forbid(unsafe_code)]

use kddm_tests::{ByHand, Cluster, MOUNT_1, MOUNT_2, Shell, Stopped};
use nix::sys::signal::Signal;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A program that maps the file of its first argument and does what its second says.
const MAPPER: &str = r#"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#define CHECK(x) if (!(x)) { printf("%s failed\n", #x); return 1; }
int main(int argc, char **argv) {
    const char *here = argv[1], *there = argv[2];
    char bytes[6] = "", *map, *second;
    int file = open(here, O_RDWR), other;
    CHECK(file >= 0);
    CHECK((map = mmap(0, 10000, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0)) != MAP_FAILED);
    /* A local read sees what the mapping wrote. */
    memcpy(map + 5000, "mapped", 6);
    CHECK(pread(file, bytes, 6, 5000) == 6 && !memcmp(bytes, "mapped", 6));
    /* Other nodes see it after msync ... */
    memcpy(map + 5000, "synced", 6);
    CHECK(msync(map, 10000, MS_SYNC) == 0);
    CHECK((other = open(there, O_RDWR)) >= 0);
    CHECK(pread(other, bytes, 6, 5000) == 6 && !memcmp(bytes, "synced", 6));
    /* ... a local write shows in the mapping, and another node's in a new one. */
    CHECK(pwrite(file, "local!", 6, 100) == 6 && !memcmp(map + 100, "local!", 6));
    CHECK(pwrite(other, "remote", 6, 100) == 6);
    CHECK((second = mmap(0, 10000, PROT_READ, MAP_SHARED, file, 0)) != MAP_FAILED);
    CHECK(!memcmp(second + 100, "remote", 6));
    /* And what was mapped is elsewhere once the file is closed. */
    memcpy(map, "closed", 6);
    CHECK(munmap(map, 10000) == 0 && munmap(second, 10000) == 0 && close(file) == 0);
    CHECK(pread(other, bytes, 6, 0) == 6 && !memcmp(bytes, "closed", 6));
    return 0;
}
"#;

#[test]
fn mappings_show_what_the_manual_says() {
    let cluster = Cluster::up(2);
    fs::write(cluster.directory().join("map.c"), MAPPER).unwrap();
    fs::write(cluster.at(1, "file"), vec![0; 10_000]).unwrap();
    // The program is linked into, and run from, the mount.
    cluster
        .shell(r#"cc -o "$N1/map" "$N1/../../map.c" && "$N2/map" "$N1/file" "$N2/file" && "$N1/map" "$N2/file" "$N1/file""#)
        .succeeds();
}

#[test]
fn a_process_that_is_killed_while_it_waits_gets_out() {
    let cluster = Cluster::up(2);
    fs::write(cluster.at(1, "file"), "bytes").unwrap();
    let stopped = Stopped::new(cluster.playground().pid(1).unwrap());
    let mut reader = Command::new("cat").arg(cluster.at(2, "file")).stdout(Stdio::null()).spawn().unwrap();
    let waits = || fs::read_to_string(format!("/proc/{}/wchan", reader.id())).unwrap_or_default();
    until("the reader waits for the file system", || waits().contains("request_wait_answer"));
    // A signal that it catches or ignores would change nothing; this one ends it at once, not when the peer is given up.
    let begin = Instant::now();
    reader.kill().unwrap();
    let status = reader.wait().unwrap();
    assert_eq!(status.signal(), Some(Signal::SIGKILL as i32));
    assert!(begin.elapsed() < Duration::from_millis(1000), "it took {:?}", begin.elapsed());
    drop(stopped);
    until("the node is back", || fs::read_to_string(cluster.at(2, "file")).is_ok_and(|text| text == "bytes"));
}

#[track_caller]
fn until(what: &str, holds: impl Fn() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(10), "not within 10 s: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_server_comes_and_goes_with_its_mounts() {
    let hand = ByHand::new();
    hand.format();
    hand.mount();
    let second = r#"mkdir -p "$D/again"; "$MOUNT" "$P1" "$D/again" -o config="$C""#;
    hand.shell(second).succeeds();
    hand.shell(r#"echo text >"$M1/file"; cat "$D/again/file"; umount "$M1"; cat "$D/again/file""#).succeeds();
    assert!(status(&hand).contains("again"), "the server stays for its other mount");
    hand.shell(r#"umount "$D/again""#).succeeds();
    until("the server ends with its last mount", || down(&hand, 1));
    hand.shell(r#"umount "$M2""#).succeeds();
    until("so does the other", || down(&hand, 2));
    hand.shell(&format!("{MOUNT_2} & {MOUNT_1}; wait")).succeeds();
    assert_eq!(fs::read_to_string(hand.path("m2/file")).unwrap(), "text\n");
}

fn status(hand: &ByHand) -> String {
    hand.shell(r#""$KDDM" status --config "$C""#).succeeds()
}

fn down(hand: &ByHand, node: u8) -> bool {
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    status(hand).lines().map(words).any(|line| {
        line.first() == Some(&node.to_string()) && line.get(2).is_some_and(|state| state == "down")
    })
}

#[test]
fn a_mount_whose_server_was_killed_is_replaced() {
    let mut cluster = Cluster::up(2);
    fs::write(cluster.at(2, "file"), "text").unwrap();
    cluster.playground().sync().unwrap();
    cluster.crash(2);
    assert!(fs::read(cluster.at(2, "file")).is_err(), "the mount of a dead server answers nothing");
    cluster.start().unwrap();
    assert_eq!(fs::read_to_string(cluster.at(2, "file")).unwrap(), "text");
}

#[test]
fn a_busy_mount_is_taken_away_all_the_same_and_said_so() {
    let cluster = Cluster::up(1);
    let file = fs::File::create(cluster.at(1, "file")).unwrap();
    let kddm = kddm_bench::programs::built("kddm").unwrap();
    let down = r#""$KDDM" playground down --dir "$DIR""#;
    let said = Shell::new(down).env("KDDM", &kddm).env("DIR", cluster.directory()).fails();
    assert!(said.contains("still uses it") || said.contains("in use"), "{said}");
    drop(file);
    assert!(kddm_bench::playground::mounts_below(cluster.directory()).is_empty());
    assert!(kddm_bench::playground::servers_of(cluster.directory()).is_empty());
}

#[test]
fn a_playground_with_spaces_and_a_long_name() {
    let temporary = tempfile::tempdir().unwrap();
    // Longer than the address of a Unix socket.
    let directory = temporary.path().join("a name with spaces ".repeat(8));
    let kddm = kddm_bench::programs::built("kddm").unwrap();
    let shell = |script: &str| Shell::new(script).env("KDDM", &kddm).env("DIR", &directory);
    shell(r#""$KDDM" playground up --nodes 2 --diskless 1 --dir "$DIR""#).succeeds();
    let end = Down(&kddm, &directory);
    shell(r#"mkdir "$DIR/n2/mnt/folder"; echo text >"$DIR/n2/mnt/folder/a file""#).succeeds();
    let found = shell(r#""$KDDM" where "$DIR/n1/mnt/folder/a file""#).succeeds();
    let native = found.lines().find_map(|line| line.strip_prefix("directory  ")).expect("a native directory");
    shell(r#""$KDDM" sync --dir "$DIR""#).succeeds();
    let content = fs::read(Path::new(native).join(".content")).unwrap();
    assert!(content.starts_with(b"text\n"), "{found}");
    let dump = shell(r#""$KDDM" dump dir:1:1 1 --dir "$DIR""#).succeeds();
    assert!(dump.contains("node 1") && dump.contains("node 2") && dump.contains("home"), "{dump}");
    drop(end);
    assert!(kddm_bench::playground::mounts_below(&directory).is_empty());
}

struct Down<'a>(&'a Path, &'a Path);

impl Drop for Down<'_> {
    fn drop(&mut self) {
        Shell::new(r#""$KDDM" playground down --dir "$DIR""#)
            .env("KDDM", self.0)
            .env("DIR", self.1)
            .succeeds();
    }
}
