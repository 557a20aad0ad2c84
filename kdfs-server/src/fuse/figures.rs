//! What the kernel asks for, by name.

use super::request::Operation;

/// The kernel's requests by name.
pub const OPERATIONS: [&str; 26] = [
    "lookup",
    "getattr",
    "setattr",
    "readlink",
    "symlink",
    "mknod",
    "mkdir",
    "unlink",
    "rmdir",
    "rename",
    "link",
    "open",
    "create",
    "read",
    "write",
    "release",
    "fsync",
    "opendir",
    "readdir",
    "readdirplus",
    "releasedir",
    "fsyncdir",
    "statfs",
    "lock",
    "destroy",
    "unknown",
];

/// The place of an operation in [`OPERATIONS`]; of those that are not counted, none.
pub fn number(operation: &Operation<'_>) -> usize {
    match operation {
        Operation::Lookup { .. } => 0,
        Operation::Getattr => 1,
        Operation::Setattr(_) => 2,
        Operation::Readlink => 3,
        Operation::Symlink { .. } => 4,
        Operation::Mknod { .. } => 5,
        Operation::Mkdir { .. } => 6,
        Operation::Unlink { .. } => 7,
        Operation::Rmdir { .. } => 8,
        Operation::Rename { .. } => 9,
        Operation::Link { .. } => 10,
        Operation::Open(_) => 11,
        Operation::Create { .. } => 12,
        Operation::Read(_) => 13,
        Operation::Write { .. } => 14,
        Operation::Release(_) => 15,
        Operation::Fsync => 16,
        Operation::Opendir => 17,
        Operation::Readdir(_) => 18,
        Operation::Readdirplus(_) => 19,
        Operation::Releasedir(_) => 20,
        Operation::Fsyncdir => 21,
        Operation::Statfs => 22,
        Operation::Lock(_) => 23,
        Operation::Destroy => 24,
        Operation::Unknown => 25,
        // They have no answer.
        Operation::Init(..) | Operation::Interrupt(_) | Operation::Forget => OPERATIONS.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_the_place_of_its_name() {
        assert_eq!(OPERATIONS[number(&Operation::Unlink { name: b"x" })], "unlink");
        assert_eq!(OPERATIONS[number(&Operation::Unknown)], "unknown");
        assert_eq!(number(&Operation::Forget), OPERATIONS.len());
    }
}
