//! Objects and files from the shell: what the commands promise beyond what the manual shows.
#![forbid(unsafe_code)]

use kddm_bench::programs::{built, run, said};
use kddm_tests::{Cluster, Shell};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

/// A program that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(30);

/// Two nodes, and commands that know where they are.
struct Try(Cluster);

impl Try {
    fn up() -> Try {
        let cluster = Cluster::up(2);
        fs::set_permissions(cluster.directory(), fs::Permissions::from_mode(0o755)).unwrap();
        Try(cluster)
    }

    fn shell(&self, script: &str) -> Shell {
        let programs = built("kddm").unwrap().parent().unwrap().display().to_string();
        let script = format!("PATH={programs}:$PATH; {script}");
        self.0.shell(&script).env("KDDM_DIR", self.0.directory()).env("D", self.0.directory())
    }

    /// What a script prints, which must succeed.
    #[track_caller]
    fn prints(&self, script: &str) -> String {
        self.shell(script).succeeds()
    }

    /// Both outputs of a command, and its exit code.
    #[track_caller]
    fn ends(&self, arguments: &[&str]) -> (String, i32) {
        let output = run(&mut self.kddm(arguments), LIMIT).unwrap();
        (said(&output), output.status.code().unwrap_or(-1))
    }

    fn kddm(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(built("kddm").unwrap());
        command.args(arguments).env("KDDM_DIR", self.0.directory()).stdin(Stdio::null());
        command
    }

    /// Starts a command whose lines are read one by one.
    fn start(&self, arguments: &[&str]) -> (Child, impl FnMut() -> String + use<>) {
        let mut child = self.kddm(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::<ChildStdout>::new(child.stdout.take().unwrap()).lines();
        (child, move || lines.next().unwrap_or_else(|| Ok(String::new())).unwrap())
    }
}

#[test]
fn grabs_exclude_each_other_across_two_nodes_and_lose_no_increment() {
    let cluster = Try::up();
    cluster.prints("kddm set create s --size 16; echo 0 | kddm put s 0");
    // mkdir fails if another one is inside.
    let both = r#"
        count() {
            for turn in 1 2 3 4 5 6 7 8 9 10; do
                kddm grab s 1 --node $1 -- sh -c 'mkdir "$T/in" && rmdir "$T/in"' || exit 1
                kddm grab s 0 --edit --node $1 -- awk '{ print $1 + 1 }' || exit 1
            done
        }
        count 1 & first=$!; count 2 & second=$!; count 2 & third=$!
        wait $first && wait $second && wait $third && kddm get s 0 --trim"#;
    assert_eq!(cluster.prints(both), "30");
}

#[test]
fn the_hold_is_free_as_soon_as_kddm_or_its_command_is_killed() {
    let cluster = Try::up();
    cluster.prints("kddm set create locks --size 0");
    let free = |why: &str| {
        let (said, code) = cluster.ends(&["grab", "locks", "1", "--node", "2", "-w", "10", "--", "true"]);
        assert_eq!(code, 0, "{why}: {said}");
    };
    let holder = ["grab", "locks", "1", "--node", "1", "--", "sh", "-c", "echo $$; exec sleep 600"];
    for killed_is_kddm in [true, false] {
        let (mut kddm, mut line) = cluster.start(&holder);
        let command: i32 = line().parse().unwrap();
        let (said, code) = cluster.ends(&["grab", "locks", "1", "--node", "2", "-n", "--", "true"]);
        assert_eq!(code, 1, "it is held: {said}");
        let victim = if killed_is_kddm { kddm.id().cast_signed() } else { command };
        kill(Pid::from_raw(victim), Signal::SIGKILL).unwrap();
        free("after SIGKILL");
        until("the command does not outlive its hold", || !runs(command));
        let code = kddm.wait().unwrap().code();
        assert_eq!(code, if killed_is_kddm { None } else { Some(137) });
    }
}

#[test]
fn signals_go_on_to_the_command() {
    let cluster = Try::up();
    cluster.prints("kddm set create locks --size 0");
    let trap = "trap 'echo told; exit 3' TERM; echo ready; while :; do sleep 0.01; done";
    let (mut kddm, mut line) = cluster.start(&["grab", "locks", "1", "--", "sh", "-c", trap]);
    assert_eq!(line(), "ready");
    kill(Pid::from_raw(kddm.id().cast_signed()), Signal::SIGTERM).unwrap();
    assert_eq!(line(), "told");
    assert_eq!(kddm.wait().unwrap().code(), Some(3));
    // While it waits for the hold there is no command, and it ends itself.
    let (mut holder, mut line) =
        cluster.start(&["grab", "locks", "1", "--", "sh", "-c", "echo ready; exec sleep 600"]);
    assert_eq!(line(), "ready");
    let mut waiting = cluster.kddm(&["grab", "locks", "1", "--", "true"]).spawn().unwrap();
    kill(Pid::from_raw(waiting.id().cast_signed()), Signal::SIGTERM).unwrap();
    assert_eq!(waiting.wait().unwrap().code(), None);
    holder.kill().unwrap();
    holder.wait().unwrap();
}

#[test]
fn a_command_whose_server_dies_is_told_to_end() {
    let cluster = Try::up();
    cluster.prints("kddm set create locks --size 0");
    let trap = "trap 'echo told; exit 0' TERM; echo ready; while :; do sleep 0.01; done";
    let (mut kddm, mut line) = cluster.start(&["grab", "locks", "1", "--node", "2", "--", "sh", "-c", trap]);
    assert_eq!(line(), "ready");
    cluster.0.crash(2);
    assert_eq!(line(), "told");
    assert_eq!(kddm.wait().unwrap().code(), Some(125));
}

#[test]
fn exit_codes_say_what_happened() {
    let cluster = Try::up();
    cluster.prints("kddm set create locks --size 0; kddm set create s --size 8");
    let code = |arguments: &[&str]| cluster.ends(arguments).1;
    assert_eq!(code(&["grab", "locks", "1", "--", "sh", "-c", "exit 42"]), 42);
    assert_eq!(code(&["grab", "locks", "1", "--", "sh", "-c", "kill -KILL $$"]), 137);
    assert_eq!(code(&["grab", "locks", "1", "--", "/nowhere/program"]), 127);
    assert_eq!(code(&["grab", "locks", "1", "--", "/"]), 126);
    assert_eq!(code(&["grab", "nothing", "1", "--", "true"]), 125);
    assert_eq!(code(&["grab", "locks", "1"]), 2);
    assert_eq!(code(&["grab", "locks", "1", "--socket", "/nowhere/1.ring", "--", "true"]), 125);
    assert_eq!(code(&["get", "nothing", "1"]), 3);
    assert_eq!(code(&["get", "s", "1", "--node", "3"]), 1);
    assert_eq!(code(&["get", "s", "x"]), 2);
    assert_eq!(code(&["cat", "kdfs:/nothing"]), 3);
    let (mut holder, mut line) =
        cluster.start(&["grab", "s", "1", "--", "sh", "-c", "echo ready; exec sleep 600"]);
    assert_eq!(line(), "ready");
    assert_eq!(code(&["grab", "s", "1", "-n", "--", "true"]), 1);
    assert_eq!(code(&["grab", "s", "1", "-n", "-E", "77", "--", "true"]), 77);
    assert_eq!(code(&["grab", "s", "1", "-w", "0.05", "-E", "78", "--node", "2", "--", "true"]), 78);
    assert_eq!(code(&["get", "s", "1", "-n"]), 5);
    assert_eq!(code(&["put", "s", "1", "-w", "0.05"]), 5);
    holder.kill().unwrap();
    holder.wait().unwrap();
}

#[test]
fn put_fills_up_or_keeps_or_refuses_and_then_changes_nothing() {
    let cluster = Try::up();
    cluster.prints("kddm set create s --size 8; printf 12345678 | kddm put s 0");
    assert_eq!(cluster.prints("printf ab | kddm put s 0 --keep-rest; kddm get s 0"), "ab345678");
    let long = cluster.shell("printf 123456789 | kddm put s 0").fails();
    assert!(long.contains("s/0") && long.contains("8 bytes"), "{long}");
    assert_eq!(cluster.prints("kddm get s 0 --node 2"), "ab345678");
    assert_eq!(
        cluster.prints(r"printf x | kddm put s 0 --node 2; kddm get s 0 | od -An -c"),
        r"   x  \0  \0  \0  \0  \0  \0  \0"
    );
    let edited = cluster.shell("kddm grab s 0 --edit -- printf 123456789").fails();
    assert!(edited.contains("8 bytes") && edited.contains("nothing was changed"), "{edited}");
    assert_eq!(cluster.prints("kddm grab s 0 --edit -- sh -c 'echo no; exit 3' || kddm get s 0 --trim"), "x");
    assert!(cluster.shell("printf x | kddm put s 9 --existing").fails().contains("s/9"));
}

#[test]
fn a_tree_that_was_copied_there_and_back_is_the_same() {
    let cluster = Try::up();
    cluster.prints(
        r#"mkdir -p "$T/tree/deep/er" "$T/tree/empty"; cd "$T/tree"
        : >nothing; head -c 3000000 /dev/urandom >large; echo text >deep/er/file; ln -s ../large deep/link; ln -s gone dangling
        echo run >program; chmod 755 program; chmod 600 nothing; echo x >"$(printf 'a name\nof two lines')"
        kddm cp -r "$T/tree" kdfs:/ --node 1; kddm cp -r kdfs:/tree "$T/back" --node 2"#,
    );
    cluster.prints(r#"diff -r --no-dereference "$T/tree" "$T/back""#);
    cluster.prints(r#"diff -r --no-dereference "$T/tree" "$N2/tree""#);
    let list = r#"find . -printf '%M %s %l %p\n' | grep -v ^d | sort"#;
    let lists = [r#"cd "$T/tree";"#, r#"cd "$T/back";"#, r#"cd "$N1/tree";"#]
        .map(|at| cluster.prints(&format!("{at} {list}")));
    assert_eq!((&lists[0], &lists[0]), (&lists[1], &lists[2]));
    // What is there is overwritten, shorter than it was.
    cluster.prints(r#"echo short >"$T/large"; kddm cp "$T/large" kdfs:/tree; kddm cat kdfs:/tree/large | cmp - "$T/large""#);
    // Within kDFS.
    cluster.prints(r#"kddm cp -r kdfs:/tree kdfs:/second; diff -r --no-dereference "$N2/tree" "$N2/second""#);
}

#[test]
fn what_cannot_be_copied_is_told_and_the_rest_is_copied() {
    let cluster = Try::up();
    cluster.prints(r#"mkdir "$T/tree"; echo 1 >"$T/tree/1"; mkfifo "$T/tree/pipe"; echo 2 >"$T/tree/z""#);
    let said = cluster.shell(r#"kddm cp -r "$T/tree" kdfs:/"#).fails();
    assert!(said.contains("tree/pipe"), "{said}");
    assert_eq!(cluster.prints("kddm ls kdfs:/tree"), "1\nz");
    let refused = |script: &str, why: &str| {
        let said = cluster.shell(script).fails();
        assert!(said.contains(why), "{script}: {said}");
    };
    refused(r#"kddm cp "$T/tree" kdfs:/again"#, "-r");
    refused("kddm cp -r kdfs:/tree kdfs:/tree/below", "into itself");
    refused("kddm cp kdfs:/tree/1 kdfs:/tree/1", "same file");
    refused(r#"kddm cp "$N2/tree/1" kdfs:/tree/1"#, "same file");
    refused("kddm cp kdfs:/tree/1 kdfs:/tree/z kdfs:/nowhere", "no directory");
    refused(r#"kddm cp "$T/tree/1" "$T/copy""#, "kdfs:/");
    refused("kddm cat kdfs:tree", "begin at its root");
    assert_eq!(cluster.prints("kddm cat /tree/1 /tree/z"), "1\n2");
}

#[test]
fn other_users_sets_and_files_are_theirs() {
    let cluster = Try::up();
    cluster.prints(
        r#"kddm set create mine --size 8; kddm set create read --size 8 --mode 0644; kddm set create all --size 8 --mode 0666
        for set in mine read all; do echo hello | kddm put $set 0; done
        echo secret >"$N1/secret"; chmod 600 "$N1/secret"; mkdir "$N1/open"; chmod 777 "$N1/open""#,
    );
    let nobody = |script: &str| cluster.shell(script).user(65534, 65534);
    let refused = |script: &str| {
        let said = nobody(&format!("{script} || [ $? = 1 ] || {{ [ $? = 4 ]; exit 4; }}")).fails();
        assert!(
            said.contains("user root's") && said.contains("you are nobody") || script.contains("kdfs:"),
            "{said}"
        );
        said
    };
    assert!(refused("kddm get mine 0").contains("0600"));
    assert!(refused("echo x | kddm put read 0").contains("0644"));
    refused("kddm set destroy all");
    assert_eq!(nobody("kddm get read 0 --trim").succeeds(), "hello");
    assert_eq!(nobody("echo bye | kddm put all 0; kddm get all 0 --trim").succeeds(), "bye");
    let secret = refused("kddm cat kdfs:/secret");
    assert!(secret.contains("kdfs:/secret") && secret.contains("Permission denied"), "{secret}");
    refused("kddm rm kdfs:/secret");
    refused("kddm mkdir kdfs:/new");
    nobody("echo own | kddm cp /dev/stdin kdfs:/open/own; kddm set create own --size 8").succeeds();
    assert_eq!(cluster.prints(r#"stat -c %u "$N2/open/own""#), "65534");
    assert!(cluster.prints("kddm set stat own").contains("nobody"));
    // Root may.
    cluster.prints("kddm set destroy own mine read all; kddm rm kdfs:/open/own");
}

#[test]
fn a_watcher_sees_what_another_node_puts() {
    let cluster = Try::up();
    cluster.prints("kddm set create s --size 16");
    let watch = ["watch", "s", "5", "--node", "1", "--interval", "0.005", "--count", "3"];
    let (mut watcher, mut line) = cluster.start(&watch);
    assert_eq!(line(), "absent");
    cluster.prints("echo one | kddm put s 5 --node 2");
    assert_eq!(line(), r#""one\n""#);
    // On the same node no copy is taken away.
    cluster.prints("echo two | kddm put s 5 --node 1");
    assert_eq!(line(), r#""two\n""#);
    assert!(watcher.wait().unwrap().success());
    assert_eq!(cluster.prints("kddm watch s 5 --count 1 --exec 'sed s/^/read:/'"), "read:two");
    let json = cluster.prints("kddm watch s 5 --count 1 --json");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["text"], "two\n");
}

#[test]
fn bench_measures_in_the_form_of_all_reports_and_leaves_nothing_behind() {
    let cluster = Try::up();
    let json = cluster.prints("kddm bench --count 20 --size 64,8 --json");
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    for key in ["commit", "host", "kernel"] {
        assert!(report[key].as_str().is_some_and(|text| !text.is_empty()), "{key}: {report}");
    }
    let cases = report["cases"].as_array().unwrap();
    let names: Vec<&str> = cases.iter().filter_map(|case| case["case"].as_str()).collect();
    let of_a_size = ["get hit", "grab hit", "grab ping-pong"];
    assert_eq!(names, [&["round trip"][..], &of_a_size, &of_a_size].concat());
    for case in cases {
        let us = |key: &str| case[key].as_f64().unwrap_or_else(|| panic!("{key}: {case}"));
        assert!(0.0 < us("min_us") && us("min_us") <= us("p50_us") && us("p50_us") <= us("max_us"), "{case}");
        assert_eq!(case["count"], 20);
    }
    assert!(cluster.prints("kddm bench --count 20 --node 2").contains("left out: grab ping-pong"));
    assert_eq!(cluster.prints("kddm set list --names"), "");
}

#[test]
fn completion_is_a_script_for_its_shell_and_knows_the_sets() {
    let cluster = Try::up();
    cluster.prints("kddm set create notes --size 8; kddm set create 'two words' --size 8");
    let complete = |words: &[&str]| {
        let words: String = words.iter().map(|word| format!("'{word}' ")).collect();
        let script = format!(
            r#"kddm completion bash >"$T/bash"; bash -n "$T/bash"
            bash -c '. "$T/bash"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${{#COMP_LINE}}
                _kddm_with_sets kddm "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD - 1]}}"
                printf "%s\n" "${{COMPREPLY[@]}}"' bash {words}"#
        );
        cluster.shell(&script).succeeds()
    };
    assert_eq!(complete(&["kddm", "wat"]), "watch");
    assert_eq!(complete(&["kddm", "get", "no"]), "notes");
    assert_eq!(complete(&["kddm", "set", "stat", ""]), "notes\ntwo words");
    assert!(complete(&["kddm", "grab", "--tim"]).contains("--timeout"));
    let zsh = cluster.prints("kddm completion zsh");
    assert!(zsh.starts_with("#compdef kddm\n") && zsh.contains(":_kddm_sets'"), "{zsh}");
    let of_sets = zsh.lines().filter(|line| line.contains("_kddm_sets'"));
    let all: Vec<&str> = of_sets.filter(|line| !line.contains("The set")).collect();
    assert!(all.is_empty(), "{all:?}");
    if Path::new("/usr/bin/zsh").exists() {
        cluster.prints(r#"kddm completion zsh >"$T/_kddm"; zsh -n "$T/_kddm""#);
    } else {
        println!("SKIPPED: zsh is not here to read its script (apt-get install zsh)");
    }
}

/// Whether the process is there and no zombie.
fn runs(process: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

#[track_caller]
fn until(what: &str, holds: impl Fn() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(10), "not within 10 s: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
