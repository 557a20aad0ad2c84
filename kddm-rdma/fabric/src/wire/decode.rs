//! Bytes to messages. Nothing that comes in can make this panic.

use super::{
    Kind,
    body::{self, flag, source, why},
};
use kddm_coherence::{Body, Inline, Keep, Knew, Message, Nack, RecallKind, Request, RequestKind, Source};
use kddm_object::{
    FirstTouch, Generation, Incarnation, Location, Mode, NodeId, NodeSet, ObjectKey, Rid, Seq, SetId, SlotId,
    ViewId, limits::INLINE_MAX,
};
use zerocopy::{
    FromBytes, Immutable, KnownLayout,
    little_endian::{U32, U64},
};

/// Why bytes are no message. Nothing of them was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Too few or too many bytes.
    #[error("a message of kind {kind} with {length} bytes: wrong length")]
    Length {
        /// The number of the kind; 0 if it is not known.
        kind: u8,
        /// Bytes that were there.
        length: usize,
    },
    /// No such kind.
    #[error("message kind {0} is not known to this version")]
    Kind(u8),
    /// A field has a value that it cannot have.
    #[error("a message of kind {kind} whose {field} is {value}: out of range")]
    Field {
        /// The number of the kind.
        kind: u8,
        /// The field's name in the table of this module.
        field: &'static str,
        /// Its value.
        value: u64,
    },
}

/// The message that is exactly `bytes`.
///
/// # Errors
/// Anything else than the one encoding of a message.
pub fn decode(bytes: &[u8]) -> Result<Message, WireError> {
    let (head, rest) = body::Head::read_from_prefix(bytes)
        .map_err(|_| WireError::Length { kind: 0, length: bytes.len() })?;
    let body = Bytes { kind: head.kind, length: bytes.len(), rest };
    if usize::from(head.length.get()) != bytes.len() {
        return Err(body.wrong_length());
    }
    body.zero("zero", u64::from(head.zero))?;
    body.zero("zero", u64::from(head.zeros.get()))?;
    Ok(Message {
        view: ViewId(head.view.get()),
        incarnation: Incarnation(head.incarnation.get()),
        clock: head.clock.get(),
        key: ObjectKey::new(SetId(head.set.get()), head.object.get()),
        body: decode_body(body)?,
    })
}

/// Takes the first of several messages off `bytes`; `None` at their end.
///
/// # Errors
/// As [`decode`].
pub fn take(bytes: &mut &[u8]) -> Result<Option<Message>, WireError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let cut_off = WireError::Length { kind: 0, length: bytes.len() };
    let (head, _) = body::Head::read_from_prefix(bytes).map_err(|_| cut_off)?;
    let length = usize::from(head.length.get()).max(size_of::<body::Head>());
    let (first, rest) = bytes.split_at_checked(length).ok_or(cut_off)?;
    *bytes = rest;
    decode(first).map(Some)
}

fn decode_body(bytes: Bytes<'_>) -> Result<Body, WireError> {
    Ok(match Kind::of(bytes.kind)? {
        Kind::Request => Body::Request(request(bytes)?),
        Kind::Grant => grant(bytes)?,
        Kind::Hand => hand(bytes)?,
        Kind::Nack => nack(bytes)?,
        Kind::Recall => recall(bytes)?,
        Kind::Invalidate => invalidate(bytes)?,
        Kind::Ack => ack(bytes)?,
        Kind::Shared => {
            let (seq, location) = seq_location(bytes)?;
            Body::Shared { seq, location }
        }
        Kind::Done => {
            let (seq, location) = seq_location(bytes)?;
            Body::Done { seq, location }
        }
        Kind::Drain => {
            let raw: body::SeqAfter = bytes.exactly()?;
            Body::Drain { seq: Seq(raw.seq.get()), after: Rid(raw.after.get()) }
        }
        Kind::Retry => {
            let (rid, seq) = rid_seq(bytes)?;
            Body::Retry { rid, seq }
        }
        Kind::Retrying => {
            let (rid, seq) = rid_seq(bytes)?;
            Body::Retrying { rid, seq }
        }
        Kind::Finished => Body::Finished { rid: Rid(bytes.exactly::<U32>()?.get()) },
        Kind::AskRoom => {
            bytes.exactly::<[u8; 0]>()?;
            Body::AskRoom
        }
        Kind::Room => Body::Room { slots: bytes.exactly::<U32>()?.get() },
        Kind::Inject => {
            bytes.exactly::<[u8; 0]>()?;
            Body::Inject
        }
        Kind::Destroy => Body::Destroy { rid: Rid(bytes.exactly::<U32>()?.get()) },
        Kind::Cancel => Body::Cancel { rid: Rid(bytes.exactly::<U32>()?.get()) },
        Kind::Refused => Body::Refused { seq: seq(bytes)? },
        Kind::Fetched => Body::Fetched { seq: seq(bytes)? },
        Kind::Drained => Body::Drained { seq: seq(bytes)? },
        Kind::Free => Body::Free { seq: seq(bytes)? },
        Kind::Restore => Body::Restore { seq: seq(bytes)? },
        Kind::Kept => kept(bytes)?,
        Kind::Discard => Body::Discard { seq: seq(bytes)? },
        Kind::Report => report(bytes)?,
        Kind::Knew => knew(bytes)?,
        Kind::Doubt => doubt(bytes)?,
        Kind::Reported => {
            let raw: body::Reported = bytes.exactly()?;
            bytes.zeros(&raw.zero)?;
            let established = bytes.flag("established", raw.established)?;
            Body::Reported { established, settled: ViewId(raw.settled.get()) }
        }
        Kind::Rebuilt => rebuilt(bytes)?,
        Kind::Opened => {
            bytes.exactly::<[u8; 0]>()?;
            Body::Opened
        }
        Kind::Evict => {
            bytes.exactly::<[u8; 0]>()?;
            Body::Evict
        }
    })
}

impl Kind {
    fn of(number: u8) -> Result<Kind, WireError> {
        Ok(match number {
            1 => Kind::Request,
            2 => Kind::Grant,
            3 => Kind::Nack,
            4 => Kind::Finished,
            5 => Kind::Invalidate,
            6 => Kind::Ack,
            7 => Kind::Recall,
            8 => Kind::Refused,
            9 => Kind::Hand,
            10 => Kind::Shared,
            11 => Kind::Done,
            12 => Kind::Fetched,
            13 => Kind::Evict,
            14 => Kind::Drain,
            15 => Kind::Drained,
            16 => Kind::Free,
            17 => Kind::Retry,
            18 => Kind::Retrying,
            19 => Kind::Restore,
            20 => Kind::Kept,
            21 => Kind::Discard,
            22 => Kind::Report,
            23 => Kind::Knew,
            24 => Kind::Doubt,
            25 => Kind::Reported,
            26 => Kind::Rebuilt,
            27 => Kind::Opened,
            28 => Kind::Cancel,
            29 => Kind::Destroy,
            30 => Kind::AskRoom,
            31 => Kind::Room,
            32 => Kind::Inject,
            _ => return Err(WireError::Kind(number)),
        })
    }
}

fn request(bytes: Bytes<'_>) -> Result<Request, WireError> {
    let raw: body::Request = bytes.exactly()?;
    bytes.zeros(&[raw.zero])?;
    let kind = match raw.kind {
        1 => RequestKind::Get,
        2 => RequestKind::Grab,
        3 => RequestKind::Remove,
        4 => RequestKind::Sync,
        other => return Err(bytes.wrong("request kind", u64::from(other))),
    };
    let first_touch = match raw.first_touch {
        0 => FirstTouch::Make,
        1 => FirstTouch::Refuse,
        2 => FirstTouch::Manual,
        other => return Err(bytes.wrong("first touch", u64::from(other))),
    };
    if raw.flags & !(flag::TRY | flag::HAVE) != 0 {
        return Err(bytes.wrong("flags", u64::from(raw.flags)));
    }
    Ok(Request {
        kind,
        rid: Rid(raw.rid.get()),
        first_touch,
        try_only: raw.flags & flag::TRY != 0,
        have: raw.flags & flag::HAVE != 0,
        hint: bytes.place("hint", &raw.hint)?,
        seen: raw.seen.get(),
    })
}

fn grant(bytes: Bytes<'_>) -> Result<Body, WireError> {
    let (raw, inline): (body::Grant, _) = bytes.first()?;
    bytes.zeros(&[raw.zero])?;
    let acks = bytes.nodes("acks", raw.acks)?;
    Ok(Body::Grant {
        rid: Rid(raw.rid.get()),
        seq: Seq(raw.seq.get()),
        source: bytes.source(raw.source, &raw.location, inline)?,
        acks,
        owner: if raw.owner == 0 { None } else { Some(bytes.node("owner", raw.owner)?) },
        exclusive: bytes.flag("exclusive", raw.exclusive)?,
    })
}

fn hand(bytes: Bytes<'_>) -> Result<Body, WireError> {
    let (raw, inline): (body::Hand, _) = bytes.first()?;
    bytes.zeros(&raw.zero)?;
    Ok(Body::Hand {
        seq: Seq(raw.seq.get()),
        rid: Rid(raw.rid.get()),
        source: bytes.source(raw.source, &raw.location, inline)?,
        exclusive: bytes.flag("exclusive", raw.exclusive)?,
    })
}

fn nack(bytes: Bytes<'_>) -> Result<Body, WireError> {
    let raw: body::Nack = bytes.exactly()?;
    bytes.zeros(&raw.zero)?;
    if raw.why != why::PEER {
        bytes.zero("node", u64::from(raw.node))?;
    }
    if raw.why != why::DEVICE {
        bytes.zero("errno", u64::from(raw.errno.get() as u32))?;
    }
    let why = match raw.why {
        why::ABSENT => Nack::Absent,
        why::WOULD_BLOCK => Nack::WouldBlock,
        why::NO_SET => Nack::NoSet,
        why::DEVICE => Nack::Device(raw.errno.get()),
        why::LOST => Nack::Lost,
        why::PEER => Nack::Peer(bytes.node("node", raw.node)?),
        why::AGAIN => Nack::Again,
        why::DESTROYED => Nack::Destroyed,
        other => return Err(bytes.wrong("why", u64::from(other))),
    };
    Ok(Body::Nack { rid: Rid(raw.rid.get()), why })
}

fn invalidate(bytes: Bytes<'_>) -> Result<Body, WireError> {
    let raw: body::Invalidate = bytes.exactly()?;
    bytes.zeros(&raw.zero)?;
    Ok(Body::Invalidate {
        seq: Seq(raw.seq.get()),
        requester: bytes.node("requester", raw.requester)?,
        life: Incarnation(raw.life.get()),
        after: Rid(raw.after.get()),
        keep: bytes.flag("keep", raw.keep)?,
    })
}

fn ack(bytes: Bytes<'_>) -> Result<Body, WireError> {
    let raw: body::Ack = bytes.exactly()?;
    bytes.zeros(&raw.zero)?;
    Ok(Body::Ack {
        seq: Seq(raw.seq.get()),
        of: bytes.node("of", raw.of)?,
        retained: bytes.place("retained", &raw.retained)?,
        since: Seq(raw.since.get()),
    })
}

fn recall(bytes: Bytes<'_>) -> Result<Body, WireError> {
    let raw: body::Recall = bytes.exactly()?;
    bytes.zeros(&[raw.zero])?;
    let kind = match raw.kind {
        1 => RecallKind::Share,
        2 => RecallKind::Yield,
        other => return Err(bytes.wrong("recall kind", u64::from(other))),
    };
    Ok(Body::Recall {
        seq: Seq(raw.seq.get()),
        kind,
        requester: bytes.node("requester", raw.requester)?,
        life: Incarnation(raw.life.get()),
        rid: Rid(raw.rid.get()),
        after: Rid(raw.after.get()),
        try_only: bytes.flag("try", raw.try_only)?,
    })
}

fn kept(bytes: Bytes<'_>) -> Result<Body, WireError> {
    let raw: body::Kept = bytes.exactly()?;
    bytes.zeros(&raw.zero)?;
    let life = Incarnation(raw.life.get());
    Ok(Body::Kept { seq: Seq(raw.seq.get()), to: bytes.node("to", raw.to)?, life })
}

fn report(bytes: Bytes<'_>) -> Result<Body, WireError> {
    let raw: body::Report = bytes.exactly()?;
    bytes.zeros(&raw.zero)?;
    let mode = match raw.mode {
        0 => Mode::None,
        1 => Mode::Shared,
        2 => Mode::Exclusive,
        other => return Err(bytes.wrong("mode", u64::from(other))),
    };
    Ok(Body::Report {
        mode,
        named: bytes.flag("named", raw.named)?,
        copy: bytes.place("copy", &raw.copy)?,
        kept: bytes.place("kept", &raw.kept)?,
        since_view: ViewId(raw.since_view.get()),
        since: Seq(raw.since.get()),
    })
}

fn knew(bytes: Bytes<'_>) -> Result<Body, WireError> {
    let raw: body::Knew = bytes.exactly()?;
    bytes.zeros(&raw.zero)?;
    let what = match raw.what {
        1 => Knew::Untouched,
        2 => Knew::Touched,
        3 => Knew::Lost,
        other => return Err(bytes.wrong("what", u64::from(other))),
    };
    Ok(Body::Knew { what, view: ViewId(raw.view.get()) })
}

fn doubt(bytes: Bytes<'_>) -> Result<Body, WireError> {
    let raw: body::Doubt = bytes.exactly()?;
    bytes.zeros(&raw.zero)?;
    let (homes, gone) = (bytes.nodes("homes", raw.homes)?, bytes.nodes("gone", raw.gone)?);
    Ok(Body::Doubt { view: ViewId(raw.view.get()), homes, gone })
}

fn rebuilt(bytes: Bytes<'_>) -> Result<Body, WireError> {
    let keep = match bytes.exactly::<[u8; 1]>()?[0] {
        1 => Keep::Ordinary,
        2 => Keep::Named,
        3 => Keep::Newest,
        other => return Err(bytes.wrong("keep", u64::from(other))),
    };
    Ok(Body::Rebuilt { keep })
}

fn seq(bytes: Bytes<'_>) -> Result<Seq, WireError> {
    Ok(Seq(bytes.exactly::<U32>()?.get()))
}

fn seq_location(bytes: Bytes<'_>) -> Result<(Seq, Location), WireError> {
    let raw: body::SeqPlace = bytes.exactly()?;
    let location = bytes.place("location", &raw.place)?;
    Ok((Seq(raw.seq.get()), location.ok_or(bytes.wrong("location", 0))?))
}

fn rid_seq(bytes: Bytes<'_>) -> Result<(Rid, Seq), WireError> {
    let raw: body::RidSeq = bytes.exactly()?;
    Ok((Rid(raw.rid.get()), Seq(raw.seq.get())))
}

/// What follows the head, and what errors about it say.
#[derive(Clone, Copy)]
struct Bytes<'a> {
    kind: u8,
    length: usize,
    rest: &'a [u8],
}

impl<'a> Bytes<'a> {
    fn wrong_length(&self) -> WireError {
        WireError::Length { kind: self.kind, length: self.length }
    }

    fn wrong(&self, field: &'static str, value: u64) -> WireError {
        WireError::Field { kind: self.kind, field, value }
    }

    fn exactly<T: FromBytes + KnownLayout + Immutable>(&self) -> Result<T, WireError> {
        T::read_from_bytes(self.rest).map_err(|_| self.wrong_length())
    }

    fn first<T: FromBytes + KnownLayout + Immutable>(&self) -> Result<(T, &'a [u8]), WireError> {
        T::read_from_prefix(self.rest).map_err(|_| self.wrong_length())
    }

    fn zero(&self, field: &'static str, value: u64) -> Result<(), WireError> {
        if value == 0 { Ok(()) } else { Err(self.wrong(field, value)) }
    }

    fn zeros(&self, reserved: &[u8]) -> Result<(), WireError> {
        reserved.iter().try_for_each(|&byte| self.zero("zero", u64::from(byte)))
    }

    fn flag(&self, field: &'static str, value: u8) -> Result<bool, WireError> {
        match value {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.wrong(field, u64::from(value))),
        }
    }

    fn node(&self, field: &'static str, id: u8) -> Result<NodeId, WireError> {
        NodeId::new(id).map_err(|_| self.wrong(field, u64::from(id)))
    }

    fn nodes(&self, field: &'static str, raw: [U64; 4]) -> Result<NodeSet, WireError> {
        let words = raw.map(|word| word.get());
        let nodes = NodeSet::from_words(words);
        match words.iter().zip(nodes.words()).find(|&(&given, kept)| given != kept) {
            Some((&given, _)) => Err(self.wrong(field, given)),
            None => Ok(nodes),
        }
    }

    fn place(&self, field: &'static str, raw: &body::Place) -> Result<Option<Location>, WireError> {
        self.zeros(&raw.zero)?;
        let (slot, generation) = (SlotId(raw.slot.get()), Generation(raw.generation.get()));
        if raw.node == 0 {
            self.zero(field, u64::from(slot.0) << 32 | u64::from(generation.0))?;
            return Ok(None);
        }
        Ok(Some(Location { node: self.node(field, raw.node)?, slot, generation }))
    }

    fn source(&self, kind: u8, raw: &body::Place, inline: &[u8]) -> Result<Source, WireError> {
        let place = self.place("location", raw)?;
        if kind != source::BYTES && !inline.is_empty() || inline.len() > INLINE_MAX {
            return Err(self.wrong_length());
        }
        match (kind, place) {
            (source::COPY, None) => Ok(Source::Copy),
            (source::READ, Some(location)) => Ok(Source::Read(location)),
            (source::SPECULATED, Some(location)) => Ok(Source::Speculated(location)),
            (source::BYTES, None) => Inline::new(inline).map(Source::Bytes).ok_or(self.wrong_length()),
            (source::MAKE, None) => Ok(Source::Make),
            _ => Err(self.wrong("source", u64::from(kind))),
        }
    }
}
