//! `soft-roce/run`: boots guests that share one wire, each with a real rdma_rxe device, and runs a command in all of them.
//!
//! The same program is both sides: on the host it builds the guests and watches them, and in a guest, which sees the
//! host's file system, it is process 1.
#![forbid(unsafe_code)]

mod event;
mod guest;
mod initramfs;
mod job;
mod kernel;
mod machine;
mod options;
mod place;
mod port;
mod programs;
mod report;
mod supervise;
mod wire;

use clap::Parser;
use std::process::ExitCode;

/// The guests could not be booted.
const NOT_BOOTED: u8 = 125;

fn main() -> ExitCode {
    if std::process::id() == 1 {
        guest::main();
    }
    let options = options::Options::parse();
    match supervise::run(&options) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("soft-roce: {error:#}");
            ExitCode::from(NOT_BOOTED)
        }
    }
}
