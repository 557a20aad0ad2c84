//! A session of the tcp fabric (`kddm_fabric`'s tcp/session.rs), whose peer is a member that says what it likes.

use super::{Target, numbered};
use crate::{
    bound::bounded,
    input::{Input, add_piece},
};
use kddm_fabric::{
    Event,
    tcp::fuzz::{Spoken, controls, frame, frames},
    wire,
};
use std::cell::RefCell;

pub(super) const TARGET: Target = Target {
    name: "session",
    what: "an open session of the tcp fabric: messages, READs asked for, answers to READs",
    check,
    seeds,
    longest: 4096,
};

/// An object that is staged for an answer, and what waits for the network.
const MOST: usize = (1 << 20) + (2 << 20);

thread_local! {
    /// A handshake takes longer than all the rest: one connection hears input after input.
    static SPOKEN: RefCell<Option<Spoken>> = const { RefCell::new(None) };
}

/// The input's pieces are records.
fn check(input: &[u8]) {
    SPOKEN.with_borrow_mut(|kept| {
        let mut spoken = kept.take().unwrap_or_default();
        spoken.begin();
        let mut input = Input(input);
        while let Some(record) = input.piece() {
            let (told, ended) = bounded(MOST, || spoken.hear(record));
            as_the_frames_say(record, &told, ended.is_some());
            assert!(spoken.backlog() <= MOST, "{} bytes wait", spoken.backlog());
            if ended.is_some() {
                break;
            }
        }
        assert!(spoken.landed_in_place(), "bytes landed beside the slot of their READ");
        *kept = Some(spoken);
    });
}

/// What is told are the record's messages, in order, up to the frame that ends the session, and READs that are done.
fn as_the_frames_say(record: &[u8], told: &[Event], ended: bool) {
    let messages: Vec<_> = told
        .iter()
        .filter_map(|event| match event {
            Event::Message(node, message) => {
                assert_eq!(node.get(), 2, "a message of another node");
                Some(message.clone())
            }
            Event::ReadDone(token, _) => {
                assert!([1, 4].contains(&token.0), "a READ that nobody asked for: {token:?}");
                None
            }
            other => panic!("told {other:?}"),
        })
        .collect();
    let Ok(frames) = frames(record) else {
        assert!(ended, "a record that cannot be cut into frames did not end the session");
        return;
    };
    let said = frames.iter().filter(|(kind, _)| *kind == 1).map_while(|(_, body)| wire::decode(body).ok());
    let said: Vec<_> = said.take(messages.len()).collect();
    assert_eq!(messages, said, "other messages than were said");
    let all = frames.iter().filter(|(kind, _)| *kind == 1).count();
    assert!(ended || messages.len() == all, "a message was swallowed");
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let message = super::wire::TARGET.seeds;
    let messages: Vec<u8> = message().iter().take(3).flat_map(|(_, bytes)| frame(1, bytes)).collect();
    let read = |number: u64, slot: u32, length: u32| {
        let fields = [slot, 1, length].map(u32::to_le_bytes).concat();
        frame(2, &[&number.to_le_bytes()[..], &fields].concat())
    };
    let data = |number: u64, offset: u32, length: usize| {
        let head = [&number.to_le_bytes()[..], &offset.to_le_bytes()].concat();
        frame(3, &[&head[..], &vec![0x11; length]].concat())
    };
    let none = |number: u64| frame(4, &number.to_le_bytes());
    let [_, ready, _, _, goodbye, _] = &controls()[..] else { unreachable!("they are listed") };
    let records = [
        vec![messages],
        vec![read(0, 0, 4096), [read(1, 1, 1 << 20), read(2, u32::MAX, 64)].concat()],
        vec![data(0, 0, 1000), [data(0, 1000, 1500), data(0, 2500, 1596)].concat(), none(1)],
        vec![none(0), none(1)],
        vec![data(0, 1, 10)],
        vec![frame(5, b""), frame(5, b"")],
        vec![frame(6, goodbye)],
        vec![frame(6, ready)],
        vec![frame(7, b"word")],
    ];
    numbered(
        "session",
        records.map(|records| {
            let mut input = Vec::new();
            records.iter().for_each(|record| add_piece(&mut input, record));
            input
        }),
    )
}
