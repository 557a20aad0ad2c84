//! Messages by name.

use crate::Body;

/// Declares the kinds once: the bodies, and their names in `docs/protocol.md`.
macro_rules! kinds {
    ($($kind:ident $name:literal,)*) => {
        /// What a message is, without what it says.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs, reason = "they are documented at the bodies of the same names")]
        pub enum MessageKind {
            $($kind,)*
        }

        impl MessageKind {
            /// All of them, in the order of their numbers.
            pub const ALL: &[MessageKind] = &[$(MessageKind::$kind,)*];

            /// Its name in the table of messages.
            pub const fn name(self) -> &'static str {
                match self {
                    $(MessageKind::$kind => $name,)*
                }
            }
        }

        impl Body {
            /// What this is.
            pub const fn kind(&self) -> MessageKind {
                match self {
                    $(Body::$kind { .. } => MessageKind::$kind,)*
                }
            }
        }
    };
}

kinds! {
    Request "REQ",
    Grant "GRANT",
    Nack "NACK",
    Finished "FINISHED",
    Invalidate "INV",
    Ack "ACK",
    Recall "RECALL",
    Refused "REFUSED",
    Hand "HAND",
    Shared "SHARED",
    Done "DONE",
    Fetched "FETCHED",
    Evict "EVICT",
    Drain "DRAIN",
    Drained "DRAINED",
    Free "FREE",
    Retry "RETRY",
    Retrying "RETRYING",
    Kept "KEPT",
    Restore "RESTORE",
    Discard "DISCARD",
    Report "REPORT",
    Knew "KNEW",
    Doubt "DOUBT",
    Reported "REPORTED",
    Rebuilt "REBUILT",
    Opened "OPENED",
    Destroy "DESTROY",
    Cancel "CANCEL",
    AskRoom "ASK_ROOM",
    Room "ROOM",
    Inject "INJECT",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_places_in_the_list_and_names_those_of_the_table() {
        let table = include_str!("../../../docs/protocol.md");
        for (number, kind) in MessageKind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, number);
            assert!(table.contains(kind.name()), "{} is not in the table of messages", kind.name());
        }
    }
}
