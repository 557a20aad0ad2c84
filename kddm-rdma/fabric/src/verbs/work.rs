//! The numbers of work requests: what they were, whose, and which.
//!
//! ```text
//! 63 receive (kddm_verbs::RECEIVE) | 56..58 kind | 48..56 node | 32..48 epoch | 0..32 number
//! ```

use kddm_object::NodeId;

/// What a work request was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A parcel, by its work request's number in the epoch.
    Send = 1,
    /// So many READs, merged to one.
    Read = 2,
    /// The last that was posted to the queue pair for messages.
    LastSend = 3,
    /// The last that was posted to the queue pair for READs.
    LastRead = 4,
}

/// A work request's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Work {
    pub(super) kind: Kind,
    pub(super) node: NodeId,
    /// The lowest bits of the epoch.
    pub(super) epoch: u16,
    pub(super) number: u32,
}

impl Work {
    pub(super) fn new(kind: Kind, node: NodeId, epoch: u32, number: u32) -> Work {
        Work { kind, node, epoch: epoch as u16, number }
    }

    pub(super) fn to_u64(self) -> u64 {
        (self.kind as u64) << 56
            | u64::from(self.node.get()) << 48
            | u64::from(self.epoch) << 32
            | u64::from(self.number)
    }

    /// `None` for what this fabric never posted.
    pub(super) fn from_u64(bits: u64) -> Option<Work> {
        let kind = match bits >> 56 {
            1 => Kind::Send,
            2 => Kind::Read,
            3 => Kind::LastSend,
            4 => Kind::LastRead,
            _ => return None,
        };
        let node = NodeId::new((bits >> 48) as u8).ok()?;
        Some(Work { kind, node, epoch: (bits >> 32) as u16, number: bits as u32 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_are_no_receives() {
        for kind in [Kind::Send, Kind::Read, Kind::LastSend, Kind::LastRead] {
            let work = Work::new(kind, NodeId::new(254).unwrap(), 0x1_8001, u32::MAX);
            assert_eq!(work.epoch, 0x8001);
            assert_eq!(Work::from_u64(work.to_u64()), Some(work));
            assert_eq!(work.to_u64() & kddm_verbs::RECEIVE, 0);
        }
        assert_eq!(Work::from_u64(0), None);
    }
}
