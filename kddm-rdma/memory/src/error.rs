//! Why an arena cannot be made or cannot grow.

use nix::errno::Errno;

/// Why an arena cannot be made or cannot grow. What it already has stays usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// A slab size that slots cannot be cut from or numbered in.
    #[error("a slab of {0} bytes is not possible: it must be a power of two from 64 KiB to 4 MiB")]
    SlabSize(usize),
    /// Not even one slab, or more slabs than can be numbered.
    #[error(
        "an arena of {bytes} bytes in slabs of {slab_bytes} is not possible: it must have 1 to 65535 slabs"
    )]
    ArenaSize {
        /// The arena asked for.
        bytes: usize,
        /// Its slabs.
        slab_bytes: usize,
    },
    /// The kernel refused the addresses.
    #[error(
        "an arena with {bytes} bytes of addresses: {errno} (give it fewer: arena size in cluster.toml, or raise `ulimit -v`)"
    )]
    Reserve {
        /// How many.
        bytes: usize,
        /// What the kernel said.
        errno: Errno,
    },
    /// The kernel refused a slab.
    #[error(
        "slab {slab} of {bytes} bytes: {doing} failed: {errno} (file descriptors: `ulimit -n`; memory: arena size in cluster.toml)"
    )]
    Slab {
        /// The slab.
        slab: u16,
        /// Its size.
        bytes: usize,
        /// The call.
        doing: &'static str,
        /// What the kernel said.
        errno: Errno,
    },
}
