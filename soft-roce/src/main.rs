//! `soft-roce/run`: boots guests that share one wire, each with a real rdma_rxe device, and runs a command in all of them.
//!
//! The same program is both sides: on the host it builds the guests and watches them, and in a guest, which sees the
//! host's file system, it is process 1.
#![forbid(unsafe_code)]

mod clock;
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
use report::say;
use std::process::ExitCode;

/// The guests could not be booted.
const NOT_BOOTED: u8 = 125;

fn main() -> ExitCode {
    if std::process::id() == 1 {
        guest::main();
    }
    match on_the_host() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            say(&format!("soft-roce: {error:#}"));
            ExitCode::from(NOT_BOOTED)
        }
    }
}

fn on_the_host() -> anyhow::Result<u8> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|word| word == machine::BOUND) {
        let parent = arguments.next().unwrap_or_default();
        match machine::become_qemu(&parent, arguments)? {}
    }
    supervise::run(&options::Options::parse())
}
