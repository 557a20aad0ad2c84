//! A counter shared by two nodes.
//!
//! ```text
//! cargo run --example counter          both nodes in this process
//! cargo run --example counter -- 1     node 1 here, and in another terminal:
//! cargo run --example counter -- 2     node 2
//! ```
//!
//! The counter is one object of eight bytes, in a set with a name. Each node grabs it 100,000 times and adds one; no count is
//! lost, because a grab excludes everybody else, on all nodes. The nodes work at the same time, so that the counter keeps
//! moving between them; a node that is alone with it needs some 50 ns a count.

mod two_nodes;

use futures_lite::future::{block_on, try_zip, yield_now};
use kddm_rdma::{Node, ObjectKey, Owner, RegistryError, SetPolicy};
use std::{error::Error, time::Instant};

const PORT: u16 = 7340;
const ROUNDS: u64 = 100_000;
/// Nobody asks here; a server lets in whom this allows.
const OWNER: Owner = Owner { uid: 0, gid: 0, mode: 0o666 };

fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1).as_deref() {
        None => {
            let nodes = (two_nodes::start(1, PORT, Vec::new())?, two_nodes::start(2, PORT, Vec::new())?);
            let (one, two) = block_on(try_zip(count(&nodes.0), count(&nodes.1)))?;
            assert_eq!(one.max(two), 2 * ROUNDS, "BUG: counts were lost");
        }
        Some(id @ ("1" | "2")) => {
            let node = two_nodes::start(id.parse()?, PORT, Vec::new())?;
            println!("waiting for the other node; start it in another terminal");
            block_on(count(&node))?;
            println!("enter ends this node; the counter's last copy may be here");
            std::io::stdin().read_line(&mut String::new())?;
        }
        Some(other) => return Err(format!("{other} is neither 1 nor 2").into()),
    }
    Ok(())
}

async fn count(node: &Node) -> Result<u64, Box<dyn Error>> {
    node.connected().await;
    let counter = ObjectKey::new(open_or_create(node).await?, 0);
    let began = Instant::now();
    let mut value = 0;
    for _ in 0..ROUNDS {
        let mut bytes = node.grab(counter).await?;
        value = u64::from_le_bytes(bytes[..].try_into()?) + 1;
        bytes.copy_from_slice(&value.to_le_bytes());
        drop(bytes);
        yield_now().await;
    }
    let (me, reads, sent) =
        (node.me(), node.status().fabric.reads_issued, node.status().fabric.messages_sent);
    println!("node {me}: {ROUNDS} counts in {:.1?}, {sent} messages, {reads} READs", began.elapsed());
    println!("node {me}: the counter is at {value}");
    Ok(value)
}

async fn open_or_create(node: &Node) -> Result<kddm_rdma::SetId, RegistryError> {
    match node.create_set("counter", SetPolicy::volatile(8), OWNER).await {
        Err(RegistryError::Exists) => Ok(node.open_set("counter").await?.id),
        created => created,
    }
}
