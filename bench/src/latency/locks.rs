//! The floor of hits: POSIX read-write locks, as any program has them. The only unsafe code of this crate.
#![allow(unsafe_code)]

use nix::libc;
use std::cell::UnsafeCell;

/// Locks side by side.
pub struct Locks(Box<[UnsafeCell<libc::pthread_rwlock_t>]>);

impl Locks {
    /// `count` locks.
    pub fn new(count: usize) -> Locks {
        Locks((0..count).map(|_| UnsafeCell::new(libc::PTHREAD_RWLOCK_INITIALIZER)).collect())
    }

    /// rdlock and unlock.
    #[inline]
    pub fn read(&self, at: usize) {
        let lock = self.0[at].get();
        // SAFETY: the lock is initialised and the box keeps it in its place; what is locked here is unlocked here.
        unsafe {
            assert_eq!(libc::pthread_rwlock_rdlock(lock), 0);
            assert_eq!(libc::pthread_rwlock_unlock(lock), 0);
        }
    }

    /// wrlock and unlock.
    #[inline]
    pub fn write(&self, at: usize) {
        let lock = self.0[at].get();
        // SAFETY: as in `read`.
        unsafe {
            assert_eq!(libc::pthread_rwlock_wrlock(lock), 0);
            assert_eq!(libc::pthread_rwlock_unlock(lock), 0);
        }
    }
}
