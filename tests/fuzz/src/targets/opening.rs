//! A connection of the tcp fabric before it is a session (`kddm_fabric`'s tcp/opening.rs): preamble, Noise, records, greeting.

use super::{Target, numbered};
use crate::{
    bound::bounded,
    input::{Input, add_piece},
};
use kddm_fabric::tcp::fuzz::{Heard, caller, controls, frame, stranger};

pub(super) const TARGET: Target = Target {
    name: "opening",
    what: "a caller of the tcp fabric: one without the key, and one that has it and greets",
    check,
    seeds,
    longest: 4096,
};

/// A channel has two inboxes of a record each, Noise its state, and an answer is short.
const MOST: usize = 512 << 10;

/// The first byte says who calls: 0 somebody without the key, who says the rest; 1 a member, whose records are the pieces of the rest.
fn check(input: &[u8]) {
    let mut input = Input(input);
    if input.byte().unwrap_or(0) & 1 == 0 {
        let heard = bounded(MOST, || stranger(input.0));
        assert!(
            !matches!(heard, Heard::Open(_) | Heard::Outlived(_)),
            "a session with somebody who has no key"
        );
        return;
    }
    let mut records = Vec::new();
    while let Some(record) = input.piece() {
        records.push(record);
    }
    let heard = bounded(MOST, || caller(records.iter().copied()));
    if let Heard::Open(node) = heard {
        let [hello, ready, ..] = &controls()[..] else { unreachable!("they are listed") };
        assert_eq!(node, 2, "a session with another node than the one at that address");
        let (said, ready) = (records[1], frame(6, ready));
        let peers = ready.len() - 1; // any number
        assert!(said.len() == ready.len() && said[..peers] == ready[..peers], "a session without Ready");
        let [start, end] = [4 + 4 + 1, 4 + 4 + 1 + 17]; // frame head, version, which message; then cluster and node
        assert_eq!(records[0][start..end], frame(6, hello)[start..end], "another cluster or node is let in");
    }
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let stranger = |bytes: &[u8]| [&[0], bytes].concat();
    let magic = |version: u16, word: u16| {
        let preamble = [&b"kDDM"[..], &version.to_le_bytes(), &word.to_le_bytes()].concat();
        stranger(&[&preamble[..], &[9; 48]].concat())
    };
    let strangers = [magic(1, 1), magic(1, 2), magic(2, 1), stranger(b"GET / HTTP/1.1\r\n"), stranger(b"kD")];
    let member = |controls: &[&Vec<u8>]| {
        let mut input = vec![1];
        controls.iter().for_each(|control| add_piece(&mut input, &frame(6, control)));
        input
    };
    let all = controls();
    let [hello, ready, other, refuse, goodbye, lost] = &all[..] else { unreachable!("they are listed") };
    let members = [
        member(&[hello, ready]),
        member(&[hello, lost]),
        member(&[hello, hello]),
        member(&[ready]),
        member(&[other, ready]),
        member(&[refuse]),
        member(&[hello, goodbye]),
        [member(&[hello]), vec![4, 0, 5, 0, 0, 0]].concat(),
    ];
    let mut seeds = numbered("stranger", strangers);
    seeds.extend(numbered("member", members));
    seeds
}
