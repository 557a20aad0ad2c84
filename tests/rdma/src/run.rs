//! One process of a load: a node that meets the others, works beside them, and hands in what it saw.

use crate::clocks::{self, Clock, Here};
use crate::judge::{Verdict, judge};
use crate::load::{self, Load, Log};
use crate::nodes::{Fabric, Start};
use crate::standing::watched;
use crate::{Meeting, Place, counters};
use anyhow::{Context, Result, anyhow, bail, ensure};
use futures_lite::future::block_on;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

/// How a load is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Over which fabric.
    pub fabric: Fabric,
    /// The first of three ports that nobody uses.
    pub port: u16,
    /// Where every choice comes from.
    pub seed: u64,
    /// Threads of each node.
    pub threads: u8,
    /// Operations of each thread.
    pub operations: u32,
    /// Queue pairs break after so many events, on the average.
    pub break_every: Option<usize>,
    /// Nodes keep copies that they should drop: that must be seen.
    pub unsound: bool,
}

/// What a process hands in.
#[derive(Debug, Serialize, Deserialize)]
struct Work {
    log: Log,
    reads: u64,
    messages: u64,
    lost: u64,
    broken: u64,
    not_ready: u64,
}

/// Runs this process's part; rank 0 judges, and says what it found.
///
/// # Errors
/// Something is not as it should be, at this or another rank.
pub fn run(place: &Place, options: &Options) -> Result<()> {
    let here = Here::start();
    let mut meeting = Meeting::join(place, options.port + 1)?;
    let lines = Meeting::join(place, options.port + 2)?.into_lines();
    let ((ready, is_ready), over) = (channel(), AtomicBool::new(false));
    let (works, clocks) = thread::scope(|scope| {
        let clocks = scope.spawn(|| clocks_of(place, lines, here, ready, &over));
        let works = work(place, options, here, &mut meeting, &is_ready);
        over.store(true, Ordering::Release);
        let clocks = clocks.join().map_err(|_| anyhow!("the clocks' thread panicked"));
        Ok::<_, anyhow::Error>((works?, clocks??))
    })?;
    let found = if place.rank == 0 { said(options, &works, &clocks) } else { Ok(()) };
    let told = meeting.tell(found.as_ref().err().map(ToString::to_string))?;
    found?;
    match told {
        None => Ok(()),
        Some(_) => bail!("rank 0 found something wrong"),
    }
}

fn clocks_of(
    place: &Place,
    mut lines: Vec<crate::meeting::Line>,
    here: Here,
    ready: Sender<()>,
    over: &AtomicBool,
) -> Result<Vec<Clock>> {
    match (place.rank, lines.pop()) {
        (0, last) => {
            lines.extend(last);
            clocks::ask(lines, here, &ready, over)
        }
        (_, Some(line)) => {
            ready.send(())?;
            clocks::answer(line, here);
            Ok(Vec::new())
        }
        (_, None) => bail!("no connection with rank 0"),
    }
}

fn work(
    place: &Place,
    options: &Options,
    here: Here,
    meeting: &mut Meeting,
    is_ready: &Receiver<()>,
) -> Result<Vec<Work>> {
    let start = Start {
        fabric: options.fabric,
        place: place.rank,
        addresses: place.addresses.clone(),
        port: options.port,
        unsound: options.unsound,
        speculate: true,
        breaks: options.break_every.map(|every| (every, options.seed ^ place.rank as u64)),
    };
    let not_ready = || if options.fabric == Fabric::Verbs { counters::not_ready() } else { Ok(0) };
    let before = not_ready()?;
    let (node, seen) = start.run()?;
    block_on(node.connected());
    is_ready.recv().context("the clocks cannot be compared")?;
    meeting.together()?;
    let (seed, threads, operations) = (options.seed, options.threads, options.operations);
    let load = Load { seed, threads, operations, nodes: place.count(), apart: options.unsound };
    let log = watched(&node, place.count(), || load::run(&node, here, &load));
    // Nobody leaves while others still work.
    meeting.together()?;
    let fabric = node.status().fabric;
    let work = Work {
        log,
        reads: fabric.reads_issued,
        messages: fabric.messages_sent,
        lost: seen.lost.load(Ordering::Relaxed),
        broken: seen.broken.load(Ordering::Relaxed),
        not_ready: not_ready()? - before,
    };
    let works = meeting.gather(work)?;
    // Only now may anybody see somebody leave.
    meeting.together()?;
    node.shutdown();
    Ok(works)
}

/// What is true of the run as a whole.
fn said(options: &Options, works: &[Work], clocks: &[Clock]) -> Result<()> {
    let logs: Vec<Log> = works.iter().map(|work| work.log.clone()).collect();
    let sum = |of: fn(&Work) -> u64| works.iter().map(of).sum::<u64>();
    let (lost, broken, not_ready) = (sum(|w| w.lost), sum(|w| w.broken), sum(|w| w.not_ready));
    let begin = Instant::now();
    let verdict = judge(&logs, clocks);
    let judging = begin.elapsed();
    let kind = match (options.unsound, options.break_every) {
        (true, _) => "invalidations left out",
        (_, Some(_)) => "queue pairs broken",
        _ => "load",
    };
    let reads = sum(|w| w.reads);
    let figures = format!(
        "{kind}: {} nodes over {:?}, {} messages, {reads} READs, {broken} times queue pairs broken, {not_ready} receivers not ready, \
         {lost} peers lost, seed {}",
        works.len(),
        options.fabric,
        sum(|w| w.messages),
        options.seed
    );
    if options.unsound {
        let seen =
            verdict.err().context("invalidations were left out, and nobody noticed: the check is blind")?;
        println!("{figures}: seen, as it must be:\n{}", seen.lines().take(3).collect::<Vec<_>>().join("\n"));
        return Ok(());
    }
    let Verdict { operations, states, certain, longest, widened } =
        verdict.map_err(|what| anyhow!("{figures}: {what}"))?;
    println!(
        "{figures}; {operations} operations explained ({states} states tried, {judging:.1?}), the longest waited {longest:.1?}, \
         {certain} holds certainly apart; clocks known to {:.1?}, at worst {:.1?}",
        widened[0], widened[1]
    );
    ensure!(lost == 0, "{lost} peers were lost");
    ensure!(reads > 0, "nothing was READ");
    match options.break_every {
        Some(_) => ensure!(broken > 0, "no queue pair was broken"),
        None => ensure!(not_ready == 0, "a receiver was not ready {not_ready} times"),
    }
    Ok(())
}
