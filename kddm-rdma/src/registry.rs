//! Sets by name.
//!
//! The registry is itself a set of coherent objects, set 0: object 0 counts the sets ever made and is held exclusively by whoever makes
//! or destroys one; the others are places for entries, found by the hash of the name and from there upwards to the first
//! place that was never used. Its home is the lowest member.
//!
//! The policy of a registered set is part of its id, so that every node computes it without asking:
//!
//! ```text
//! bit  0..23  serial number   never used again
//! bit 24..31  node of Home::Node
//! bit 32..33  home            0 hash, 1 node, 2 object bits
//! bit 34..54  object size
//! bit 56..63  kind 255
//! ```

mod entry;
mod id;

use crate::{Exclusive, Node, OpError, SetFamily};
use entry::{Entry, MAX_NAME, hash};
use kddm_object::{FirstTouch, Home, NodeId, ObjectKey, SetId, SetPolicy};

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
        "a registered set is volatile, has objects of at most 1 MiB, and its home is by hash, a node, or in the object's \
         number; a set with a device needs a SetFamily given to Node::start"
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

/// The family of the sets in the registry.
pub(crate) struct Registered;

impl SetFamily for Registered {
    fn kind(&self) -> u8 {
        id::KIND
    }
    fn name(&self) -> &str {
        "registered"
    }
    fn policy(&self, set: SetId) -> Option<SetPolicy> {
        id::policy(set)
    }
}

impl Node {
    /// Makes a volatile set and gives it a name.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn create_set(&self, name: &str, policy: SetPolicy) -> Result<SetId, RegistryError> {
        check(name)?;
        let mut counter = self.grab(COUNTER).await?;
        let found = self.find(name).await?;
        if found.entry.is_some() {
            return Err(RegistryError::Exists);
        }
        let mut place = self.grab(found.place.ok_or(RegistryError::Full)?).await?;
        let set = id::set(next_serial(&mut counter)?, policy).ok_or(RegistryError::Policy)?;
        Entry::Set { name, set }.write(&mut place);
        Ok(set)
    }

    /// The set of that name, and its policy.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn open_set(&self, name: &str) -> Result<(SetId, SetPolicy), RegistryError> {
        check(name)?;
        let (_, set) = self.find(name).await?.entry.ok_or(RegistryError::Unknown)?;
        Ok((set, id::policy(set).ok_or(RegistryError::Policy)?))
    }

    /// Takes the name away from its set. Its objects stay until they are removed: whoever knows the id can use them, and no
    /// other set gets that id.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn destroy_set(&self, name: &str) -> Result<(), RegistryError> {
        check(name)?;
        let _counter = self.grab(COUNTER).await?;
        let (key, _) = self.find(name).await?.entry.ok_or(RegistryError::Unknown)?;
        Entry::Destroyed.write(&mut self.grab(key).await?);
        Ok(())
    }

    /// Where the entry of `name` is, and where it could be.
    async fn find(&self, name: &str) -> Result<Found, OpError> {
        let mut place = None;
        let first = hash(name);
        for step in 0..PLACES {
            let key = ObjectKey::new(REGISTRY, 1 + first.wrapping_add(step) % PLACES);
            let options = crate::Options { first_touch: FirstTouch::Refuse, reserve: false };
            let bytes = match self.get_with(key, options).await {
                Ok(bytes) => bytes,
                Err(OpError::Absent) => return Ok(Found { entry: None, place: place.or(Some(key)) }),
                Err(error) => return Err(error),
            };
            match Entry::read(&bytes) {
                Entry::Set { name: other, set } if other == name => {
                    return Ok(Found { entry: Some((key, set)), place });
                }
                Entry::Set { .. } => {}
                Entry::Destroyed => place = place.or(Some(key)),
                // Touched by somebody who gave up before writing: as good as never used.
                Entry::Empty => return Ok(Found { entry: None, place: place.or(Some(key)) }),
            }
        }
        Ok(Found { entry: None, place })
    }
}

struct Found {
    entry: Option<(ObjectKey, SetId)>,
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
