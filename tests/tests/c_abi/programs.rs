//! What programs in C do on a cluster.

use crate::installed::{Installed, Linked, source};
use kddm_tests::{Cluster, Shell};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::{fs::PermissionsExt, net::UnixListener},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

/// A program that has said a line, and waits.
struct Waiting(Child);

impl Waiting {
    fn start(installed: &Installed, program: &Path, arguments: &[&Path], says: &str) -> Waiting {
        let mut command = Command::new(program);
        command.args(arguments).env("LD_LIBRARY_PATH", installed.prefix().join("lib"));
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut waiting = Waiting(child);
        let mut line = String::new();
        BufReader::new(waiting.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), says, "{}", program.display());
        waiting
    }

    fn go_on(mut self) {
        self.0.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // Ended already, if all is well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(installed: &Installed, cluster: &Cluster, program: &Path, arguments: &str) -> Shell {
    installed
        .shell(&format!(r#"exec "$PROGRAM" {arguments}"#))
        .env("PROGRAM", program)
        .env("R1", &cluster.ring(1))
        .env("R2", &cluster.ring(2))
}

#[test]
fn two_nodes_count_together_however_the_program_is_linked() {
    let (installed, cluster) = (Installed::new(), Cluster::up(2));
    let mut sum = 0;
    for linked in [Linked::Shared, Linked::Archive, Linked::Static] {
        let counter = installed.compiled(&source("kdfs-client/c/examples/counter.c"), linked);
        thread::scope(|scope| {
            for socket in [r#""$R1""#, r#""$R2""#] {
                let (installed, cluster, counter) = (&installed, &cluster, &counter);
                let arguments = format!("{socket} count 500");
                scope.spawn(move || run(installed, cluster, counter, &arguments).succeeds());
            }
        });
        sum += 1000;
        assert_eq!(run(&installed, &cluster, &counter, r#""$R2" count 0"#).succeeds(), sum.to_string());
    }
    let counter = installed.compiled(&source("kdfs-client/c/examples/counter.c"), Linked::Shared);
    assert!(run(&installed, &cluster, &counter, "").fails().contains("usage"));
    let nowhere = run(&installed, &cluster, &counter, "/nowhere count 1").fails();
    assert!(nowhere.starts_with("counter: attach: /nowhere: "), "{nowhere}");
}

#[test]
fn an_archive_brings_no_other_names_into_a_program() {
    let names = Installed::new().shell(r#"nm -g --defined-only "$PREFIX/lib/libkddm.a""#).succeeds();
    let names: Vec<_> = names.lines().filter_map(|line| line.split(' ').nth(2)).collect();
    assert!(names.len() > 50 && names.iter().all(|name| name.starts_with("kddm_")), "{names:?}");
}

#[test]
fn every_form_of_a_hold_works_and_what_is_wrong_is_refused() {
    let (installed, cluster) = (Installed::new(), Cluster::up(2));
    run(&installed, &cluster, &installed.program("forms"), r#""$R1" "$R2""#).succeeds();
    run(&installed, &cluster, &installed.program("handles"), r#""$R1""#).succeeds();
    run(&installed, &cluster, &installed.program("threads"), r#""$R1""#).succeeds();
}

#[test]
fn files_are_listed_read_and_written_without_a_mount() {
    let (installed, cluster) = (Installed::new(), Cluster::up(2));
    let files = installed.compiled(&source("kdfs-client/c/examples/files.c"), Linked::Shared);
    fs::write(cluster.at(1, "seen"), "through the mount\n").unwrap();
    assert_eq!(run(&installed, &cluster, &files, r#""$R2" cat seen"#).succeeds(), "through the mount");
    let bytes: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    fs::write(installed.prefix().join("large"), &bytes).unwrap();
    run(&installed, &cluster, &files, r#""$R1" put /large <"$PREFIX/large""#).succeeds();
    assert!(fs::read(cluster.at(2, "large")).unwrap() == bytes, "what was written through the ring");
    let listed = run(&installed, &cluster, &files, r#""$R2" ls /"#).succeeds();
    assert!(listed.contains("100644     300000 large") && listed.contains(" seen"), "{listed}");
    let missing = run(&installed, &cluster, &files, r#""$R2" cat missing"#).fails();
    assert_eq!(missing, "files: missing: No such file or directory (os error 2)");
    run(&installed, &cluster, &installed.program("paths"), r#""$R2""#).succeeds();
}

#[test]
fn sets_are_their_owners_and_holds_end_with_their_programs() {
    let (installed, mut cluster) = (Installed::new(), Cluster::up(2));
    let everybody = fs::Permissions::from_mode(0o755);
    for folder in [cluster.directory().to_owned(), cluster.directory().join("run")] {
        fs::set_permissions(folder, everybody.clone()).unwrap();
    }
    let (owner, foreign) = (installed.program("owner"), installed.program("foreign"));
    run(&installed, &cluster, &owner, r#""$R1" private 600"#).succeeds();
    run(&installed, &cluster, &owner, r#""$R1" public 644"#).user(20_001, 20_001).succeeds();
    run(&installed, &cluster, &foreign, r#""$R2" private none"#).user(20_002, 20_002).succeeds();
    run(&installed, &cluster, &foreign, r#""$R2" public read"#).user(20_002, 20_002).succeeds();

    // What a killed program holds is free at once, and as it was.
    let counter = installed.compiled(&source("kdfs-client/c/examples/counter.c"), Linked::Shared);
    let held = [&*cluster.ring(1), Path::new("private")];
    drop(Waiting::start(&installed, &installed.program("holder"), &held, "held"));
    let after = run(&installed, &cluster, &counter, r#""$R2" private 1"#).succeeds();
    assert_eq!(after, "2");

    // A child has no part in it, and keeps nothing.
    let children =
        Waiting::start(&installed, &installed.program("children"), &[&cluster.ring(1)], "detached");
    let admin = cluster.directory().join("run/1.sock");
    let attachments = || {
        let status = kdfs_client::Connection::open(&admin).and_then(|mut server| server.status()).unwrap();
        status.programs.iter().filter(|program| program.name.starts_with("children")).count()
    };
    // The server hears of it when it looks next.
    assert!((0..1000).any(|_| attachments() == 1), "{} attachments of a program that has one", attachments());
    children.go_on();

    // When the server dies, its programs are told so.
    let left = Waiting::start(&installed, &installed.program("left"), &[&cluster.ring(1)], "held");
    cluster.crash(1);
    left.go_on();
    cluster.start().unwrap();
}

#[test]
fn a_server_that_hangs_up_kills_nobody() {
    let installed = Installed::new();
    let program = installed.program("hangs_up");
    let socket = installed.prefix().join("door");
    let listener = UnixListener::bind(&socket).unwrap();
    const TIMES: u32 = 300;
    thread::scope(|scope| {
        scope.spawn(|| (0..TIMES).for_each(|_| drop(listener.accept().unwrap())));
        let shell = installed.shell(&format!(r#"exec "$PROGRAM" "$SOCKET" {TIMES}"#));
        shell.env("PROGRAM", &program).env("SOCKET", &socket).succeeds();
    });
}
