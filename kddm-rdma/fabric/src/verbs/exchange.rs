//! What two ends of a link say to each other on the control connection.

use bincode::{Decode, Encode};
use kddm_verbs::{Address, Source};

/// Slabs told of at a time.
pub(super) const SLABS_AT_A_TIME: usize = 64;

/// One word of a link.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) enum Word {
    /// These are my queue pairs of this epoch. Of an epoch that is not over at the receiver, it ends there.
    Connect(Connect),
    /// I am connected to yours of this epoch.
    Connected(u32),
    /// Slabs of mine, numbered from the first on: address and key. Zeros: it cannot be READ.
    Slabs(u16, Vec<(u64, u32)>),
}

/// Queue pairs, and what goes with them.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct Connect {
    pub(super) epoch: u32,
    #[bincode(with_serde)]
    pub(super) messages: Address,
    #[bincode(with_serde)]
    pub(super) reads: Address,
    /// Parcels that you may send before I have taken the first.
    pub(super) credits: u32,
    /// Parcels of yours that I have taken in this session.
    pub(super) taken: u32,
    /// Bytes of each of my slabs.
    pub(super) slab_bytes: u32,
    /// Slabs that I may ever have.
    pub(super) slab_limit: u16,
}

/// A slab as a word tells of it.
pub(super) fn told(source: Option<Source>) -> (u64, u32) {
    source.map_or((0, 0), |source| (source.address, source.key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::{decode_word, encode_word};
    use proptest::prelude::*;

    fn connect() -> Connect {
        let address =
            Address { number: 7, first_packet: 9, gid: [3; 16], lid: 0, mtu: 1024, reads_answered: 128 };
        Connect {
            epoch: u32::MAX,
            messages: address,
            reads: address,
            credits: 64,
            taken: u32::MAX,
            slab_bytes: 4 << 20,
            slab_limit: u16::MAX,
        }
    }

    #[test]
    fn words_come_back_and_fit() {
        let slabs = vec![(u64::MAX, u32::MAX); SLABS_AT_A_TIME];
        for word in [Word::Connect(connect()), Word::Connected(3), Word::Slabs(u16::MAX, slabs)] {
            let bytes = encode_word(&word);
            assert_eq!(decode_word::<Word>(&bytes), Some(word));
            assert_eq!(decode_word::<Word>(&[&bytes[..], b"x"].concat()), None);
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode_word::<Word>(&bytes);
        }
    }
}
