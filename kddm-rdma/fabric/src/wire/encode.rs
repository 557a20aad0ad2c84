//! Messages to bytes.

use super::{
    Kind,
    body::{self, flag, source, why},
};
use kddm_coherence::{Body, Message, Nack, Source};
use kddm_object::{FirstTouch, Location, NodeId};
use zerocopy::{
    Immutable, IntoBytes,
    little_endian::{U16, U32, U64},
};

/// Appends `message` to `out`.
pub fn encode(message: &Message, out: &mut Vec<u8>) {
    let start = out.len();
    let mut head = body::Head {
        kind: kind(&message.body) as u8,
        zero: 0,
        length: U16::ZERO,
        view: message.view.0.into(),
        incarnation: message.incarnation.0.into(),
        clock: message.clock.into(),
        set: message.key.set.0.into(),
        object: message.key.object.into(),
        zeros: U32::ZERO,
    };
    put(out, &head);
    encode_body(&message.body, out);
    head.length = ((out.len() - start) as u16).into(); // at most MAX_BYTES
    out[start..start + super::HEAD_BYTES].copy_from_slice(head.as_bytes());
}

fn kind(body: &Body) -> Kind {
    match body {
        Body::Request(_) => Kind::Request,
        Body::Grant { .. } => Kind::Grant,
        Body::Nack { .. } => Kind::Nack,
        Body::Finished { .. } => Kind::Finished,
        Body::Invalidate { .. } => Kind::Invalidate,
        Body::Ack { .. } => Kind::Ack,
        Body::Recall { .. } => Kind::Recall,
        Body::Refused { .. } => Kind::Refused,
        Body::Hand { .. } => Kind::Hand,
        Body::Shared { .. } => Kind::Shared,
        Body::Done { .. } => Kind::Done,
        Body::Fetched { .. } => Kind::Fetched,
        Body::Evict => Kind::Evict,
        Body::Drain { .. } => Kind::Drain,
        Body::Drained { .. } => Kind::Drained,
        Body::Free { .. } => Kind::Free,
        Body::Retry { .. } => Kind::Retry,
        Body::Retrying { .. } => Kind::Retrying,
        Body::Restore { .. } => Kind::Restore,
        Body::Kept { .. } => Kind::Kept,
        Body::Discard { .. } => Kind::Discard,
        Body::Report { .. } => Kind::Report,
        Body::Knew { .. } => Kind::Knew,
        Body::Doubt { .. } => Kind::Doubt,
        Body::Reported { .. } => Kind::Reported,
        Body::Rebuilt { .. } => Kind::Rebuilt,
        Body::Opened => Kind::Opened,
        Body::Cancel { .. } => Kind::Cancel,
        Body::Destroy { .. } => Kind::Destroy,
        Body::AskRoom => Kind::AskRoom,
        Body::Room { .. } => Kind::Room,
        Body::Inject => Kind::Inject,
    }
}

fn encode_body(body: &Body, out: &mut Vec<u8>) {
    match body {
        Body::Request(request) => {
            let flags =
                if request.try_only { flag::TRY } else { 0 } | if request.have { flag::HAVE } else { 0 };
            let first_touch = match request.first_touch {
                FirstTouch::Make => 0,
                FirstTouch::Refuse => 1,
                FirstTouch::Manual => 2,
            };
            let (rid, seen) = (request.rid.0.into(), request.seen.into());
            let hint = place(request.hint);
            put(
                out,
                &body::Request { rid, kind: request.kind as u8, first_touch, flags, zero: 0, seen, hint },
            );
        }
        Body::Grant { rid, seq, source, acks, owner, exclusive } => {
            let (kind, location, bytes) = parts(source);
            let grant = body::Grant {
                rid: rid.0.into(),
                seq: seq.0.into(),
                source: kind,
                exclusive: u8::from(*exclusive),
                owner: owner.map_or(0, NodeId::get),
                zero: 0,
                location,
                acks: acks.words().map(U64::new),
            };
            put(out, &grant);
            out.extend_from_slice(bytes);
        }
        Body::Hand { seq, rid, source, exclusive } => {
            let (kind, location, bytes) = parts(source);
            let (seq, rid, exclusive) = (seq.0.into(), rid.0.into(), u8::from(*exclusive));
            put(out, &body::Hand { seq, rid, source: kind, exclusive, zero: [0; 2], location });
            out.extend_from_slice(bytes);
        }
        Body::Nack { rid, why } => {
            let (why, node, errno) = reason(*why);
            put(out, &body::Nack { rid: rid.0.into(), why, node, zero: [0; 2], errno: errno.into() });
        }
        Body::Invalidate { seq, requester, life, after, keep } => {
            let (seq, after, keep) = (seq.0.into(), after.0.into(), u8::from(*keep));
            put(
                out,
                &body::Invalidate {
                    seq,
                    after,
                    requester: requester.get(),
                    keep,
                    zero: [0; 2],
                    life: life.0.into(),
                },
            );
        }
        Body::Ack { seq, of, retained, since } => {
            let (seq, since, retained) = (seq.0.into(), since.0.into(), place(*retained));
            put(out, &body::Ack { seq, since, of: of.get(), zero: [0; 3], retained });
        }
        Body::Recall { seq, kind, requester, life, rid, after, try_only } => {
            let recall = body::Recall {
                seq: seq.0.into(),
                rid: rid.0.into(),
                after: after.0.into(),
                kind: *kind as u8,
                requester: requester.get(),
                try_only: u8::from(*try_only),
                zero: 0,
                life: life.0.into(),
            };
            put(out, &recall);
        }
        Body::Shared { seq, location } | Body::Done { seq, location } => {
            put(out, &body::SeqPlace { seq: seq.0.into(), place: place(Some(*location)) });
        }
        Body::Drain { seq, after } => put(out, &body::SeqAfter { seq: seq.0.into(), after: after.0.into() }),
        Body::Retry { rid, seq } | Body::Retrying { rid, seq } => {
            put(out, &body::RidSeq { rid: rid.0.into(), seq: seq.0.into() });
        }
        Body::Finished { rid } | Body::Cancel { rid } | Body::Destroy { rid } => put(out, &U32::new(rid.0)),
        Body::Refused { seq }
        | Body::Fetched { seq }
        | Body::Drained { seq }
        | Body::Free { seq }
        | Body::Discard { seq }
        | Body::Restore { seq } => {
            put(out, &U32::new(seq.0));
        }
        Body::Kept { seq, to, life } => {
            put(out, &body::Kept { seq: seq.0.into(), to: to.get(), zero: [0; 3], life: life.0.into() });
        }
        Body::Report { mode, named, copy, kept, since_view, since } => {
            let report = body::Report {
                since_view: since_view.0.into(),
                since: since.0.into(),
                mode: *mode as u8,
                named: u8::from(*named),
                zero: [0; 2],
                copy: place(*copy),
                kept: place(*kept),
            };
            put(out, &report);
        }
        Body::Knew { what, view } => {
            put(out, &body::Knew { view: view.0.into(), what: *what as u8, zero: [0; 3] });
        }
        Body::Doubt { view, homes, gone } => {
            let [homes, gone] = [homes, gone].map(|set| set.words().map(U64::new));
            put(out, &body::Doubt { view: view.0.into(), zero: [0; 4], homes, gone });
        }
        Body::Reported { established, settled } => put(
            out,
            &body::Reported { established: u8::from(*established), zero: [0; 3], settled: settled.0.into() },
        ),
        Body::Rebuilt { keep } => out.push(*keep as u8),
        Body::Room { slots } => put(out, &U32::new(*slots)),
        Body::Evict | Body::Opened | Body::AskRoom | Body::Inject => {}
    }
}

fn put(out: &mut Vec<u8>, layout: &(impl IntoBytes + Immutable)) {
    out.extend_from_slice(layout.as_bytes());
}

fn place(location: Option<Location>) -> body::Place {
    let (node, slot, generation) =
        location.map_or((0, 0, 0), |at| (at.node.get(), at.slot.0, at.generation.0));
    body::Place { node, zero: [0; 3], slot: slot.into(), generation: generation.into() }
}

fn parts(source: &Source) -> (u8, body::Place, &[u8]) {
    match source {
        Source::Copy => (source::COPY, place(None), &[]),
        Source::Read(location) => (source::READ, place(Some(*location)), &[]),
        Source::Bytes(inline) => (source::BYTES, place(None), inline.as_slice()),
        Source::Make => (source::MAKE, place(None), &[]),
        Source::Speculated(location) => (source::SPECULATED, place(Some(*location)), &[]),
    }
}

fn reason(nack: Nack) -> (u8, u8, i32) {
    match nack {
        Nack::Absent => (why::ABSENT, 0, 0),
        Nack::WouldBlock => (why::WOULD_BLOCK, 0, 0),
        Nack::NoSet => (why::NO_SET, 0, 0),
        Nack::Device(errno) => (why::DEVICE, 0, errno),
        Nack::Lost => (why::LOST, 0, 0),
        Nack::Peer(node) => (why::PEER, node.get(), 0),
        Nack::Again => (why::AGAIN, 0, 0),
        Nack::Destroyed => (why::DESTROYED, 0, 0),
    }
}
