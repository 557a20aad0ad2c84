//! Open files and directories of a mount, by the number that the kernel hands back with each request.

use parking_lot::RwLock;
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// What is open.
#[derive(Debug)]
pub struct Handles<T> {
    open: RwLock<HashMap<u64, Arc<T>>>,
    next: AtomicU64,
}

impl<T> Default for Handles<T> {
    fn default() -> Handles<T> {
        Handles { open: RwLock::default(), next: AtomicU64::new(1) }
    }
}

impl<T> Handles<T> {
    /// Keeps `what` open under a number that was never used before.
    pub fn insert(&self, what: T) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.open.write().insert(number, Arc::new(what));
        number
    }

    /// What is open under `number`.
    pub fn get(&self, number: u64) -> Option<Arc<T>> {
        self.open.read().get(&number).cloned()
    }

    /// Closes `number`; requests that still use it keep it until they end.
    pub fn remove(&self, number: u64) -> Option<Arc<T>> {
        self.open.write().remove(&number)
    }

    /// Closes everything: the mount is gone.
    pub fn drain(&self) -> Vec<Arc<T>> {
        self.open.write().drain().map(|(_, open)| open).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_not_used_again() {
        let handles = Handles::default();
        let first = handles.insert("a");
        assert_eq!(handles.get(first).as_deref(), Some(&"a"));
        assert!(handles.remove(first).is_some() && handles.remove(first).is_none());
        assert_ne!(handles.insert("b"), first);
        assert_eq!(handles.drain().len(), 1);
    }
}
