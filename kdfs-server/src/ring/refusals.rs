//! Errors of the node as refusals of the ring.

use kddm_rdma::{OpError, RegistryError};
use kddm_ring::Refusal;

/// Why an operation on an object was not done.
pub fn of_operation(error: OpError) -> Refusal {
    match error {
        OpError::Absent => Refusal::Absent,
        OpError::WouldBlock => Refusal::WouldBlock,
        OpError::TimedOut => Refusal::TimedOut,
        OpError::NoSet(_) | OpError::Destroyed(_) => Refusal::NoSet,
        OpError::NoHome(_) => Refusal::NoHome,
        OpError::Device(errno) => Refusal::Device(errno),
        OpError::PeerLost(node) => Refusal::PeerLost(node.get()),
        OpError::Expelled => Refusal::Expelled,
        OpError::Lost => Refusal::Lost,
        OpError::NoMemory => Refusal::NoMemory,
    }
}

/// Why a set was not made, opened or ended.
pub fn of_registry(error: RegistryError) -> Refusal {
    match error {
        RegistryError::Exists => Refusal::NameTaken,
        RegistryError::Unknown => Refusal::UnknownName,
        RegistryError::Name => Refusal::Name,
        RegistryError::Policy => Refusal::Policy,
        RegistryError::Full => Refusal::RegistryFull,
        RegistryError::Object(error) => of_operation(error),
    }
}
