//! The interface linker for Prometheus: what this server has done, as text, over HTTP on a local port.
//!
//! Nothing is counted here. Each request takes the figures of the node, the partition and the mounts as they are, and writes them down.
//! docs/metrics.md has their names.

mod exposition;
mod http;
mod objects;
mod programs;
mod requests;

use crate::{Server, counted::Requests, fuse};
use exposition::{Exposition, Page};
use kddm_memory::Holds;
use kddm_rdma::figures::Figures;
use parking_lot::Mutex;
use std::{
    net::{SocketAddr, TcpListener},
    sync::{Arc, OnceLock},
};

/// What a server keeps for its metrics.
pub(crate) struct Metrics {
    /// Requests of all mounts.
    pub requests: Arc<Requests>,
    /// Where they are told.
    pub at: OnceLock<SocketAddr>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics { requests: Arc::new(Requests::named(&fuse::OPERATIONS)), at: OnceLock::new() }
    }
}

/// Tells the metrics of `server` from now on, if its cluster file says where. That this cannot be done is no reason not to serve files.
pub(crate) fn serve(server: &Arc<Server>) {
    let Some(socket) = server.cluster().metrics(server.member()) else { return };
    let listener = match TcpListener::bind(socket) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!(%socket, reason = %error, "no metrics are told; give them another port (metrics in cluster.toml)");
            return;
        }
    };
    // The first time, and there is no other.
    let _ = server.metrics.at.set(socket);
    let (host, weak) = (server.host().clone(), Arc::downgrade(server));
    let page = move || weak.upgrade().map(|server| text(&server));
    http::serve(listener, host, page);
}

/// One at a time: whoever asks often slows down himself, not the server.
fn text(server: &Server) -> String {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock();
    exposition::text(Told::by(server))
}

/// All that is told.
#[derive(Debug)]
struct Told {
    figures: Figures,
    holds: Holds,
    programs: programs::Programs,
    server: requests::ServerFigures,
}

impl Told {
    fn by(server: &Server) -> Told {
        Told {
            figures: server.node().figures(),
            holds: server.arena().holds(),
            programs: programs::Programs::of(server),
            server: requests::ServerFigures::of(server),
        }
    }
}

impl Exposition for Told {
    fn write(&self, page: &mut Page<'_>) -> std::fmt::Result {
        objects::write(&self.figures, &self.holds, page)?;
        self.programs.write(page)?;
        self.server.write(page)
    }
}
