//! Events as lines.

use super::merge::Placed;
use anyhow::Result;
use serde_json::json;

/// Prints events.
pub struct Show {
    json: bool,
    /// When the first happened.
    begin: Option<u64>,
}

impl Show {
    pub fn new(json: bool) -> Show {
        Show { json, begin: None }
    }

    /// Prints one.
    pub fn event(&mut self, placed: &Placed) -> Result<()> {
        let Placed { node, event } = placed;
        if self.json {
            let mut value = serde_json::to_value(event)?;
            value["node"] = json!(node);
            println!("{value}");
            return Ok(());
        }
        let micros = event.at.saturating_sub(*self.begin.get_or_insert(event.at)) as f64 / 1e3;
        println!("{micros:12.1} µs  node {node:<3}  {:<24}  {}", what(placed), more(placed));
        Ok(())
    }
}

fn what(placed: &Placed) -> String {
    let event = &placed.event;
    let (peer, message) = (event.peer.unwrap_or_default(), event.message.as_deref().unwrap_or_default());
    match event.what.as_str() {
        "sent" => format!("{message} to node {peer}"),
        "received" => format!("{message} from node {peer}"),
        "read_posted" => "READ posted".to_owned(),
        "read_done" => "READ done".to_owned(),
        "linker_called" => "device asked".to_owned(),
        "linker_done" => "device answered".to_owned(),
        "peer_up" => format!("node {peer} is there"),
        "peer_down" => format!("node {peer} is lost"),
        "renewed" => "begins a new life".to_owned(),
        other => other.to_owned(),
    }
}

fn more(placed: &Placed) -> String {
    let event = &placed.event;
    let rid = event.rid.map(|rid| format!("rid {rid}"));
    let seq = event.seq.map(|seq| format!("seq {seq}"));
    let detail = Some(event.detail.clone()).filter(|detail| !detail.is_empty());
    let all: Vec<String> = [rid, seq, detail].into_iter().flatten().collect();
    all.join(", ")
}
