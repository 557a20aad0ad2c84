//! A report for people: a column for everything that some row has.

use super::Case;
use comfy_table::{Cell, CellAlignment, Table, presets::NOTHING};

/// A column: its title, and what a row has to say there.
type Column = (&'static str, fn(&Case) -> String);

/// Columns of words, which begin at the left.
const WORDS: [&str; 4] = ["operation", "node", "home", "beside"];

const COLUMNS: [Column; 24] = [
    ("operation", |case| case.case.clone()),
    ("node", |case| case.node.clone().unwrap_or_default()),
    ("home", |case| case.home.clone().unwrap_or_default()),
    ("bytes", |case| whole(case.bytes)),
    ("nodes", |case| whole(case.nodes)),
    ("sharers", |case| whole(case.sharers)),
    ("count", |case| case.count.to_string()),
    ("p50 µs", |case| figure(case.times.map(|times| times.p50_us))),
    ("p99 µs", |case| figure(case.times.map(|times| times.p99_us))),
    ("MiB/s", |case| figure(case.mib_s)),
    ("messages", |case| figure(case.messages)),
    ("READs", |case| figure(case.reads)),
    ("speculated", |case| figure(case.speculated)),
    ("good", |case| figure(case.good)),
    ("hops", |case| figure(case.hops)),
    ("wire bytes", |case| figure(case.wire_bytes)),
    ("operations/s", |case| thousands(case.ops_s)),
    ("messages/s", |case| thousands(case.messages_s)),
    ("allocated B", |case| figure(case.allocated)),
    ("directory B", |case| figure(case.directory_bytes)),
    ("beside", |case| case.floor.clone().unwrap_or_default()),
    ("p50 µs ", |case| figure(case.floor_us)),
    ("ratio", |case| case.ratio.map(|ratio| format!("{ratio:.2}×")).unwrap_or_default()),
    ("fastest 10 %", |case| case.ratio_p10.map(|ratio| format!("{ratio:.2}×")).unwrap_or_default()),
];

/// The table of `cases`.
pub(super) fn of(cases: &[Case]) -> Table {
    let used: Vec<&Column> =
        COLUMNS.iter().filter(|(_, show)| cases.iter().any(|case| !show(case).is_empty())).collect();
    let mut table = Table::new();
    table.load_preset(NOTHING);
    table.set_header(used.iter().map(|(title, _)| *title));
    for case in cases {
        table.add_row(used.iter().map(|(_, show)| Cell::new(show(case))));
    }
    for (column, (title, _)) in table.column_iter_mut().zip(&used) {
        if !WORDS.contains(title) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn whole(value: Option<u64>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// Three significant digits or so, nothing for nothing.
fn figure(value: Option<f64>) -> String {
    match value {
        None => String::new(),
        Some(value) if value == value.trunc() && value.abs() < 1e15 => format!("{value:.0}"),
        Some(value) if value >= 100.0 => format!("{value:.0}"),
        Some(value) if value >= 1.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.3}"),
    }
}

/// Rates, in thousands where they are many.
fn thousands(value: Option<f64>) -> String {
    match value {
        Some(value) if value >= 10_000.0 => format!("{:.0} k", value / 1000.0),
        value => figure(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_that_nobody_uses_is_not_shown() {
        let case = Case { nodes: Some(8), hops: Some(3.0), ..Case::counted("grab", 1) };
        let text = of(&[case, Case::counted("get", 2)]).to_string();
        assert!(text.contains("hops") && text.contains("nodes"), "{text}");
        assert!(!text.contains("µs") && !text.contains("READs"), "{text}");
    }
}
