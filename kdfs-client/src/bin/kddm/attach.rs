//! Which node a command attaches to.

use crate::select::{Cluster, Selection, WHICH};
use anyhow::{Result, ensure};
use clap::Args;
use kddm_cluster::paths;
use kddm_ring::meeting::MeetingError;
use kdfs_client::{Attach, Error, Session};
use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

/// Options that choose the node whose server is attached to.
#[derive(Args, Clone, Debug, Default)]
pub struct Node {
    #[command(flatten)]
    cluster: Selection,
    /// The node; not given: the lowest that runs on this host.
    #[arg(long, help_heading = WHICH, value_name = "ID", value_parser = clap::value_parser!(u8).range(1..=254))]
    node: Option<u8>,
    /// The ring's socket itself: /run/kdfs/1.ring, or DIR/run/1.ring of a playground.
    #[arg(long, help_heading = WHICH, value_name = "PATH", conflicts_with_all = ["dir", "config", "node"])]
    socket: Option<PathBuf>,
}

impl Node {
    /// Attaches to the node that was chosen.
    ///
    /// # Errors
    /// None of those that were meant runs here.
    pub fn attach(&self) -> Result<Session> {
        self.running(1).map(|mut sessions| sessions.remove(0))
    }

    /// Attaches to up to `most` of the nodes that were chosen and run here, the lowest first; at least one.
    ///
    /// # Errors
    /// None runs; or one does, and does not let this program in.
    pub fn running(&self, most: usize) -> Result<Vec<Session>> {
        if let Some(socket) = &self.socket {
            return Ok(vec![session(socket)?]);
        }
        let cluster = Cluster::load(&self.cluster)?;
        let mut nodes: Vec<_> = cluster.file.nodes.iter().map(|member| member.id).collect();
        nodes.sort_unstable();
        nodes.retain(|id| self.node.is_none_or(|node| node == id.get()));
        let mut sessions = Vec::new();
        for id in nodes {
            match session(&paths::ring(cluster.run(), id)) {
                Ok(session) => sessions.push(session),
                Err(error) if does_not_run(&error) => {}
                Err(error) => return Err(error.into()),
            }
            if sessions.len() == most {
                break;
            }
        }
        ensure!(!sessions.is_empty(), "{}", self.nobody(cluster.run()));
        Ok(sessions)
    }

    /// The fabric between the nodes.
    pub fn fabric(&self) -> Option<String> {
        Cluster::load(&self.cluster).ok().map(|cluster| cluster.file.fabric.to_string())
    }

    fn nobody(&self, run: &Path) -> String {
        let who = self
            .node
            .map_or_else(|| "no node of this cluster runs".into(), |id| format!("node {id} does not run"));
        format!(
            "{}: {who} on this host; start it, or choose another cluster with --dir or --config",
            run.display()
        )
    }
}

fn session(socket: &Path) -> std::result::Result<Session, Error> {
    Attach::default().name("kddm").to(socket)
}

/// Nobody listens at that door.
fn does_not_run(error: &Error) -> bool {
    let Error::Attach { reason, .. } = error else { return false };
    match &**reason {
        MeetingError::System(error) => {
            matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused)
        }
        _ => false,
    }
}
