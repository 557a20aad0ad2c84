//! What every benchmark leaves behind: `target/report/NAME.json`, and the same as a table.

use anyhow::{Context, Result};
use comfy_table::{Cell, CellAlignment, Table, presets::NOTHING};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The durations of one operation, at three significant digits from 1 ns to 100 s.
#[derive(Clone)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Latencies {
        // The bounds are constants that `new_with_bounds` accepts.
        Latencies(Histogram::new_with_bounds(1, 100_000_000_000, 3).expect("constant bounds"))
    }
}

impl Latencies {
    /// Adds one duration.
    pub fn add(&mut self, time: Duration) {
        self.0.saturating_record((time.as_nanos() as u64).max(1));
    }

    /// Adds `count` operations that took `time` together, each as the mean of them.
    pub fn add_block(&mut self, time: Duration, count: u32) {
        self.add(time / count.max(1));
    }

    /// How many were added.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The value that `share` (0 to 1) of the durations do not exceed, in µs.
    pub fn quantile_us(&self, share: f64) -> f64 {
        self.0.value_at_quantile(share) as f64 / 1000.0
    }
}

/// One row: an operation on a node, with its floor if it has one. What does not apply is left out.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(default)]
pub struct Case {
    /// The operation.
    pub case: String,
    /// The fabric between the nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fabric: Option<String>,
    /// The node that the operation was called on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Bytes that one operation moves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Samples.
    pub count: u64,
    /// The shortest.
    pub min_us: f64,
    /// The median.
    pub p50_us: f64,
    /// 99 of 100 are not longer.
    pub p99_us: f64,
    /// 999 of 1000 are not longer.
    pub p999_us: f64,
    /// The longest.
    pub max_us: f64,
    /// Throughput, for cases that move much.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mib_s: Option<f64>,
    /// Operations a second, one after the other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ops_s: Option<f64>,
    /// What it is measured beside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor: Option<String>,
    /// The floor's median, from alternating blocks of the same run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor_us: Option<f64>,
    /// Median over the floor's median.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// Protocol messages per operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages: Option<f64>,
    /// READs per operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reads: Option<f64>,
}

impl Case {
    /// The row of `name`, from what was measured.
    pub fn new(name: impl Into<String>, ours: &Latencies) -> Case {
        let us = |share| ours.quantile_us(share);
        Case {
            case: name.into(),
            count: ours.count(),
            min_us: us(0.0),
            p50_us: us(0.5),
            p99_us: us(0.99),
            p999_us: us(0.999),
            max_us: us(1.0),
            ..Case::default()
        }
    }

    /// Called on `node`.
    #[must_use]
    pub fn on(self, node: impl Into<String>) -> Case {
        Case { node: Some(node.into()), ..self }
    }

    /// Moving `bytes` each.
    #[must_use]
    pub fn moving(self, bytes: u64) -> Case {
        let mib_s = (bytes >= 64 * 1024 && self.p50_us > 0.0)
            .then(|| bytes as f64 / f64::from(1 << 20) / (self.p50_us / 1e6));
        Case { bytes: Some(bytes), mib_s, ..self }
    }

    /// Beside `floor`.
    #[must_use]
    pub fn beside(self, name: &str, floor: &Latencies) -> Case {
        let floor_us = floor.quantile_us(0.5);
        let ratio = (floor_us > 0.0).then(|| self.p50_us / floor_us);
        Case { floor: Some(name.into()), floor_us: Some(floor_us), ratio, ..self }
    }
}

/// A benchmark's results and where they were taken.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The commit of the checkout, with `+` if there are changes on top.
    pub commit: String,
    /// The machine: processors and their model.
    pub host: String,
    /// The kernel's release.
    pub kernel: String,
    /// The network device, where one matters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The rows.
    pub cases: Vec<Case>,
}

impl Report {
    /// An empty report about this machine.
    pub fn new(device: Option<&str>) -> Report {
        Report {
            commit: commit(),
            host: host(),
            kernel: nix::sys::utsname::uname()
                .map(|name| name.release().to_string_lossy().into_owned())
                .unwrap_or_default(),
            device: device.map(str::to_owned),
            cases: Vec::new(),
        }
    }

    /// Writes `target/report/NAME.json` below `directory` and says where it is.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, name: &str) -> Result<PathBuf> {
        let directory = report_directory();
        std::fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
        let path = directory.join(format!("{name}.json"));
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(&path, text + "\n").with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    /// The rows for people.
    pub fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(NOTHING);
        table.set_header([
            "operation",
            "node",
            "count",
            "p50 µs",
            "p99 µs",
            "MiB/s",
            "beside",
            "p50 µs",
            "ratio",
        ]);
        for case in &self.cases {
            table.add_row(
                [
                    case.case.clone(),
                    case.node.clone().unwrap_or_default(),
                    case.count.to_string(),
                    figure(Some(case.p50_us)),
                    figure(Some(case.p99_us)),
                    figure(case.mib_s),
                    case.floor.clone().unwrap_or_default(),
                    figure(case.floor_us),
                    case.ratio.map(|ratio| format!("{ratio:.1}×")).unwrap_or_default(),
                ]
                .map(Cell::new),
            );
        }
        for column in table.column_iter_mut().enumerate().filter(|(at, _)| ![0, 1, 6].contains(at)) {
            column.1.set_cell_alignment(CellAlignment::Right);
        }
        table
    }
}

/// Three significant digits or so, nothing for nothing.
fn figure(value: Option<f64>) -> String {
    match value {
        None => String::new(),
        Some(value) if value >= 100.0 => format!("{value:.0}"),
        Some(value) if value >= 1.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.3}"),
    }
}

/// `target/report` beside the running program, or below the current directory.
fn report_directory() -> PathBuf {
    let target = std::env::current_exe().ok().and_then(|program| {
        program.ancestors().find(|folder| folder.file_name() == Some("target".as_ref())).map(Path::to_owned)
    });
    target.unwrap_or_else(|| PathBuf::from("target")).join("report")
}

fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = std::process::Command::new("git").args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".into() };
    match git(&["status", "--porcelain", "--untracked-files=no"]) {
        Some(changes) if changes.is_empty() => commit,
        _ => commit + "+",
    }
}

fn host() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let information = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = information
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split(':').nth(1))
        .unwrap_or("unknown processor")
        .trim();
    format!("{cores} × {model}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_apply_is_left_out() {
        let mut ours = Latencies::default();
        let mut floor = Latencies::default();
        for us in 1..=100 {
            ours.add(Duration::from_micros(us * 2));
            floor.add(Duration::from_micros(us));
        }
        let case = Case::new("stat", &ours).on("n1").beside("native", &floor);
        assert!((case.ratio.unwrap() - 2.0).abs() < 0.05, "{case:?}");
        let json = serde_json::to_value(&case).unwrap();
        assert_eq!(json["count"], 100);
        assert_eq!(json["node"], "n1");
        assert!(json.get("mib_s").is_none() && json.get("reads").is_none());
    }
}
