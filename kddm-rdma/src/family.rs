//! Set families: what the sets of one kind have in common.

use crate::IoLinker;
use kddm_object::{Home, HomeFunction, SetId, SetPolicy, limits::MAX_OBJECT_SIZE};
use std::sync::Arc;

/// The sets of one kind (the top byte of a set's id): their policies and their linker.
///
/// Every node of a cluster has the same families; only their linkers may differ, because a linker ties the objects
/// whose home is *here* to what is *here*. Kinds 0 and 255 belong to the registry.
pub trait SetFamily: Send + Sync {
    /// The kind, 1 to 254.
    fn kind(&self) -> u8;

    /// For people.
    fn name(&self) -> &str;

    /// The policy of a set of this kind; `None` if there is no such set. Asked often, with the engine's lock held: it
    /// computes the policy from the id, and neither blocks nor uses the node.
    fn policy(&self, set: SetId) -> Option<SetPolicy>;

    /// The linker of this node, if there is one.
    fn linker(&self) -> Option<Arc<dyn IoLinker>> {
        None
    }

    /// So many objects of that set are brought ahead of who gets them in ascending order, at most; 0 for none.
    fn read_ahead(&self, _set: SetId) -> u32 {
        0
    }

    /// Functions that sets by name may have as their [`Home::Custom`]. Two with one number are a mistake: the first counts.
    fn home_functions(&self) -> &[HomeFunction] {
        &[]
    }
}

/// The families of a node, by kind.
pub(crate) struct Families(Vec<Option<Family>>);

pub(crate) struct Family {
    pub(crate) family: Arc<dyn SetFamily>,
    pub(crate) linker: Option<Arc<dyn IoLinker>>,
}

impl Families {
    /// `Err` names a kind that two families claim.
    pub(crate) fn new(families: impl IntoIterator<Item = Arc<dyn SetFamily>>) -> Result<Families, u8> {
        let mut by_kind: Vec<Option<Family>> = (0..256).map(|_| None).collect();
        for family in families {
            let kind = family.kind();
            let place = &mut by_kind[usize::from(kind)];
            if place.is_some() {
                return Err(kind);
            }
            *place = Some(Family { linker: family.linker(), family });
        }
        Ok(Families(by_kind))
    }

    /// The policy of `set`; `None` also if its objects are larger than any slot.
    pub(crate) fn policy(&self, set: SetId) -> Option<SetPolicy> {
        let family = self.of(set)?;
        let mut policy = family.family.policy(set).filter(|policy| policy.object_size <= MAX_OBJECT_SIZE)?;
        if let Some(node) = family.linker.as_ref().and_then(|linker| linker.default_owner(set)) {
            policy.home = Home::Node(node);
        }
        Some(policy)
    }

    pub(crate) fn read_ahead(&self, set: SetId) -> u32 {
        self.of(set).map_or(0, |family| family.family.read_ahead(set))
    }

    pub(crate) fn linker(&self, set: SetId) -> Option<&Arc<dyn IoLinker>> {
        self.of(set)?.linker.as_ref()
    }

    /// The kinds that there are, with their names.
    pub(crate) fn all(&self) -> impl Iterator<Item = (u8, &str)> {
        let there = self.0.iter().flatten();
        there.map(|family| (family.family.kind(), family.family.name()))
    }

    fn of(&self, set: SetId) -> Option<&Family> {
        self.0[usize::from(set.kind())].as_ref()
    }
}
