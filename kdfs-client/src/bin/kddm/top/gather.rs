//! Asking the servers.

use super::report::{self, Report};
use crate::select::Cluster;
use anyhow::{Result, bail};
use kddm_cluster::admin::{Reply, Request, Top};
use kdfs_client::Connection;
use std::time::{Duration, Instant};

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks the servers of this host again and again.
pub struct Gatherer {
    cluster: Cluster,
    servers: Vec<(u8, Connection)>,
    objects: usize,
    before: Option<(Instant, Vec<Top>)>,
}

impl Gatherer {
    /// Of the servers of `cluster` on this host, with so many objects in each list.
    ///
    /// # Errors
    /// None answers.
    pub fn new(cluster: Cluster, objects: usize) -> Result<Gatherer> {
        let mut gatherer = Gatherer { cluster, servers: Vec::new(), objects, before: None };
        gatherer.connect()?;
        Ok(gatherer)
    }

    /// What has been since the servers started.
    ///
    /// # Errors
    /// No server answers any more.
    pub fn gather(&mut self) -> Result<Report> {
        let tops = self.tops()?;
        self.with_holders(report::report(&tops, self.objects))
    }

    /// What has been since this was asked last; the first time, since the servers started.
    ///
    /// # Errors
    /// No server answers any more.
    pub fn gather_since(&mut self) -> Result<Report> {
        let (now, tops) = (Instant::now(), self.tops()?);
        let report = match &self.before {
            None => report::report(&tops, self.objects),
            Some((then, before)) => {
                let lately: Vec<Top> = tops.iter().map(|top| since(top, before)).collect();
                let seconds = Some(now.duration_since(*then).as_secs_f64());
                Report { seconds, ..report::report(&lately, self.objects) }
            }
        };
        self.before = Some((now, tops));
        self.with_holders(report)
    }

    fn connect(&mut self) -> Result<()> {
        self.servers.clear();
        for (member, mut server) in self.cluster.here(None)? {
            server.set_patience(PATIENCE)?;
            self.servers.push((member.id.get(), server));
        }
        Ok(())
    }

    /// Asks all; those that do not answer any more are left out. Nodes may come and go while it runs.
    fn tops(&mut self) -> Result<Vec<Top>> {
        if self.servers.len() < self.cluster.file.nodes.len() {
            self.connect()?;
        }
        let mut tops = Vec::new();
        self.servers.retain_mut(|(_, server)| match server.ask(&Request::Top) {
            Ok(Reply::Top(top)) => {
                tops.push(top);
                true
            }
            _ => false,
        });
        if tops.is_empty() {
            bail!("no server answers any more");
        }
        Ok(tops)
    }

    fn with_holders(&mut self, mut report: Report) -> Result<Report> {
        let shown = report.hottest.iter().chain(&report.contended);
        let objects: Vec<(u64, u32)> = shown.map(|object| (object.set, object.object)).collect();
        for (node, server) in &mut self.servers {
            let Ok(Reply::Holders(holders)) = server.ask(&Request::Holders { objects: objects.clone() })
            else {
                continue;
            };
            for (object, holder) in report.hottest.iter_mut().chain(&mut report.contended).zip(&holders) {
                object.note(*node, holder);
            }
        }
        Ok(report)
    }
}

/// What a node has done since; a node that was not there then, or has started again, since it started.
fn since(now: &Top, before: &[Top]) -> Top {
    let Some(before) =
        before.iter().find(|before| before.node == now.node && before.get_hits <= now.get_hits)
    else {
        return now.clone();
    };
    let mut top = now.clone();
    top.get_hits -= before.get_hits;
    top.grab_hits = top.grab_hits.saturating_sub(before.grab_hits);
    for ended in &mut top.operations {
        let same = |other: &&kddm_cluster::admin::Ended| {
            other.operation == ended.operation && other.outcome == ended.outcome
        };
        if let Some(earlier) = before.operations.iter().find(same) {
            ended.times = ended.times.since(&earlier.times);
        }
    }
    for used in &mut top.sets {
        let same = |other: &&kddm_cluster::admin::SetUse| other.set == used.set && other.kind == used.kind;
        if let Some(earlier) = before.sets.iter().find(same) {
            used.hits = used.hits.saturating_sub(earlier.hits);
            used.misses = used.misses.saturating_sub(earlier.misses);
            used.failed = used.failed.saturating_sub(earlier.failed);
            used.times =
                used.times.as_ref().map(|times| times.since(&earlier.times.clone().unwrap_or_default()));
        }
    }
    top.sets.retain(|used| used.hits + used.misses > 0);
    top
}
