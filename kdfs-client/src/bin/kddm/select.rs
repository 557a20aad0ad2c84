//! Which cluster a command is about, and the servers of it that run on this host.

use anyhow::{Result, bail};
use clap::Args;
use kddm_cluster::{Member, paths};
use kdfs_client::Connection;
use std::path::{Path, PathBuf};

/// Where help lists the options that choose a cluster or node.
pub const WHICH: &str = "Which cluster and node";

/// Options that choose a cluster.
#[derive(Args, Clone, Debug, Default)]
pub struct Selection {
    /// A playground's directory. Not given, nor --config: $KDDM_DIR, if that is set.
    #[arg(long, help_heading = WHICH, value_name = "DIR", conflicts_with = "config")]
    pub dir: Option<PathBuf>,
    /// A cluster file.
    #[arg(long, help_heading = WHICH, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl Selection {
    /// The cluster file, if one was chosen.
    pub fn config(&self) -> Option<PathBuf> {
        self.dir().map(|dir| dir.join("cluster.toml")).or_else(|| self.config.clone())
    }

    /// The playground's directory, if one was chosen.
    fn dir(&self) -> Option<PathBuf> {
        let variable = || std::env::var_os("KDDM_DIR").filter(|dir| self.config.is_none() && !dir.is_empty());
        self.dir.clone().or_else(|| variable().map(PathBuf::from))
    }
}

/// A cluster, and where the sockets of its servers on this host are.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// What its file says.
    pub file: kddm_cluster::Cluster,
    run: PathBuf,
}

impl Cluster {
    /// The cluster that was chosen.
    ///
    /// # Errors
    /// Its file is missing or wrong.
    pub fn load(selection: &Selection) -> Result<Cluster> {
        let config = selection.config().unwrap_or_else(|| PathBuf::from(paths::CLUSTER_FILE));
        if let Some(dir) = selection.dir().filter(|_| !config.exists()) {
            bail!(
                "{}: no playground is there; make one: kddm playground up --nodes 2 --dir DIR",
                dir.display()
            );
        }
        let file = kddm_cluster::Cluster::load(&config)?;
        Ok(Cluster { file, run: paths::run_directory(&config) })
    }

    /// Where the sockets are.
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// The server of `member`, if it runs on this host and answers.
    pub fn server(&self, member: &Member) -> Option<Connection> {
        Connection::open(&paths::socket(&self.run, member.id)).ok()
    }

    /// The servers of this host, or the one of `only`.
    ///
    /// # Errors
    /// None runs.
    pub fn here(&self, only: Option<u8>) -> Result<Vec<(Member, Connection)>> {
        let wanted = self.file.nodes.iter().filter(|member| only.is_none_or(|id| id == member.id.get()));
        let servers: Vec<_> =
            wanted.filter_map(|member| self.server(member).map(|server| (*member, server))).collect();
        if servers.is_empty() {
            bail!("{}: no server of this cluster answers there; is a node started?", self.run.display());
        }
        Ok(servers)
    }
}
