//! `kddm dump`.

use crate::{
    object::Named,
    select::{Cluster, Selection},
};
use anyhow::{Result, bail};
use clap::Args;
use comfy_table::{Table, presets::NOTHING};
use kddm_cluster::admin::{Dump, Reply, Request};

/// The state of an object on every node of this host: its home's directory entry, and each copy.
#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    object: Named,
    #[command(flatten)]
    cluster: Selection,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Prints what each node says.
pub fn run(arguments: &Arguments) -> Result<()> {
    let mut servers = Cluster::load(&arguments.cluster)?.here(None)?;
    let set = arguments.object.set(&mut servers[0].1)?;
    let object = arguments.object.object;
    let mut dumps = Vec::new();
    for (_, server) in &mut servers {
        match server.ask(&Request::Dump { set, object })? {
            Reply::Dump(dump) => dumps.push(dump),
            other => bail!("an answer to another question: {other:?}"),
        }
    }
    if arguments.json {
        println!("{}", serde_json::to_string(&dumps)?);
    } else {
        println!("object {set:#018x}/{object}");
        println!("{}", table(&dumps));
    }
    Ok(())
}

fn table(dumps: &[Dump]) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING);
    for dump in dumps {
        for (place, (name, value)) in dump.fields.iter().enumerate() {
            let node = if place == 0 { format!("node {}", dump.node) } else { String::new() };
            table.add_row([&node, name, value]);
        }
    }
    table
}
