//! Whether this process is a child of the one that made something.

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};
use std::ffi::c_void;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const PAGE: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// A mark that children do not inherit: a page that a fork wipes (madvise(2), MADV_WIPEONFORK). Looking costs one load.
#[derive(Debug)]
pub struct ForkMark(NonNull<c_void>);

// SAFETY: an address of a page that is ours until dropped, and is reached through an atomic alone.
unsafe impl Send for ForkMark {}
// SAFETY: as above.
unsafe impl Sync for ForkMark {}

impl ForkMark {
    /// Marks this process.
    ///
    /// # Errors
    /// The kernel refuses: no memory.
    pub fn new() -> Result<ForkMark, Errno> {
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping where the kernel finds room touches nothing that exists.
        let page = unsafe { mmap_anonymous(None, PAGE, access, MapFlags::MAP_PRIVATE) }?;
        let mark = ForkMark(page);
        // SAFETY: changes what a fork copies, nothing here.
        unsafe { madvise(page, PAGE.get(), MmapAdvise::MADV_WIPEONFORK) }?;
        mark.word().store(1, Relaxed);
        Ok(mark)
    }

    /// Whether this process is not the one that was marked, but a child of it.
    #[inline]
    pub fn is_childs(&self) -> bool {
        self.word().load(Relaxed) == 0
    }

    fn word(&self) -> &AtomicU64 {
        // SAFETY: the page is mapped, for reading and writing, until dropped; its begin is aligned, and zeros are a valid word.
        unsafe { self.0.cast::<AtomicU64>().as_ref() }
    }
}

impl Drop for ForkMark {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nobody has a reference into it any more.
        let unmapped = unsafe { munmap(self.0, PAGE.get()) };
        debug_assert!(unmapped.is_ok(), "BUG: munmap: {unmapped:?}");
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork};

    #[test]
    fn a_child_knows_that_it_is_one() {
        let mark = ForkMark::new().unwrap();
        assert!(!mark.is_childs());
        // SAFETY: the child looks at a word and ends, which is all that the child of a process with threads may do.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                let said = i32::from(mark.is_childs());
                // SAFETY: it ends this process and touches nothing.
                unsafe { nix::libc::_exit(said) }
            }
            ForkResult::Parent { child } => {
                assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 1));
                assert!(!mark.is_childs());
            }
        }
    }
}
