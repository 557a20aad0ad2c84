//! `kddm ls`.

use super::path::{KdfsPath, Parser};
use crate::{
    attach,
    objects::{group, user},
    outcome::{Failures, with_codes},
};
use anyhow::Result;
use clap::Args;
use comfy_table::{CellAlignment, Table, presets::NOTHING};
use kdfs_client::{Session, session::Metadata};
use nix::{
    libc,
    unistd::{Gid, Uid},
};
use serde_json::{Value, json};
use std::{
    ffi::OsString,
    io::{Write, stdout},
    process::ExitCode,
};

/// List directories of kDFS, without a mount.
///
/// Names come a line each, in the order of their bytes; those that begin with a dot only with -a.
#[derive(Args, Debug)]
#[command(after_help = with_codes(EXAMPLES))]
pub struct Arguments {
    /// Paths from the root of kDFS.
    #[arg(value_name = "PATH", default_value = "kdfs:/", value_parser = Parser)]
    paths: Vec<KdfsPath>,
    /// With type, permissions, links, owner, group, size and the time of the last change.
    #[arg(short, long)]
    long: bool,
    /// Names that begin with a dot too.
    #[arg(short, long)]
    all: bool,
    /// A directory itself, not what is in it.
    #[arg(short, long)]
    directory: bool,
    /// Print JSON: [{"path", "inode", "mode", "links", "uid", "gid", "size", "modified"}], of all paths together.
    #[arg(long, conflicts_with = "long")]
    json: bool,
    #[command(flatten)]
    node: attach::Node,
}

const EXAMPLES: &str = "\
Examples:
  kddm ls --dir /tmp/try                           the root
  kddm ls -l kdfs:/etc --dir /tmp/try --node 2";

struct Entry {
    path: KdfsPath,
    name: OsString,
    found: Metadata,
    target: Option<OsString>,
}

/// Lists them.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let session = arguments.node.attach()?;
    let mut failures = Failures::default();
    let mut listed = Vec::new();
    for path in &arguments.paths {
        match entries(&session, path, arguments, &mut failures) {
            Ok(entries) => listed.push((path, entries)),
            Err(error) => failures.tell(&error),
        }
    }
    let mut out = stdout().lock();
    if arguments.json {
        let all = listed.iter().flat_map(|(_, entries)| entries).map(Entry::json);
        writeln!(out, "{}", Value::Array(all.collect()))?;
        return Ok(failures.code());
    }
    for (place, (path, entries)) in listed.iter().enumerate() {
        if arguments.paths.len() > 1 && !arguments.directory {
            writeln!(out, "{}{path}:", if place > 0 { "\n" } else { "" })?;
        }
        print(&mut out, entries, arguments.long)?;
    }
    Ok(failures.code())
}

fn entries(
    session: &Session,
    path: &KdfsPath,
    arguments: &Arguments,
    failures: &mut Failures,
) -> Result<Vec<Entry>> {
    let told = |error| path.error(error);
    let found = session.symlink_metadata(path.path()).map_err(told)?;
    let is_directory = found.is_dir()
        || found.is_symlink() && session.metadata(path.path()).is_ok_and(|behind| behind.is_dir());
    if arguments.directory || !is_directory {
        let name = path.to_string().into();
        return Ok(vec![Entry::new(session, path.clone(), name)?]);
    }
    let mut names = Vec::new();
    for entry in session.read_dir(path.path()).map_err(told)? {
        names.push(entry.map_err(told)?.name);
    }
    names.retain(|name| arguments.all || !name.as_encoded_bytes().starts_with(b"."));
    names.sort_unstable();
    let mut entries = Vec::new();
    for name in names {
        // One that has gone meanwhile is told of; the others are there.
        match Entry::new(session, path.join(&name), name) {
            Ok(entry) => entries.push(entry),
            Err(error) => failures.tell(&error),
        }
    }
    Ok(entries)
}

fn print(out: &mut impl Write, entries: &[Entry], long: bool) -> Result<()> {
    if !long {
        for entry in entries {
            out.write_all(entry.name.as_encoded_bytes())?;
            out.write_all(b"\n")?;
        }
        return Ok(());
    }
    let mut table = Table::new();
    table.load_preset(NOTHING);
    for entry in entries {
        table.add_row(entry.row());
    }
    for place in 0..7 {
        if let Some(column) = table.column_mut(place) {
            column.set_padding((0, 1));
            if [1, 4].contains(&place) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    if !entries.is_empty() {
        writeln!(out, "{}", table.trim_fmt())?;
    }
    Ok(())
}

impl Entry {
    fn new(session: &Session, path: KdfsPath, name: OsString) -> Result<Entry> {
        let found = session.symlink_metadata(path.path()).map_err(|error| path.error(error))?;
        let target = found.is_symlink().then(|| session.read_link(path.path()));
        let target = target.transpose().map_err(|error| path.error(error))?.map(OsString::from);
        Ok(Entry { path, name, found, target })
    }

    fn row(&self) -> [String; 7] {
        let facts = self.found.facts();
        let target = self.target.as_ref().map(|target| format!(" -> {}", target.display()));
        [
            mode(facts.mode),
            facts.links.to_string(),
            user(Uid::from_raw(facts.uid)),
            group(Gid::from_raw(facts.gid)),
            facts.size.to_string(),
            time(facts.modified),
            format!("{}{}", self.name.display(), target.unwrap_or_default()),
        ]
    }

    fn json(&self) -> Value {
        let facts = self.found.facts();
        let modified = facts.modified as f64 + f64::from(facts.modified_nanoseconds) / 1e9;
        json!({
            "path": self.path.path().to_string_lossy(), "inode": facts.inode, "mode": mode(facts.mode), "links": facts.links,
            "uid": facts.uid, "gid": facts.gid, "size": facts.size, "modified": modified,
        })
    }
}

/// As ls(1) shows it.
fn mode(mode: u32) -> String {
    let kind = match mode & libc::S_IFMT {
        libc::S_IFDIR => 'd',
        libc::S_IFLNK => 'l',
        libc::S_IFIFO => 'p',
        libc::S_IFSOCK => 's',
        libc::S_IFCHR => 'c',
        libc::S_IFBLK => 'b',
        _ => '-',
    };
    let mut text: Vec<char> = vec![kind];
    for (place, letter) in "rwxrwxrwx".chars().enumerate() {
        let set = mode & (0o400 >> place) != 0;
        text.push(if set { letter } else { '-' });
    }
    for (bit, place, letter) in [(libc::S_ISUID, 3, 's'), (libc::S_ISGID, 6, 's'), (libc::S_ISVTX, 9, 't')] {
        if mode & bit != 0 {
            text[place] = if text[place] == 'x' { letter } else { letter.to_ascii_uppercase() };
        }
    }
    text.into_iter().collect()
}

/// In the zone of this host.
fn time(seconds: i64) -> String {
    let time = jiff::Timestamp::from_second(seconds).map(|time| time.to_zoned(jiff::tz::TimeZone::system()));
    time.map_or_else(|_| seconds.to_string(), |time| time.strftime("%Y-%m-%d %H:%M").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_shown_as_ls_does() {
        assert_eq!(mode(0o100_644), "-rw-r--r--");
        assert_eq!(mode(0o041_777), "drwxrwxrwt");
        assert_eq!(mode(0o104_755), "-rwsr-xr-x");
        assert_eq!(mode(0o102_640), "-rw-r-S---");
        assert_eq!(mode(0o120_777), "lrwxrwxrwx");
    }
}
