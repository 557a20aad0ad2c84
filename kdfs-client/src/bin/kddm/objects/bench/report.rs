//! What was measured, for people and for programs.

use comfy_table::{Cell, CellAlignment, Table, presets::NOTHING};
use serde::Serialize;
use std::{fmt, fs, thread, time::Duration};

/// Figures, and where they were taken.
#[derive(Debug, Serialize)]
pub struct Report {
    /// An installed program knows its version, which stands for its commit.
    commit: &'static str,
    host: String,
    kernel: String,
    pub cases: Vec<Case>,
    /// What could not be measured here, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
}

/// A row.
#[derive(Debug, Default, Serialize)]
pub struct Case {
    case: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fabric: Option<String>,
    node: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u32>,
    count: usize,
    min_us: f64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
    ops_s: f64,
}

impl Default for Report {
    fn default() -> Report {
        let kernel = nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned());
        let commit = concat!("v", env!("CARGO_PKG_VERSION"));
        let (cases, left_out) = Default::default();
        Report { commit, host: host(), kernel: kernel.unwrap_or_default(), cases, left_out }
    }
}

fn host() -> String {
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let information = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut models =
        information.lines().filter_map(|line| line.strip_prefix("model name")?.split(':').nth(1));
    format!("{cores} × {}", models.next().unwrap_or("unknown processor").trim())
}

impl Case {
    /// From the times of all samples, at least one.
    pub fn new(case: &str, mut times: Vec<Duration>) -> Case {
        times.sort_unstable();
        let us = |share: f64| {
            let place = (share * times.len() as f64).ceil().max(1.0) as usize - 1;
            times.get(place.min(times.len().saturating_sub(1))).map_or(0.0, |time| time.as_secs_f64() * 1e6)
        };
        let whole: Duration = times.iter().sum();
        Case {
            case: case.to_owned(),
            count: times.len(),
            min_us: us(0.0),
            p50_us: us(0.5),
            p99_us: us(0.99),
            p999_us: us(0.999),
            max_us: us(1.0),
            ops_s: times.len() as f64 / whole.as_secs_f64().max(1e-9),
            ..Case::default()
        }
    }

    /// Where, and of how many bytes.
    pub fn on(self, node: String, bytes: Option<u32>) -> Case {
        Case { node, bytes, ..self }
    }

    /// Between nodes.
    pub fn over(self, fabric: Option<String>) -> Case {
        Case { fabric, ..self }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_preset(NOTHING);
        let titles =
            ["operation", "node", "bytes", "count", "min µs", "p50 µs", "p99 µs", "max µs", "a second"];
        table.set_header(titles);
        for case in &self.cases {
            let bytes = case.bytes.map(|bytes| bytes.to_string()).unwrap_or_default();
            let mut row = vec![case.case.clone(), case.node.clone(), bytes, case.count.to_string()];
            row.extend([case.min_us, case.p50_us, case.p99_us, case.max_us].map(|us| format!("{us:.1}")));
            row.push(format!("{:.0}", case.ops_s));
            table.add_row(row.into_iter().map(Cell::new));
        }
        for column in table.column_iter_mut().skip(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        write!(f, "{table}")?;
        self.left_out.iter().try_for_each(|what| write!(f, "\nleft out: {what}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples() {
        let times = (1..=1000).rev().map(Duration::from_micros).collect();
        let case = Case::new("get", times);
        let near = |us: f64, wanted: f64| (us - wanted).abs() < 1e-6;
        assert!(near(case.min_us, 1.0) && near(case.p50_us, 500.0) && near(case.p99_us, 990.0), "{case:?}");
        assert!(near(case.p999_us, 999.0) && near(case.max_us, 1000.0), "{case:?}");
        assert!(near(Case::new("get", vec![Duration::from_micros(3)]).p50_us, 3.0));
    }
}
