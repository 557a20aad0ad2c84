//! The cluster key: what makes a machine a member.

use crate::id::hex;
use std::fmt;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

/// The secret that all nodes of a cluster share. Its file holds 64 hexadecimal digits and has mode 0600.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; KEY_BYTES]);

impl Key {
    /// A key of these bytes.
    pub const fn from_bytes(bytes: [u8; KEY_BYTES]) -> Key {
        Key(bytes)
    }

    /// The secret bytes.
    pub const fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// The key in the text of its file; `None` if there is none.
    pub fn parse(text: &str) -> Option<Key> {
        hex(text.trim()).map(Key)
    }

    /// The text of its file: the secret.
    pub fn text(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).chain(["\n".to_owned()]).collect()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_back_from_its_text_and_is_never_printed() {
        let key = Key::from_bytes([0x5a; KEY_BYTES]);
        assert_eq!(Key::parse(&key.text()), Some(key.clone()));
        assert!(!format!("{key:?}").contains("5a"));
        assert_eq!(Key::parse("5a5a"), None);
    }
}
