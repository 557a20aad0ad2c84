//! Frames: what a record is made of.
//!
//! ```text
//! connection   preamble (8) and Noise message (48), either way; then records
//! preamble     0..4 "kDDM" | 4..6 handshake version | 6..8 word: 1 here is my handshake, 2 I could not read yours
//! record       0..2 length n | 2..2+n sealed: one or more frames; frames do not span records
//! frame        0 kind | 1 zero | 2..4 length n | 4..4+n body
//!
//! kind  frame      body
//!  1    MESSAGE    one message, see [`crate::wire`]
//!  2    READ       0..8 number | 8..12 slot | 12..16 generation | 16..20 length
//!  3    DATA       0..8 number | 8..12 offset | 12.. bytes
//!  4    NO DATA    0..8 number                        the slot is not there, or another object's by now
//!  5    HEARTBEAT
//!  6    CONTROL    0..4 protocol version | 4.. bincode, see [`super::codec`]
//!  7    FABRIC     bincode: what a fabric that only meets its peers here has to say, see [`crate::verbs`]
//! ```
//!
//! READs are numbered from 0 in each session and direction, and answered in order. Everything is little-endian.

use std::mem::offset_of;
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32, U64},
};

/// The handshake that this program speaks. It changes when Noise pattern, preamble or records do.
pub(super) const HANDSHAKE_VERSION: u16 = 1;

/// Most bytes of an object in one DATA frame.
pub(super) const CHUNK_BYTES: usize = 32 << 10;

/// What comes first, in the clear: nothing but what helps to say why it goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Preamble {
    pub(super) magic: [u8; 4],
    pub(super) version: U16,
    pub(super) word: U16,
}

/// The words of a preamble.
pub(super) mod word {
    pub(crate) const HANDSHAKE: u16 = 1;
    pub(crate) const UNREADABLE: u16 = 2;
}

pub(super) const MAGIC: [u8; 4] = *b"kDDM";

impl Preamble {
    pub(super) fn new(word: u16) -> Preamble {
        Preamble { magic: MAGIC, version: HANDSHAKE_VERSION.into(), word: word.into() }
    }
}

/// The kinds of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Message = 1,
    Read = 2,
    Data = 3,
    NoData = 4,
    Heartbeat = 5,
    Control = 6,
    Fabric = 7,
}

/// The head of a frame.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Head {
    kind: u8,
    zero: u8,
    length: U16,
}

/// READ.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Read {
    pub(super) number: U64,
    pub(super) slot: U32,
    pub(super) generation: U32,
    pub(super) length: U32,
}

/// DATA, before its bytes.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Data {
    pub(super) number: U64,
    pub(super) offset: U32,
}

pub(super) const HEAD_BYTES: usize = size_of::<Head>();

const _: () = {
    assert!(
        size_of::<Preamble>() == 8 && offset_of!(Preamble, version) == 4 && offset_of!(Preamble, word) == 6
    );
    assert!(size_of::<Head>() == 4 && offset_of!(Head, length) == 2);
    assert!(size_of::<Read>() == 20 && offset_of!(Read, slot) == 8);
    assert!(offset_of!(Read, generation) == 12 && offset_of!(Read, length) == 16);
    assert!(size_of::<Data>() == 12 && offset_of!(Data, offset) == 8);
};

/// Appends a frame whose body `write` appends.
pub(super) fn append(out: &mut Vec<u8>, kind: Kind, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.resize(start + HEAD_BYTES, 0);
    write(out);
    let length = out.len() - start - HEAD_BYTES;
    debug_assert!(length <= CHUNK_BYTES + size_of::<Data>());
    let head = Head { kind: kind as u8, zero: 0, length: (length as u16).into() };
    out[start..start + HEAD_BYTES].copy_from_slice(head.as_bytes());
}

/// Takes the first frame off `record`; `None` at its end.
pub(super) fn take<'a>(record: &mut &'a [u8]) -> Result<Option<(Kind, &'a [u8])>, String> {
    if record.is_empty() {
        return Ok(None);
    }
    let (head, rest) =
        Head::read_from_prefix(record).map_err(|_| "a frame is cut off in its head".to_owned())?;
    let kind = match (head.kind, head.zero) {
        (1, 0) => Kind::Message,
        (2, 0) => Kind::Read,
        (3, 0) => Kind::Data,
        (4, 0) => Kind::NoData,
        (5, 0) => Kind::Heartbeat,
        (6, 0) => Kind::Control,
        (7, 0) => Kind::Fabric,
        (kind, _) => return Err(format!("frame kind {kind} is not known to this version")),
    };
    let length = usize::from(head.length.get());
    let (body, rest) = rest
        .split_at_checked(length)
        .ok_or_else(|| format!("a {kind:?} frame says {length} bytes where {} follow", rest.len()))?;
    *record = rest;
    Ok(Some((kind, body)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn frames_come_back_in_order() {
        let mut record = Vec::new();
        append(&mut record, Kind::Heartbeat, |_| {});
        append(&mut record, Kind::Data, |out| out.extend_from_slice(b"abc"));
        let mut rest = &record[..];
        assert_eq!(take(&mut rest), Ok(Some((Kind::Heartbeat, &b""[..]))));
        assert_eq!(take(&mut rest), Ok(Some((Kind::Data, &b"abc"[..]))));
        assert_eq!(take(&mut rest), Ok(None));
        let mut cut = &record[..record.len() - 1];
        assert!(take(&mut cut).is_ok());
        assert!(take(&mut cut).unwrap_err().contains("3 bytes where 2 follow"));
    }

    proptest! {
        #[test]
        fn arbitrary_records_end_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut rest = &bytes[..];
            while let Ok(Some(_)) = take(&mut rest) {}
        }
    }
}
