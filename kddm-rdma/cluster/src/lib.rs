//! The cluster file, its key, the node-id rule, the paths of an installed node, and what the `kddm` command and a
//! server say to each other. Parsed once, here.
//!
//! The file system is touched in the module `file` only; everything else works on text and bytes.
#![forbid(unsafe_code)]

pub mod admin;
mod cluster;
mod document;
mod error;
mod file;
mod id;
mod key;
pub mod paths;
mod size;

pub use cluster::{Cluster, DEFAULT_PORT, Fabric, MIN_ARENA_BYTES, Member, MetricsAt, Rdma};
pub use error::ClusterError;
pub use id::{ClusterId, node_id_of};
pub use key::{KEY_BYTES, Key};
pub use size::{format_size, parse_size};
