//! The file system in the simulated world: `kdfs_fs` over whole nodes, on partitions of the server's own code, on disks in memory.
//!
//! What each operation answers is compared with a file system that is as simple as can be: one operation after the other, from all
//! nodes in turn; then, with several at a time, each in a directory of its own, and beside that one file to which all append. All
//! processes end now and then: what a checkpoint had brought to the partitions before is there afterwards, all of it; of what
//! came after, on a single node, a prefix.

mod beside;
mod disk;
mod servers;
mod story;

/// The same model that kdfs-fs is tested with.
#[path = "../../../../kdfs-server/fs/tests/reference/mod.rs"]
#[allow(missing_docs)]
mod reference;

use crate::coverage::{Counts, Coverage};
use crate::executor::Executor;
use crate::findings::{Finding, Findings};
use crate::log::Log;
use crate::run::Report;
use fastrand::Rng;
use kddm_fabric::sim::{SimConfig, SimNetwork};
use kddm_object::NodeId;
use servers::Servers;
use std::sync::Arc;
use std::time::Duration;
use story::Story;

/// What the operations of a run share.
pub(crate) struct World {
    pub executor: Executor,
    pub network: SimNetwork,
    pub log: Log,
    pub findings: Findings,
    pub coverage: Coverage,
    pub members: Vec<NodeId>,
    pub unsound_keep_names: bool,
}

/// What must occur in a run of many seeds.
pub const EXPECTED: [&str; 13] = [
    "file: made",
    "file: unlink",
    "file: rmdir",
    "file: rename",
    "file: link",
    "file: write",
    "file: append",
    "file: truncate",
    "file: refused",
    "file: all processes ended",
    "file: after an end, a prefix",
    "file: appended beside others",
    "file: name recalled",
];

/// Runs a seed.
///
/// # Errors
/// What is wrong.
pub fn run(seed: u64, log: Log) -> Result<Report, Finding> {
    run_with(seed, log, false)
}

/// Runs a seed; UNSOUND if told so: what is remembered of names stays when they change.
///
/// # Errors
/// What is wrong.
pub fn run_with(seed: u64, log: Log, unsound_keep_names: bool) -> Result<Report, Finding> {
    let mut rng = Rng::with_seed(seed);
    let most = Duration::from_micros([5, 100, 2000][rng.usize(0..3)]);
    let network = SimConfig {
        most_delay: most,
        read_parts: rng.u32(1..=5),
        repeated_percent: [0, 40][rng.usize(0..2)],
        ..SimConfig::new(rng.u64(..))
    };
    let nodes = rng.u8(1..=3);
    let world = Arc::new(World {
        executor: Executor::default(),
        network: SimNetwork::new(network),
        log,
        findings: Findings::default(),
        coverage: Coverage::default(),
        unsound_keep_names,
        members: (1..=nodes).map(|id| NodeId::new(id).expect("1 to 3 are node ids")).collect(),
    });
    let mut servers = Servers::start(world.clone(), rng.fork())?;
    let result = live(&world, &mut servers, &mut rng);
    servers.end();
    let operations = result?;
    Ok(Report {
        fingerprint: world.log.fingerprint(),
        events: world.log.events(),
        operations,
        coverage: counts(&world),
        time: world.executor.now(),
    })
}

fn counts(world: &World) -> Counts {
    world.coverage.counts()
}

fn live(world: &Arc<World>, servers: &mut Servers, rng: &mut Rng) -> Result<usize, Finding> {
    let mut story = Story::begin(world.clone(), servers.file_systems(), rng.fork());
    for _ in 0..rng.u32(1..=3) {
        let operations = rng.u32(5..=60);
        story = servers.until_done("operations", story.go_on(operations))?;
        servers.commit()?;
        story.is_committed();
        if rng.bool() {
            servers.restart()?;
            story.continue_on(servers.file_systems());
        }
        story = servers.until_done("comparing", story.compare_all())?;
    }
    servers.beside(rng, &mut story)?;
    // At last everything ends unasked.
    let operations = rng.u32(1..=30);
    story = servers.until_done("operations", story.go_on(operations))?;
    servers.restart()?;
    story.continue_on(servers.file_systems());
    story = servers.until_done("looking at what is left", story.look_at_what_is_left())?;
    world.findings.check()?;
    Ok(story.operations())
}
