//! What one program can have.

/// Holds of a program.
pub const MAX_HOLDS: usize = 4096;
/// Open files of a program.
pub const MAX_FILES: usize = 1024;
/// Open sets of a program.
pub const MAX_SETS: usize = 4096;
/// The part of the arena that one program's holds can pin: one of so many.
pub const PINNED_PART: usize = 4;
/// Objects of one prefetch.
pub const MAX_PREFETCH: u32 = 1 << 16;
/// Bytes of a file that are moved at a time, through memory of the server.
pub const TRANSFER: usize = 1 << 20;
/// So many such pieces of one program are there at a time; others wait.
pub const TRANSFERS: usize = 8;
/// Longest path, as the kernel has it.
pub const MAX_PATH: u32 = 4096;
/// Longest name of a set that is looked at; the registry takes fewer.
pub const MAX_NAME: u32 = 1024;
/// Programs that are attached to a server.
pub const MAX_PROGRAMS: usize = 4096;
/// Connections that have not said hello yet. When there are more, the oldest is closed.
pub const MAX_STRANGERS: usize = 64;
/// Submissions of one program that are taken before others get their turn.
pub const TURN: u32 = 64;
