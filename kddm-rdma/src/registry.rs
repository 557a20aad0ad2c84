//! Sets by name.
//!
//! The registry is itself a set of coherent objects, set 0: object 0 counts the sets ever made and is held exclusively by whoever makes
//! or destroys one; the others are places for entries, found by the hash of the name and from there upwards to the first
//! place that was never used; behind them lie maps of the places that have one, for who lists them. Its home is the lowest member.
//!
//! The policy of a registered set is part of its id, so that every node computes it without asking:
//!
//! ```text
//! bit  0..23  serial number   never used again
//! bit 24..31  node of Home::Node, number of the function of Home::Custom
//! bit 32..33  home            0 hash, 1 node, 2 object bits, 3 custom
//! bit 34..54  object size
//! bit 56..63  kind 255
//! ```

mod entry;
mod id;
mod list;

use crate::{Exclusive, Node, OpError, Options, SetFamily, Shared, waiting::Operate};
use entry::{Entry, MAX_NAME, hash};
use kddm_coherence::Asked;
use kddm_object::{FirstTouch, Home, HomeFunction, NodeId, ObjectKey, SetId, SetPolicy};
use std::sync::Arc;

/// To whom a set belongs, and who may do what with it, as of a file. The registry keeps it; who lets programs in asks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The permission bits: read is get, write is grab, remove and the like; what execute means is up to who asks.
    pub mode: u16,
}

/// What the registry knows of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SetInfo {
    /// Its id, never used again.
    pub id: SetId,
    /// Its policy.
    pub policy: SetPolicy,
    /// To whom it belongs.
    pub owner: Owner,
}

/// Why a set could not be created or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// The name is taken.
    #[error("there is a set of this name already; open it, destroy it first, or choose another name")]
    Exists,
    /// No set has the name.
    #[error("there is no set of this name; create it first")]
    Unknown,
    /// The name cannot be stored.
    #[error("a set's name has 1 to {MAX_NAME} bytes")]
    Name,
    /// The policy cannot be stored.
    #[error(
        "a registered set is volatile, has objects of at most 1 MiB, and its home is by hash, a node, in the object's \
         number, or said by a function of a SetFamily given to Node::start; a set with a device needs such a family of its own"
    )]
    Policy,
    /// No place is left.
    #[error("the registry is full; destroy sets that are not used")]
    Full,
    /// The registry's own objects could not be had.
    #[error(transparent)]
    Object(#[from] OpError),
}

const REGISTRY: SetId = SetId(0);
const COUNTER: ObjectKey = ObjectKey::new(REGISTRY, 0);
/// Objects of a set by name that are brought ahead of who gets them in order.
const READ_AHEAD: u32 = 32;
/// Places for entries: 1 to this.
const PLACES: u32 = 1 << 16;

/// The family of set 0.
pub(crate) struct Registry(SetPolicy);

impl Registry {
    pub(crate) fn at(home: NodeId) -> Registry {
        Registry(SetPolicy { home: Home::Node(home), ..SetPolicy::volatile(entry::SIZE as u32) })
    }
}

impl SetFamily for Registry {
    fn kind(&self) -> u8 {
        REGISTRY.kind()
    }
    fn name(&self) -> &str {
        "registry"
    }
    fn policy(&self, set: SetId) -> Option<SetPolicy> {
        (set == REGISTRY).then_some(self.0)
    }
}

/// The family of the sets in the registry, and the functions that may say where their objects have their home.
pub(crate) struct Registered(Vec<HomeFunction>);

impl Registered {
    pub(crate) fn among(families: &[Arc<dyn SetFamily>]) -> Registered {
        Registered(families.iter().flat_map(|family| family.home_functions().iter().copied()).collect())
    }
}

impl SetFamily for Registered {
    fn kind(&self) -> u8 {
        id::KIND
    }
    fn name(&self) -> &str {
        "registered"
    }
    fn policy(&self, set: SetId) -> Option<SetPolicy> {
        id::policy(set, &self.0)
    }
    fn read_ahead(&self, _: SetId) -> u32 {
        READ_AHEAD
    }
}

impl Node {
    /// Makes a volatile set and gives it a name and an owner.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn create_set(
        &self,
        name: &str,
        policy: SetPolicy,
        owner: Owner,
    ) -> Result<SetId, RegistryError> {
        check(name)?;
        let mut counter = self.grab(COUNTER).await?;
        let found = self.find(name).await?;
        if found.entry.is_some() {
            return Err(RegistryError::Exists);
        }
        let key = found.place.ok_or(RegistryError::Full)?;
        let mut place = self.grab(key).await?;
        let set = id::set(next_serial(&mut counter)?, policy).ok_or(RegistryError::Policy)?;
        if self.inner().families.policy(set) != Some(policy) {
            return Err(RegistryError::Policy);
        }
        self.mark_used(key, true).await?;
        Entry::Set { name, set, owner }.write(&mut place);
        Ok(set)
    }

    /// The set of that name.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn open_set(&self, name: &str) -> Result<SetInfo, RegistryError> {
        check(name)?;
        let (_, id, owner) = self.find(name).await?.entry.ok_or(RegistryError::Unknown)?;
        self.info(id, owner).ok_or(RegistryError::Policy)
    }

    /// Ends the set of that name, whoever uses it. From the end of this operation on, nobody gets a hold of its objects, anywhere
    /// ([`OpError::Destroyed`]); those who wait for one are told so at once; holds last until they are put, and the memory of each
    /// object is free when its last one is. No other set gets that id.
    ///
    /// If it fails, some nodes may know of it already and others may not: it may be repeated.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn destroy_set(&self, name: &str) -> Result<(), RegistryError> {
        check(name)?;
        let _counter = self.grab(COUNTER).await?;
        let (key, id, _) = self.find(name).await?.entry.ok_or(RegistryError::Unknown)?;
        let mut place = self.grab(key).await?;
        Operate::new(self.inner(), ObjectKey::new(id, 0), Asked::Destroy).await?;
        Entry::Destroyed.write(&mut place);
        Ok(self.mark_used(key, false).await?)
    }

    /// Where the entry of `name` is, and where it could be.
    async fn find(&self, name: &str) -> Result<Found, OpError> {
        let mut place = None;
        let first = hash(name);
        for step in 0..PLACES {
            let key = ObjectKey::new(REGISTRY, 1 + first.wrapping_add(step) % PLACES);
            let Some(bytes) = self.if_touched(key).await? else {
                return Ok(Found { entry: None, place: place.or(Some(key)) });
            };
            match Entry::read(&bytes) {
                Entry::Set { name: other, set, owner } if other == name => {
                    return Ok(Found { entry: Some((key, set, owner)), place });
                }
                Entry::Set { .. } => {}
                Entry::Destroyed => place = place.or(Some(key)),
                // Touched by somebody who gave up before writing: as good as never used.
                Entry::Empty => return Ok(Found { entry: None, place: place.or(Some(key)) }),
            }
        }
        Ok(Found { entry: None, place })
    }

    /// `None` if no such id was ever made, or this node does not know what its policy means.
    fn info(&self, id: SetId, owner: Owner) -> Option<SetInfo> {
        self.inner().families.policy(id).map(|policy| SetInfo { id, policy, owner })
    }

    async fn if_touched(&self, key: ObjectKey) -> Result<Option<Shared>, OpError> {
        let options = Options { first_touch: FirstTouch::Refuse, ..Options::default() };
        match self.get_with(key, options).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(OpError::Absent) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

struct Found {
    entry: Option<(ObjectKey, SetId, Owner)>,
    /// A place that is free for an entry of the name.
    place: Option<ObjectKey>,
}

fn check(name: &str) -> Result<(), RegistryError> {
    if (1..=MAX_NAME).contains(&name.len()) { Ok(()) } else { Err(RegistryError::Name) }
}

fn next_serial(counter: &mut Exclusive) -> Result<u32, RegistryError> {
    let (bytes, _) = counter.split_first_chunk_mut::<4>().ok_or(RegistryError::Full)?;
    let serial = u32::from_le_bytes(*bytes) + 1;
    if serial > id::LAST_SERIAL {
        return Err(RegistryError::Full);
    }
    *bytes = serial.to_le_bytes();
    Ok(serial)
}
