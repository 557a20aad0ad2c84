//! What C passes by address. All unsafe code is here, and all of it leans on one promise, which kddm.h asks of its callers: a pointer
//! that is not NULL points to what its function's text says, and stays so until the function returns.

use crate::answer::{Failure, Result};
use nix::errno::Errno;
use std::{
    ffi::{CStr, OsStr, c_char, c_int},
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

/// A text that ends with a 0.
#[repr(transparent)]
pub(crate) struct Text(*const c_char);

/// A place for a result.
#[repr(transparent)]
pub(crate) struct Place<T>(*mut T);

/// Options, or NULL.
#[repr(transparent)]
pub(crate) struct Optional<T>(*const T);

/// Several values.
#[repr(transparent)]
pub(crate) struct List<T>(*const T);

/// Bytes to read.
#[repr(transparent)]
pub(crate) struct Bytes(*const u8);

/// Bytes to fill.
#[repr(transparent)]
pub(crate) struct Room(*mut u8);

/// A structure of numbers and pointers that begins with its size.
///
/// # Safety
/// Zeros are a valid value, and so is any copy of one byte by byte.
pub(crate) unsafe trait Extensible: Sized {
    /// What it is called in messages.
    const NAME: &'static str;
}

fn null(what: &str) -> Failure {
    Failure::new(Errno::EINVAL, format!("{what}: the pointer is NULL"))
}

impl Text {
    pub(crate) fn str(&self, what: &str) -> Result<&str> {
        let text = self.optional_str(what)?;
        text.ok_or_else(|| null(what))
    }

    pub(crate) fn optional_str(&self, what: &str) -> Result<Option<&str>> {
        let Some(text) = self.get() else { return Ok(None) };
        let text = text.to_str();
        text.map(Some).map_err(|_| Failure::new(Errno::EINVAL, format!("{what}: that is no UTF-8")))
    }

    pub(crate) fn path(&self, what: &str) -> Result<&Path> {
        let text = self.get().ok_or_else(|| null(what))?;
        Ok(Path::new(OsStr::from_bytes(text.to_bytes())))
    }

    pub(crate) fn of(text: *const c_char) -> Text {
        Text(text)
    }

    fn get(&self) -> Option<&CStr> {
        // SAFETY: not NULL; the caller's promise: a text with a 0 at its end.
        (!self.0.is_null()).then(|| unsafe { CStr::from_ptr(self.0) })
    }
}

impl<T> Clone for Place<T> {
    fn clone(&self) -> Place<T> {
        *self
    }
}

impl<T> Copy for Place<T> {}

impl<T> Place<T> {
    /// Before anything is done for which there would be no place.
    pub(crate) fn check(self, what: &str) -> Result<()> {
        match (self.0.is_null(), self.0.is_aligned()) {
            (true, _) => Err(null(what)),
            (_, false) => Err(Failure::new(Errno::EINVAL, format!("{what}: the pointer is not aligned"))),
            _ => Ok(()),
        }
    }

    /// Stores a result; nothing if there is no place, which [`Place::check`] tells.
    pub(crate) fn store(self, value: T) {
        self.store_at(0, value);
    }

    pub(crate) fn store_at(self, index: usize, value: T) {
        if !self.0.is_null() && self.0.is_aligned() {
            // SAFETY: not NULL, aligned; the caller's promise: a place, or as many as were told.
            unsafe { self.0.add(index).write(value) }
        }
    }
}

impl<T: Extensible> Optional<T> {
    /// The options as this version knows them; `None`: NULL.
    pub(crate) fn get(&self) -> Result<Option<T>> {
        if self.0.is_null() {
            return Ok(None);
        }
        let wrong = |errno, text: &str| Err(Failure::new(errno, format!("{}: {text}", T::NAME)));
        // SAFETY: not NULL; the caller's promise: a structure that begins with its size.
        let size = unsafe { self.0.cast::<usize>().read_unaligned() };
        if !(size_of::<usize>()..=LARGEST_OPTIONS).contains(&size) {
            return wrong(
                Errno::EINVAL,
                "set `size` to its sizeof, or begin with the KDDM_..._OPTIONS value",
            );
        }
        // SAFETY: the caller's promise: so many bytes are there.
        let bytes = unsafe { std::slice::from_raw_parts(self.0.cast::<u8>(), size) };
        let known = size.min(size_of::<T>());
        if bytes[known..].iter().any(|byte| *byte != 0) {
            return wrong(Errno::E2BIG, "it has fields that this version of libkddm does not know");
        }
        let mut options = std::mem::MaybeUninit::<T>::zeroed();
        // SAFETY: as many bytes as both have; then all is zero or such a copy, which the trait says is valid.
        Ok(Some(unsafe {
            options.as_mut_ptr().cast::<u8>().copy_from_nonoverlapping(bytes.as_ptr(), known);
            options.assume_init()
        }))
    }
}

/// Nothing that could be options is larger.
const LARGEST_OPTIONS: usize = 4096;

impl<T: Copy> List<T> {
    pub(crate) fn get(&self, length: usize, what: &str) -> Result<&[T]> {
        if length == 0 {
            return Ok(&[]);
        }
        check_length(self.0, length, what)?;
        // SAFETY: not NULL, aligned, no more than there can be; the caller's promise: so many values.
        Ok(unsafe { std::slice::from_raw_parts(self.0, length) })
    }
}

impl Bytes {
    pub(crate) fn get(&self, length: usize, what: &str) -> Result<&[u8]> {
        if length == 0 {
            return Ok(&[]);
        }
        check_length(self.0, length, what)?;
        // SAFETY: not NULL, no more than there can be; the caller's promise: so many bytes.
        Ok(unsafe { std::slice::from_raw_parts(self.0, length) })
    }
}

impl Room {
    pub(crate) fn get(&mut self, length: usize, what: &str) -> Result<&mut [u8]> {
        if length == 0 {
            return Ok(&mut []);
        }
        check_length(self.0, length, what)?;
        // SAFETY: not NULL, no more than there can be; the caller's promise: so many bytes, which nobody else uses meanwhile.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.0, length) })
    }
}

fn check_length<T>(first: *const T, length: usize, what: &str) -> Result<()> {
    let most = isize::MAX as usize / size_of::<T>();
    if first.is_null() {
        Err(null(what))
    } else if !first.is_aligned() || length > most {
        Err(Failure::new(Errno::EINVAL, format!("{what}: there can be no {length} of them at {first:p}")))
    } else {
        Ok(())
    }
}

/// A copy of the descriptor that C names.
pub(crate) fn duplicate(descriptor: c_int) -> Result<OwnedFd> {
    let wrong = |errno| Failure::new(errno, format!("the descriptor {descriptor}: {}", errno.desc()));
    if descriptor < 0 {
        return Err(wrong(Errno::EBADF));
    }
    // SAFETY: not -1; used for one call, which looks whether it is open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    rustix::io::fcntl_dupfd_cloexec(borrowed, 0).map_err(|errno| wrong(Errno::from_raw(errno.raw_os_error())))
}

/// A stat(2) without anything.
pub(crate) fn empty_status() -> nix::libc::stat {
    // SAFETY: numbers alone.
    unsafe { std::mem::zeroed() }
}
