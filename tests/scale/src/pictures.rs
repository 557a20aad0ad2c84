//! The tables as lines.

use anyhow::Result;
use kddm_bench::plot::{Axis, Line, Picture, Plot};
use kddm_bench::report::Case;
use std::path::PathBuf;

/// A line of a picture: its name, which rows are on it, and what of them is shown against what.
struct Wanted<'a> {
    name: &'a str,
    rows: &'a dyn Fn(&Case) -> bool,
    point: fn(&Case) -> Option<(f64, f64)>,
}

fn lines(cases: &[Case], wanted: &[Wanted]) -> Vec<Line> {
    let line = |Wanted { name, rows, point }: &Wanted| {
        let mut points: Vec<(f64, f64)> = cases.iter().filter(|case| rows(case)).filter_map(point).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        Line { name: (*name).into(), points }
    };
    wanted.iter().map(line).filter(|line| !line.points.is_empty()).collect()
}

fn number(value: Option<u64>) -> Option<f64> {
    value.map(|value| value as f64)
}

/// Hops and messages of a grab against sharers, from the tables of pages and small objects.
pub fn grabs(cases: &[Case]) -> Result<Vec<PathBuf>> {
    let is = |case: &Case, name: &str, place: &str, bytes: u64| {
        case.case == name && case.home.as_deref() == Some(place) && case.bytes == Some(bytes)
    };
    let [grab, upgrade] = ["grab, shared elsewhere", "grab, upgrade by the owner"];
    let page = |case: &Case| is(case, grab, "another", crate::PAGE.into());
    let own = |case: &Case| is(case, upgrade, "another", crate::PAGE.into());
    let small = |case: &Case| is(case, grab, "owner", crate::SMALL.into());
    let wanted = |point| {
        [
            Wanted { name: "4096 B, READ from the owner", rows: &page, point },
            Wanted { name: "upgrade by the owner", rows: &own, point },
            Wanted { name: "64 B, the home owns it: bytes ride along", rows: &small, point },
        ]
    };
    let hops = Plot {
        title: "A grab takes as long for 32 sharers as for one".into(),
        x: Axis::doubling("other nodes with copies"),
        y: Axis::linear("virtual time until the hold, one-way latencies"),
        lines: lines(cases, &wanted(|case| number(case.sharers).zip(case.hops))),
    };
    let messages = Plot {
        title: "Messages of a grab: two for each sharer, and four".into(),
        x: Axis::linear("other nodes with copies"),
        y: Axis::linear("messages"),
        lines: lines(cases, &wanted(|case| number(case.sharers).zip(case.messages))),
    };
    Ok([hops.write("scale-grab-hops")?, messages.write("scale-grab-messages")?].concat())
}

/// Messages of each operation against the size of the cluster.
pub fn operations(cases: &[Case]) -> Result<Vec<PathBuf>> {
    let row = |name: &'static str, sharers: Option<u64>| {
        move |case: &Case| {
            // With two nodes the home is one of them.
            let apart = case.home.as_deref() == Some("another");
            case.case == name && case.sharers == sharers && apart && case.bytes == Some(crate::PAGE.into())
        }
    };
    let point = |case: &Case| number(case.nodes).zip(case.messages);
    let [shared, exclusive] = [row("get, shared elsewhere", None), row("get, exclusive elsewhere", None)];
    let [grab, grab_4] = [row("grab, exclusive elsewhere", None), row("grab, shared elsewhere", Some(4))];
    let upgrade = row("grab, upgrade by the owner", Some(4));
    let plot = Plot {
        title: "Messages of an operation do not depend on the size of the cluster".into(),
        x: Axis::doubling("nodes"),
        y: Axis::linear("messages"),
        lines: lines(
            cases,
            &[
                Wanted { name: "get, shared elsewhere", rows: &shared, point },
                Wanted { name: "get, exclusive elsewhere", rows: &exclusive, point },
                Wanted { name: "grab, exclusive elsewhere", rows: &grab, point },
                Wanted { name: "upgrade, 4 others", rows: &upgrade, point },
                Wanted { name: "grab, 4 sharers", rows: &grab_4, point },
            ],
        ),
    };
    Ok(plot.write("scale-messages")?.to_vec())
}

/// Bytes of a directory entry against sharers, a line for each cluster size.
pub fn directory(cases: &[Case]) -> Result<Vec<PathBuf>> {
    let mut sizes: Vec<u64> = cases.iter().filter_map(|case| case.nodes).collect();
    sizes.dedup();
    let line = |&nodes: &u64| {
        let rows = move |case: &Case| case.nodes == Some(nodes);
        let point = |case: &Case| number(case.sharers).zip(case.directory_bytes);
        lines(cases, &[Wanted { name: &format!("{nodes} nodes"), rows: &rows, point }])
    };
    let plot = Plot {
        title: "The directory's memory for an object".into(),
        x: Axis::linear("nodes with copies beside the owner"),
        y: Axis::linear("bytes, the table included"),
        lines: sizes.iter().flat_map(line).collect(),
    };
    Ok(plot.write("scale-directory")?.to_vec())
}

/// Hops of a hand-over against the number of nodes that want the object.
pub fn hand_overs(cases: &[Case]) -> Result<Vec<PathBuf>> {
    let mut names: Vec<&str> = cases.iter().map(|case| case.case.as_str()).collect();
    names.dedup();
    let line = |name: &&str| {
        let rows = |case: &Case| case.case == *name;
        let point = |case: &Case| number(case.nodes).zip(case.hops);
        lines(cases, &[Wanted { name, rows: &rows, point }])
    };
    let plot = Plot {
        title: "A hot object: virtual time from one node to the next".into(),
        x: Axis::doubling("nodes that grab it"),
        y: Axis::linear("one-way latencies for a hand-over"),
        lines: names.iter().flat_map(line).collect(),
    };
    Ok(plot.write("scale-hand-over")?.to_vec())
}

/// Messages after the loss of a node against the size of the cluster.
pub fn losses(cases: &[Case], objects: u32) -> Result<Vec<PathBuf>> {
    let rows = |case: &Case| case.hops.is_some();
    let plot = |title: String, unit: &str, point| Plot {
        title,
        x: Axis::doubling("nodes before the loss"),
        y: Axis::linear(unit),
        lines: lines(cases, &[Wanted { name: "", rows: &rows, point }]),
    };
    let messages = plot(format!("The loss of a node, {objects} objects: traffic"), "messages", |case| {
        number(case.nodes).zip(case.messages)
    });
    let time = plot(
        format!("The loss of a node, {objects} objects: time until the others rest"),
        "one-way latencies",
        |case| number(case.nodes).zip(case.hops),
    );
    Ok([messages.write("scale-loss-traffic")?, time.write("scale-loss-time")?].concat())
}
