//! What the two guests do, step by step; each step ends with both of them.

use super::{Options, guest::Guest};
use crate::Meeting;
use anyhow::{Context, Result, bail, ensure};
use kddm_bench::alternate::{self, Outcome};
use kddm_bench::tree::{compare, copy};
use nix::errno::Errno;
use std::fs;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

/// Within this time whoever needs a lost node has failed.
const LIMIT: Duration = Duration::from_secs(5);
/// How long a node may take to be there again.
const RETURN: Duration = Duration::from_secs(30);

const OF_0: &str = "made-by-0";
const OF_1: &str = "made-by-1";

pub fn all(guest: &Guest, meeting: &mut Meeting, options: &Options) -> Result<()> {
    meeting.together()?;
    tree(guest, meeting, options).context("the tree")?;
    alternation(guest, meeting, options).context("the alternation")?;
    reads(guest, meeting)?;
    killed(guest, meeting).context("a server that was killed")?;
    goes_off(guest, meeting).context("a guest that goes off")
}

/// In through guest 0, out through guest 1.
fn tree(guest: &Guest, meeting: &mut Meeting, options: &Options) -> Result<()> {
    let begin = Instant::now();
    if guest.rank == 0 {
        copy(&options.tree, &guest.at("tree"), 0)?;
    }
    let copied = begin.elapsed();
    meeting.together()?;
    let differences = match guest.rank {
        1 => compare(&options.tree, &guest.at("tree"), 0)?,
        _ => Vec::new(),
    };
    let all: Vec<String> = meeting.gather(differences)?.concat();
    if guest.rank == 0 {
        ensure!(all.is_empty(), "through guest 1:\n{}", all.join("\n"));
        let took = begin.elapsed() - copied;
        println!("a tree copied in through guest 0 ({copied:.1?}), the same through guest 1 ({took:.1?})");
    }
    meeting.together()
}

/// Looks, stale ones, errors, and what was found.
type Side = (u64, u64, u64, Vec<String>);

/// What one has changed, the other sees.
fn alternation(guest: &Guest, meeting: &mut Meeting, options: &Options) -> Result<()> {
    let begin = Instant::now();
    let (rounds, seed) = (options.rounds, options.seed);
    let turn = &mut || meeting.together();
    let mine = alternate::run_side(&guest.at(""), guest.rank, alternate::Options { rounds, seed }, turn)?;
    let Outcome { looks, stale, errors, findings, .. } = mine;
    let both: Vec<Side> = meeting.gather((looks, stale, errors, findings))?;
    if guest.rank == 0 {
        let sum = |of: fn(&Side) -> u64| both.iter().map(of).sum::<u64>();
        let (looks, stale, errors) = (sum(|o| o.0), sum(|o| o.1), sum(|o| o.2));
        println!(
            "alternated {rounds} rounds: {looks} looks, {stale} stale, {errors} errors, seed {seed}, {:.1?}",
            begin.elapsed()
        );
        let findings: Vec<&String> = both.iter().flat_map(|outcome| &outcome.3).collect();
        ensure!(stale + errors == 0, "seed {seed}: {findings:#?}");
    }
    meeting.together()
}

/// The bytes came by READs over RDMA.
fn reads(guest: &Guest, meeting: &mut Meeting) -> Result<()> {
    let status = guest.status()?;
    ensure!(status.state == "serving", "this node is {}", status.state);
    let count = |name: &str| status.counters.get(name).copied().with_context(|| format!("no {name}"));
    let (issued, failed, served) = (count("reads_issued")?, count("reads_failed")?, count("reads_served")?);
    let all = meeting.gather((issued, failed, served))?;
    if guest.rank == 0 {
        println!("READs over verbs, issued, failed, served by a process: {all:?}");
        ensure!(all.iter().all(|&(issued, ..)| issued > 100), "hardly anything was READ");
        ensure!(all.iter().all(|&(_, failed, served)| failed == 0 && served == 0), "READs of the wrong kind");
    }
    meeting.together()
}

/// The server of guest 1 is killed: guest 0 hears of it in time, goes on with its own, and sees it come back.
fn killed(guest: &Guest, meeting: &mut Meeting) -> Result<()> {
    write_own(guest, meeting)?;
    match guest.rank {
        0 => {
            meeting.together()?;
            let lost = fails_in_time(guest)?;
            meeting.together()?;
            let begin = Instant::now();
            while let Err(error) = fs::read(guest.at(OF_1)) {
                ensure!(begin.elapsed() < RETURN, "{OF_1} does not come back: {error}");
                thread::sleep(Duration::from_millis(20));
            }
            println!("guest 1's server killed: EIO after {lost:.1?}; back {:.1?} later", begin.elapsed());
        }
        _ => {
            guest.crash()?;
            meeting.together()?;
            // Guest 0 has seen it.
            meeting.together()?;
            guest.mount()?;
            ensure!(fs::read(guest.at(OF_0))? == contents(0), "{OF_0} is another");
        }
    }
    meeting.together()?;
    ensure!(fs::read(guest.at(OF_1))? == contents(1), "{OF_1} is another");
    meeting.together()
}

/// Guest 1 goes off as by a power cut.
fn goes_off(guest: &Guest, meeting: &mut Meeting) -> Result<()> {
    meeting.together()?;
    if guest.rank == 1 {
        guest.go_off()?;
        thread::park();
    }
    let lost = fails_in_time(guest)?;
    let begin = Instant::now();
    ensure!(fs::read(guest.at(OF_0))? == contents(0), "{OF_0} is another");
    fs::write(guest.at("made-while-alone"), "alone")?;
    fs::File::open(guest.at("made-while-alone"))?.sync_all()?;
    ensure!(begin.elapsed() < LIMIT, "what needs nobody took {:?}", begin.elapsed());
    let state = guest.status()?.state;
    ensure!(state == "alone", "this node is {state}");
    println!("guest 1 went off: EIO after {lost:.1?}; own files are read, written and synced meanwhile");
    Ok(())
}

/// Each makes a file of its own, which lies on its partition; the other has pages of it.
fn write_own(guest: &Guest, meeting: &mut Meeting) -> Result<()> {
    let (mine, theirs) = if guest.rank == 0 { (OF_0, OF_1) } else { (OF_1, OF_0) };
    fs::write(guest.at(mine), contents(guest.rank))?;
    fs::File::open(guest.at(mine))?.sync_all()?;
    meeting.together()?;
    ensure!(fs::read(guest.at(theirs))? == contents(1 - guest.rank), "{theirs} is another");
    meeting.together()
}

fn contents(rank: usize) -> Vec<u8> {
    vec![b'a' + rank as u8; 30_000]
}

/// Reads guest 1's file until that fails with EIO, which it has to in time; the own file can be read all the while.
fn fails_in_time(guest: &Guest) -> Result<Duration> {
    let begin = Instant::now();
    loop {
        let result = fs::read(guest.at(OF_1));
        let after = begin.elapsed();
        ensure!(
            after < LIMIT,
            "{OF_1} has not failed after {after:?}: {:?}",
            result.map(|bytes| bytes.len())
        );
        match result {
            Ok(bytes) => ensure!(bytes == contents(1), "{OF_1} is another"),
            Err(error) if is(&error, Errno::EIO) => return Ok(after),
            Err(error) => bail!("{OF_1}: {error}"),
        }
        ensure!(fs::read(guest.at(OF_0))? == contents(0), "{OF_0} is another");
    }
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno as i32)
}
