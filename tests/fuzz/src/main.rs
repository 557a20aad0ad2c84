//! `kddm-fuzz`: the targets, their seeds, and inputs tried again. Guided runs: `make fuzz`.
#![forbid(unsafe_code)]

use anyhow::{Context, Result};
use clap::Parser;
use kddm_fuzz::{TARGETS, Target, corpus, target};
use std::{fs, path::PathBuf};

/// Fuzz targets: what they are, their seeds, inputs tried again.
#[derive(Parser)]
#[command(version)]
enum Command {
    /// Each target and what it decodes.
    List,
    /// How long inputs of a target are at most, bytes.
    Longest {
        /// The target.
        target: String,
    },
    /// Write the seeds of one target, or of all, to the corpus.
    Seeds {
        /// The target.
        target: Option<String>,
    },
    /// Try inputs: ends with the first that breaks a property.
    Run {
        /// The target.
        target: String,
        /// Files with an input each; none: the corpus.
        files: Vec<PathBuf>,
    },
}

fn main() -> Result<()> {
    match Command::parse() {
        Command::List => TARGETS.iter().for_each(|target| println!("{:14} {}", target.name, target.what)),
        Command::Longest { target } => println!("{}", find(&target)?.longest),
        Command::Seeds { target } => seeds(target.as_deref())?,
        Command::Run { target, files } => run(find(&target)?, &files)?,
    }
    Ok(())
}

fn find(name: &str) -> Result<Target> {
    target(name).with_context(|| format!("there is no target {name:?}: kddm-fuzz list shows them"))
}

fn seeds(name: Option<&str>) -> Result<()> {
    let chosen = match name {
        Some(name) => vec![find(name)?],
        None => TARGETS.to_vec(),
    };
    for target in chosen {
        let count = corpus::write_seeds(&target).with_context(|| format!("the corpus of {}", target.name))?;
        println!("{}: {count} seeds", target.name);
    }
    Ok(())
}

fn run(target: Target, files: &[PathBuf]) -> Result<()> {
    let inputs = match files {
        [] => corpus::read(&target)?,
        files => {
            let read = |file: &PathBuf| {
                let bytes = fs::read(file).with_context(|| file.display().to_string())?;
                Ok((file.display().to_string(), bytes))
            };
            files.iter().map(read).collect::<Result<_>>()?
        }
    };
    for (name, input) in inputs {
        println!("{}: {name}, {} bytes", target.name, input.len());
        (target.check)(&input);
    }
    Ok(())
}
