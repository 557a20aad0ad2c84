//! What can be wrong with a cluster file or a key.

use std::path::PathBuf;

/// Nothing was changed unless the variant says so. Each message says what, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The cluster file's text is wrong.
    #[error("{}:{line}: {what}", file.display())]
    Text {
        /// The cluster file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong and what to write instead.
        what: String,
    },
    /// A file could not be read.
    #[error("{}: {error}; {remedy}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        error: std::io::Error,
        /// What to do.
        remedy: String,
    },
    /// A file could not be written; a file of that name that was there before is unchanged.
    #[error("{}: cannot be written: {error}; check the directory and its permissions", file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// Others than the owner may use the key file.
    #[error(
        "{}: the key can be read by others (mode {mode:04o}); run: chmod 600 {}  \
         (and make a new key with `kddm key new` if somebody may have read it)",
        file.display(), file.display()
    )]
    KeyOpen {
        /// The key file.
        file: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The key file does not hold a key.
    #[error(
        "{}: no cluster key: expected 64 hexadecimal digits; make one with `kddm key new {}` \
         and copy that file to every node",
        file.display(), file.display()
    )]
    KeyText {
        /// The key file.
        file: PathBuf,
    },
    /// A node that the file does not list.
    #[error("{}: no node {node} under [[node]]; it lists {listed}", file.display())]
    NoNode {
        /// The cluster file.
        file: PathBuf,
        /// The node asked for.
        node: kddm_object::NodeId,
        /// The nodes that are there.
        listed: String,
    },
}
