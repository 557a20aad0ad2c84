//! Why something was not done, as a number in a completion.

use kddm_object::limits::MAX_OBJECT_SIZE;
use std::io::Error;

/// Why a request was not done. Whatever it says, nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The submission says nothing that the server knows.
    #[error("the server does not know such a request; attach with a library of its version")]
    Malformed,
    /// A region does not lie in the window.
    #[error("bytes outside the window were named")]
    Region,
    /// A region is too small for what was to go into it.
    #[error("the place for it has too few bytes: {0} are needed")]
    TooSmall(u32),
    /// The program has no such hold.
    #[error("there is no such hold, or it was put already")]
    NoHold,
    /// The hold is shared, and its bytes cannot be changed.
    #[error("a shared hold changes nothing")]
    SharedHold,
    /// The object has fewer bytes than it was to be changed to.
    #[error("the object has only {0} bytes")]
    TooLong(u32),
    /// A request with this tag is under way.
    #[error("a request with the same tag is still under way")]
    TagUnderWay,
    /// The program has as many holds as it may.
    #[error("the program has {0} holds, as many as it may; put some first")]
    TooManyHolds(u32),
    /// The program's holds pin as much memory as they may.
    #[error("the program's holds keep {0} KiB in memory, as much as they may; put some first")]
    TooMuchHeld(u32),
    /// The program has as many files open as it may.
    #[error("the program has {0} files open, as many as it may; close some first")]
    TooManyFiles(u32),
    /// The program has not opened the set.
    #[error("the set has not been opened by this program")]
    NotOpened,
    /// The set's owner and mode forbid it.
    #[error("the set's owner and mode do not let this user do that (kddm set stat shows them)")]
    Denied,
    /// The program gave it up.
    #[error("it was cancelled")]
    Cancelled,
    /// The time is over.
    #[error("it could not be had in the given time: somebody holds it")]
    TimedOut,
    /// A try would have had to wait.
    #[error("somebody holds the object, or waits for it")]
    WouldBlock,
    /// Nobody touched the object.
    #[error("the object does not exist, and was not to be made")]
    Absent,
    /// The set was destroyed, or never was.
    #[error("there is no such set, or it was destroyed")]
    NoSet,
    /// The set's home is no member.
    #[error("the home of the set's objects is no node of the cluster")]
    NoHome,
    /// The device failed.
    #[error("the device of the object's home failed: {}", Error::from_raw_os_error(*.0))]
    Device(i32),
    /// A node is gone.
    #[error("node {0} is not reachable; try again when it is back (kddm status says why it is away)")]
    PeerLost(u8),
    /// This node is no member any more.
    #[error("this node was taken out of the cluster; its server has to be started again")]
    Expelled,
    /// The last copy died with a node.
    #[error("the object's last copy was lost with a node; remove it or write it anew")]
    Lost,
    /// The arena is full.
    #[error("the node's memory for objects is full of objects in use (arena in cluster.toml)")]
    NoMemory,
    /// No set has that name.
    #[error("no set has that name (kddm set list shows those that are)")]
    UnknownName,
    /// The name is taken.
    #[error("a set has that name already")]
    NameTaken,
    /// No set can have such a name.
    #[error("a set's name is 1 to 200 bytes of UTF-8")]
    Name,
    /// The registry is full.
    #[error("there are as many sets as there can be; destroy some")]
    RegistryFull,
    /// No set can have such a policy.
    #[error(
        "no set can be like that: objects have up to {MAX_OBJECT_SIZE} bytes, homes are nodes of the cluster"
    )]
    Policy,
    /// The file system's answer.
    #[error("{}", Error::from_raw_os_error(*.0))]
    File(i32),
    /// The server is about to end.
    #[error("the server is leaving")]
    Leaving,
}

impl Refusal {
    /// The number and the detail that say so in a completion.
    pub(crate) fn parts(self) -> (u16, i32) {
        match self {
            Refusal::Malformed => (1, 0),
            Refusal::Region => (2, 0),
            Refusal::TooSmall(bytes) => (3, bytes.cast_signed()),
            Refusal::NoHold => (4, 0),
            Refusal::SharedHold => (5, 0),
            Refusal::TooManyHolds(limit) => (6, limit.cast_signed()),
            Refusal::TooManyFiles(limit) => (7, limit.cast_signed()),
            Refusal::NotOpened => (8, 0),
            Refusal::Denied => (9, 0),
            Refusal::Cancelled => (10, 0),
            Refusal::TimedOut => (11, 0),
            Refusal::WouldBlock => (12, 0),
            Refusal::Absent => (13, 0),
            Refusal::NoSet => (14, 0),
            Refusal::NoHome => (15, 0),
            Refusal::Device(errno) => (16, errno),
            Refusal::PeerLost(node) => (17, node.into()),
            Refusal::Expelled => (18, 0),
            Refusal::Lost => (19, 0),
            Refusal::NoMemory => (20, 0),
            Refusal::UnknownName => (21, 0),
            Refusal::NameTaken => (22, 0),
            Refusal::Name => (23, 0),
            Refusal::RegistryFull => (24, 0),
            Refusal::Policy => (25, 0),
            Refusal::File(errno) => (26, errno),
            Refusal::Leaving => (27, 0),
            Refusal::TooMuchHeld(limit) => (28, limit.cast_signed()),
            Refusal::TooLong(bytes) => (29, bytes.cast_signed()),
            Refusal::TagUnderWay => (30, 0),
        }
    }

    /// What the number and the detail say; a number that this version does not know is [`Refusal::Malformed`].
    pub(crate) fn of_parts(number: u16, detail: i32) -> Refusal {
        match number {
            2 => Refusal::Region,
            3 => Refusal::TooSmall(detail.cast_unsigned()),
            4 => Refusal::NoHold,
            5 => Refusal::SharedHold,
            6 => Refusal::TooManyHolds(detail.cast_unsigned()),
            7 => Refusal::TooManyFiles(detail.cast_unsigned()),
            8 => Refusal::NotOpened,
            9 => Refusal::Denied,
            10 => Refusal::Cancelled,
            11 => Refusal::TimedOut,
            12 => Refusal::WouldBlock,
            13 => Refusal::Absent,
            14 => Refusal::NoSet,
            15 => Refusal::NoHome,
            16 => Refusal::Device(detail),
            17 => Refusal::PeerLost(detail as u8),
            18 => Refusal::Expelled,
            19 => Refusal::Lost,
            20 => Refusal::NoMemory,
            21 => Refusal::UnknownName,
            22 => Refusal::NameTaken,
            23 => Refusal::Name,
            24 => Refusal::RegistryFull,
            25 => Refusal::Policy,
            26 => Refusal::File(detail),
            27 => Refusal::Leaving,
            28 => Refusal::TooMuchHeld(detail.cast_unsigned()),
            29 => Refusal::TooLong(detail.cast_unsigned()),
            30 => Refusal::TagUnderWay,
            _ => Refusal::Malformed,
        }
    }

    /// The errno that comes nearest, for interfaces that have nothing else.
    pub fn errno(self) -> i32 {
        use rustix::io::Errno;
        let errno = match self {
            Refusal::File(errno) | Refusal::Device(errno) => return errno,
            Refusal::Malformed => Errno::NOSYS,
            Refusal::Region => Errno::FAULT,
            Refusal::TooSmall(_) => Errno::OVERFLOW,
            Refusal::NoHold | Refusal::NotOpened => Errno::BADF,
            Refusal::SharedHold | Refusal::Policy | Refusal::NoHome => Errno::INVAL,
            Refusal::TooManyHolds(_) | Refusal::TooMuchHeld(_) => Errno::NOLCK,
            Refusal::TooManyFiles(_) => Errno::MFILE,
            Refusal::TooLong(_) => Errno::MSGSIZE,
            Refusal::TagUnderWay => Errno::ALREADY,
            Refusal::Denied => Errno::ACCESS,
            Refusal::Cancelled => Errno::CANCELED,
            Refusal::TimedOut => Errno::TIMEDOUT,
            Refusal::WouldBlock => Errno::AGAIN,
            Refusal::Absent | Refusal::UnknownName => Errno::NOENT,
            Refusal::NoSet => Errno::STALE,
            Refusal::PeerLost(_) => Errno::HOSTUNREACH,
            Refusal::Expelled | Refusal::Leaving => Errno::SHUTDOWN,
            Refusal::Lost => Errno::IO,
            Refusal::NoMemory => Errno::NOMEM,
            Refusal::NameTaken => Errno::EXIST,
            Refusal::Name => Errno::NAMETOOLONG,
            Refusal::RegistryFull => Errno::NOSPC,
        };
        errno.raw_os_error()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_means_one_thing() {
        for number in 1..=30 {
            let refusal = Refusal::of_parts(number, 7);
            assert_eq!(refusal.parts().0, number);
            let (number, detail) = refusal.parts();
            assert_eq!(Refusal::of_parts(number, detail), refusal);
            assert!(refusal.errno() > 0 && !refusal.to_string().is_empty());
        }
        assert_eq!(Refusal::of_parts(31, 0), Refusal::Malformed, "31 is the next number");
    }
}
