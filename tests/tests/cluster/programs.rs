//! Real programs, their sources on one node and their targets on another.

use kddm_tests::Cluster;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn tar_out_of_one_node_and_into_another() {
    let cluster = Cluster::up(2);
    let said = cluster
        .shell(
            r#"
        mkdir "$N1/source" && cd "$N1/source"
        for d in a b c; do mkdir $d; for f in 1 2 3 4 5; do head -c $((f * 3000)) /dev/urandom >$d/$f; done; done
        ln -s a/1 link; ln a/2 hard; chmod 4750 a/3; mkfifo fifo; TZ=UTC touch -d '2001-02-03 04:05:06' b/1
        cd /
        tar -C "$N1" -cf "$N2/archive.tar" source
        mkdir "$N2/unpacked" && tar -C "$N2/unpacked" -xpf "$N1/archive.tar"
        tar -C "$N1/unpacked" -df "$N2/archive.tar"
        diff -r --no-dereference "$N1/source/a" "$N2/unpacked/source/a"
        cd "$N1/unpacked/source"; stat -c '%a' a/3; stat -c '%h' hard; stat -c '%Y' b/1; stat -c '%F' fifo"#,
        )
        .succeeds();
    assert_eq!(said, "4750\n2\n981173106\nfifo");
}

#[test]
fn rsync_finds_nothing_to_do_the_second_time() {
    let cluster = Cluster::up(2);
    let said = cluster
        .shell(
            r#"
        mkdir "$N1/source" && cd "$N1/source"
        for d in $(seq 20); do mkdir $d; for f in $(seq 10); do echo "$d $f" >$d/$f; done; ln -s 1 $d/link; done
        head -c 300000 /dev/urandom >large
        cd /
        rsync -aH --modify-window=-1 "$N1/source/" "$N2/target/"
        rsync -aHnci --modify-window=-1 "$N2/source/" "$N1/target/"
        echo more >>"$N2/source/7/3"; rm "$N2/source/9/9"; printf X | dd of="$N2/source/large" bs=1 seek=150000 conv=notrunc 2>/dev/null
        rsync -aH --modify-window=-1 --delete --inplace --no-whole-file "$N1/source/" "$N2/target/"
        diff -r --no-dereference "$N2/source" "$N1/target" && echo same"#,
        )
        .succeeds();
    assert_eq!(said, "same");
}

#[test]
fn git_clones_commits_and_checks_across_nodes() {
    let cluster = Cluster::up(2);
    let said = cluster
        .shell(
            r#"
        export HOME="$T" GIT_CONFIG_NOSYSTEM=1
        git config --global user.email a@example.org; git config --global user.name A
        git config --global init.defaultBranch main; git config --global safe.directory '*'
        git config --global gc.auto 0
        git init -q "$N1/origin"; cd "$N1/origin"
        for f in $(seq 60); do mkdir -p d$((f % 7)); seq $f $((f * 20)) >d$((f % 7))/$f; done
        git add . && git commit -qm one
        cd /
        git clone -q --no-hardlinks "$N1/origin" "$N2/clone"
        cd "$N2/clone"; echo change >>d1/1; git rm -q d2/2; git commit -qam two
        cd "$N1/clone"; git status --porcelain; git log --oneline | wc -l
        git push -q origin HEAD:refs/heads/pushed
        cd "$N2/origin"; git merge -q pushed; git gc -q; git fsck --full --strict
        git -C "$N1/clone" fsck --full --strict; git -C "$N1/origin" status --porcelain
        git -C "$N1/origin" rev-parse HEAD >"$T/a"; git -C "$N2/clone" rev-parse HEAD >"$T/b"; cmp "$T/a" "$T/b""#,
        )
        .succeeds();
    let lines: Vec<_> = said.lines().filter(|line| !line.starts_with("Checking")).collect();
    assert_eq!(lines, ["2"], "{said}");
}

#[test]
fn make_builds_on_one_node_what_the_other_has_written() {
    let cluster = Cluster::up(2);
    let project = cluster.at(1, "project");
    fs::create_dir(&project).unwrap();
    let units = 8;
    let mut makefile = String::from("CC = cc\nobjects =");
    for unit in 0..units {
        makefile += &format!(" unit{unit}.o");
        let text = format!("int unit{unit}(int x) {{ return x + {unit}; }}\n");
        fs::write(project.join(format!("unit{unit}.c")), text).unwrap();
    }
    makefile += "\nprogram: main.o $(objects)\n\t$(CC) -o $@ $^\nmain.o $(objects): all.h\n";
    makefile += "%.o: %.c\n\t$(CC) -O1 -include all.h -c -o $@ $<\n";
    let header: String = (0..units).map(|unit| format!("int unit{unit}(int);\n")).collect();
    let sum: String = (0..units).map(|unit| format!(" + unit{unit}(0)")).collect();
    fs::write(project.join("all.h"), header).unwrap();
    let main = format!("#include <stdio.h>\nint main(void) {{ printf(\"%d\\n\", 0{sum}); return 0; }}\n");
    fs::write(project.join("main.c"), main).unwrap();
    fs::File::create(project.join("Makefile")).unwrap().write_all(makefile.as_bytes()).unwrap();

    cluster.shell(r#"make -s -C "$N2/project" -j2"#).succeeds();
    assert_eq!(cluster.shell(r#""$N1/project/program""#).succeeds(), "28");
    // Times agree between the nodes, so that nothing is made again, and one change makes one object again.
    cluster.shell(r#"make -q -C "$N1/project""#).succeeds();
    fs::write(cluster.at(2, "project/unit3.c"), "int unit3(int x) { return x + 1003; }\n").unwrap();
    let said = cluster.shell(r#"make -C "$N1/project" -j2 --no-print-directory"#).succeeds();
    assert_eq!(said.lines().count(), 2, "{said}");
    assert_eq!(cluster.shell(r#""$N2/project/program""#).succeeds(), "1028");
}

/// As editors save: a new file, fsync, renamed over the old one. The other node sees the old text or the new, whole.
#[test]
fn an_editor_saves_while_another_node_reads() {
    let cluster = Cluster::up(2);
    let text = |version: usize| format!("version {version}\n").repeat(300 + version % 50);
    fs::write(cluster.at(1, "text"), text(0)).unwrap();
    let [new, name, seen] = [cluster.at(1, "text~"), cluster.at(1, "text"), cluster.at(2, "text")];
    std::thread::scope(|scope| {
        let (saved, latest) = std::sync::mpsc::channel();
        scope.spawn(move || {
            for version in 1..=40 {
                let mut file = fs::File::create(&new).unwrap();
                file.write_all(text(version).as_bytes()).unwrap();
                file.sync_all().unwrap();
                fs::rename(&new, &name).unwrap();
                saved.send(version).unwrap();
            }
        });
        let mut least = 0;
        while least < 40 {
            least = latest.try_iter().last().unwrap_or(least);
            let read = fs::read_to_string(&seen).unwrap();
            let first = read.lines().next().unwrap_or_default();
            let version: usize = first.trim_start_matches("version ").parse().expect("a whole first line");
            assert!(version >= least, "version {version} after {least} had been saved");
            assert_eq!(read, text(version), "a mixture");
        }
    });
    assert!(!cluster.at(2, "text~").exists());
}

/// A name that others give to one new file after the other is there all the time, whatever is done with it, and wherever.
#[test]
fn a_name_that_changes_hands_is_always_there() {
    const ROUNDS: u32 = 1000;
    let cluster = Cluster::up(2);
    let save = |round: u32| {
        let [new, link] = [cluster.at(1, "text~"), cluster.at(1, "link~")];
        fs::write(&new, round.to_string()).unwrap();
        fs::rename(&new, cluster.at(1, "text")).unwrap();
        symlink(if round.is_multiple_of(2) { "text" } else { "./text" }, &link).unwrap();
        fs::rename(&link, cluster.at(1, "link")).unwrap();
    };
    save(0);
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for node in [1, 2, 2] {
            let [text, link] = [cluster.at(node, "text"), cluster.at(node, "link")];
            let ended = &ended;
            scope.spawn(move || {
                let mut least = 0;
                while !ended.load(Ordering::Relaxed) {
                    for path in [&text, &link] {
                        let read = fs::read_to_string(path).unwrap();
                        let round: u32 = read.parse().unwrap();
                        assert!(round >= least, "{round} after {least} on node {node}");
                        least = round;
                    }
                    assert!(fs::symlink_metadata(&text).unwrap().is_file());
                    let target = fs::read_link(&link).unwrap();
                    assert!(target.ends_with("text"), "{target:?}");
                }
            });
        }
        // However it ends: the readers are waited for.
        let _end = End(&ended);
        (1..=ROUNDS).for_each(save);
    });
}

/// Says that it is over when it goes.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
