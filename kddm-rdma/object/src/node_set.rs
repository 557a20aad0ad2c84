//! A set of nodes as 256 bits.

use crate::NodeId;
use std::fmt;

/// A set of nodes. 32 bytes, no allocation at any cluster size.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NodeSet([u64; 4]);

impl NodeSet {
    /// The empty set.
    pub const EMPTY: NodeSet = NodeSet([0; 4]);

    /// From its words, lowest node first; bits that name no node (0, 255) are dropped.
    pub const fn from_words(words: [u64; 4]) -> NodeSet {
        NodeSet([words[0] & !1, words[1], words[2], words[3] & !(1 << 63)])
    }

    /// As words, lowest node first.
    pub const fn words(self) -> [u64; 4] {
        self.0
    }

    /// Adds `node`; true if it was not there.
    pub fn insert(&mut self, node: NodeId) -> bool {
        let (word, bit) = place(node);
        let new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        new
    }

    /// Takes `node` out; true if it was there.
    pub fn remove(&mut self, node: NodeId) -> bool {
        let (word, bit) = place(node);
        let had = self.0[word] & bit != 0;
        self.0[word] &= !bit;
        had
    }

    /// Whether `node` is in the set.
    pub fn contains(&self, node: NodeId) -> bool {
        let (word, bit) = place(node);
        self.0[word] & bit != 0
    }

    /// How many nodes.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0 == [0; 4]
    }

    /// The nodes, ascending.
    pub fn iter(&self) -> impl Iterator<Item = NodeId> + '_ {
        (1..=254u8).filter_map(|id| NodeId::new(id).ok()).filter(|&node| self.contains(node))
    }

    /// Whether every node of `other` is here.
    pub fn contains_all(&self, other: &NodeSet) -> bool {
        self.0.iter().zip(other.0).all(|(mine, theirs)| mine & theirs == theirs)
    }
}

fn place(node: NodeId) -> (usize, u64) {
    (usize::from(node.get() / 64), 1 << (node.get() % 64))
}

impl FromIterator<NodeId> for NodeSet {
    fn from_iter<I: IntoIterator<Item = NodeId>>(nodes: I) -> NodeSet {
        let mut set = NodeSet::EMPTY;
        for node in nodes {
            set.insert(node);
        }
        set
    }
}

impl fmt::Debug for NodeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u8) -> NodeId {
        NodeId::new(id).unwrap()
    }

    #[test]
    fn holds_what_was_put_in() {
        let mut set = NodeSet::EMPTY;
        assert!(set.insert(node(1)) && set.insert(node(254)) && !set.insert(node(1)));
        assert_eq!(set.iter().collect::<Vec<_>>(), [node(1), node(254)]);
        assert!(set.contains_all(&NodeSet::from_iter([node(254)])));
        assert!(!set.contains_all(&NodeSet::from_iter([node(2)])));
        assert!(set.remove(node(1)) && !set.remove(node(1)));
        assert_eq!(set.len(), 1);
    }

    #[test]
    fn impossible_bits_are_dropped() {
        assert_eq!(NodeSet::from_words([u64::MAX; 4]).len(), 254);
    }
}
