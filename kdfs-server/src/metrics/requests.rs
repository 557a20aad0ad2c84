//! kdfs_…: the partition, the mounts, the server itself.

use super::exposition::{Labels, Page, alone, label};
use crate::{
    Server,
    counted::End,
    log::{self, Level},
    partition::WriteFigures,
};
use kddm_cluster::admin::State;
use kddm_rdma::figures::Distribution;
use std::fmt;

/// What a server knows of itself.
#[derive(Debug)]
pub struct ServerFigures {
    node: u8,
    fabric: String,
    state: State,
    mounts: usize,
    waiting: usize,
    recalled: u64,
    times: Vec<(&'static str, Distribution)>,
    ends: Vec<(Labels, u64)>,
    writes: WriteFigures,
    reports: [(Level, u64); 2],
}

impl ServerFigures {
    pub fn of(server: &Server) -> ServerFigures {
        let ends = server.metrics.requests.ends().into_iter().map(|(operation, end, count)| {
            (vec![("operation", operation.into()), ("outcome", outcome(end).into())], count)
        });
        ServerFigures {
            node: server.member().id.get(),
            fabric: server.cluster().fabric.to_string(),
            state: server.state(),
            mounts: server.mount_points().len(),
            waiting: server.requests_waiting(),
            recalled: server.fs.recalled(),
            times: server.metrics.requests.times(),
            ends: ends.collect(),
            writes: server.partition.as_ref().map(|partition| partition.figures()).unwrap_or_default(),
            reports: [Level::WARN, Level::ERROR].map(|level| (level, log::reported(level))),
        }
    }

    pub fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        self.itself(page)?;
        self.partition(page)?;
        self.mounts(page)
    }

    fn itself(&self, page: &mut Page<'_>) -> fmt::Result {
        let version = env!("CARGO_PKG_VERSION");
        let about = vec![
            ("node", self.node.to_string()),
            ("fabric", self.fabric.clone()),
            ("version", version.into()),
        ];
        page.gauge("kdfs_info", "Always 1; its labels say which node this is", [(about, 1_u32)])?;
        let states = [
            ("starting", State::Starting),
            ("serving", State::Serving),
            ("alone", State::Alone),
            ("leaving", State::Leaving),
        ];
        let states = states.map(|(name, state)| (label("state", name), u32::from(state == self.state)));
        page.gauge("kdfs_state", "1 for the state that the server is in, 0 for the others", states)?;
        let reports =
            self.reports.map(|(level, count)| (label("level", level.as_str().to_lowercase()), count));
        page.counter("kdfs_log_reports", "Warnings and errors in the log", reports)
    }

    fn partition(&self, page: &mut Page<'_>) -> fmt::Result {
        let WriteFigures { commits, settles, logged_bytes, log_bytes, draft_bytes } = &self.writes;
        let steps = || [("commit", commits), ("settle", settles)];
        page.durations(
            "kdfs_checkpoint_duration_seconds",
            "How long checkpoints took to commit, and to be brought to the native files",
            steps().map(|(name, step)| (label("step", name), step.times)),
        )?;
        page.counter(
            "kdfs_checkpoint_failures",
            "Of those, how many did not succeed",
            steps().map(|(name, step)| (label("step", name), step.failed)),
        )?;
        page.counter("kdfs_log_written_bytes", "Bytes written to the partition's log", alone(*logged_bytes))?;
        page.gauge(
            "kdfs_log_bytes",
            "Bytes of the log that the native files do not have yet",
            alone(*log_bytes),
        )?;
        page.gauge(
            "kdfs_draft_bytes",
            "Bytes that left memory and wait for the next checkpoint",
            alone(*draft_bytes),
        )
    }

    fn mounts(&self, page: &mut Page<'_>) -> fmt::Result {
        page.gauge("kdfs_mounts", "Mounts that are served", alone(self.mounts))?;
        page.gauge("kdfs_requests_waiting", "Requests of mounts that wait", alone(self.waiting))?;
        page.counter(
            "kdfs_names_recalled",
            "Lookups answered by what is remembered of names",
            alone(self.recalled),
        )?;
        page.counter("kdfs_requests", "Requests of mounts, by kind and outcome", self.ends.iter().cloned())?;
        page.durations(
            "kdfs_request_duration_seconds",
            "How long requests of mounts took, by kind",
            self.times.iter().map(|(operation, times)| (label("operation", operation), *times)),
        )
    }
}

/// How a request of a mount ended, as the document says it.
const fn outcome(end: End) -> &'static str {
    match end {
        End::Done => "done",
        End::Refused => "refused",
        End::Failed => "failed",
        End::GivenUp => "killed",
    }
}
