use super::*;
use kddm_coherence::{Body, Inline, Keep, Knew, Message, Nack, RecallKind, Request, RequestKind, Source};
use kddm_object::{
    FirstTouch, Generation, Incarnation, Location, Mode, NodeId, NodeSet, ObjectKey, Rid, Seq, SetId, SlotId,
    ViewId,
};
use proptest::{collection::vec, option, prelude::*, sample::select};

fn node() -> impl Strategy<Value = NodeId> {
    (1..=254u8).prop_map(|id| NodeId::new(id).unwrap())
}

fn location() -> impl Strategy<Value = Location> {
    (node(), any::<u32>(), any::<u32>()).prop_map(|(node, slot, generation)| Location {
        node,
        slot: SlotId(slot),
        generation: Generation(generation),
    })
}

fn rid() -> impl Strategy<Value = Rid> {
    any::<u32>().prop_map(Rid)
}

fn seq() -> impl Strategy<Value = Seq> {
    any::<u32>().prop_map(Seq)
}

fn source() -> impl Strategy<Value = Source> {
    prop_oneof![
        Just(Source::Copy),
        location().prop_map(Source::Read),
        location().prop_map(Source::Speculated),
        vec(any::<u8>(), 0..=INLINE_MAX).prop_map(|bytes| Source::Bytes(Inline::new(&bytes).unwrap())),
        Just(Source::Make),
    ]
}

fn nack() -> impl Strategy<Value = Nack> {
    prop_oneof![
        select(vec![Nack::Absent, Nack::WouldBlock, Nack::NoSet, Nack::Lost, Nack::Again, Nack::Destroyed]),
        any::<i32>().prop_map(Nack::Device),
        node().prop_map(Nack::Peer),
    ]
}

fn request() -> impl Strategy<Value = Request> {
    let kinds = vec![RequestKind::Get, RequestKind::Grab, RequestKind::Remove, RequestKind::Sync];
    let touches = vec![FirstTouch::Make, FirstTouch::Refuse, FirstTouch::Manual];
    (
        select(kinds),
        rid(),
        select(touches),
        any::<bool>(),
        any::<bool>(),
        option::of(location()),
        any::<u64>(),
    )
        .prop_map(|(kind, rid, first_touch, try_only, have, hint, seen)| Request {
            kind,
            rid,
            first_touch,
            try_only,
            have,
            hint,
            seen,
        })
}

fn body() -> impl Strategy<Value = Body> {
    let acks = vec(node(), 0..20).prop_map(NodeSet::from_iter);
    prop_oneof![
        request().prop_map(Body::Request),
        (rid(), seq(), source(), acks, option::of(node()), any::<bool>()).prop_map(
            |(rid, seq, source, acks, owner, exclusive)| Body::Grant {
                rid,
                seq,
                source,
                acks,
                owner,
                exclusive
            }
        ),
        (rid(), nack()).prop_map(|(rid, why)| Body::Nack { rid, why }),
        rid().prop_map(|rid| Body::Finished { rid }),
        rid().prop_map(|rid| Body::Cancel { rid }),
        rid().prop_map(|rid| Body::Destroy { rid }),
        (seq(), node(), any::<u64>(), rid(), any::<bool>()).prop_map(
            |(seq, requester, life, after, keep)| Body::Invalidate {
                seq,
                requester,
                life: Incarnation(life),
                after,
                keep
            }
        ),
        (seq(), node(), option::of(location()), seq()).prop_map(|(seq, of, retained, since)| Body::Ack {
            seq,
            of,
            retained,
            since
        }),
        (seq(), any::<bool>(), node(), any::<u64>(), rid(), rid(), any::<bool>()).prop_map(
            |(seq, share, requester, life, rid, after, try_only)| {
                let kind = if share { RecallKind::Share } else { RecallKind::Yield };
                Body::Recall { seq, kind, requester, life: Incarnation(life), rid, after, try_only }
            }
        ),
        seq().prop_map(|seq| Body::Refused { seq }),
        (seq(), rid(), source(), any::<bool>()).prop_map(|(seq, rid, source, exclusive)| Body::Hand {
            seq,
            rid,
            source,
            exclusive
        }),
        (seq(), location()).prop_map(|(seq, location)| Body::Shared { seq, location }),
        (seq(), location()).prop_map(|(seq, location)| Body::Done { seq, location }),
        seq().prop_map(|seq| Body::Fetched { seq }),
        Just(Body::Evict),
        Just(Body::AskRoom),
        any::<u32>().prop_map(|slots| Body::Room { slots }),
        Just(Body::Inject),
        (seq(), rid()).prop_map(|(seq, after)| Body::Drain { seq, after }),
        seq().prop_map(|seq| Body::Drained { seq }),
        seq().prop_map(|seq| Body::Free { seq }),
        seq().prop_map(|seq| Body::Restore { seq }),
        (seq(), node(), any::<u64>()).prop_map(|(seq, to, life)| Body::Kept {
            seq,
            to,
            life: Incarnation(life)
        }),
        (rid(), seq()).prop_map(|(rid, seq)| Body::Retry { rid, seq }),
        (rid(), seq()).prop_map(|(rid, seq)| Body::Retrying { rid, seq }),
        seq().prop_map(|seq| Body::Discard { seq }),
        views(),
    ]
}

/// What is said when the view changes.
fn views() -> impl Strategy<Value = Body> {
    let nodes = || vec(node(), 0..20).prop_map(NodeSet::from_iter);
    let view = || any::<u32>().prop_map(ViewId);
    let mode = prop_oneof![Just(Mode::None), Just(Mode::Shared), Just(Mode::Exclusive)];
    let what = prop_oneof![Just(Knew::Untouched), Just(Knew::Touched), Just(Knew::Lost)];
    let keep = prop_oneof![Just(Keep::Ordinary), Just(Keep::Named), Just(Keep::Newest)];
    prop_oneof![
        (mode, any::<bool>(), option::of(location()), option::of(location()), view(), seq()).prop_map(
            |(mode, named, copy, kept, since_view, since)| Body::Report {
                mode,
                named,
                copy,
                kept,
                since_view,
                since
            }
        ),
        (what, view()).prop_map(|(what, view)| Body::Knew { what, view }),
        (view(), nodes(), nodes()).prop_map(|(view, homes, gone)| Body::Doubt { view, homes, gone }),
        (any::<bool>(), any::<u32>())
            .prop_map(|(established, settled)| Body::Reported { established, settled: ViewId(settled) }),
        keep.prop_map(|keep| Body::Rebuilt { keep }),
        Just(Body::Opened),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    (any::<u32>(), any::<u64>(), any::<u64>(), any::<u64>(), any::<u32>(), body()).prop_map(
        |(view, incarnation, clock, set, object, body)| Message {
            view: ViewId(view),
            incarnation: Incarnation(incarnation),
            clock,
            key: ObjectKey::new(SetId(set), object),
            body,
        },
    )
}

fn encoded(message: &Message) -> Vec<u8> {
    let mut bytes = vec![0xee; 3]; // encode appends
    encode(message, &mut bytes);
    bytes.split_off(3)
}

proptest! {
    #[test]
    fn every_message_comes_back(message in message()) {
        let bytes = encoded(&message);
        prop_assert!(bytes.len() <= MAX_BYTES);
        prop_assert_eq!(decode(&bytes), Ok(message));
    }

    #[test]
    fn cut_or_extended_messages_are_refused(message in message(), cut in 1..MAX_BYTES, more in vec(any::<u8>(), 1..9)) {
        let bytes = encoded(&message);
        prop_assert!(decode(&bytes[..bytes.len().saturating_sub(cut)]).is_err());
        let longer = [&bytes[..], &more].concat();
        prop_assert!(decode(&longer).is_err());
    }

    /// One encoding for each message: what is accepted is what encode would have written.
    #[test]
    fn a_changed_byte_is_refused_or_another_message(message in message(), at in any::<prop::sample::Index>(), flip in 1..=255u8) {
        let mut bytes = encoded(&message);
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        if let Ok(other) = decode(&bytes) {
            prop_assert_ne!(&other, &message);
            prop_assert_eq!(encoded(&other), bytes);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(kind in 0..24u8, mut bytes in vec(any::<u8>(), 0..500), honest in any::<bool>()) {
        if honest && bytes.len() >= HEAD_BYTES {
            // past the first checks, so that the bodies are met
            let length = bytes.len() as u16;
            bytes[0] = kind;
            bytes[1] = 0;
            bytes[2..4].copy_from_slice(&length.to_le_bytes());
            bytes[36..40].fill(0);
        }
        if let Ok(message) = decode(&bytes) {
            prop_assert_eq!(encoded(&message), bytes);
        }
    }
}

#[test]
fn unknown_kinds_and_impossible_nodes_are_named() {
    let head = |kind| Message {
        view: ViewId(1),
        incarnation: Incarnation(1),
        clock: 0,
        key: ObjectKey::default(),
        body: kind,
    };
    let mut bytes = encoded(&head(Body::Evict));
    bytes[0] = 255;
    assert_eq!(decode(&bytes), Err(WireError::Kind(255)));
    let invalidate = Body::Invalidate {
        seq: Seq(1),
        requester: NodeId::new(1).unwrap(),
        life: Incarnation(1),
        after: Rid(0),
        keep: false,
    };
    let mut bytes = encoded(&head(invalidate));
    bytes[HEAD_BYTES + 8] = 255;
    assert_eq!(decode(&bytes), Err(WireError::Field { kind: 5, field: "requester", value: 255 }));
}
