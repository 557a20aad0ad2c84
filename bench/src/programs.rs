//! Our own programs, and running any program with an end to its time.

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// The built program `name` that lies beside the running one.
///
/// # Errors
/// If it has not been built.
pub fn built(name: &str) -> Result<PathBuf> {
    let me = std::env::current_exe().context("finding the running program")?;
    // Test programs lie one folder deeper, in deps.
    let found = me.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.with_context(|| {
        format!("{name} is not built: run `cargo build --workspace` (or `make build`) first")
    })
}

/// Runs `command` to its end and gives back what it said. If it is not done after `limit`, it is killed.
///
/// # Errors
/// If it cannot be started, or ran out of time: the message says which command, and what it had said.
pub fn run(command: &mut Command, limit: Duration) -> Result<Output> {
    let words = describe(command);
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {words}"))?;
    let pid = Pid::from_raw(child.id() as i32);
    let (done, finished) = mpsc::channel();
    thread::spawn(move || done.send(child.wait_with_output()));
    match finished.recv_timeout(limit) {
        Ok(output) => output.with_context(|| format!("waiting for {words}")),
        Err(_) => {
            // The child is not reaped before the thread has sent, so the number is still its own.
            let _ = kill(pid, Signal::SIGKILL);
            match finished.recv_timeout(Duration::from_secs(5)) {
                Ok(Ok(output)) => bail!("{words} took longer than {limit:?}; it had said: {}", said(&output)),
                _ => bail!("{words} took longer than {limit:?} and cannot be killed"),
            }
        }
    }
}

/// Runs `command` and gives back its standard output.
///
/// # Errors
/// As [`run`], and if it exits with another code than 0.
pub fn succeed(command: &mut Command, limit: Duration) -> Result<String> {
    let output = run(command, limit)?;
    if !output.status.success() {
        bail!("{} ended with {}: {}", describe(command), output.status, said(&output));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What a program wrote, errors last.
pub fn said(output: &Output) -> String {
    let [out, error] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    let all = format!("{}\n{}", out.trim(), error.trim()).trim().to_owned();
    if all.is_empty() { "nothing".into() } else { all }
}

fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_does_not_end_is_killed_and_named() {
        let limit = Duration::from_millis(200);
        let error = run(Command::new("sh").args(["-c", "echo begun; exec sleep 60"]), limit).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("sh -c") && text.contains("begun"), "{text}");
    }

    #[test]
    fn a_failure_is_told_with_what_was_said() {
        let limit = Duration::from_secs(10);
        let error = succeed(Command::new("sh").args(["-c", "echo why >&2; exit 3"]), limit).unwrap_err();
        assert!(error.to_string().contains("exit status: 3: why"), "{error}");
    }
}
