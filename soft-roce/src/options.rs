//! The command line.

use anyhow::{Result, ensure};
use clap::Parser;
use std::path::PathBuf;

/// Variables that a command has in any case, if the caller has them.
const PASSED_ON: [&str; 5] = ["PATH", "HOME", "USER", "LANG", "TERM"];

/// Boots guests with a real rdma_rxe device on one wire, and runs a command in each of them.
///
/// Exit codes: 0 if the command ended with 0 in every guest, else the first other code; 137 if a guest went off without
/// one; 124 when the time is up; 125 if the guests could not be booted; 130 or 143 after an interrupt or a request to end.
#[derive(Debug, Parser)]
#[command(name = "soft-roce/run", bin_name = "soft-roce/run", version)]
pub struct Options {
    /// How many guests.
    #[arg(long, short = 'n', value_parser = clap::value_parser!(u8).range(1..=4))]
    pub guests: u8,
    /// Memory of each guest, in MiB; files written in a guest are in it too.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(256..))]
    pub memory: u32,
    /// Processors of each guest.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub cpus: u8,
    /// Seconds that the commands may take.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: u64,
    /// MTU of the wire; from 4200 on RoCE packets carry 4096 bytes instead of 1024.
    #[arg(long, default_value_t = 1500, value_parser = clap::value_parser!(u16).range(1280..=9000))]
    pub mtu: u16,
    /// kvm instead of emulation; nobody but you can say whether it works here.
    #[arg(long, default_value = "tcg", value_parser = ["tcg", "kvm"])]
    pub accel: String,
    /// Keep the kernels' logs and qemu's in this folder, and qemu's process ids.
    #[arg(long, value_name = "DIR")]
    pub work: Option<PathBuf>,
    /// A folder of the host that the guests may write to, at the same path; without it a temporary one.
    #[arg(long, value_name = "DIR")]
    pub share: Option<PathBuf>,
    /// Pass a variable on to the command, or set one.
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub env: Vec<String>,
    /// Where the kernel is kept; else target/soft-roce.
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// It is no error if this guest goes off before its command has ended.
    #[arg(long, value_name = "RANK")]
    pub may_vanish: Vec<u8>,
    /// The command, the same in every guest; SOFT_ROCE_RANK tells them apart.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

impl Options {
    /// The variables of the caller that the command gets.
    ///
    /// # Errors
    /// If a name is empty.
    pub fn environment(&self) -> Result<Vec<(String, String)>> {
        let caller = |name: &str| Some((name.to_owned(), std::env::var(name).ok()?));
        let mut variables: Vec<(String, String)> = PASSED_ON.into_iter().filter_map(caller).collect();
        for word in &self.env {
            let (name, variable) = match word.split_once('=') {
                Some((name, value)) => (name, Some((name.to_owned(), value.to_owned()))),
                // One that the caller does not have, the command does not have either.
                None => (word.as_str(), caller(word)),
            };
            ensure!(!name.is_empty(), "--env {word}: a variable has a name");
            variables.extend(variable);
        }
        Ok(variables)
    }

    /// What no option can tell alone.
    ///
    /// # Errors
    /// If two of them do not fit together.
    pub fn check(&self) -> Result<()> {
        for rank in &self.may_vanish {
            ensure!(*rank < self.guests, "--may-vanish {rank}: the guests are 0 to {}", self.guests - 1);
        }
        Ok(())
    }
}
