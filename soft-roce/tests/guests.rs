//! Real guests: what a command finds in one, how it ends, and that nothing stays when it has ended.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_kddm-soft-roce");

#[test]
fn two_guests_run_a_command_together_and_read_each_other_by_rdma() {
    let folder = folder();
    let of_the_host = folder.path().join("of-the-host");
    fs::write(&of_the_host, "as it was").expect("writing a file");
    let share = folder.path().join("share");
    // The sleep outlives the command with both of its pipes in hand.
    let script = r#"
        set -eu
        echo "$SOFT_ROCE_RANK of $SOFT_ROCE_GUESTS is $SOFT_ROCE_ADDRESS of $SOFT_ROCE_ADDRESSES beside $SOFT_ROCE_PEER"
        echo "in $PWD, $COLOUR, $SHAPE, ${CARGO_MANIFEST_DIR-nothing else}"
        echo changed >"$1"
        [ "$(cat "$1")" = changed ]
        [ "$(stat -fc %T /run)" = tmpfs ] && [ -c /dev/fuse ] && [ -c /dev/ptmx ]
        sleep 1000 &
        echo "left by $SOFT_ROCE_RANK" >"$SOFT_ROCE_SHARE/rank-$SOFT_ROCE_RANK"
        ./pair ib_read_lat -d $SOFT_ROCE_DEVICE -x $SOFT_ROCE_GID -s 4096 -n 200
        printf 'no end of line' >&2
        exit $((SOFT_ROCE_RANK * 3))
    "#;
    let mut command = Command::new(PROGRAM);
    command.args(["--guests", "2", "--env", "COLOUR", "--env", "SHAPE=round"]).arg("--share").arg(&share);
    command.args(["--", "sh", "-c", script, "sh"]).arg(&of_the_host).env("COLOUR", "green");
    let output = run(&mut command);
    assert_eq!(output.code, 3, "{output:?}");
    let all = "10.77.0.1 10.77.0.2";
    output.has(&format!("[0] 0 of 2 is 10.77.0.1 of {all} beside 10.77.0.2"));
    output.has(&format!("[1] 1 of 2 is 10.77.0.2 of {all} beside 10.77.0.1"));
    let here = std::env::current_dir().expect("a working directory");
    output.has(&format!("[1] in {}, green, round, nothing else", here.display()));
    output.says("no end of line\n[1] soft-roce: ended with 3\n");
    let row = output.out.lines().find(|line| line.starts_with("[1]  4096    200"));
    let row = row.unwrap_or_else(|| panic!("no latency: {output:?}"));
    let typical: f64 =
        row.split_whitespace().nth(5).and_then(|word| word.parse().ok()).expect("microseconds");
    assert!(typical > 1.0, "{row}");
    for rank in 0..2 {
        let left = fs::read_to_string(share.join(format!("rank-{rank}"))).expect("a file of the guest");
        assert_eq!(left, format!("left by {rank}\n"));
    }
    assert_eq!(fs::read_to_string(&of_the_host).expect("the host's file"), "as it was");
}

#[test]
fn three_guests_reach_each_other_and_two_go_on_when_one_goes_off() {
    let mut command = Command::new(PROGRAM);
    command.args(["--guests", "3", "--may-vanish", "2", "--timeout", "120", "--", "tests/mesh"]);
    let output = run(&mut command);
    assert_eq!(output.code, 0, "{output:?}");
    for line in ["[1] 0 and 1", "[2] 0 and 2", "[2] 1 and 2", "[0] without 2", "[1] without 2"] {
        output.has(line);
    }
    output.says("[2] soft-roce: powered off, as it may\n");
}

#[test]
fn a_guests_clock_has_the_hosts_pace_and_the_guest_did_not_measure_it() {
    // What the kernel says when it has found out the counter's pace itself. (It tries in any case to do so at once, "Fast TSC
    // calibration", and takes the result for the processor's pace alone; and later "refines" what it was told, by 1 % at most.)
    let script = r#"
        set -eu
        for _ in 1 2 3 4 5 6 7 8; do date +%s%N; sleep 0.1; done
        sleep 3
        for _ in 1 2 3 4 5 6 7 8; do date +%s%N; sleep 0.1; done
        [ $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource) = tsc ] || exit 0
        dmesg | grep 'tsc:'
        ! dmesg | grep -Eq 'tsc: (PIT calibration|using .* calibration)'
    "#;
    let mut command = Command::new(PROGRAM);
    command.args(["--guests", "1", "--", "sh", "-c", script]).stdout(Stdio::piped());
    let mut running = command.spawn().expect("starting it");
    let mut lines = BufReader::new(running.stdout.take().expect("a pipe")).lines();
    let begin = Instant::now();
    let mut time = || {
        let line = lines.next().expect("a line").expect("text");
        let nanos: u64 = line.trim_start_matches("[0] ").parse().expect("a time");
        (begin.elapsed(), Duration::from_nanos(nanos))
    };
    // A line is on its way for a while, which a busy host can make long: of several, the one that was fastest.
    let mut soonest = || {
        let times = std::iter::repeat_with(&mut time).take(8);
        times.min_by_key(|(here, there)| here.as_nanos() as i128 - there.as_nanos() as i128).expect("eight")
    };
    let ((first, before), (last, after)) = (soonest(), soonest());
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    assert_eq!(running.wait().expect("its end").code(), Some(0), "{rest:?}");
    let (there, here) = ((after - before).as_secs_f64(), (last - first).as_secs_f64());
    assert!((0.8..1.25).contains(&(there / here)), "{there} s in the guest, {here} s on the host");
}

#[test]
fn a_panic_is_told_with_the_kernels_words() {
    let script = "[ $SOFT_ROCE_RANK = 0 ] || echo c >/proc/sysrq-trigger";
    let output =
        run(Command::new(PROGRAM).args(["--guests", "2", "--may-vanish", "1", "--", "sh", "-c", script]));
    assert_eq!(output.code, 137, "{output:?}");
    output.says("[1] soft-roce: panicked before its command had ended\n");
    output.says("Kernel panic");
}

#[test]
fn the_time_ends_a_command_that_does_not() {
    let work = folder();
    let mut command = Command::new(PROGRAM);
    command.args(["--guests", "1", "--timeout", "1"]).arg("--work").arg(work.path());
    let output = run(command.args(["--", "sh", "-c", "echo begun; sleep 1000"]));
    assert_eq!(output.code, 124, "{output:?}");
    output.has("[0] begun");
    output.says("[0] soft-roce: still running after 1 s: ended (its machine was given ");
    output.says(" s of a processor)\n");
    assert!(!output.err.contains("given 0.0 s"), "it has booted: {output:?}");
    assert_eq!(machines(work.path()), NONE);
    assert!(work.path().join("console-0.log").exists(), "--work keeps the console's log");
}

#[test]
fn nobody_who_reads_ends_the_guests() {
    let mut command = Command::new(PROGRAM);
    command.args(["--guests", "1", "--", "yes"]).stdout(Stdio::piped());
    let mut running = command.spawn().expect("starting it");
    let mut line = String::new();
    // The pipe's end goes away with the reader.
    BufReader::new(running.stdout.take().expect("a pipe")).read_line(&mut line).expect("its output");
    assert_eq!(line, "[0] y\n");
    assert_eq!(running.wait().expect("its end").code(), Some(141));
}

#[test]
fn a_request_to_end_ends_the_guests() {
    let work = folder();
    let mut command = Command::new(PROGRAM);
    command.args(["--guests", "1"]).arg("--work").arg(work.path()).args([
        "--",
        "sh",
        "-c",
        "echo up; sleep 1000",
    ]);
    let mut running = command.stdout(Stdio::piped()).spawn().expect("starting it");
    let mut line = String::new();
    BufReader::new(running.stdout.take().expect("a pipe")).read_line(&mut line).expect("its output");
    assert_eq!(line, "[0] up\n");
    send(&running, Signal::SIGTERM);
    assert_eq!(running.wait().expect("its end").code(), Some(143));
    assert_eq!(machines(work.path()), NONE);
}

#[test]
fn guests_do_not_outlive_a_killed_supervisor() {
    let work = folder();
    let mut command = Command::new(PROGRAM);
    command.args(["--guests", "2"]).arg("--work").arg(work.path()).args(["--", "sleep", "1000"]);
    // Its folder stays: it had no time to remove it.
    let mut running = command.env("TMPDIR", work.path()).spawn().expect("starting it");
    until("both guests run", || machines(work.path()).len() == 2);
    send(&running, Signal::SIGKILL);
    assert_eq!(running.wait().expect("its end").signal(), Some(9));
    until("no guest runs", || machines(work.path()).is_empty());
}

#[test]
fn a_command_that_is_not_there_is_127() {
    let output = run(Command::new(PROGRAM).args(["--guests", "1", "--", "nonesuch"]));
    assert_eq!(output.code, 127, "{output:?}");
    output.says("[0] soft-roce: nonesuch: No such file or directory");
}

#[test]
fn a_guest_without_its_device_is_125_and_says_why() {
    // A kernel as it should be, but for one module.
    let real = Path::new(PROGRAM).ancestors().nth(2).expect("the folder of builds").join("soft-roce");
    run(Command::new(PROGRAM).args(["--guests", "1", "--", "true"]));
    let kernels = fs::read_dir(real).expect("the cache").flatten().map(|entry| entry.path());
    let kernel = kernels.filter(|path| path.join("order").exists()).max().expect("a kernel");
    let cache = folder();
    let copy = cache.path().join(kernel.file_name().expect("a name"));
    fs::create_dir(&copy).expect("a folder");
    for file in fs::read_dir(&kernel).expect("a kernel's files").flatten() {
        symlink(file.path(), copy.join(file.file_name())).expect("a link");
    }
    let order = fs::read_to_string(kernel.join("order")).expect("the order of modules");
    fs::remove_file(copy.join("order")).expect("a link");
    fs::write(copy.join("order"), order.replace("rdma_rxe.ko\n", "")).expect("writing the order");

    let mut command = Command::new(PROGRAM);
    let output = run(command.args(["--guests", "1"]).arg("--cache").arg(cache.path()).args(["--", "true"]));
    assert_eq!(output.code, 125, "{output:?}");
    output.says("guest 0 is not ready: rdma link add rxe0 type rxe netdev eth0: ");
}

#[test]
fn what_a_person_gets_wrong_is_said_before_anything_is_booted() {
    for (arguments, code, words) in [
        (&["--guests", "0", "--", "true"][..], 2, "0 is not in 1..=4"),
        (&["--guests", "5", "--", "true"], 2, "5 is not in 1..=4"),
        (&["--", "true"], 2, "--guests <GUESTS>"),
        (&["--guests", "2"], 2, "<COMMAND>..."),
        (&["--guests", "2", "--timeout", "0", "--", "true"], 2, "0 is not in 1.."),
        (&["--guests", "2", "--may-vanish", "2", "--", "true"], 125, "--may-vanish 2: the guests are 0 to 1"),
        (&["--guests", "2", "--env", "=x", "--", "true"], 125, "--env =x: a variable has a name"),
    ] {
        let output = run(Command::new(PROGRAM).args(arguments));
        assert_eq!(output.code, code, "{arguments:?}: {output:?}");
        output.says(words);
    }
}

#[test]
fn what_the_machine_lacks_is_said() {
    let nothing = run(Command::new(PROGRAM).args(["--guests", "1", "--", "true"]).env("PATH", "/nonesuch"));
    assert_eq!(nothing.code, 125, "{nothing:?}");
    nothing.says("not found: qemu-system-x86_64, ");
    nothing.says("as root: apt-get install qemu-system-x86 ");

    let cache = folder();
    let broken = with_a_program("apt-get", "echo 'E: Failed to fetch' >&2; exit 100");
    let mut command = Command::new(PROGRAM);
    command.args(["--guests", "1"]).arg("--cache").arg(cache.path()).args(["--", "true"]);
    let unfetched = run(command.env("PATH", path_with(broken.path())));
    assert_eq!(unfetched.code, 125, "{unfetched:?}");
    unfetched.says("the guests' kernel cannot be downloaded; is Debian's archive reachable");
    unfetched.says("E: Failed to fetch");

    let broken = with_a_program("qemu-system-x86_64", "echo 'no memory' >&2; exit 1");
    let mut command = Command::new(PROGRAM);
    let unbooted = run(command.args(["--guests", "1", "--", "true"]).env("PATH", path_with(broken.path())));
    assert_eq!(unbooted.code, 125, "{unbooted:?}");
    unbooted.says("guest 0 ended at boot; its last words were\n    no memory\n");
}

/// No process.
const NONE: [PathBuf; 0] = [];

/// How a run ended and what it printed.
#[derive(Debug)]
struct Ended {
    code: i32,
    out: String,
    err: String,
}

impl Ended {
    fn has(&self, line: &str) {
        assert!(self.out.lines().any(|other| other == line), "no line {line:?} in {self:#?}");
    }

    fn says(&self, words: &str) {
        assert!(self.err.contains(words), "{words:?} is not said in {self:#?}");
    }
}

fn run(command: &mut Command) -> Ended {
    let Output { status, stdout, stderr } = command.output().expect("running it");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ended { code: status.code().expect("an exit code"), out: text(stdout), err: text(stderr) }
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// A folder with one program, a shell script.
fn with_a_program(name: &str, script: &str) -> TempDir {
    let folder = folder();
    let program = folder.path().join(name);
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("writing a script");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("making it a program");
    folder
}

fn path_with(folder: &Path) -> String {
    format!("{}:{}", folder.display(), std::env::var("PATH").expect("a PATH"))
}

/// The processes that have a file of `work` among their arguments, but for soft-roce itself.
fn machines(work: &Path) -> Vec<PathBuf> {
    let work = format!("{}/", work.display());
    let processes = fs::read_dir("/proc").expect("the processes").flatten().map(|entry| entry.path());
    let told = |path: &PathBuf| {
        let words = fs::read(path.join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&words).contains(&work)
    };
    processes.filter(told).collect()
}

fn send(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
    kill(pid, signal).expect("it is there: nobody has waited for it");
}

/// Nobody tells of other people's processes, so they are looked at.
fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !reached() {
        assert!(Instant::now() < deadline, "not reached: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
