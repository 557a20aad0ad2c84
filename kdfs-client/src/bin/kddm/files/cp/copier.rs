//! Copies trees, and goes on with what is left when something fails.

use super::place::{Kind, Place};
use crate::outcome::Failures;
use anyhow::{Context, Result, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use kdfs_client::Session;
use std::{path::Path, process::ExitCode, time::Duration};

/// Bytes that are moved together.
const TRANSFER: usize = 1 << 20;

pub struct Copier<'a> {
    session: &'a Session,
    recursive: bool,
    failures: Failures,
    progress: ProgressBar,
    buffer: Vec<u8>,
}

impl<'a> Copier<'a> {
    pub fn new(session: &'a Session, recursive: bool) -> Copier<'a> {
        Copier {
            session,
            recursive,
            failures: Failures::default(),
            progress: progress(),
            buffer: vec![0; TRANSFER],
        }
    }

    /// Copies what is at `from`; tells what fails.
    pub fn copy_all(&mut self, from: &Place, to: &Place) {
        let copied = match to.is_of_kdfs() == from.is_of_kdfs() && is_below(to.path(), from.path()) {
            true if self.recursive && from.is_directory(self.session) => {
                Err(anyhow::anyhow!("{from}: cannot be copied into itself ({to})"))
            }
            _ => self.copy(from, to, !self.recursive),
        };
        self.note(copied);
    }

    /// The exit code of it all.
    pub fn end(self) -> ExitCode {
        self.progress.finish_and_clear();
        self.failures.code()
    }

    fn copy(&mut self, from: &Place, to: &Place, follow: bool) -> Result<()> {
        match from.look(self.session, follow)? {
            Kind::File(mode) => self.file(from, to, mode),
            Kind::Directory(mode) => self.directory(from, to, mode),
            Kind::Link(target) => to.make_link(self.session, &target),
            // Whatever comes out of it, as cp(1).
            Kind::Other if !self.recursive && !from.is_of_kdfs() => self.file(from, to, 0o666),
            Kind::Other => bail!("{from}: is no file, directory or symbolic link, and was left out"),
        }
    }

    fn directory(&mut self, from: &Place, to: &Place, mode: u32) -> Result<()> {
        ensure!(self.recursive, "{from}: is a directory; copy it with -r");
        let names = from.names(self.session)?;
        to.make_directory(self.session, mode)?;
        for name in names {
            let copied = self.copy(&from.join(&name), &to.join(&name), false);
            self.note(copied);
        }
        Ok(())
    }

    fn file(&mut self, from: &Place, to: &Place, mode: u32) -> Result<()> {
        ensure!(!from.is_same(to, self.session), "{from} and {to} are the same file");
        self.progress.set_message(from.to_string());
        let mut source = from.source(self.session)?;
        let mut sink = to.sink(self.session, mode)?;
        loop {
            let read = source.read(&mut self.buffer).with_context(|| from.to_string())?;
            if read == 0 {
                return Ok(());
            }
            sink.write(&self.buffer[..read]).with_context(|| to.to_string())?;
            self.progress.inc(read as u64);
        }
    }

    fn note(&mut self, copied: Result<()>) {
        self.progress.suspend(|| self.failures.note(copied));
    }
}

/// By name: what links make of it, the files themselves tell.
fn is_below(path: &Path, directory: &Path) -> bool {
    path.starts_with(directory)
}

/// Seen only on a terminal.
fn progress() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {binary_bytes}  {binary_bytes_per_sec}  {wide_msg}");
    let bar = ProgressBar::new_spinner();
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}
