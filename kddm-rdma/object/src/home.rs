//! Which node keeps an object's directory entry.

use crate::{NodeId, ObjectKey};
use std::fmt;
use std::hash::{Hash, Hasher};

/// Which node keeps an object's directory entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Home {
    /// Spread over the members of the view by a hash of (set, object / 64), so that a range has few homes.
    Hash,
    /// One node for the whole set.
    Node(NodeId),
    /// The top byte of the object's number.
    ObjectBits,
    /// The top byte of the set's subject (kDFS: the node bits of the inode number).
    SubjectBits,
    /// Whatever a function of the program says.
    Custom(HomeFunction),
}

/// From an object, and the members of the view (ascending, not empty), to the object's home.
///
/// Two functions with one number are taken for the same. Under its number a function has to say the same on every node, and for ever:
/// it looks at nothing but what it is given. It is asked often, with a node's lock held. A node that is no member is no home: an object
/// of a volatile set then has the one that the hash says, so that it moves there and back as nodes leave and return; one with a device
/// has none.
#[derive(Clone, Copy)]
pub struct HomeFunction {
    /// The function's name to other nodes.
    pub number: u8,
    /// The function.
    pub home: fn(ObjectKey, &[NodeId]) -> Option<NodeId>,
}

impl PartialEq for HomeFunction {
    fn eq(&self, other: &HomeFunction) -> bool {
        self.number == other.number
    }
}

impl Eq for HomeFunction {}

impl Hash for HomeFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.number.hash(state);
    }
}

impl fmt::Debug for HomeFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "function {}", self.number)
    }
}
