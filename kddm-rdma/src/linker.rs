//! IO linkers: what ties the objects of a set to a device.

use kddm_object::{Mode, NodeId, ObjectKey, SetId};
use std::io;

/// What [`IoLinker::insert_object`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// The device had the object; all its bytes are filled in.
    Filled,
    /// The device does not have it.
    Absent,
}

/// What [`IoLinker::invalidate_object`] says about a copy that is to make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Not this one, not now.
    Keep,
    /// It may go.
    Drop,
}

/// Ties the objects of a set to a device, or to whoever wants to know of them.
///
/// The calls that move bytes ([`insert_object`](IoLinker::insert_object), [`sync_object`](IoLinker::sync_object),
/// [`remove_object`](IoLinker::remove_object)) are made at an object's home only, at most one at a time per object, and
/// without any lock of the node, so they may use it; [`first_touch`](IoLinker::first_touch) is made where the object is
/// touched. Every method has a default, so that a set that lives in memory needs no code.
pub trait IoLinker: Send + Sync {
    /// Whether the calls that move bytes may block. If so they run on threads of the host that may; if not, on whatever
    /// thread met the miss, which saves two changes of thread.
    fn blocks(&self) -> bool {
        true
    }

    /// Whether calls that move bytes of this object wait for more than the device: for what other calls, or holders of
    /// other objects, have yet to do. Each gets a thread of its own then, so that those it waits for find one.
    fn waits_for_others(&self, _key: ObjectKey) -> bool {
        false
    }

    /// Whether the node is to make the calls that only tell something: [`alloc_object`](IoLinker::alloc_object),
    /// [`put_object`](IoLinker::put_object), [`invalidate_object`](IoLinker::invalidate_object),
    /// [`change_state`](IoLinker::change_state), [`import_object`](IoLinker::import_object),
    /// [`export_object`](IoLinker::export_object). They must not block.
    fn notified(&self) -> bool {
        false
    }

    /// Whether the node is to call [`instantiate`](IoLinker::instantiate) and
    /// [`uninstantiate`](IoLinker::uninstantiate); it then remembers every set it has met.
    fn per_set(&self) -> bool {
        false
    }

    /// Before the first call that moves bytes of a set on this node.
    ///
    /// # Errors
    /// The operation that needed the set fails with this error, and the next one tries again.
    fn instantiate(&self, _set: SetId) -> io::Result<()> {
        Ok(())
    }

    /// The node shuts down: a set that was instantiated is needed no more.
    fn uninstantiate(&self, _set: SetId) {}

    /// A new object: fill its bytes. Zeros by default.
    ///
    /// # Errors
    /// The operation fails with this error; the object stays untouched.
    fn first_touch(&self, _key: ObjectKey, bytes: &mut [u8]) -> io::Result<()> {
        bytes.fill(0);
        Ok(())
    }

    /// Read the object from the device into `bytes`, which hold nothing of meaning before.
    ///
    /// # Errors
    /// The operation fails with this error; the object is as it was.
    fn insert_object(&self, _key: ObjectKey, _bytes: &mut [u8]) -> io::Result<Inserted> {
        Ok(Inserted::Absent)
    }

    /// Write the object to the device; after `Ok` it may be dropped from memory.
    ///
    /// # Errors
    /// A sync fails with this error; an eviction leaves the object in memory.
    fn sync_object(&self, _key: ObjectKey, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }

    /// The object ends: remove it from the device.
    ///
    /// # Errors
    /// The remove fails with this error; the object is there as before.
    fn remove_object(&self, _key: ObjectKey) -> io::Result<()> {
        Ok(())
    }

    /// The node that is to be the home of all objects of `set`, if it is not the one that the set's policy names. The
    /// same on every node. Asked often: it computes, and neither blocks nor uses the node.
    fn default_owner(&self, _set: SetId) -> Option<NodeId> {
        None
    }

    /// Told: a copy came to be on this node.
    fn alloc_object(&self, _key: ObjectKey) {}

    /// Told: the last hold was put on an object that others wait for.
    fn put_object(&self, _key: ObjectKey) {}

    /// Asked: may this copy make room? Only a wish: what other *nodes* ask for is never refused.
    fn invalidate_object(&self, _key: ObjectKey) -> Keep {
        Keep::Drop
    }

    /// Told: what this node may do with its copy has changed.
    fn change_state(&self, _key: ObjectKey, _from: Mode, _to: Mode) {}

    /// Told: the copy became stronger by what another node, or the device, gave.
    fn import_object(&self, _key: ObjectKey) {}

    /// Told: the copy became weaker, because another node asked for the object or it was given up.
    fn export_object(&self, _key: ObjectKey) {}
}
