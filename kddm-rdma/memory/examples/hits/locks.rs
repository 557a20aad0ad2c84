//! The floor: POSIX read-write locks, as any program has them.

use std::cell::UnsafeCell;

/// Locks side by side, each used by one thread at a time here.
pub struct Locks(Box<[UnsafeCell<libc::pthread_rwlock_t>]>);

// SAFETY: pthread_rwlock_t is made to be used by many threads through one address, which a boxed slice keeps.
unsafe impl Sync for Locks {}

impl Locks {
    /// `count` locks.
    pub fn new(count: usize) -> Locks {
        Locks((0..count).map(|_| UnsafeCell::new(libc::PTHREAD_RWLOCK_INITIALIZER)).collect())
    }

    /// rdlock and unlock.
    #[inline]
    pub fn read(&self, at: u32) {
        let lock = self.0[at as usize].get();
        // SAFETY: the lock is initialised and stays where it is; what is locked here is unlocked here.
        unsafe {
            assert_eq!(libc::pthread_rwlock_rdlock(lock), 0);
            assert_eq!(libc::pthread_rwlock_unlock(lock), 0);
        }
    }

    /// wrlock and unlock.
    #[inline]
    pub fn write(&self, at: u32) {
        let lock = self.0[at as usize].get();
        // SAFETY: as in `read`.
        unsafe {
            assert_eq!(libc::pthread_rwlock_wrlock(lock), 0);
            assert_eq!(libc::pthread_rwlock_unlock(lock), 0);
        }
    }
}
