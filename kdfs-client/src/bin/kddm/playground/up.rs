//! `kddm playground up`.

use super::directory::Playground;
use anyhow::{Context, Result, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use kddm_cluster::{
    Fabric, Member,
    admin::{Request, State},
};
use kdfs_client::{Connection, mount_options::Flags, mount_table, mounting, programs::Starting};
use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

/// How long the nodes may take to meet after all have started.
const MEETING: Duration = Duration::from_secs(10);

/// What the command line asked for.
#[derive(Debug)]
pub struct Wanted {
    pub nodes: Option<u8>,
    pub dir: PathBuf,
    pub fabric: Option<Fabric>,
    pub arena: Option<String>,
    pub diskless: Option<u8>,
    pub unsound: bool,
}

/// Returns when all nodes serve and all mounts answer. What it started ends again if it fails.
pub fn run(wanted: &Wanted) -> Result<()> {
    let playground = playground(wanted)?;
    let mut started = Vec::new();
    let result = bring_up(&playground, wanted.unsound, &mut started);
    if result.is_err() {
        for member in &started {
            take_back(&playground, member);
        }
    }
    result.with_context(|| format!("{}: the playground did not come up", wanted.dir.display()))?;
    for member in &playground.cluster.nodes {
        println!("node {}  {}  {}", member.id, member.address, playground.mount(member).display());
    }
    Ok(())
}

fn playground(wanted: &Wanted) -> Result<Playground> {
    let Some(mut playground) = Playground::open(&wanted.dir)? else {
        return Playground::create(wanted);
    };
    let has = playground.cluster.nodes.len();
    let diskless =
        playground.cluster.nodes.iter().filter(|member| playground.partition(member).is_none()).count();
    let same = |asked: Option<u8>, has: usize| asked.is_none_or(|asked| usize::from(asked) == has);
    ensure!(
        same(wanted.nodes, has)
            && same(wanted.diskless, diskless)
            && wanted.fabric.is_none_or(|asked| asked == playground.cluster.fabric),
        "{}: has {has} nodes, {diskless} of them diskless, over {}; leave these options out, or give a new directory",
        wanted.dir.display(),
        playground.cluster.fabric
    );
    playground.set_arena(wanted.arena.as_deref())?;
    Ok(playground)
}

fn bring_up(playground: &Playground, unsound: bool, started: &mut Vec<Member>) -> Result<()> {
    let nodes = &playground.cluster.nodes;
    let progress = progress(nodes.len() as u64);
    let mut starting: Vec<(Member, Starting)> = Vec::new();
    for member in nodes {
        if playground.server(member).is_none() {
            clear_dead_mount(playground, member)?;
            started.push(*member);
            starting.push((*member, playground.start(member, unsound).spawn()?));
        }
    }
    let mut failures = Vec::new();
    for (member, server) in starting {
        progress.set_message(format!("node {} starts", member.id));
        if let Err(error) = server.wait() {
            failures.push(format!("node {}: {error:#}", member.id));
        }
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    for member in nodes {
        progress.set_message(format!("node {} meets the others", member.id));
        let mut server = playground.server(member).context("a node went away")?;
        meet(&mut server, member)?;
        mount(playground, member, &mut server)?;
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(())
}

/// Waits until the node has met all others.
fn meet(server: &mut Connection, member: &Member) -> Result<()> {
    let begin = Instant::now();
    loop {
        let status = server.status()?;
        match status.state {
            State::Serving => return Ok(()),
            State::Leaving => bail!("node {} is leaving", member.id),
            State::Starting | State::Alone if begin.elapsed() < MEETING => {
                thread::sleep(Duration::from_millis(20));
            }
            State::Starting | State::Alone => {
                let absent: Vec<String> = (status.peers.iter().filter(|peer| !peer.up))
                    .map(|peer| format!("node {} ({})", peer.id, peer.reason.as_deref().unwrap_or("no word")))
                    .collect();
                bail!("node {} does not reach {}", member.id, absent.join(", "));
            }
        }
    }
}

fn mount(playground: &Playground, member: &Member, server: &mut Connection) -> Result<()> {
    let point = playground.mount(member);
    if mount_table::mount_at(&point)?.is_some() {
        return Ok(());
    }
    let source = playground.partition(member).map_or("NONE".into(), |path| path.display().to_string());
    mounting::mount_at(server, &source, &point, Flags::default())
}

/// A server that was killed leaves its mount behind.
fn clear_dead_mount(playground: &Playground, member: &Member) -> Result<()> {
    let point = playground.mount(member);
    while mount_table::mount_at(&point)?.is_some() {
        eprintln!("kddm: {}: a mount without a server was there; unmounted", point.display());
        mounting::unmount_alone(&point)?;
    }
    Ok(())
}

fn take_back(playground: &Playground, member: &Member) {
    // The reason why the playground did not come up is worth more than that of this.
    if let Some(mut server) = playground.server(member) {
        let process = server.process();
        let _ = server.ask(&Request::Stop);
        let _ = process.and_then(|process| process.wait(super::PATIENCE));
    }
}

fn progress(nodes: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {bar:20} {pos}/{len} nodes  {msg}");
    let bar = ProgressBar::new(nodes).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}
