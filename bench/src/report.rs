//! What every benchmark leaves behind: `target/report/NAME.json`, and the same as a table.

mod case;
mod latencies;
mod table;

pub use case::{Case, Times};
pub use latencies::Latencies;

use anyhow::{Context, Result};
use comfy_table::Table;
use serde::Serialize;
use std::path::{Path, PathBuf};

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
    /// What could not be measured here, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
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
            left_out: Vec::new(),
        }
    }

    /// Writes `target/report/NAME.json` and says where it is.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, name: &str) -> Result<PathBuf> {
        self.write_in(&directory()?, name)
    }

    /// Writes `NAME.json` in `directory`.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write_in(&self, directory: &Path, name: &str) -> Result<PathBuf> {
        let path = directory.join(format!("{name}.json"));
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(&path, text + "\n").with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    /// The rows for people.
    pub fn table(&self) -> Table {
        table::of(&self.cases)
    }
}

/// `target/report` beside the running program, or below the current directory; made if it is not there.
///
/// # Errors
/// If it cannot be made.
pub fn directory() -> Result<PathBuf> {
    let target = std::env::current_exe().ok().and_then(|program| {
        program.ancestors().find(|folder| folder.file_name() == Some("target".as_ref())).map(Path::to_owned)
    });
    let directory = target.unwrap_or_else(|| PathBuf::from("target")).join("report");
    std::fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
    Ok(directory)
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
