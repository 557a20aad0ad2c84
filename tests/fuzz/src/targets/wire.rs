//! Messages of the protocol (`kddm_fabric::wire`).

use super::{Target, numbered};
use crate::bound::bounded;
use kddm_coherence::{Body, Inline, Keep, Knew, Message, Nack, RecallKind, Request, RequestKind, Source};
use kddm_fabric::wire::{MAX_BYTES, decode, encode, take};
use kddm_object::{
    FirstTouch, Generation, Incarnation, Location, Mode, NodeId, NodeSet, ObjectKey, Rid, Seq, SetId, SlotId,
    ViewId, limits::INLINE_MAX,
};

pub(super) const TARGET: Target = Target {
    name: "wire",
    what: "messages of the protocol, one and several together",
    check,
    seeds,
    longest: 4 * MAX_BYTES,
};

fn check(input: &[u8]) {
    one(input);
    stream(input);
    // The same with an honest length and zeros where zeros belong, so that the bodies are met.
    let mut honest = input[..input.len().min(MAX_BYTES + 1)].to_vec();
    if honest.len() >= 40 {
        let length = honest.len() as u16;
        honest[1] = 0;
        honest[2..4].copy_from_slice(&length.to_le_bytes());
        honest[36..40].fill(0);
        one(&honest);
    }
}

/// What is accepted is what would have been sent, and takes nothing from the heap.
fn one(bytes: &[u8]) {
    if let Ok(message) = bounded(0, || decode(bytes)) {
        assert_eq!(encoded(&message), bytes, "another encoding of {message:?}");
        assert!(bytes.len() <= MAX_BYTES, "a message of {} bytes", bytes.len());
    }
}

/// Messages that came together are taken off one by one, each whole.
fn stream(bytes: &[u8]) {
    let mut rest = bytes;
    loop {
        let before = rest;
        match bounded(0, || take(&mut rest)) {
            Ok(Some(message)) => {
                let taken = &before[..before.len() - rest.len()];
                assert_eq!(encoded(&message), taken, "taken as another encoding of {message:?}");
            }
            Ok(None) => {
                assert!(before.is_empty(), "bytes were taken for the end");
                return;
            }
            Err(_) => return,
        }
    }
}

fn encoded(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(message, &mut bytes);
    bytes
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds: Vec<Vec<u8>> = bodies().into_iter().map(|body| encoded(&message(body))).collect();
    seeds.push(seeds[..8].concat());
    numbered("message", seeds)
}

fn message(body: Body) -> Message {
    Message {
        view: ViewId(3),
        incarnation: Incarnation(0x0102_0304_0506_0708),
        clock: 77,
        key: ObjectKey::new(SetId(1 << 56 | 9), 0x0200_0001),
        body,
    }
}

fn node(id: u8) -> NodeId {
    NodeId::new(id).expect("a node id")
}

fn location() -> Location {
    Location { node: node(254), slot: SlotId(0x0003_0007), generation: Generation(9) }
}

fn bodies() -> Vec<Body> {
    requests().into_iter().chain(answers()).chain(orders()).chain(views()).collect()
}

fn requests() -> Vec<Body> {
    let request = Request {
        kind: RequestKind::Get,
        rid: Rid(5),
        first_touch: FirstTouch::Make,
        try_only: false,
        have: false,
        hint: None,
        seen: 12,
    };
    vec![
        Body::Request(request.clone()),
        Body::Request(Request {
            kind: RequestKind::Grab,
            have: true,
            hint: Some(location()),
            ..request.clone()
        }),
        Body::Request(Request {
            kind: RequestKind::Remove,
            first_touch: FirstTouch::Refuse,
            ..request.clone()
        }),
        Body::Request(Request { kind: RequestKind::Sync, try_only: true, ..request }),
        Body::Retry { rid: Rid(1), seq: Seq(2) },
        Body::Retrying { rid: Rid(1), seq: Seq(2) },
        Body::Cancel { rid: Rid(3) },
        Body::Destroy { rid: Rid(4) },
    ]
}

fn answers() -> Vec<Body> {
    let (rid, seq) = (Rid(6), Seq(u32::MAX));
    let inline = |length| Source::Bytes(Inline::new(&vec![0xab; length]).expect("at most INLINE_MAX"));
    let sources = [
        Source::Copy,
        Source::Read(location()),
        Source::Speculated(location()),
        inline(0),
        inline(INLINE_MAX),
        Source::Make,
    ];
    let acks = NodeSet::from_iter([node(1), node(64), node(254)]);
    let grant = |source| Body::Grant { rid, seq, source, acks, owner: Some(node(2)), exclusive: true };
    let hand = |source| Body::Hand { seq, rid, source, exclusive: false };
    let nacks = [
        Nack::Absent,
        Nack::WouldBlock,
        Nack::NoSet,
        Nack::Device(-5),
        Nack::Lost,
        Nack::Peer(node(9)),
        Nack::Again,
        Nack::Destroyed,
    ];
    let mut answers: Vec<Body> =
        sources.into_iter().flat_map(|source| [grant(source.clone()), hand(source)]).collect();
    answers.extend(nacks.map(|why| Body::Nack { rid, why }));
    answers.push(Body::Finished { rid });
    answers
}

fn orders() -> Vec<Body> {
    let (seq, rid, after, life) = (Seq(8), Rid(9), Rid(7), Incarnation(4));
    let (requester, location) = (node(3), location());
    vec![
        Body::Invalidate { seq, requester, life, after, keep: true },
        Body::Ack { seq, of: requester, retained: Some(location), since: Seq(2) },
        Body::Ack { seq, of: requester, retained: None, since: Seq(2) },
        Body::Recall { seq, kind: RecallKind::Share, requester, life, rid, after, try_only: false },
        Body::Recall { seq, kind: RecallKind::Yield, requester, life, rid, after, try_only: true },
        Body::Refused { seq },
        Body::Shared { seq, location },
        Body::Done { seq, location },
        Body::Fetched { seq },
        Body::Evict,
        Body::Drain { seq, after },
        Body::Drained { seq },
        Body::Free { seq },
        Body::Restore { seq },
        Body::Kept { seq, to: requester, life },
        Body::Discard { seq },
        Body::AskRoom,
        Body::Room { slots: 4096 },
        Body::Inject,
    ]
}

fn views() -> Vec<Body> {
    let (view, since) = (ViewId(2), Seq(3));
    let (homes, gone) = (NodeSet::from_iter([node(1), node(200)]), NodeSet::EMPTY);
    let report = |mode, copy, kept| Body::Report { mode, named: true, copy, kept, since_view: view, since };
    vec![
        report(Mode::None, None, Some(location())),
        report(Mode::Shared, Some(location()), None),
        report(Mode::Exclusive, Some(location()), None),
        Body::Knew { what: Knew::Untouched, view },
        Body::Knew { what: Knew::Touched, view },
        Body::Knew { what: Knew::Lost, view },
        Body::Doubt { view, homes, gone },
        Body::Reported { established: true, settled: view },
        Body::Rebuilt { keep: Keep::Ordinary },
        Body::Rebuilt { keep: Keep::Named },
        Body::Rebuilt { keep: Keep::Newest },
        Body::Opened,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use kddm_coherence::MessageKind;

    #[test]
    fn every_kind_of_message_has_a_seed() {
        let kinds: Vec<MessageKind> = bodies().iter().map(Body::kind).collect();
        for kind in MessageKind::ALL {
            assert!(kinds.contains(kind), "{kind:?}: no seed");
        }
    }
}
