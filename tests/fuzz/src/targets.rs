//! The targets, one file each.

mod admin;
mod batch;
mod bitmap;
mod cluster_file;
mod control;
mod damage;
mod directory;
mod frames;
mod fuse;
mod inode;
mod key_file;
mod log;
mod mount_options;
mod opening;
mod ring;
mod session;
mod shm_offer;
mod shm_ring;
mod superblock;
mod verbs_word;
mod wire;

/// A decoder, and what must hold of it.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, and its corpus' folder.
    pub name: &'static str,
    /// What it decodes, for people.
    pub what: &'static str,
    /// Panics if something does not hold of the decoder when it is given these bytes.
    pub check: fn(&[u8]),
    /// Valid inputs of every kind, by name.
    pub seeds: fn() -> Vec<(String, Vec<u8>)>,
    /// Longer inputs show nothing new, bytes.
    pub longest: usize,
}

/// All of them.
pub const TARGETS: [Target; 20] = [
    wire::TARGET,
    frames::TARGET,
    control::TARGET,
    opening::TARGET,
    session::TARGET,
    verbs_word::TARGET,
    shm_offer::TARGET,
    shm_ring::TARGET,
    ring::TARGET,
    admin::TARGET,
    cluster_file::TARGET,
    key_file::TARGET,
    superblock::TARGET,
    inode::TARGET,
    directory::TARGET,
    bitmap::TARGET,
    batch::TARGET,
    log::TARGET,
    fuse::TARGET,
    mount_options::TARGET,
];

/// The target called `name`.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}

/// Names seeds that have none: `what-1`, `what-2`, …
fn numbered(what: &str, inputs: impl IntoIterator<Item = Vec<u8>>) -> Vec<(String, Vec<u8>)> {
    inputs.into_iter().zip(1..).map(|(input, number)| (format!("{what}-{number}"), input)).collect()
}
