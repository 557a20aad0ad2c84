//! The steps of the demo: each shows one promise and fails if it is not kept.

use super::{Demo, mib};
use crate::alternate::{self, Outcome};
use crate::counter;
use crate::fs_latency;
use crate::idle;
use crate::pages;
use crate::playground::{Options, Playground};
use crate::programs::built;
use crate::report::Case;
use crate::tree::{Tree, compare, copy};
use anyhow::{Context, Result, ensure};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Resident memory that an idle server may have beside its arena.
const IDLE_MEMORY: u64 = 64 << 20;
/// How long servers are watched doing nothing.
const IDLE_TIME: Duration = Duration::from_secs(3);

impl Demo<'_> {
    /// In through node 1, out through node 2.
    pub(super) fn copied(&self, cluster: &Playground, tree: &Tree) -> Result<()> {
        let begin = Instant::now();
        copy(&tree.path, &cluster.mount(1).join("tree"), tree.files).context("through node 1")?;
        let seconds = begin.elapsed().as_secs_f64();
        self.say(&format!(
            "copied in through node 1: {:.0} files/s, {:.1} MiB/s",
            tree.files as f64 / seconds,
            mib(tree.bytes) / seconds
        ));
        self.same(cluster, tree, &[2])
    }

    /// Byte for byte, mode for mode.
    pub(super) fn same(&self, cluster: &Playground, tree: &Tree, nodes: &[u8]) -> Result<()> {
        for &node in nodes {
            let differences = compare(&tree.path, &cluster.mount(node).join("tree"), tree.files)?;
            ensure!(differences.is_empty(), "through node {node}:\n{}", differences.join("\n"));
            self.say(&format!(
                "compared through node {node}: the same bytes, modes, owners, times and links"
            ));
        }
        Ok(())
    }

    /// What one writes, the other reads.
    pub(super) fn alternated(&self, cluster: &Playground) -> Result<()> {
        let outcome = self.alternate(cluster, self.size.rounds)?;
        ensure!(outcome.clean(), "seed {}: {}", self.size.seed, outcome.findings.join("\n"));
        self.say(&format!(
            "alternated {} rounds in both directions: {} looks, stale: {} (seed {})",
            outcome.rounds, outcome.looks, outcome.stale, self.size.seed
        ));
        Ok(())
    }

    fn alternate(&self, cluster: &Playground, rounds: u64) -> Result<Outcome> {
        let options = alternate::Options { rounds, seed: self.size.seed };
        alternate::run([&cluster.mount(1), &cluster.mount(2)], options)
    }

    /// Two programs, each attached to another node, count together.
    pub(super) fn counted(&self, cluster: &Playground) -> Result<()> {
        const TIMES: u64 = 1000;
        let begin = Instant::now();
        let program = |node: u8| {
            let mut command = Command::new(built("kddm-bench")?);
            command.arg("counter").arg(cluster.ring(node)).args(["demo", &TIMES.to_string()]);
            command.stdout(Stdio::piped()).spawn().context("starting a program")
        };
        let programs = [program(1)?, program(2)?];
        let mut last = Vec::new();
        for program in programs {
            let output = program.wait_with_output()?;
            ensure!(output.status.success(), "a program that counts failed: {}", output.status);
            last.push(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        let each = begin.elapsed().as_secs_f64() * 1e6 / (2 * TIMES) as f64;
        let value = counter::read(&cluster.ring(1), "demo")?;
        ensure!(value == 2 * TIMES, "two programs counted to {TIMES} each, and the counter says {value}");
        self.say(&format!(
            "two programs, attached to node 1 and node 2, incremented one counter {TIMES} times each: it says {value} ({each:.0} µs each; they \
             ended at {})",
            last.join(" and ")
        ));
        Ok(())
    }

    /// The alternation must be able to fail: without invalidations it has to see stale reads.
    pub(super) fn known_to_see(&self) -> Result<()> {
        let options = Options { unsound: true, ..Options::nodes(2) };
        let cluster = Playground::up(&self.directory.join("unsound"), &options)
            .context("starting two nodes that leave invalidations out")?;
        let outcome = self.alternate(&cluster, self.size.rounds.min(300))?;
        ensure!(
            outcome.stale > 0,
            "with invalidations switched off no stale read was seen: the test is blind"
        );
        self.say(&format!(
            "with invalidations switched off, on a cluster of their own: stale: {} of {} looks, as it must be",
            outcome.stale, outcome.looks
        ));
        Ok(())
    }

    /// Servers with nothing to do.
    pub(super) fn idle(&self, cluster: &Playground) -> Result<()> {
        cluster.sync()?;
        for node in [1, 2] {
            let pid = cluster.pid(node)?;
            let before = idle::usage(pid)?;
            std::thread::sleep(IDLE_TIME);
            let after = idle::usage(pid)?;
            let share = (after.cpu - before.cpu).as_secs_f64() / IDLE_TIME.as_secs_f64() * 100.0;
            self.say(&format!(
                "node {node} idle: {share:.1} % of a core, {:.1} MiB beside an arena of which {:.1} MiB are in use",
                mib(after.beside_arena),
                mib(after.arena)
            ));
            ensure!(after.beside_arena <= IDLE_MEMORY, "more than {} MiB beside the arena", mib(IDLE_MEMORY));
        }
        Ok(())
    }

    /// Calls on both nodes beside the native directory.
    pub(super) fn latencies(&self, cluster: &Playground) -> Result<Vec<Case>> {
        let native = self.directory.join("native");
        std::fs::create_dir(&native)?;
        let nodes = [1, 2].map(|node| (format!("n{node}"), cluster.mount(node))).to_vec();
        let cases = fs_latency::run(&fs_latency::Options {
            native,
            nodes,
            fabric: Options::nodes(2).fabric,
            count: self.size.calls,
        })?;
        self.say("took the latencies of file-system calls on both nodes beside the native directory");
        Ok(cases)
    }

    /// The partitions under it all.
    pub(super) fn partitions(&self, cluster: &Playground) -> Result<()> {
        for node in [1, 2] {
            // A new file goes to the partition of the node that made it.
            let path = cluster.mount(node).join(format!("made-on-{node}"));
            std::fs::write(
                &path,
                format!("These bytes lie on the partition of node {node}, as a native file.\n"),
            )?;
            // What fsync acknowledges lies in the partition's log; after sync the native files are there too.
            cluster.sync()?;
            println!(
                "\n{}{}",
                pages::superblock(&cluster.partition(node))?,
                pages::entry(&cluster.partition(node), &path)?
            );
        }
        println!("{}", pages::entry(&cluster.partition(1), &cluster.mount(2))?);
        self.say("the partitions are as docs/disk-format.md says");
        Ok(())
    }
}
