//! The cluster key's file (`kddm_cluster::Key`).

use super::{Target, numbered};
use crate::bound::bounded;
use kddm_cluster::{KEY_BYTES, Key};

pub(super) const TARGET: Target =
    Target { name: "key-file", what: "the text of a cluster key", check, seeds, longest: 256 };

fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Some(key) = bounded(0, || Key::parse(text)) {
        assert_eq!(Key::parse(&key.text()), Some(key.clone()), "a key does not come back");
        assert_eq!(text.trim().to_lowercase(), key.text().trim(), "a text is taken for another key");
        assert!(!format!("{key:?}").contains(key.text().trim()), "a key is printed");
    }
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let text = Key::from_bytes([0x5a; KEY_BYTES]).text();
    let texts = [text.clone(), text.to_uppercase(), format!("  {text}\n\n"), text.replacen('5', "+", 1)];
    numbered("key", texts.map(String::into_bytes))
}
