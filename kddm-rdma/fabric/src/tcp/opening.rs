//! A connection before it is a session: two handshake messages, two Hellos, two Readys.

use super::{
    channel::Channel,
    codec::{Control, MAX_CONTROL, Standing, Unreadable},
    frame::{self, HEAD_BYTES, Kind, MAGIC, Preamble, word},
    noise::{HANDSHAKE_BYTES, Handshake, TAG_BYTES},
    shared::{End, Shared},
};
use kddm_object::{Incarnation, NodeId};
use std::{net::IpAddr, time::Instant};
use zerocopy::{FromBytes, IntoBytes};

/// A connection that is being opened.
pub(super) struct Opening {
    /// The peer that this node dialled; `None` if it was called.
    pub(super) dialled: Option<NodeId>,
    /// The other side's address.
    pub(super) remote: IpAddr,
    /// It is open by then or closed.
    pub(super) deadline: Instant,
    stage: Stage,
}

enum Stage {
    /// Dialled, not answered.
    Connecting,
    /// The other side's handshake message is awaited.
    Handshake(Handshake),
    /// The other side's Hello is awaited.
    Hello,
    /// Its Hello is accepted, and told so, with how we stand; its Ready is awaited.
    Ready(NodeId, Incarnation, Standing),
}

/// What a step led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// More has to come.
    Wait,
    /// Another step may be possible.
    More,
    /// The session begins.
    Open(NodeId, Incarnation),
    /// It does not before this node has begun a new life: this life, or the other's, was lost.
    Outlived(NodeId),
}

impl Opening {
    /// `node`, which listens at `remote`, has been dialled.
    pub(super) fn dialled(node: NodeId, remote: IpAddr, deadline: Instant) -> Opening {
        Opening { dialled: Some(node), remote, deadline, stage: Stage::Connecting }
    }

    /// Somebody at `remote` has connected.
    pub(super) fn called(remote: IpAddr, deadline: Instant, shared: &Shared) -> Result<Opening, End> {
        let handshake = Handshake::listening(&shared.config.key).map_err(internal)?;
        Ok(Opening { dialled: None, remote, deadline, stage: Stage::Handshake(handshake) })
    }

    /// Goes one step further with what has come.
    pub(super) fn step(&mut self, channel: &mut Channel, shared: &mut Shared) -> Result<Step, End> {
        match &self.stage {
            Stage::Connecting => self.connected(channel, shared),
            Stage::Handshake(_) => self.handshake(channel, shared),
            Stage::Hello | Stage::Ready(..) => self.control(channel, shared),
        }
    }

    /// Whether nobody has answered yet.
    pub(super) fn is_connecting(&self) -> bool {
        matches!(self.stage, Stage::Connecting)
    }

    /// What it is waiting for, for people.
    pub(super) fn waits_for(&self) -> &'static str {
        match self.stage {
            Stage::Connecting => "it does not answer: check its address, that its server runs, and firewalls",
            Stage::Handshake(_) | Stage::Hello | Stage::Ready(..) => {
                "it accepted the connection but does not go on: another program on that port, or a server that hangs"
            }
        }
    }

    fn connected(&mut self, channel: &mut Channel, shared: &mut Shared) -> Result<Step, End> {
        if let Some(error) = channel.stream().take_error().ok().flatten() {
            return Err(End::network(&error));
        }
        if channel.stream().peer_addr().is_err() {
            return Ok(Step::Wait); // not yet
        }
        let mut handshake = Handshake::dialling(&shared.config.key).map_err(internal)?;
        channel.clear(Preamble::new(word::HANDSHAKE).as_bytes());
        channel.clear(&handshake.write().map_err(internal)?);
        shared.flush(channel)?;
        self.stage = Stage::Handshake(handshake);
        Ok(Step::More)
    }

    fn handshake(&mut self, channel: &mut Channel, shared: &mut Shared) -> Result<Step, End> {
        self.check_preamble(channel.pending())?;
        let Some(bytes) = channel.take::<{ size_of::<Preamble>() + HANDSHAKE_BYTES }>() else {
            return Ok(Step::Wait);
        };
        let Stage::Handshake(mut handshake) = std::mem::replace(&mut self.stage, Stage::Hello) else {
            return Err(End::Fault("BUG: a handshake at another stage".to_owned()));
        };
        if handshake.read(&bytes[size_of::<Preamble>()..]).is_err() {
            channel.clear(Preamble::new(word::UNREADABLE).as_bytes());
            let _ = shared.flush(channel); // it closes in any case
            return Err(refused(self.other_key()));
        }
        if self.dialled.is_none() {
            channel.clear(Preamble::new(word::HANDSHAKE).as_bytes());
            channel.clear(&handshake.write().map_err(internal)?);
        }
        channel.seal_with(handshake).map_err(End::Fault)?;
        self.say(&Control::Hello(shared.hello()), channel, shared)?;
        Ok(Step::More)
    }

    /// As soon as the first byte is wrong, there is nothing to wait for.
    fn check_preamble(&self, bytes: &[u8]) -> Result<(), End> {
        let seen = bytes.len().min(MAGIC.len());
        if bytes[..seen] != MAGIC[..seen] {
            return Err(refused(format!(
                "what {} sent is no kDDM handshake: another program uses the port; choose another `port` in \
                 cluster.toml, or find out what connects from there",
                self.remote
            )));
        }
        let Ok((preamble, _)) = Preamble::read_from_prefix(bytes) else { return Ok(()) };
        if preamble.version.get() != frame::HANDSHAKE_VERSION {
            return Err(refused(format!(
                "{} speaks handshake version {}, this node version {}: install the same version of kDDM on all nodes",
                self.remote,
                preamble.version,
                frame::HANDSHAKE_VERSION
            )));
        }
        match preamble.word.get() {
            word::HANDSHAKE => Ok(()),
            _ => Err(refused(self.other_key())),
        }
    }

    fn other_key(&self) -> String {
        format!(
            "{} has another cluster key than this node: copy the same key file to all nodes (compare with sha256sum)",
            self.remote
        )
    }

    fn control(&mut self, channel: &mut Channel, shared: &mut Shared) -> Result<Step, End> {
        const LONGEST: usize = HEAD_BYTES + 4 + MAX_CONTROL + TAG_BYTES;
        let length =
            channel.pending().first_chunk().map_or(0, |length| usize::from(u16::from_le_bytes(*length)));
        if length > LONGEST {
            return Err(End::Fault(format!("a record of {length} bytes before the session")));
        }
        let mut plain = [0; LONGEST];
        let Some(opened) = channel.record(&mut plain).map_err(End::Fault)? else { return Ok(Step::Wait) };
        let mut record = &plain[..opened];
        let frame = frame::take(&mut record).map_err(End::Fault)?;
        let (Some((Kind::Control, body)), true) = (frame, record.is_empty()) else {
            return Err(End::Fault("something else than one control message before the session".to_owned()));
        };
        let control = shared.control(body).map_err(|error| match error {
            Unreadable::Version(theirs) => {
                End::Refused { reason: shared.config.other_version(theirs, self.remote), tell: true }
            }
            Unreadable::Malformed => End::Fault("an unreadable control message".to_owned()),
        })?;
        self.heed(control, channel, shared)
    }

    fn heed(&mut self, control: Control, channel: &mut Channel, shared: &mut Shared) -> Result<Step, End> {
        match (control, &self.stage) {
            (Control::Hello(hello), Stage::Hello) => {
                let (node, incarnation) = shared
                    .config
                    .examine(&hello, self.remote, shared.fabric)
                    .and_then(|found| self.check_direction(found.0, shared).map(|()| found))
                    .map_err(|reason| End::Refused { reason, tell: true })?;
                shared
                    .check_incarnation(node, incarnation)
                    .map_err(|reason| End::Refused { reason, tell: true })?;
                let standing = shared.standing(node, incarnation);
                self.stage = Stage::Ready(node, incarnation, standing);
                self.say(&Control::Ready(standing), channel, shared)?;
                Ok(Step::More)
            }
            (Control::Ready(theirs), &Stage::Ready(node, incarnation, ours)) => {
                if !ours.lost && !theirs.lost {
                    return Ok(Step::Open(node, incarnation));
                }
                if shared.gives_way(ours, node, theirs) {
                    return Ok(Step::Outlived(node));
                }
                let reason = format!("node {node} was given up in this life, and has to begin another");
                Err(End::Closed { certain: false, reason })
            }
            (Control::Refuse(reason), _) => {
                Err(refused(format!("{} does not let this node in: {reason}", self.remote)))
            }
            (Control::Goodbye { leaving, reason }, _) => Err(End::Closed { certain: leaving, reason }),
            (other, _) => Err(End::Fault(format!("{other:?} out of turn"))),
        }
    }

    /// Of two nodes the one with the larger id dials, so that there is one connection.
    fn check_direction(&self, node: NodeId, shared: &Shared) -> Result<(), String> {
        match self.dialled {
            None if node < shared.config.me => Err(format!(
                "node {node} dialled node {}, but the node with the larger id dials: the server there is broken",
                shared.config.me
            )),
            _ => Ok(()),
        }
    }

    fn say(&self, control: &Control, channel: &mut Channel, shared: &mut Shared) -> Result<(), End> {
        channel.control(shared.config.greeting.protocol_version, control).map_err(End::Fault)?;
        shared.flush(channel)
    }
}

fn refused(reason: String) -> End {
    End::Refused { reason, tell: false }
}

fn internal(error: snow::Error) -> End {
    End::Fault(format!("the handshake cannot be made: {error}"))
}
