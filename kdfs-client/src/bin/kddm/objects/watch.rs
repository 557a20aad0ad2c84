//! `kddm watch`.

use super::{
    named::{Object, seconds},
    text::{shown, trimmed},
};
use crate::outcome::with_codes;
use anyhow::{Context, Result, ensure};
use clap::Args;
use kdfs_client::{HoldOptions, Refusal, Session, Set};
use std::{
    io::{Write, stdout},
    process::{Command, ExitCode, Stdio},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Print an object now, and again whenever it has changed.
///
/// The object is looked at in intervals: a get, compared with what was there before. While nobody changes the object, this node has a copy
/// and a look costs no message in the cluster; a change elsewhere takes the copy away, and the next look fetches the new one. Of changes
/// that follow each other within an interval only the last is seen, and what somebody has grabbed is seen when it is put.
///
/// An object that nobody has touched, or that was removed, is shown as "absent", and not made.
#[derive(Args, Debug)]
#[command(after_help = with_codes(EXAMPLES))]
pub struct Arguments {
    #[command(flatten)]
    object: Object,
    /// From one look to the next.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "0.5")]
    interval: Duration,
    /// End after the object was printed so many times.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Run this with sh for each change, with the object (without the zeros at its end) as its standard input, instead of printing.
    #[arg(long, value_name = "CMD", conflicts_with_all = ["json", "raw"])]
    exec: Option<String>,
    /// Print all bytes as they are.
    #[arg(long, conflicts_with = "json")]
    raw: bool,
    /// Print a line of JSON each time: {"time" (seconds since 1970), "text" (null: absent)}.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  kddm watch notes 7 --dir /tmp/try
  kddm watch notes 7 --dir /tmp/try --node 2 --interval 0.05
  kddm watch config 0 --dir /tmp/try --exec 'cat >/etc/app.conf; systemctl reload app'
  kddm watch notes 7 --dir /tmp/try --count 2 >/dev/null    wait for the next change";

/// Watches until somebody ends it.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let shortest = Duration::from_millis(1);
    ensure!(arguments.interval >= shortest, "--interval: at least 0.001: a look each millisecond");
    let (session, set) = arguments.object.open()?;
    let mut last = None;
    let mut printed = 0;
    while arguments.count.is_none_or(|count| printed < count) {
        if last.is_some() {
            thread::sleep(arguments.interval);
        }
        let now = look(arguments, &session, &set)?;
        if last.as_ref() != Some(&now) {
            tell(arguments, now.as_deref())?;
            printed += 1;
        }
        last = Some(now);
    }
    Ok(ExitCode::SUCCESS)
}

/// The object's bytes; `None`: it is absent.
fn look(arguments: &Arguments, session: &Session, set: &Set) -> Result<Option<Vec<u8>>> {
    let options = HoldOptions { only_existing: true, ..HoldOptions::default() };
    match set.get_with(arguments.object.object, options) {
        Ok(guard) => Ok(Some(guard.to_vec())),
        Err(error) if error.refusal() == Some(Refusal::Absent) => Ok(None),
        Err(error) => Err(arguments.object.error(error, session)),
    }
}

fn tell(arguments: &Arguments, bytes: Option<&[u8]>) -> Result<()> {
    if let Some(command) = &arguments.exec {
        return execute(command, bytes.unwrap_or_default());
    }
    let mut out = stdout().lock();
    if arguments.json {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let text = bytes.map(|bytes| String::from_utf8_lossy(trimmed(bytes)).into_owned());
        writeln!(out, "{}", serde_json::json!({ "time": time, "text": text }))?;
    } else if arguments.raw {
        out.write_all(bytes.unwrap_or_default())?;
    } else {
        writeln!(out, "{}", bytes.map_or_else(|| "absent".into(), |bytes| shown(bytes, 200)))?;
    }
    Ok(out.flush()?)
}

fn execute(command: &str, bytes: &[u8]) -> Result<()> {
    let mut shell = Command::new("sh");
    let mut child = shell.args(["-c", command]).stdin(Stdio::piped()).spawn().context("sh cannot be run")?;
    if let Some(mut input) = child.stdin.take() {
        // What does not read it all has had enough.
        let _ = input.write_all(trimmed(bytes));
    }
    let status = child.wait()?;
    if !status.success() {
        eprintln!("kddm: {command}: {status}");
    }
    Ok(())
}
