//! The two queue pairs of an epoch, from their making until nothing is posted to them any more.

use super::{
    hardware::Hardware,
    work::{Kind, Work},
};
use crate::wire;
use kddm_object::NodeId;
use kddm_verbs::{QueuePair, QueuePairConfig, VerbsError};

pub(super) struct Queues {
    pub(super) epoch: u32,
    pub(super) messages: QueuePair,
    pub(super) reads: QueuePair,
    pub(super) stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The peer's are not known yet.
    Made,
    /// Both are connected to the peer's.
    Connected,
    /// They are broken, and so many of their last work requests have not completed.
    Draining(u8),
}

impl Queues {
    pub(super) fn new(node: NodeId, epoch: u32, hardware: &mut Hardware) -> Result<Queues, VerbsError> {
        let bounds = hardware.bounds;
        let make = |hardware: &mut Hardware, config| {
            let first_packet = hardware.first_packet();
            QueuePair::new(&hardware.domain, &hardware.completions, &hardware.receives, config, first_packet)
        };
        let messages = QueuePairConfig {
            depth: bounds.sends + 1,
            landings: 1,
            inline: wire::MAX_BYTES as u32,
            serves_reads: false,
        };
        let messages = make(hardware, messages)?;
        let reads = QueuePairConfig {
            depth: bounds.reads.depth + 1,
            landings: bounds.reads.landings as u32,
            inline: 0,
            serves_reads: true,
        };
        let reads = make(hardware, reads)?;
        hardware.numbers.insert(messages.number(), node);
        Ok(Queues { epoch, messages, reads, stage: Stage::Made })
    }

    /// Breaks both, and posts the last work request to each: when these have completed, so has everything.
    ///
    /// # Errors
    /// The device refused; the queue pairs can only be dropped then.
    pub(super) fn drain(&mut self, node: NodeId, hardware: &mut Hardware) -> Result<(), VerbsError> {
        self.messages.fail()?;
        self.reads.fail()?;
        for (kind, queue_pair) in [(Kind::LastSend, &self.messages), (Kind::LastRead, &self.reads)] {
            let work = Work::new(kind, node, self.epoch, 0);
            hardware.post_last(work, queue_pair)?;
        }
        self.stage = Stage::Draining(2);
        Ok(())
    }
}
