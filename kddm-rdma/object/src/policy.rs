//! What is chosen when a set is created.

use crate::{Home, NodeId, ObjectKey};

/// Where the bytes of an object outlive the memory of the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Durability {
    /// Nowhere: the copy in memory is all there is, and the first toucher makes the object.
    #[default]
    Volatile,
    /// On the home's device, through its linker: at sync, at eviction, and when the linker's owner asks.
    WriteBack,
    /// Nowhere, and nobody misses them: the last copy may go at any time, and whoever touches the object next finds it as its home's
    /// linker makes it. As with a device that has forgotten what was written to it.
    Cache,
}

impl Durability {
    /// Whether an object without any copy is made anew by the home's linker, and nothing is lost.
    pub const fn has_device(self) -> bool {
        !matches!(self, Durability::Volatile)
    }
}

/// What a get or grab does with an object that nobody has touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum FirstTouch {
    /// Make it (through the linker's `first_touch`; zeros by default).
    #[default]
    Make,
    /// Leave it alone and answer *absent*.
    Refuse,
    /// Become its owner without asking a linker; the caller finds zeros and fills them. Only grabs. Of a set with a device the
    /// caller vouches that the device has nothing of the object: if no node has it either, zeros are what it is.
    Manual,
}

/// The policy of a set. Equal on every node; a family computes it from the set's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SetPolicy {
    /// Bytes of each object, 0 (a lock) to [`crate::limits::MAX_OBJECT_SIZE`].
    pub object_size: u32,
    /// Who keeps the directory.
    pub home: Home,
    /// Where bytes outlive memory.
    pub durability: Durability,
}

impl SetPolicy {
    /// A volatile set of objects of `object_size` bytes, homes by hash.
    pub const fn volatile(object_size: u32) -> SetPolicy {
        SetPolicy { object_size, home: Home::Hash, durability: Durability::Volatile }
    }

    /// The home of `key` among `members` (ascending, not empty). `None` if the policy names a node that is
    /// no member or no node at all.
    pub fn home_of(&self, key: ObjectKey, members: &[NodeId]) -> Option<NodeId> {
        let named = match self.home {
            Home::Hash => return hashed(key, members),
            Home::Node(node) => Some(node),
            Home::ObjectBits => NodeId::new((key.object >> 24) as u8).ok(),
            Home::SubjectBits => NodeId::new((key.set.subject() >> 24) as u8).ok(),
            Home::Custom(function) => (function.home)(key, members),
        };
        let there = named.filter(|named| members.binary_search(named).is_ok());
        match self.home {
            Home::Custom(_) if self.durability == Durability::Volatile => {
                there.or_else(|| hashed(key, members))
            }
            _ => there,
        }
    }
}

fn hashed(key: ObjectKey, members: &[NodeId]) -> Option<NodeId> {
    let place = mix(key.set.0 ^ mix(u64::from(key.object / 64))) % members.len().max(1) as u64;
    members.get(place as usize).copied()
}

/// The finaliser of splitmix64 (Steele, Lea, Flood, OOPSLA 2014): every input bit changes every output bit.
const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HomeFunction, SetId};

    fn nodes(ids: &[u8]) -> Vec<NodeId> {
        ids.iter().map(|&id| NodeId::new(id).unwrap()).collect()
    }

    #[test]
    fn bits_name_the_home() {
        let members = nodes(&[1, 2]);
        let by_object = SetPolicy { home: Home::ObjectBits, ..SetPolicy::volatile(8) };
        assert_eq!(by_object.home_of(ObjectKey::new(SetId(1), 0x0200_0007), &members), Some(members[1]));
        assert_eq!(by_object.home_of(ObjectKey::new(SetId(1), 0x0300_0007), &members), None);
        let by_subject = SetPolicy { home: Home::SubjectBits, ..by_object };
        let key = ObjectKey::new(SetId::from_parts(3, 0x0100_0001, 9), 77);
        assert_eq!(by_subject.home_of(key, &members), Some(members[0]));
    }

    #[test]
    fn a_function_says_the_home_unless_that_is_no_member() {
        let home = |key: ObjectKey, _: &[NodeId]| NodeId::new((key.object % 4) as u8).ok();
        let policy =
            SetPolicy { home: Home::Custom(HomeFunction { number: 1, home }), ..SetPolicy::volatile(8) };
        let key = |object| ObjectKey::new(SetId(5), object);
        assert_eq!(policy.home_of(key(6), &nodes(&[1, 2, 3])), NodeId::new(2).ok());
        for object in [4, 6] {
            let by_hash = SetPolicy { home: Home::Hash, ..policy }.home_of(key(object), &nodes(&[1, 3]));
            assert_eq!(policy.home_of(key(object), &nodes(&[1, 3])), by_hash, "nobody, and no member");
        }
        let stored = SetPolicy { durability: Durability::WriteBack, ..policy };
        assert_eq!(stored.home_of(key(6), &nodes(&[1, 2, 3])), NodeId::new(2).ok());
        assert_eq!(stored.home_of(key(6), &nodes(&[1, 3])), None, "where the device is not");
    }

    #[test]
    fn a_range_of_64_has_one_home_and_sets_spread() {
        let members = nodes(&[1, 2, 3]);
        let policy = SetPolicy::volatile(8);
        let home = |set, object| policy.home_of(ObjectKey::new(SetId(set), object), &members).unwrap();
        assert!((0..64).all(|object| home(5, object) == home(5, 0)));
        for node in &members {
            let mine = (0..3000).filter(|&set| home(set, 0) == *node).count();
            assert!((800..1200).contains(&mine), "{mine} of 3000 sets on {node}");
        }
    }
}
