//! How failures below become what a program sees in errno.

use kddm_rdma::{ObjectKey, OpError};
use nix::errno::Errno;
use std::fmt::Display;

/// What an operation answers.
pub type Result<T> = std::result::Result<T, Errno>;

/// The errno for an operation on `key` that failed.
pub(crate) fn failed(key: ObjectKey, error: OpError) -> Errno {
    match error {
        OpError::Absent => Errno::ESTALE,
        OpError::WouldBlock => Errno::EAGAIN,
        OpError::TimedOut => Errno::ETIMEDOUT,
        OpError::NoMemory => Errno::ENOMEM,
        OpError::Device(code) => match Errno::from_raw(code) {
            Errno::UnknownErrno | Errno::EIO => {
                tracing::warn!(set = %key.set, object = key.object, code, "the device of its home failed, or what it holds is damaged: see the log there");
                Errno::EIO
            }
            errno => errno,
        },
        OpError::NoSet(_)
        | OpError::Destroyed(_)
        | OpError::NoHome(_)
        | OpError::PeerLost(_)
        | OpError::Expelled
        | OpError::Lost => {
            tracing::warn!(set = %key.set, object = key.object, "{error}");
            Errno::EIO
        }
    }
}

/// For `map_err`: [`failed`] for this object.
pub(crate) fn on(key: ObjectKey) -> impl FnOnce(OpError) -> Errno {
    move |error| failed(key, error)
}

/// The bytes of an object are not what they should be.
pub(crate) fn damaged(key: ObjectKey, what: impl Display) -> Errno {
    tracing::error!(set = %key.set, object = key.object, "{what}; the operation fails, restore the file or run fsck.kdfs");
    Errno::EIO
}
