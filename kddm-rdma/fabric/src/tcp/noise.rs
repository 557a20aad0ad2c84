//! Mutual authentication and encryption: Noise NNpsk0 with the cluster key as the pre-shared key.
//!
//! NNpsk0 (the Noise Protocol Framework, revision 34, section 9) proves to both sides that the other has the key and
//! gives each connection keys of its own, so that one that was recorded cannot be read or replayed later.

use kddm_cluster::Key;
use snow::{Builder, HandshakeState, TransportState};

/// Bytes of each of the two handshake messages: an ephemeral key and a tag.
pub(super) const HANDSHAKE_BYTES: usize = 48;

/// Bytes that sealing adds.
pub(super) const TAG_BYTES: usize = 16;

/// The most that one record holds, sealed.
pub(super) const MAX_RECORD: usize = 65535;

const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s";
const PROLOGUE: &[u8] = b"kDDM tcp 1";

/// A handshake under way.
pub(super) struct Handshake(Box<HandshakeState>);

/// A connection's keys.
pub(super) struct Sealed(Box<TransportState>);

impl Handshake {
    /// The side that dialled.
    pub(super) fn dialling(key: &Key) -> Result<Handshake, snow::Error> {
        Ok(Handshake(Box::new(builder(key)?.build_initiator()?)))
    }

    /// The side that listened.
    pub(super) fn listening(key: &Key) -> Result<Handshake, snow::Error> {
        Ok(Handshake(Box::new(builder(key)?.build_responder()?)))
    }

    /// This side's message.
    pub(super) fn write(&mut self) -> Result<[u8; HANDSHAKE_BYTES], snow::Error> {
        let mut message = [0; HANDSHAKE_BYTES];
        self.0.write_message(&[], &mut message)?;
        Ok(message)
    }

    /// The other side's message; an error if it has another key.
    pub(super) fn read(&mut self, message: &[u8]) -> Result<(), snow::Error> {
        self.0.read_message(message, &mut []).map(drop)
    }

    /// Both messages have been exchanged.
    pub(super) fn finish(self) -> Result<Sealed, snow::Error> {
        Ok(Sealed(Box::new(self.0.into_transport_mode()?)))
    }
}

impl Sealed {
    /// Appends the record (its length in 2 bytes, then itself) of `plain`, which fits into one.
    pub(super) fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), snow::Error> {
        let length = plain.len() + TAG_BYTES;
        let start = out.len() + 2;
        out.extend_from_slice(&(length as u16).to_le_bytes()); // snow refuses more than MAX_RECORD
        out.resize(start + length, 0);
        self.0.write_message(plain, &mut out[start..]).map(drop)
    }

    /// What `record` holds, into `plain`; an error if it is not what the other side sealed next.
    pub(super) fn open(&mut self, record: &[u8], plain: &mut [u8]) -> Result<usize, snow::Error> {
        self.0.read_message(record, plain)
    }
}

fn builder(key: &Key) -> Result<Builder<'_>, snow::Error> {
    Builder::new(PATTERN.parse()?).psk(0, key.bytes())?.prologue(PROLOGUE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_opens_and_another_does_not() {
        let (key, other) = (Key::from_bytes([1; 32]), Key::from_bytes([2; 32]));
        let mut dialling = Handshake::dialling(&key).unwrap();
        let mut listening = Handshake::listening(&key).unwrap();
        let first = dialling.write().unwrap();
        assert!(Handshake::listening(&other).unwrap().read(&first).is_err());
        listening.read(&first).unwrap();
        dialling.read(&listening.write().unwrap()).unwrap();
        let (mut a, mut b) = (dialling.finish().unwrap(), listening.finish().unwrap());

        let (mut wire, mut plain) = (Vec::new(), [0; 64]);
        a.seal(b"hello", &mut wire).unwrap();
        assert_eq!(usize::from(u16::from_le_bytes([wire[0], wire[1]])), wire.len() - 2);
        assert_eq!(b.open(&wire[2..], &mut plain), Ok(5));
        assert_eq!(&plain[..5], b"hello");
        assert!(b.open(&wire[2..], &mut plain).is_err(), "a replayed record");
    }
}
