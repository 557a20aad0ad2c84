//! A node that does as it is told, a line at a time: for tests that stop its process.

use crate::nodes::{Start, object};
use crate::standing;
use crate::values;
use anyhow::{Context, Result, bail};
use futures_lite::future::block_on;
use kddm_bench::random::Random;
use kddm_rdma::{Node, ObjectKey, OpError};
use std::io::BufRead;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Serves until its standard input ends. Each command is answered by a line:
///
/// - `meet` waits for all peers: `met`
/// - `grab HOME BYTES NUMBER VALUE` writes the value: `saw OLD`
/// - `get HOME BYTES NUMBER`: `saw VALUE`, `torn`, or `failed WHY`
/// - `work` has a thread get and grab objects of all homes from now on, whatever comes of it: `working`
/// - `stand` says on its standard error where it stands with them: `said`
/// - `counters`: `MESSAGES_RECEIVED READS_SERVED READS_ISSUED`
///
/// # Errors
/// A command is not one of these.
pub fn run(start: &Start) -> Result<()> {
    let (node, _) = start.run()?;
    let node = Arc::new(node);
    for line in std::io::stdin().lock().lines() {
        println!("{}", answer(&node, start.addresses.len(), &line?)?);
    }
    node.shutdown();
    Ok(())
}

/// Objects of each home that [`work`] works on.
const WORKED_ON: u32 = 8;

/// The objects that [`work`] works on.
pub fn worked_on(nodes: usize) -> impl Iterator<Item = ObjectKey> {
    (1..=nodes as u8).flat_map(|home| (0..WORKED_ON).map(move |number| object(home, 4096, number)))
}

/// Gets and grabs objects of all homes until `stop`, and removes those that were lost with a node; says of each of them whether it came, and
/// of which home. Bytes are never torn.
///
/// # Panics
/// If they are.
pub fn work(node: &Node, nodes: usize, stop: &AtomicBool, done: impl Fn(usize, bool)) {
    let mut random = Random::new(u64::from(std::process::id()) << 8 | u64::from(node.me().get()));
    let mut value = u32::from(node.me().get()) << 24;
    while !stop.load(Ordering::Relaxed) {
        let home = 1 + random.below(nodes);
        let key = object(home as u8, 4096, random.below(WORKED_ON as usize) as u32);
        let good = match random.below(2) {
            0 => block_on(node.get(key)).map(|guard| {
                values::read(&guard).expect("whole bytes");
            }),
            _ => block_on(node.grab(key)).map(|mut guard| {
                values::read(&guard).expect("whole bytes");
                value += 1;
                values::write(&mut guard, value);
            }),
        };
        if good == Err(OpError::Lost) {
            // Whether that works or not, it is tried again.
            let _ = block_on(node.remove(key));
        }
        done(home, good.is_ok());
        if good.is_err() {
            // As a program would that has nothing else to do: what failed at once fails again.
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn answer(node: &Arc<Node>, nodes: usize, line: &str) -> Result<String> {
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
        ("work", []) => {
            let node = node.clone();
            std::thread::spawn(move || work(&node, nodes, &AtomicBool::new(false), |_, _| {}));
            "working".into()
        }
        ("stand", []) => {
            standing::show(node, worked_on(nodes));
            "said".into()
        }
        ("counters", []) => {
            let fabric = node.status().fabric;
            format!("{} {} {}", fabric.messages_received, fabric.reads_served, fabric.reads_issued)
        }
        _ => bail!("no such command: {line}"),
    })
}
