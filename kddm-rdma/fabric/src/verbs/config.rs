//! What a verbs fabric is started with, and why it may not start.

use crate::tcp::{FabricError, TcpConfig};
use kddm_verbs::{Choice, VerbsError};

/// What a node needs to meet its peers, and which device it uses.
#[derive(Clone, Debug)]
pub struct VerbsConfig {
    /// Where peers meet.
    pub control: TcpConfig,
    /// The device, as far as it is chosen.
    pub choice: Choice,
}

/// Why the fabric does not start. Nothing was left behind.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The device.
    #[error(transparent)]
    Device(#[from] VerbsError),
    /// The connections on which peers meet.
    #[error(transparent)]
    Control(#[from] FabricError),
    /// The device's descriptors cannot be slept on.
    #[error("epoll refuses a descriptor of the device: {0}")]
    Watch(std::io::Error),
}
