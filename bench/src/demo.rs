//! `make demo`: two nodes, one namespace, shown and checked from end to end.

mod steps;

use crate::playground::{self, Options, Playground};
use crate::report::Report;
use crate::tree::{self, Tree};
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// How much the demo does.
#[derive(Clone, Debug)]
pub struct Size {
    /// Files of the tree.
    pub files: usize,
    /// Bytes of the tree; an eighth of it must be an arena's least size.
    pub bytes: u64,
    /// Rounds of the alternation.
    pub rounds: u64,
    /// Calls of each kind whose latency is taken.
    pub calls: u32,
    /// Where the tree comes from, if not from the usual places.
    pub source: Option<PathBuf>,
    /// Where every random choice comes from.
    pub seed: u64,
}

/// Shows everything below the fresh directory `directory`, which is empty again in the end.
///
/// # Errors
/// At the first thing that is not as it should be.
pub fn run(directory: &Path, size: &Size) -> Result<()> {
    let begin = Instant::now();
    let demo = Demo { directory: directory.canonicalize()?, size, begin };
    let result = demo.all();
    let left = playground::mounts_below(&demo.directory);
    let servers = playground::servers_of(&demo.directory);
    if result.is_err() {
        eprintln!("{}", playground::logs(&demo.directory));
    }
    result?;
    ensure!(left.is_empty(), "still mounted: {left:?}");
    ensure!(servers.is_empty(), "still running: {servers:?}");
    println!("\nEverything is as it should be; nothing is left mounted or running. {:.0?}", begin.elapsed());
    Ok(())
}

struct Demo<'a> {
    directory: PathBuf,
    size: &'a Size,
    begin: Instant,
}

impl Demo<'_> {
    fn say(&self, what: &str) {
        println!("[{:5.1} s] {what}", self.begin.elapsed().as_secs_f64());
    }

    fn all(&self) -> Result<()> {
        let tree = self.tree()?;
        let mut report = Report::new(None);
        {
            let usual = Options::nodes(2);
            let cluster =
                Playground::up(&self.directory.join("cluster"), &usual).context("starting two nodes")?;
            self.say(&format!("two nodes are up: {} and n2/mnt", cluster.mount(1).display()));
            self.copied(&cluster, &tree)?;
            self.alternated(&cluster)?;
            self.counted(&cluster)?;
            self.idle(&cluster)?;
            report.cases = self.latencies(&cluster)?;
            self.partitions(&cluster)?;

            cluster.restart(&usual).context("restarting both nodes")?;
            self.say("both nodes were stopped and started again");
            self.same(&cluster, &tree, &[1, 2])?;

            let eighth = tree.bytes / 8;
            cluster
                .restart(&Options { arena: Some(eighth), ..usual })
                .context("starting with small arenas")?;
            self.say(&format!("and again, with arenas of {:.1} MiB, an eighth of the tree", mib(eighth)));
            self.same(&cluster, &tree, &[1, 2])?;
            cluster.down().context("taking the cluster down")?;
        }
        self.known_to_see()?;
        let path = report.write("fs-latency")?;
        println!("\n{}\n\nthe same as JSON: {}", report.table(), path.display());
        Ok(())
    }

    fn tree(&self) -> Result<Tree> {
        let into = self.directory.join("tree");
        let tree = tree::stage(self.size.source.as_deref(), &into, self.size.files, self.size.bytes)?;
        self.say(&format!("a tree of {} files, {:.1} MiB, from this machine", tree.files, mib(tree.bytes)));
        Ok(tree)
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
