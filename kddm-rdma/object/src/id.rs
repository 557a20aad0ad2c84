//! Names of things: nodes, sets, objects, slots, requests.

use std::fmt;

/// A node of the cluster: the last byte of its address unless configured otherwise. 1 to 254.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u8);

/// A number that cannot name a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no node id: a node id is a whole number from 1 to 254")]
pub struct NodeIdError(pub u32);

impl NodeId {
    /// The node numbered `id`.
    ///
    /// # Errors
    /// 0 (no node) and 255 (the broadcast byte of an address) name no node.
    #[inline]
    pub const fn new(id: u8) -> Result<NodeId, NodeIdError> {
        match id {
            1..=254 => Ok(NodeId(id)),
            _ => Err(NodeIdError(id as u32)),
        }
    }

    /// The number, 1 to 254.
    #[inline]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for NodeId {
    type Error = NodeIdError;
    fn try_from(id: u8) -> Result<NodeId, NodeIdError> {
        NodeId::new(id)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

/// A set of objects of one kind and one size.
///
/// The top byte is the set's *kind* and selects its family (see `kddm-rdma`'s `SetFamily`); what the other
/// bits mean is the family's business. kDFS uses kind:8 | inode:32 | generation:24.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SetId(pub u64);

impl SetId {
    /// A set id from its kind, a 32-bit subject and a generation of which 24 bits count.
    #[inline]
    pub const fn from_parts(kind: u8, subject: u32, generation: u32) -> SetId {
        SetId(((kind as u64) << 56) | ((subject as u64) << 24) | (generation as u64 & 0xff_ffff))
    }

    /// The family this set belongs to.
    #[inline]
    pub const fn kind(self) -> u8 {
        (self.0 >> 56) as u8
    }

    /// The 32 bits below the kind (the inode number in kDFS).
    #[inline]
    pub const fn subject(self) -> u32 {
        (self.0 >> 24) as u32
    }

    /// The low 24 bits (the inode's generation in kDFS).
    #[inline]
    pub const fn generation(self) -> u32 {
        (self.0 & 0xff_ffff) as u32
    }
}

impl fmt::Display for SetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#018x}", self.0)
    }
}

impl fmt::Debug for SetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}:{:x}:{:x}", self.kind(), self.subject(), self.generation())
    }
}

/// One object: a set and the object's number in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ObjectKey {
    /// The set.
    pub set: SetId,
    /// The object's number in the set.
    pub object: u32,
}

impl ObjectKey {
    /// Object `object` of `set`.
    #[inline]
    pub const fn new(set: SetId, object: u32) -> ObjectKey {
        ObjectKey { set, object }
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{}", self.set, self.object)
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.set, self.object)
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl $name {
            /// The next number; wraps.
            #[must_use]
            pub const fn next(self) -> $name {
                $name(self.0.wrapping_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

number!(
    /// A request, unique at its requester for as long as anybody may remember it. 0 names no request.
    Rid, u32
);
number!(
    /// A transaction on one object, numbered by its home. 0 is before the first.
    Seq, u32
);
number!(
    /// A numbered membership of the cluster.
    ViewId, u32
);
number!(
    /// One life of a node's server: larger than that of any earlier life.
    Incarnation, u64
);
impl Incarnation {
    const RENEWALS: u32 = 16;

    /// The first life of a server that is the `start`th of its node: `None` if nobody starts so often.
    pub const fn of_start(start: u64) -> Option<Incarnation> {
        if start > u64::MAX >> Incarnation::RENEWALS {
            return None;
        }
        Some(Incarnation(start << Incarnation::RENEWALS))
    }

    /// Where whatever is numbered in this life begins: far from the numbers of the lives shortly before, of which something late may speak.
    /// Multiples of the golden ratio spread best (Knuth, The Art of Computer Programming, volume 3, section 6.4).
    pub const fn first_number(self) -> u32 {
        let (start, renewal) = ((self.0 >> Incarnation::RENEWALS) as u32, self.0 as u32 & 0xffff);
        start.wrapping_mul(0x9e37_79b9).wrapping_add(renewal.wrapping_mul(0x85eb_ca6b))
    }
}

number!(
    /// How often a slot has been given to an object; tells a reused slot from the one that was named.
    Generation, u32
);

/// A slot of a node's arena: slab number (high 16 bits) and index in the slab (low 16 bits).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SlotId(pub u32);

impl SlotId {
    /// Slot `index` of slab `slab`.
    #[inline]
    pub const fn new(slab: u16, index: u16) -> SlotId {
        SlotId(((slab as u32) << 16) | index as u32)
    }

    /// The slab that the slot is cut from.
    #[inline]
    pub const fn slab(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// The slot's place in its slab.
    #[inline]
    pub const fn index(self) -> u16 {
        self.0 as u16
    }
}

impl fmt::Debug for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}.{}", self.slab(), self.index())
    }
}

/// Where the named copy of an object lies: what a requester READs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// The owner.
    pub node: NodeId,
    /// The slot in the owner's arena.
    pub slot: SlotId,
    /// The slot's generation when the location was named.
    pub generation: Generation,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_ids_are_1_to_254() {
        assert_eq!(NodeId::new(0), Err(NodeIdError(0)));
        assert_eq!(NodeId::new(255), Err(NodeIdError(255)));
        assert_eq!(NodeId::new(254).map(NodeId::get), Ok(254));
    }

    #[test]
    fn set_parts_come_back() {
        let set = SetId::from_parts(3, 0x0200_0001, 0x12_3456);
        assert_eq!((set.kind(), set.subject(), set.generation()), (3, 0x0200_0001, 0x12_3456));
    }

    #[test]
    fn slot_parts_come_back() {
        let slot = SlotId::new(7, 65535);
        assert_eq!((slot.slab(), slot.index()), (7, 65535));
    }
}
