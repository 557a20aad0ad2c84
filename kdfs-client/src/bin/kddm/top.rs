//! `kddm top`.

mod gather;
mod report;
mod screen;
mod text;

use crate::select::{Cluster, Selection};
use anyhow::{Result, ensure};
use clap::Args;
use gather::Gatherer;
use std::{
    io::{IsTerminal, stdout},
    time::Duration,
};

/// Who is busy with what: the nodes of this host, their sets and hit ratio, how long operations take by outcome, the
/// hottest and the most contended objects, who holds them and who waits.
///
/// On a terminal it goes on until q is pressed. With --once or --json it prints what has been since the servers started.
#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    cluster: Selection,
    /// Print once and end; no terminal is needed.
    #[arg(long)]
    once: bool,
    /// Print JSON once and end.
    #[arg(long)]
    json: bool,
    /// Objects of each list.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=32))]
    objects: u16,
    /// Seconds from one look to the next.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    interval: f64,
}

/// Shows it.
pub fn run(arguments: &Arguments) -> Result<()> {
    let cluster = Cluster::load(&arguments.cluster)?;
    let mut gatherer = Gatherer::new(cluster, usize::from(arguments.objects))?;
    if arguments.json {
        println!("{}", serde_json::to_string(&gatherer.gather()?)?);
        return Ok(());
    }
    if arguments.once {
        print!("{}", text::text(&gatherer.gather()?));
        return Ok(());
    }
    ensure!(stdout().is_terminal(), "there is no terminal: use --once or --json");
    let interval = Duration::try_from_secs_f64(arguments.interval.max(0.1));
    screen::run(&mut gatherer, interval?)
}
