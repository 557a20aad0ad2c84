//! `kddm set`.

use super::named::{group, of_set, user};
use crate::{attach, outcome::with_codes};
use anyhow::{Result, anyhow, ensure};
use clap::{Args, Subcommand};
use comfy_table::{CellAlignment, Table, presets::NOTHING};
use kddm_object::{Home, NodeId};
use kdfs_client::{Error, Refusal, Session, SetOptions, session::SetSummary};
use nix::unistd::{Gid, Uid};
use serde::Serialize;
use std::{
    io::{Write, stdout},
    process::ExitCode,
};

/// What is done with sets.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Make a set. It belongs to this user.
    #[command(after_help = with_codes(CREATE))]
    Create(Create),
    /// List the sets of the cluster.
    List(List),
    /// What a set is like.
    Stat(Stat),
    /// End a set and all its objects.
    Destroy(Destroy),
}

const CREATE: &str = "\
Examples:
  kddm set create notes --size 64 --dir /tmp/try   objects of 64 bytes, for this user alone
  kddm set create locks --size 0 --mode 0666 --dir /tmp/try    for everybody
  kddm set create pages --size \"1 MiB\" --home node:2 --dir /tmp/try";

/// Make a set.
#[derive(Args, Debug)]
pub struct Create {
    /// Its name, 1 to 200 bytes.
    #[arg(value_name = "NAME")]
    name: String,
    /// Bytes of each object, as 64 or "4 KiB", up to 1 MiB; 0: objects are locks.
    #[arg(long, value_name = "BYTES", value_parser = size)]
    size: u32,
    /// Permission bits, in octal.
    #[arg(long, value_name = "MODE", value_parser = mode, default_value = "0600")]
    mode: u16,
    /// Which node keeps an object's directory entry: hash (spread over all), node:ID (one for the set), or object (the top byte of the
    /// object's number).
    #[arg(long, value_name = "HOME", value_parser = home, default_value = "hash")]
    home: Home,
    #[command(flatten)]
    node: attach::Node,
}

/// List the sets.
#[derive(Args, Debug)]
pub struct List {
    /// Only the names.
    #[arg(long, conflicts_with = "json")]
    names: bool,
    /// Print JSON: [{"name", "id", "size", "home", "uid", "gid", "mode"}].
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    node: attach::Node,
}

/// What a set is like.
#[derive(Args, Debug)]
pub struct Stat {
    /// The set's name.
    set: String,
    /// Print JSON, as list does.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    node: attach::Node,
}

/// End sets.
#[derive(Args, Debug)]
pub struct Destroy {
    /// The sets' names.
    #[arg(value_name = "SET", required = true)]
    set: Vec<String>,
    #[command(flatten)]
    node: attach::Node,
}

#[derive(Serialize)]
struct Row {
    name: String,
    /// In hexadecimal: JSON's numbers are too small for it.
    id: String,
    size: u32,
    home: String,
    uid: u32,
    gid: u32,
    mode: String,
}

/// Does it.
pub fn run(command: &Command) -> Result<ExitCode> {
    match command {
        Command::Create(arguments) => create(arguments)?,
        Command::List(arguments) => list(arguments)?,
        Command::Stat(arguments) => stat(arguments)?,
        Command::Destroy(arguments) => {
            let session = arguments.node.attach()?;
            for name in &arguments.set {
                session.destroy_set(name).map_err(|error| of_set(error, &session, name))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn create(arguments: &Create) -> Result<()> {
    let Create { name, size, mode, home, node } = arguments;
    let session = node.attach()?;
    let options = SetOptions { object_size: *size, home: *home, mode: *mode };
    session.create_set(name, options).map(drop).map_err(|error| of_set(error, &session, name))
}

fn list(arguments: &List) -> Result<()> {
    let rows = arguments.node.attach()?.sets()?.into_iter().map(Row::of);
    let rows: Vec<Row> = rows.collect();
    let mut out = stdout().lock();
    if arguments.json {
        writeln!(out, "{}", serde_json::to_string(&rows)?)?;
    } else if arguments.names {
        rows.iter().try_for_each(|row| writeln!(out, "{}", row.name))?;
    } else if rows.is_empty() {
        writeln!(out, "no sets; make one: kddm set create NAME --size BYTES")?;
    } else {
        writeln!(out, "{}", table(&rows))?;
    }
    Ok(())
}

fn stat(arguments: &Stat) -> Result<()> {
    let session = arguments.node.attach()?;
    let row = Row::of(find(&session, &arguments.set)?);
    let mut out = stdout().lock();
    if arguments.json {
        writeln!(out, "{}", serde_json::to_string(&row)?)?;
        return Ok(());
    }
    writeln!(out, "set    {} (id {})", row.name, row.id)?;
    let what = if row.size == 0 { "0 bytes each: locks".into() } else { format!("{} bytes each", row.size) };
    writeln!(out, "size   {what}")?;
    writeln!(out, "home   {}", row.home)?;
    writeln!(out, "owner  {} ({}), group {} ({})", row.owner(), row.uid, row.group(), row.gid)?;
    writeln!(out, "mode   {}", row.mode)?;
    Ok(())
}

fn find(session: &Session, name: &str) -> Result<SetSummary> {
    let found = session.sets()?.into_iter().find(|set| set.name == name);
    found.ok_or_else(|| of_set(Error::Refused(Refusal::UnknownName), session, name))
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(["name", "size", "home", "owner", "group", "mode"]);
    for row in rows {
        let (owner, group) = (row.owner(), row.group());
        table.add_row([&row.name, &row.size.to_string(), &row.home, &owner, &group, &row.mode]);
    }
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

impl Row {
    fn of(set: SetSummary) -> Row {
        let home = match set.home {
            Some(Home::Node(node)) => format!("node:{node}"),
            Some(Home::ObjectBits) => "object".into(),
            Some(Home::Hash) => "hash".into(),
            Some(Home::SubjectBits | Home::Custom(_)) | None => "as the server says".into(),
        };
        let SetSummary { name, id, object_size: size, uid, gid, mode, .. } = set;
        Row { name, id: format!("{:#x}", id.0), size, home, uid, gid, mode: format!("{mode:04o}") }
    }

    fn owner(&self) -> String {
        user(Uid::from_raw(self.uid))
    }

    fn group(&self) -> String {
        group(Gid::from_raw(self.gid))
    }
}

fn size(text: &str) -> Result<u32> {
    let bytes = kddm_cluster::parse_size(text).map_err(|what| anyhow!("{what}"))?;
    let most = kddm_object::limits::MAX_OBJECT_SIZE;
    ensure!(bytes <= u64::from(most), "an object has at most {most} bytes");
    Ok(bytes as u32)
}

fn mode(text: &str) -> Result<u16> {
    let mode = u16::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
    mode.ok_or_else(|| anyhow!("write permission bits in octal, as 0640"))
}

fn home(text: &str) -> Result<Home> {
    match (text, text.strip_prefix("node:")) {
        ("hash", _) => Ok(Home::Hash),
        ("object", _) => Ok(Home::ObjectBits),
        (_, Some(id)) => Ok(Home::Node(NodeId::new(id.parse()?)?)),
        _ => Err(anyhow!("write hash, node:ID, or object")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_set_can_have_is_said_before_the_server_is_asked() {
        assert!(size("1 MiB").is_ok() && size("2 MiB").is_err() && size("much").is_err());
        assert_eq!((mode("0640").ok(), mode("rw").ok(), mode("7777").ok()), (Some(0o640), None, None));
        assert_eq!(home("node:7").ok(), Some(Home::Node(NodeId::new(7).unwrap())));
        assert!(home("node:0").is_err() && home("everywhere").is_err());
    }
}
