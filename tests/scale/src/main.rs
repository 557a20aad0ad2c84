//! `kddm-scale`: what the protocol costs from 2 to 250 nodes, as tables and pictures.
#![forbid(unsafe_code)]

use anyhow::Result;
use clap::{Parser, ValueEnum};
use kddm_bench::allocations::Counting;
use kddm_bench::report::{Case, Report};
use kddm_scale::{PAGE, SIZES, SMALL, costs, directory, hand_over, loss, pictures};
use std::path::PathBuf;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What the protocol costs on clusters of 2, 8, 64 and 250 nodes.
///
/// The running core of every node, in one process and in virtual time: a message takes one unit (a hop), a READ two, a step none.
/// Nothing is random. Prints tables, and writes target/report/scale.json and pictures (SVG and PNG) beside it.
#[derive(Parser)]
#[command(version, max_term_width = 110)]
struct Arguments {
    /// What to show [default: everything]
    what: Vec<What>,
    /// Objects whose directory is weighed; 7/8 of a power of two fills its index
    #[arg(long, default_value_t = directory::OBJECTS, value_parser = clap::value_parser!(u32).range(1..1 << 24))]
    objects: u32,
    /// Objects that there are when a node is lost
    #[arg(long, default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..1 << 24))]
    loss_objects: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// Messages, READs and hops of each operation, by the roles of the nodes and the number of sharers
    Costs,
    /// Bytes of the directory for an object
    Directory,
    /// One object that every node wants
    HandOver,
    /// The loss of a node
    Loss,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kddm-scale: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let mut report = Report::new(None);
    let mut files = Vec::new();
    let all = [What::Costs, What::Directory, What::HandOver, What::Loss];
    for what in all.into_iter().filter(|what| arguments.what.is_empty() || arguments.what.contains(what)) {
        let (cases, drawn) = show(what, arguments)?;
        println!("{}\n", Report { cases: cases.clone(), ..report.clone() }.table());
        report.cases.extend(cases);
        files.extend(drawn);
    }
    files.push(report.write("scale")?);
    files.iter().for_each(|file| println!("{}", file.display()));
    Ok(())
}

/// The rows, and the pictures that were drawn of them.
fn show(what: What, arguments: &Arguments) -> Result<(Vec<Case>, Vec<PathBuf>)> {
    match what {
        What::Costs => {
            let mut cases = Vec::new();
            for nodes in SIZES {
                cases.extend(costs::run(nodes, PAGE)?);
            }
            cases.extend(costs::run(64, SMALL)?);
            let of_64: Vec<Case> = cases.iter().filter(|case| case.nodes == Some(64)).cloned().collect();
            let drawn = [pictures::grabs(&of_64)?, pictures::operations(&cases)?].concat();
            Ok((cases, drawn))
        }
        What::Directory => {
            let cases = directory::run(&SIZES, &[0, 1, 2, 3, 4, 8], arguments.objects)?;
            let drawn = pictures::directory(&cases)?;
            Ok((cases, drawn))
        }
        What::HandOver => {
            let cases = hand_over::run(&SIZES)?;
            let drawn = pictures::hand_overs(&cases)?;
            Ok((cases, drawn))
        }
        What::Loss => {
            let cases = loss::run(&SIZES, arguments.loss_objects)?;
            let drawn = pictures::losses(&cases, arguments.loss_objects)?;
            Ok((cases, drawn))
        }
    }
}
