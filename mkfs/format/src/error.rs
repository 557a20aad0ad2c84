//! What can be wrong with bytes that claim to be part of a partition.

use thiserror::Error;

/// Why bytes are refused. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FormatError {
    /// Fewer or more bytes than the structure has.
    #[error("{what} has {expected} bytes, found {found}: the file was cut or is something else")]
    Length {
        /// The structure.
        what: &'static str,
        /// Its size.
        expected: usize,
        /// The bytes that were there.
        found: usize,
    },
    /// The first bytes are not ours.
    #[error(
        "no {what} of kDFS (magic number {found:#x}, expected {expected:#x}): made by another program, or overwritten"
    )]
    Magic {
        /// The structure.
        what: &'static str,
        /// The magic number of kDFS.
        expected: u64,
        /// What stood there.
        found: u64,
    },
    /// Another format version.
    #[error(
        "{what} has format version {found}, this program knows {known}: use the program that made it, or copy the files over"
    )]
    Version {
        /// The structure.
        what: &'static str,
        /// The version that stands there.
        found: u32,
        /// The version of this program.
        known: u32,
    },
    /// The bytes are not those that were written.
    #[error("{what} is damaged: its checksum is {found:#010x}, its bytes give {expected:#010x}")]
    Checksum {
        /// The structure.
        what: &'static str,
        /// The checksum of the bytes.
        expected: u32,
        /// The checksum that stands there.
        found: u32,
    },
    /// The checksum is right but a field cannot be.
    #[error("{what} is damaged: {field} cannot be {found}")]
    Field {
        /// The structure.
        what: &'static str,
        /// The field.
        field: &'static str,
        /// Its value.
        found: u64,
    },
}
