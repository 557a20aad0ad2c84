//! Sets by name.

/// Why a set could not be created or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// The name is taken, by a set of another policy.
    #[error("there is a set of this name with another policy; destroy it first, or choose another name")]
    Exists,
    /// No set has the name.
    #[error("there is no set of this name; create it first")]
    Unknown,
    /// The name cannot be stored.
    #[error("a set's name has 1 to 200 bytes")]
    Name,
    /// The policy cannot be stored.
    #[error(
        "a registered set is volatile, has objects of at most 1 MiB, and its home is by hash, fixed, or in the object's \
         number; a set with a device needs a SetFamily given to Node::start"
    )]
    Policy,
    /// No place is left.
    #[error("the registry is full; destroy sets that are not used")]
    Full,
    /// The registry's own objects could not be had.
    #[error(transparent)]
    Object(#[from] crate::OpError),
}
