//! A node that does as it is told, a line at a time: for tests that stop its process.

use crate::nodes::{Start, object};
use crate::values;
use anyhow::{Context, Result, bail};
use futures_lite::future::block_on;
use kddm_rdma::Node;
use std::io::BufRead;

/// Serves until its standard input ends. Each command is answered by a line:
///
/// - `meet` waits for all peers: `met`
/// - `grab HOME BYTES NUMBER VALUE` writes the value: `saw OLD`
/// - `get HOME BYTES NUMBER`: `saw VALUE`, `torn`, or `failed WHY`
/// - `counters`: `MESSAGES_RECEIVED READS_SERVED READS_ISSUED`
///
/// # Errors
/// A command is not one of these.
pub fn run(start: &Start) -> Result<()> {
    let (node, _) = start.run()?;
    for line in std::io::stdin().lock().lines() {
        println!("{}", answer(&node, &line?)?);
    }
    node.shutdown();
    Ok(())
}

fn answer(node: &Node, line: &str) -> Result<String> {
    let mut words = line.split(' ');
    let command = words.next().unwrap_or_default();
    let numbers = words.map(str::parse).collect::<Result<Vec<u32>, _>>().with_context(|| line.to_owned())?;
    let saw = |bytes: &[u8]| match values::read(bytes) {
        Ok(value) => format!("saw {value}"),
        Err(_) => "torn".into(),
    };
    Ok(match (command, &numbers[..]) {
        ("meet", []) => {
            block_on(node.connected());
            "met".into()
        }
        ("grab", &[home, bytes, number, value]) => {
            match block_on(node.grab(object(home as u8, bytes, number))) {
                Ok(mut guard) => {
                    let before = saw(&guard);
                    values::write(&mut guard, value);
                    before
                }
                Err(error) => format!("failed {error}"),
            }
        }
        ("get", &[home, bytes, number]) => match block_on(node.get(object(home as u8, bytes, number))) {
            Ok(guard) => saw(&guard),
            Err(error) => format!("failed {error}"),
        },
        ("counters", []) => {
            let fabric = node.status().fabric;
            format!("{} {} {}", fabric.messages_received, fabric.reads_served, fabric.reads_issued)
        }
        _ => bail!("no such command: {line}"),
    })
}
