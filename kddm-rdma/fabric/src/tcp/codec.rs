//! Control messages ⇄ bytes: the one place that knows bincode.
//!
//! Each is preceded by its sender's protocol version (4 bytes, little-endian), so that nodes of different versions can
//! tell each other so without understanding anything else. Lengths are bounded.

use bincode::{
    Decode, Encode,
    config::{self, Configuration, Limit, LittleEndian, Varint},
};

/// The longest control message.
pub(super) const MAX_CONTROL: usize = 2048;

/// The longest text in one; what is longer is cut.
const MAX_TEXT: usize = 1000;

const CONFIG: Configuration<LittleEndian, Varint, Limit<MAX_CONTROL>> = config::standard().with_limit();

/// What nodes say about the connection itself.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) enum Control {
    /// Who I am; the first message of either side.
    Hello(Hello),
    /// I accept your Hello. When both sides have said so, the session begins, unless one of them has lost the other.
    Ready(Standing),
    /// I do not accept your Hello, and close.
    Refuse(String),
    /// I close the session: because this node leaves (and holds nothing any more), or because of a fault.
    Goodbye {
        /// This node's server ends.
        leaving: bool,
        /// Why, for people.
        reason: String,
    },
}

/// Who a node is.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct Hello {
    pub(super) cluster: [u8; 16],
    pub(super) node: u8,
    pub(super) incarnation: u64,
    pub(super) format_version: u32,
    pub(super) root: Option<u32>,
    pub(super) fabric: String,
}

/// Which of two nodes gives way, if one has lost the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct Standing {
    /// I have lost you in the life that you come with.
    pub(super) lost: bool,
    /// So many others I have not lost.
    pub(super) peers: u8,
}

/// Why bytes are no control message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// The sender speaks another version.
    Version(u32),
    /// It is none of this version.
    Malformed,
}

impl Control {
    /// A refusal; a long text is cut.
    pub(super) fn refuse(reason: &str) -> Control {
        Control::Refuse(cut(reason))
    }

    /// A goodbye; a long text is cut.
    pub(super) fn goodbye(leaving: bool, reason: &str) -> Control {
        Control::Goodbye { leaving, reason: cut(reason) }
    }

    /// Appends the message.
    pub(super) fn encode(&self, version: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&version.to_le_bytes());
        out.extend_from_slice(&encode_word(self));
    }

    /// The message that is exactly `bytes`, from a sender of our `version`.
    pub(super) fn decode(version: u32, bytes: &[u8]) -> Result<Control, Unreadable> {
        let (theirs, rest) = bytes.split_first_chunk().ok_or(Unreadable::Malformed)?;
        let theirs = u32::from_le_bytes(*theirs);
        if theirs != version {
            return Err(Unreadable::Version(theirs));
        }
        decode_word(rest).ok_or(Unreadable::Malformed)
    }
}

/// What a fabric says to a peer's, as bytes.
pub(crate) fn encode_word(word: &impl Encode) -> Vec<u8> {
    let bytes = bincode::encode_to_vec(word, CONFIG);
    bytes.expect("a vector takes any bytes")
}

/// What a peer's fabric says; `None` if it is nothing that this one knows. As in `wire`, each word has one encoding: bincode
/// would also take a small number in more bytes than it needs.
pub(crate) fn decode_word<T: Encode + Decode<()>>(bytes: &[u8]) -> Option<T> {
    let (word, _) = bincode::decode_from_slice(bytes, CONFIG).ok()?;
    (encode_word(&word) == bytes).then_some(word)
}

fn cut(text: &str) -> String {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(control: &Control) -> Vec<u8> {
        let mut bytes = Vec::new();
        control.encode(7, &mut bytes);
        bytes
    }

    #[test]
    fn control_messages_come_back_and_fit() {
        let hello = Hello {
            cluster: [9; 16],
            node: 3,
            incarnation: u64::MAX,
            format_version: 1,
            root: Some(1 << 24),
            fabric: "verbs".to_owned(),
        };
        for control in [
            Control::Hello(hello),
            Control::Ready(Standing { lost: true, peers: 253 }),
            Control::refuse(&"é".repeat(9999)),
            Control::goodbye(true, "x"),
        ] {
            let bytes = encoded(&control);
            assert!(bytes.len() <= MAX_CONTROL);
            assert_eq!(Control::decode(7, &bytes), Ok(control));
            assert_eq!(Control::decode(8, &bytes), Err(Unreadable::Version(7)));
            let longer = [&bytes[..], b"x"].concat();
            assert_eq!(Control::decode(7, &longer), Err(Unreadable::Malformed));
        }
    }

    #[test]
    fn a_number_in_more_bytes_than_it_needs_is_refused() {
        assert_eq!(decode_word::<u32>(&[7]), Some(7));
        assert_eq!(decode_word::<u32>(&[251, 7, 0]), None);
        assert_eq!(decode_word::<u32>(&[7, 0]), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Control::decode(7, &bytes);
            if bytes.len() >= 4 {
                bytes[..4].copy_from_slice(&7u32.to_le_bytes());
                let _ = Control::decode(7, &bytes);
            }
        }
    }
}
