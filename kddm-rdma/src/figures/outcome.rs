//! What operations are called, and how they end.

use kddm_coherence::{Asked, OpError};
use kddm_object::Hold;

/// Declares an enumeration whose members have names and numbers.
macro_rules! named {
    ($(#[$doc:meta])* $type:ident { $($(#[$of:meta])* $member:ident $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type {
            $($(#[$of])* $member,)*
        }

        impl $type {
            /// All of them, in the order of their numbers.
            pub const ALL: &[$type] = &[$($type::$member,)*];

            /// Its name, for people and for metrics.
            pub const fn name(self) -> &'static str {
                match self {
                    $($type::$member => $name,)*
                }
            }
        }
    };
}

named!(
    /// What was asked of a node.
    OperationKind {
        /// A shared hold.
        Get "get",
        /// An exclusive hold.
        Grab "grab",
        /// A copy without a hold.
        Prefetch "prefetch",
        /// The end of an object.
        Remove "remove",
        /// Everything put so far on the device.
        Sync "sync",
        /// The local copy away.
        Flush "flush",
        /// The end of a set.
        Destroy "destroy",
    }
);

named!(
    /// How an operation ended.
    Outcome {
        /// By the state word alone.
        Hit "hit",
        /// Nothing had to be fetched for it: it waited for a hold of this node, or for what another operation fetched.
        Waited "waited",
        /// The bytes were here; the other copies had to go.
        Upgraded "upgraded",
        /// The bytes came from the object's home.
        Home "home",
        /// The bytes came from an owner that is not the home.
        Owner "owner",
        /// The bytes came from this node's device; from another node's device they come as from a home.
        Device "device",
        /// Nobody had touched the object: it was made.
        Made "made",
        /// Done, where nothing is held in the end.
        Done "done",
        /// It had to find the object, and nobody had touched it.
        Absent "absent",
        /// A try that would have had to wait.
        WouldBlock "would_block",
        /// Its time was over.
        TimedOut "timed_out",
        /// Nobody waited for it any more.
        Cancelled "cancelled",
        /// It failed.
        Failed "failed",
    }
);

impl OperationKind {
    pub(crate) fn of(asked: Asked) -> OperationKind {
        match asked {
            Asked::Hold { hold: Hold::Shared, .. } => OperationKind::Get,
            Asked::Hold { hold: Hold::Exclusive, .. } => OperationKind::Grab,
            Asked::Prefetch { .. } => OperationKind::Prefetch,
            Asked::Remove => OperationKind::Remove,
            Asked::Sync => OperationKind::Sync,
            Asked::Flush => OperationKind::Flush,
            Asked::Destroy => OperationKind::Destroy,
        }
    }

    /// Whether it brings a copy here.
    pub const fn fetches(self) -> bool {
        matches!(self, OperationKind::Get | OperationKind::Grab | OperationKind::Prefetch)
    }

    /// Whether it can end so.
    pub fn can_end(self, outcome: Outcome) -> bool {
        let holds = matches!(self, OperationKind::Get | OperationKind::Grab);
        match outcome {
            Outcome::Hit | Outcome::WouldBlock => holds,
            Outcome::Upgraded => matches!(self, OperationKind::Grab | OperationKind::Prefetch),
            Outcome::Waited | Outcome::Home | Outcome::Owner | Outcome::Device | Outcome::Made => {
                self.fetches()
            }
            Outcome::Absent => self.fetches(),
            Outcome::Done => !self.fetches(),
            Outcome::TimedOut | Outcome::Cancelled | Outcome::Failed => true,
        }
    }
}

impl Outcome {
    pub(crate) fn of_error(error: OpError) -> Outcome {
        match error {
            OpError::Absent => Outcome::Absent,
            OpError::WouldBlock => Outcome::WouldBlock,
            OpError::TimedOut => Outcome::TimedOut,
            _ => Outcome::Failed,
        }
    }

    /// Whether it ended as it was meant to.
    pub fn is_good(self) -> bool {
        self < Outcome::Absent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_places_in_the_lists() {
        for (number, kind) in OperationKind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, number);
        }
        for (number, outcome) in Outcome::ALL.iter().enumerate() {
            assert_eq!(*outcome as usize, number);
            assert!(OperationKind::ALL.iter().any(|kind| kind.can_end(*outcome)), "{outcome:?}");
        }
        assert!(Outcome::Done.is_good() && !Outcome::Absent.is_good());
    }
}
