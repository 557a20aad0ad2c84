//! The set families of kDFS.

use kddm_rdma::{Durability, Home, IoLinker, SetFamily, SetId, SetPolicy};
use kdfs_format::{INODE_SIZE, PAGE_SIZE, sets};
use std::sync::Arc;

/// The families of the kinds 1 to 8, for [`Node::start`](kddm_rdma::Node::start). `linker` ties inodes, directories,
/// files and bitmaps to the own partition; `None` on a diskless node.
pub fn families(linker: Option<Arc<dyn IoLinker>>) -> Vec<Arc<dyn SetFamily>> {
    let family = |kind, name, object_size, home, durability| -> Arc<dyn SetFamily> {
        let linker = match durability {
            Durability::Volatile => None,
            Durability::WriteBack => linker.clone(),
            Durability::Cache => Some(Arc::new(Forgetful) as Arc<dyn IoLinker>),
        };
        Arc::new(Family { kind, name, policy: SetPolicy { object_size, home, durability }, linker })
    };
    use {Durability::*, Home::*};
    const PAGE: u32 = PAGE_SIZE as u32;
    vec![
        family(sets::KIND_INODE, "inode", INODE_SIZE as u32, ObjectBits, WriteBack),
        family(sets::KIND_DIR, "directory", PAGE, SubjectBits, WriteBack),
        family(sets::KIND_FILE, "file", PAGE, SubjectBits, WriteBack),
        family(sets::KIND_BITMAP, "bitmap", PAGE, ObjectBits, WriteBack),
        family(sets::KIND_OPEN, "open", 0, ObjectBits, Volatile),
        family(sets::KIND_STATFS, "statfs", sets::STATFS_SIZE, ObjectBits, Volatile),
        family(sets::KIND_COMMIT, "commit", 0, ObjectBits, WriteBack),
        family(sets::KIND_CUT, "cut", sets::CUT_SIZE, SubjectBits, WriteBack),
        family(sets::KIND_DENTRY, "dentry", sets::DENTRY_SIZE, SubjectBits, Cache),
    ]
}

/// Has nothing, and makes zeros of everything.
struct Forgetful;

impl IoLinker for Forgetful {
    fn blocks(&self) -> bool {
        false
    }
}

struct Family {
    kind: u8,
    name: &'static str,
    policy: SetPolicy,
    linker: Option<Arc<dyn IoLinker>>,
}

impl SetFamily for Family {
    fn kind(&self) -> u8 {
        self.kind
    }

    fn name(&self) -> &str {
        self.name
    }

    fn policy(&self, set: SetId) -> Option<SetPolicy> {
        let of_an_inode = sets::inode_number(sets::node_of(set.subject()), sets::local_of(set.subject()));
        let exists = match self.policy.home {
            Home::SubjectBits => of_an_inode.is_some() && set.generation() != 0,
            _ => set.subject() == 0 && set.generation() == 0,
        };
        (set.kind() == self.kind && exists).then_some(self.policy)
    }

    fn linker(&self) -> Option<Arc<dyn IoLinker>> {
        self.linker.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sets_that_can_exist_have_a_policy() {
        let families = families(None);
        let policy = |set: u64| {
            let set = SetId(set);
            families.iter().find(|family| family.kind() == set.kind()).and_then(|family| family.policy(set))
        };
        assert_eq!(policy(sets::INODE_SET).unwrap().object_size, 256);
        assert_eq!(policy(sets::file_set(0x0100_0001, 1)).unwrap().home, Home::SubjectBits);
        assert_eq!(policy(sets::OPEN_SET).unwrap().durability, Durability::Volatile);
        assert_eq!(policy(sets::INODE_SET | 1), None);
        assert_eq!(policy(sets::dir_set(0x0100_0000, 1)), None, "local id 0");
        assert_eq!(policy(sets::dir_set(0xff00_0001, 1)), None, "node 255");
        assert_eq!(policy(sets::file_set(0x0100_0001, 0)), None, "generation 0");
    }
}
