//! What must be true: the judge of every hold.

use kddm_object::{Hold, NodeId, ObjectKey, SetId};
use std::collections::{BTreeMap, BTreeSet};

/// A promise was broken.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Violation(pub String);

/// Per object: what the last put left, and who holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Truth {
    objects: BTreeMap<ObjectKey, Object>,
    written: u64,
    /// Values of which only the first word was written, by a program that died then, and what the second word is.
    halves: BTreeMap<u64, u64>,
    /// Sets that somebody destroys, and whether that is done.
    destroyed: BTreeMap<SetId, bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Object {
    value: u64,
    /// What first touches have made, and nobody has seen yet.
    born: BTreeSet<u64>,
    /// Of every value written since the device had one for certain: what a crash may bring back.
    past: BTreeSet<u64>,
    holders: BTreeMap<(NodeId, usize), Hold>,
    removing: usize,
    /// A remove has begun since the value was last seen: the object may be new.
    may_be_new: bool,
    /// Values up to this were removed for good.
    removed: u64,
    /// It may be lost, or somebody who has lost interest may still accept that: zeros then, for who takes it as it is.
    accepting: bool,
    /// A node died with the only copy: any of `past` may be the object now.
    crashed: bool,
    /// The owner died, and a grab that begins before this is known drops the other copies: then it is what the device has, or the
    /// bytes that somebody still keeps for a node that had fetched them, as after the loss of an only copy.
    may_fall_back: bool,
}

impl Object {
    fn is_untouched(&self) -> bool {
        self.value == 0 && self.past.is_empty() && !self.crashed
    }

    /// Whether a loss or a remove may have taken this value, and all since.
    fn may_be_without(&self, value: u64) -> bool {
        self.crashed || self.may_fall_back || self.may_be_new || self.removed >= value
    }
}

impl Truth {
    /// A thread has got a hold and sees these two words, while the device has `device`. `settled`: the loss of nodes has been dealt with, so that what is seen
    /// after a crash is what remains.
    ///
    /// # Errors
    /// The promise that this breaks.
    pub fn held(
        &mut self,
        key: ObjectKey,
        who: (NodeId, usize),
        hold: Hold,
        seen: [u64; 2],
        device: u64,
        settled: bool,
    ) -> Result<(), Violation> {
        let whole = seen == self.words(seen[0]);
        let ending = self.is_ending(key.set);
        let object = self.objects.entry(key).or_default();
        object.may_be_new |= ending;
        let fail = |what: String| {
            Err(Violation(format!("{what}: {who:?} {hold:?} of {key:?}, which should be {object:?}")))
        };
        if object.holders.values().any(|other| hold == Hold::Exclusive || *other == Hold::Exclusive) {
            return fail("exclusion broken".into());
        }
        if !whole {
            return fail(format!("torn bytes {seen:x?}"));
        }
        let seen = seen[0];
        let kept = seen != object.value && object.past.contains(&seen);
        let fell_back = object.may_fall_back && (seen == device || kept);
        let expected = seen == object.value
            || (object.may_be_new && (seen == 0 || object.born.contains(&seen)))
            || (object.is_untouched() && object.born.contains(&seen))
            || (object.crashed && object.past.contains(&seen))
            || (fell_back && seen != 0)
            || (object.accepting && seen == 0);
        if !expected || (seen != 0 && seen <= object.removed) {
            return fail(format!("wrong bytes {seen}"));
        }
        let born = object.born.remove(&seen);
        if born {
            object.past.insert(seen);
        }
        if (seen == 0 || born) && object.may_be_new && !object.crashed {
            // It was removed: what was written before must not come back.
            object.removed = object.removed.max(object.value);
        }
        if object.crashed || fell_back || seen == 0 || born {
            object.value = seen;
            object.past.retain(|&past| past <= seen);
        }
        object.crashed &= !settled;
        object.may_fall_back &= !settled;
        object.may_be_new = object.removing > 0;
        object.holders.insert(who, hold);
        Ok(())
    }

    /// The value that counts; `None` if nobody has written any.
    pub fn value(&self, key: ObjectKey) -> Option<u64> {
        self.objects.get(&key).map(|object| object.value).filter(|value| *value != 0)
    }

    /// A first touch makes the object, with bytes that only it has: whoever sees them knows that it was made anew.
    pub fn born(&mut self, key: ObjectKey) -> u64 {
        let value = self.next_value();
        self.objects.entry(key).or_default().born.insert(value);
        value
    }

    /// A value that no writer has written yet; larger than all before.
    pub fn next_value(&mut self) -> u64 {
        self.written += 1;
        self.written
    }

    /// The words of an object with that value: the same twice, unless its writer died in the middle of it.
    pub fn words(&self, value: u64) -> [u64; 2] {
        [value, self.halves.get(&value).copied().unwrap_or(value)]
    }

    /// The program that was writing `value` dies: the second word stays what it is.
    pub fn halve(&mut self, value: u64, second: u64) {
        self.halves.insert(value, second);
    }

    /// A hold ends; an exclusive one leaves `value`.
    pub fn put(&mut self, key: ObjectKey, who: (NodeId, usize), value: Option<u64>) {
        let object = self.objects.entry(key).or_default();
        object.holders.remove(&who);
        if let Some(value) = value {
            object.value = value;
            object.past.insert(value);
        }
    }

    /// The same, at some time, or if it should turn out to be lost.
    pub fn will_accept_loss(&mut self, key: ObjectKey) {
        self.objects.entry(key).or_default().accepting = true;
    }

    /// Should the last copies be dropped before the death of their owner is known, what the device has, or somebody keeps, is the object.
    pub fn may_fall_back(&mut self, key: ObjectKey) {
        self.objects.entry(key).or_default().may_fall_back = true;
    }

    /// Somebody takes the object as it is, even if it was lost.
    pub fn accept_loss(&mut self, key: ObjectKey) {
        if let Some(object) = self.objects.get_mut(&key).filter(|object| object.crashed) {
            object.past.insert(0);
        }
    }

    /// After a crash, `value` may be the object.
    pub fn may_become(&mut self, key: ObjectKey, value: u64) {
        if let Some(object) = self.objects.get_mut(&key).filter(|_| value != 0) {
            object.crashed = true;
            object.past.insert(value);
        }
    }

    /// A remove begins.
    pub fn remove_begins(&mut self, key: ObjectKey) -> u64 {
        let object = self.objects.entry(key).or_default();
        object.removing += 1;
        object.may_be_new = true;
        object.value
    }

    /// A remove that began when the value was `before` ends.
    pub fn remove_ends(&mut self, key: ObjectKey, before: u64, done: bool) {
        let object = self.objects.entry(key).or_default();
        object.removing -= 1;
        if done {
            object.removed = object.removed.max(before);
            if object.value <= object.removed {
                object.value = 0;
            }
            let removed = object.removed;
            object.past.retain(|&past| past > removed);
        }
    }

    /// Somebody begins to destroy a set. Until that is done, and where it fails for ever, some nodes may make its objects anew. If it was
    /// destroyed before, that may be `forgotten`.
    pub fn destroy_begins(&mut self, set: SetId, forgotten: bool) {
        *self.destroyed.entry(set).or_default() &= !forgotten;
    }

    /// From here on nobody gets a hold.
    pub fn destroy_ends(&mut self, set: SetId) {
        self.destroyed.insert(set, true);
    }

    /// Whether it was destroyed.
    pub fn is_destroyed(&self, set: SetId) -> bool {
        self.destroyed.get(&set) == Some(&true)
    }

    /// Whether somebody has begun to destroy it.
    pub fn is_ending(&self, set: SetId) -> bool {
        self.destroyed.contains_key(&set)
    }

    /// The value that whatever begins now must find; 0 if none is certain.
    pub fn certain(&self, key: ObjectKey) -> u64 {
        self.objects.get(&key).filter(|object| !object.crashed).map_or(0, |object| object.value)
    }

    /// A sync is acknowledged while the device has `device`.
    ///
    /// # Errors
    /// The device is behind what was put before the sync began.
    pub fn sync_ends(&mut self, key: ObjectKey, wanted: u64, device: u64) -> Result<(), Violation> {
        let object = self.objects.entry(key).or_default();
        if device < wanted && !object.may_be_without(wanted) {
            return Err(Violation(format!(
                "sync of {key:?} acknowledged with {device} on the device, not {wanted}"
            )));
        }
        object.past.retain(|&past| past >= device);
        Ok(())
    }

    /// Whoever began when the value was `before` is told that there is no such object.
    ///
    /// # Errors
    /// There is.
    pub fn absent(&self, key: ObjectKey, before: u64) -> Result<(), Violation> {
        if self.is_ending(key.set) {
            return Ok(());
        }
        match self.objects.get(&key).filter(|object| before > 0 && !object.may_be_without(before)) {
            Some(object) => Err(Violation(format!("{key:?} was said to be absent, and is {object:?}"))),
            None => Ok(()),
        }
    }

    /// The home of `key` begins anew with what its device has, whatever others saw of their copies until they forgot them.
    pub fn home_returns(&mut self, key: ObjectKey, device: u64) {
        let object = self.objects.entry(key).or_default();
        object.crashed = true;
        object.past.insert(device);
    }

    /// A node died: its holds end, and where it had the only copy, what it wrote may be gone.
    pub fn node_dies(
        &mut self,
        node: NodeId,
        only_copy: impl Fn(ObjectKey) -> bool,
        device: impl Fn(ObjectKey) -> Option<u64>,
    ) {
        for (&key, object) in &mut self.objects {
            object.holders.retain(|(holder, _), _| *holder != node);
            if only_copy(key) {
                object.crashed = true;
                object.past.extend(device(key));
            }
        }
    }
}
