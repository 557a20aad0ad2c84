//! The object simulator: whole nodes in a world that a seed makes.
//!
//! What runs is what users run: [`kddm_rdma::Node`] with its core, memory, engine, sets and linkers. What is simulated is the
//! world around it: the network (`kddm_fabric::sim`), clock, disk, randomness and threads (through `Host`), and the programs. One
//! thread does everything, one thing at a time, in an order that comes from the seed, as does everything that goes wrong. So
//! a seed is a whole story, told the same way each time: [`Report::fingerprint`] says so.
//!
//! ```text
//! plan        what the seed stands for            executor, host, transport, device   the world of a node
//! run         beginning, rounds, rest, end        cluster, membership, faults          who lives, what goes wrong
//! council     who decides on views
//! program     what a thread does, recorded        deeds                                what it decides to do
//! files       the file system above it, on the server's partitions, beside a model of POSIX
//! history     (kddm-history) explains what was seen          rest, fairness            what else is checked
//! ```
#![forbid(unsafe_code)]

mod bytes;
mod cluster;
mod command;
mod council;
mod coverage;
mod deeds;
mod device;
mod executor;
mod fairness;
mod faults;
pub mod files;
mod findings;
mod host;
mod log;
mod membership;
mod plan;
mod program;
mod rest;
mod run;
mod sets;
mod transport;
mod turn;
mod world;

pub use command::{Command, Outcome, Regression, regressions, run_caught};
pub use coverage::{Counts, EXPECTED};
pub use findings::Finding;
pub use log::Log;
pub use plan::{Deed, Faults, Plan};
pub use run::{Report, run};
