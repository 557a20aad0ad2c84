//! `kddm trace`.

mod merge;
mod show;

use crate::{
    object::Named,
    select::{Cluster, Selection},
};
use anyhow::{Result, bail};
use clap::Args;
use kddm_cluster::admin::{Reply, Request, Trace};
use kdfs_client::Connection;
use merge::Merger;
use show::Show;
use std::{
    io::{Write, stdout},
    thread,
    time::{Duration, Instant},
};

/// How often the servers are asked what happened.
const ROUND: Duration = Duration::from_millis(100);

/// What happens to an object, on all nodes of this host, in order: messages, READs, holds, states. Until Ctrl-C.
///
/// A message is shown after it was sent wherever it is received; what has no such order is shown as the host's clock has
/// it. Holds that are hits tell nobody, and are not seen.
#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    object: Named,
    #[command(flatten)]
    cluster: Selection,
    /// End after so many seconds.
    #[arg(long = "for", value_name = "SECONDS", value_parser = seconds)]
    time: Option<Duration>,
    /// End after so many events.
    #[arg(long, value_name = "N")]
    events: Option<usize>,
    /// Print one JSON object for each event.
    #[arg(long)]
    json: bool,
}

/// A server that is asked.
struct Traced {
    node: u8,
    server: Connection,
    /// The last event that is known.
    after: u64,
    lost: u64,
}

/// Prints events as they come.
pub fn run(arguments: &Arguments) -> Result<()> {
    let mut servers = Cluster::load(&arguments.cluster)?.here(None)?;
    let set = arguments.object.set(&mut servers[0].1)?;
    let object = arguments.object.object;
    let traced = |(member, server): (kddm_cluster::Member, Connection)| Traced {
        node: member.id.get(),
        server,
        after: 0,
        lost: 0,
    };
    let mut nodes: Vec<Traced> = servers.into_iter().map(traced).collect();
    let mut merger = Merger::default();
    for node in &mut nodes {
        let trace = node.ask(set, object)?;
        node.after = trace.events.last().map_or(0, |event| event.number);
        node.lost = trace.lost;
        // What was traced for somebody else before is not what was asked for.
        if trace.fresh {
            merger.add(node.node, trace.events);
        }
    }
    let begin = Instant::now();
    let names: Vec<String> = nodes.iter().map(|node| node.node.to_string()).collect();
    eprintln!("tracing {}/{object} on node {}", crate::object::set_name(set), names.join(", "));
    let mut show = Show::new(arguments.json);
    let mut left = arguments.events.unwrap_or(usize::MAX);
    loop {
        let last = arguments.time.is_some_and(|time| begin.elapsed() >= time);
        nodes = ask_all(nodes, set, object, &mut merger);
        for event in merger.take() {
            show.event(&event)?;
            left -= 1;
            if left == 0 {
                return Ok(stdout().flush()?);
            }
        }
        stdout().flush()?;
        if last {
            return Ok(());
        }
        if nodes.is_empty() {
            bail!("no server is left that could be asked");
        }
        thread::sleep(ROUND);
    }
}

/// Those that answered.
fn ask_all(nodes: Vec<Traced>, set: u64, object: u32, merger: &mut Merger) -> Vec<Traced> {
    let mut horizon = u64::MAX;
    let mut there = Vec::with_capacity(nodes.len());
    for mut node in nodes {
        match node.ask(set, object) {
            Ok(trace) => {
                node.note(&trace);
                horizon = horizon.min(trace.now);
                merger.add(node.node, trace.events);
                there.push(node);
            }
            Err(error) => eprintln!("node {} is not traced any more: {error:#}", node.node),
        }
    }
    merger.known_until(horizon);
    there
}

impl Traced {
    fn ask(&mut self, set: u64, object: u32) -> Result<Trace> {
        match self.server.ask(&Request::Trace { set, object, after: self.after })? {
            Reply::Trace(trace) => Ok(trace),
            other => bail!("an answer to another question: {other:?}"),
        }
    }

    fn note(&mut self, trace: &Trace) {
        self.after = trace.events.last().map_or(self.after, |event| event.number);
        if trace.fresh || trace.lost > self.lost {
            eprintln!("node {}: events were lost: more happened than could be told in time", self.node);
        }
        self.lost = trace.lost;
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time: write seconds, as 2 or 0.5");
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}
