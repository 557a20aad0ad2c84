//! `kddm grab --edit`: an object goes through a command.

use super::{Arguments, under::Child};
use crate::objects::text::trimmed;
use anyhow::{Context, Result};
use kdfs_client::{Exclusive, Session};
use std::{
    io::{Read, Write},
    thread,
};

/// Runs the command. The object becomes what it writes, if it exits with 0.
pub fn run(mut guard: Exclusive, arguments: &Arguments, session: &Session) -> Result<u8> {
    let mut child = Child::start(&arguments.command, true)?;
    let before = trimmed(&guard).to_vec();
    let most = guard.len();
    let (input, output) = child.pipes().context("the command has no pipes")?;
    // It may write before it has read, and end without having read.
    let writer = thread::spawn(move || {
        let mut input = input;
        let _ = input.write_all(&before);
    });
    let reader = thread::spawn(move || {
        let mut after = Vec::new();
        output.take(most as u64 + 1).read_to_end(&mut after).map(|_| after)
    });
    let code = child.wait(session)?;
    let after = reader.join().ok().context("the reading thread ended")?;
    let after = after.context("the command's output cannot be read")?;
    let _ = writer.join();
    if code != 0 {
        return Ok(code);
    }
    if after.len() > most {
        return arguments.too_long(most);
    }
    let (begin, rest) = guard.split_at_mut(after.len());
    begin.copy_from_slice(&after);
    rest.fill(0);
    guard.put().map_err(|error| arguments.error(error, session))?;
    Ok(0)
}
