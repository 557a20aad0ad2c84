//! The demo's tree over one fabric beside another: two clusters on this host, and laps of one run that alternate between them.

use super::{Tree, compare, copy};
use crate::playground::{Options, Playground};
use crate::report::{Case, Latencies};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// What a lap does with the whole tree, in this order.
const STEPS: [&str; 4] =
    ["copy in through n1", "compare through n2", "compare through n1", "remove through n2"];

/// Laps of `tree` over both fabrics, in clusters below `directory`: a row for each step, `ours` beside `theirs`.
///
/// # Errors
/// If a cluster does not start, a call fails, or a copy differs.
pub fn run(directory: &Path, tree: &Tree, laps: u32, [ours, theirs]: [&str; 2]) -> Result<Vec<Case>> {
    let clusters = [ours, theirs].map(|fabric| -> Result<Playground> {
        let options = Options { fabric: fabric.into(), ..Options::nodes(2) };
        Playground::up(&directory.join(fabric), &options).with_context(|| format!("two nodes over {fabric}"))
    });
    let [first, second] = clusters;
    let clusters = [first?, second?];
    let mut taken: [[Latencies; STEPS.len()]; 2] = Default::default();
    // One that warms up and does not count; then each goes first as often as the other.
    for number in 0..=laps {
        let order = if number % 2 == 0 { [0, 1] } else { [1, 0] };
        for which in order {
            let times = lap(&clusters[which], tree, number)?;
            if number > 0 {
                taken[which].iter_mut().zip(times).for_each(|(taken, time)| taken.add(time));
            }
        }
    }
    let row = |step: usize| {
        let case = Case::new(STEPS[step], &taken[0][step]).moving(tree.bytes).beside(theirs, &taken[1][step]);
        Case { fabric: Some(ours.into()), ..case }
    };
    Ok((0..STEPS.len()).map(row).collect())
}

/// What each step takes.
fn lap(cluster: &Playground, tree: &Tree, number: u32) -> Result<[Duration; STEPS.len()]> {
    let [one, two] = [1, 2].map(|node| cluster.mount(node).join(format!("lap-{number}")));
    let same = |through: &Path| -> Result<()> {
        let differences = compare(&tree.path, through, tree.files)?;
        ensure!(differences.is_empty(), "{}:\n{}", through.display(), differences.join("\n"));
        Ok(())
    };
    // What the lap before has left to be written behind is not part of this one.
    cluster.sync()?;
    Ok([
        timed(|| copy(&tree.path, &one, tree.files))?,
        timed(|| same(&two))?,
        timed(|| same(&one))?,
        timed(|| fs::remove_dir_all(&two).with_context(|| format!("removing {}", two.display())))?,
    ])
}

fn timed(step: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let begin = Instant::now();
    step()?;
    Ok(begin.elapsed())
}
