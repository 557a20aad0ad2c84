//! `kddm-sim`: runs seeds.
#![forbid(unsafe_code)]

use anyhow::Result;
use clap::Parser;
use kddm_sim::{Command, regressions};
use std::process::ExitCode;

fn main() -> Result<ExitCode> {
    let command = Command::parse();
    let mut outcome = kddm_sim::Outcome::default();
    if command.seed.is_none() && !command.files {
        outcome.add(command.regressions(&regressions()?));
    }
    outcome.add(command.run());
    outcome.print();
    Ok(ExitCode::from(outcome.status()))
}
