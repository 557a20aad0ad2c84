//! The report as text, for those without a terminal; and its cells, for both.

use super::report::{Latency, Node, Object, Outcome, Report, Set};
use comfy_table::{Table, presets::NOTHING};

pub const NODES: [&str; 7] =
    ["node", "hits", "misses", "hit ratio", "shared holds", "exclusive holds", "waiting"];
pub const SETS: [&str; 7] = ["set", "hits", "misses", "failed", "hit ratio", "p50", "p99"];
pub const OUTCOMES: [&str; 5] = ["operation", "outcome", "count", "p50", "p99"];
pub const OBJECTS: [&str; 5] = ["object", "weight", "home", "held by", "waited for by"];

/// All of it.
pub fn text(report: &Report) -> String {
    let mut text = String::new();
    let mut add = |title: &str, header: &[&str], rows: Vec<Vec<String>>| {
        let mut table = Table::new();
        table.load_preset(NOTHING).set_header(header.iter().copied());
        table.add_rows(rows);
        text.push_str(&format!("{title}\n{table}\n\n"));
    };
    add("nodes", &NODES, report.nodes.iter().map(node).collect());
    add("sets", &SETS, report.sets.iter().map(set).collect());
    add("operations", &OUTCOMES, report.outcomes.iter().map(outcome).collect());
    add("hottest objects", &OBJECTS, report.hottest.iter().map(object).collect());
    add("most contended objects", &OBJECTS, report.contended.iter().map(object).collect());
    text
}

pub fn node(node: &Node) -> Vec<String> {
    let Node { node, hits, misses, hit_ratio, shared_holds, exclusive_holds, waiting } = node;
    let mut cells = vec![node.to_string(), hits.to_string(), misses.to_string(), percent(*hit_ratio)];
    cells.extend([shared_holds, exclusive_holds, waiting].map(u64::to_string));
    cells
}

pub fn set(set: &Set) -> Vec<String> {
    let mut cells =
        vec![set.name.clone(), set.hits.to_string(), set.misses.to_string(), set.failed.to_string()];
    cells.push(percent(set.hit_ratio));
    cells.extend(latency(set.latency));
    cells
}

pub fn outcome(outcome: &Outcome) -> Vec<String> {
    let mut cells = vec![outcome.operation.clone(), outcome.outcome.clone(), outcome.count.to_string()];
    cells.extend(latency(outcome.latency));
    cells
}

pub fn object(object: &Object) -> Vec<String> {
    let holds = object.holds.iter().map(|hold| match hold.writer {
        true => format!("node {} writes", hold.node),
        false => format!("node {} reads ×{}", hold.node, hold.readers),
    });
    let waits = object.waits.iter().map(|wait| format!("node {} ×{}", wait.node, wait.operations));
    vec![
        format!("{}/{}", object.name, object.object),
        object.weight.to_string(),
        object.home.map_or_else(|| "-".to_owned(), |home| format!("node {home}")),
        listed(holds.collect()),
        listed(waits.collect()),
    ]
}

fn listed(all: Vec<String>) -> String {
    if all.is_empty() { "-".to_owned() } else { all.join(", ") }
}

fn percent(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{:.1} %", 100.0 * ratio))
}

fn latency(latency: Latency) -> [String; 2] {
    [latency.p50_us, latency.p99_us].map(|micros| match micros {
        None => "-".to_owned(),
        Some(micros) if micros < 1 << 10 => format!("≤ {micros} µs"),
        Some(micros) if micros < 1 << 20 => format!("≤ {:.1} ms", micros as f64 / 1e3),
        Some(micros) => format!("≤ {:.1} s", micros as f64 / 1e6),
    })
}
