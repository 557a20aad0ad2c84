//! The id of a registered set, and the policy that is written in it.

use kddm_object::{Durability, Home, HomeFunction, NodeId, SetId, SetPolicy, limits::MAX_OBJECT_SIZE};

pub(super) const KIND: u8 = 255;
pub(super) const LAST_SERIAL: u32 = (1 << 24) - 1;

/// The id; `None` if it has no room for such a policy.
pub(super) fn set(serial: u32, policy: SetPolicy) -> Option<SetId> {
    let (home, node) = match policy.home {
        Home::Hash => (0, 0),
        Home::Node(node) => (1, node.get()),
        Home::ObjectBits => (2, 0),
        Home::SubjectBits => return None,
        Home::Custom(function) => (3, function.number),
    };
    let fits = policy.durability == Durability::Volatile
        && policy.object_size <= MAX_OBJECT_SIZE
        && serial <= LAST_SERIAL;
    let parts = [(serial.into(), 0), (node.into(), 24), (home, 32), (policy.object_size.into(), 34)];
    let id = parts.iter().fold(u64::from(KIND) << 56, |id, &(part, bit): &(u64, u32)| id | part << bit);
    fits.then_some(SetId(id))
}

/// The policy of a registered set; `None` if no such id was ever made, or its home function is not among `functions`.
pub(super) fn policy(set: SetId, functions: &[HomeFunction]) -> Option<SetPolicy> {
    let home = match (set.0 >> 32) & 0b11 {
        0 => Home::Hash,
        1 => Home::Node(NodeId::new((set.0 >> 24) as u8).ok()?),
        2 => Home::ObjectBits,
        _ => Home::Custom(*functions.iter().find(|function| function.number == (set.0 >> 24) as u8)?),
    };
    let object_size = (set.0 >> 34) as u32 & 0x3f_ffff;
    let known = set.kind() == KIND && object_size <= MAX_OBJECT_SIZE;
    known.then_some(SetPolicy { home, ..SetPolicy::volatile(object_size) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_come_back_and_ids_differ() {
        let node = NodeId::new(254).unwrap();
        let function = HomeFunction { number: 255, home: |_, _| None };
        let mut ids = std::collections::BTreeSet::new();
        for home in [Home::Hash, Home::Node(node), Home::ObjectBits, Home::Custom(function)] {
            for object_size in [0, 1, 4096, MAX_OBJECT_SIZE] {
                for serial in [1, LAST_SERIAL] {
                    let wanted = SetPolicy { home, ..SetPolicy::volatile(object_size) };
                    let id = set(serial, wanted).unwrap();
                    assert_eq!(policy(id, &[function]), Some(wanted));
                    assert_eq!(policy(id, &[]).is_some(), home != Home::Custom(function));
                    assert!(ids.insert(id));
                }
            }
        }
    }

    #[test]
    fn what_has_no_room_is_refused() {
        let volatile = SetPolicy::volatile(8);
        assert_eq!(set(1, SetPolicy { home: Home::SubjectBits, ..volatile }), None);
        assert_eq!(set(1, SetPolicy { durability: Durability::WriteBack, ..volatile }), None);
        assert_eq!(set(1, SetPolicy::volatile(MAX_OBJECT_SIZE + 1)), None);
        assert_eq!(set(LAST_SERIAL + 1, volatile), None);
        assert_eq!(policy(SetId(u64::MAX), &[]), None);
    }
}
