//! Names: of a cluster, and of a node by its address.

use kddm_object::NodeId;
use std::{fmt, net::IpAddr, str::FromStr};

/// Names a cluster: 16 bytes, written like a UUID. Partitions, servers and handshakes compare it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub [u8; 16]);

/// A text that is no cluster id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no cluster id: write 32 hexadecimal digits, dashes allowed, for example the output of `uuidgen`"
)]
pub struct ClusterIdError(pub String);

impl FromStr for ClusterId {
    type Err = ClusterIdError;

    fn from_str(text: &str) -> Result<ClusterId, ClusterIdError> {
        let digits: String = text.chars().filter(|&c| c != '-').collect();
        hex(&digits).map(ClusterId).ok_or_else(|| ClusterIdError(text.to_owned()))
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, byte) in self.0.iter().enumerate() {
            if matches!(place, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The node-id rule: the last byte of an IPv4 address, if that is 1 to 254. Any other node is given its id.
pub fn node_id_of(address: IpAddr) -> Option<NodeId> {
    match address {
        IpAddr::V4(v4) => NodeId::new(v4.octets()[3]).ok(),
        IpAddr::V6(_) => None,
    }
}

/// `N` bytes from exactly `2 * N` hexadecimal digits.
pub(crate) fn hex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    if digits.len() != 2 * N || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; N];
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_id_comes_back_from_its_text() {
        let id = ClusterId([0xab, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
        assert_eq!(id.to_string(), "ab010203-0405-0607-0809-0a0b0c0d0e0f");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().replace('-', "").to_uppercase().parse(), Ok(id));
    }

    #[test]
    fn other_texts_are_no_cluster_id() {
        for text in [
            "",
            "ab01",
            "zb010203-0405-0607-0809-0a0b0c0d0e0f",
            "ééééééééééééééé0",
            "+b01020304050607080900a0b0c0d0e0",
        ] {
            assert!(text.parse::<ClusterId>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_node_is_named_by_its_last_byte() {
        assert_eq!(node_id_of("10.1.2.7".parse().unwrap()).map(NodeId::get), Some(7));
        for address in ["10.1.2.0", "10.1.2.255", "::7"] {
            assert_eq!(node_id_of(address.parse().unwrap()), None, "{address}");
        }
    }
}
