//! Results as C has them: a number, and a text for people.

use nix::errno::Errno;
use std::{
    any::Any,
    borrow::Cow,
    cell::RefCell,
    ffi::{CString, c_char, c_int},
    panic::{AssertUnwindSafe, catch_unwind},
};

/// Why something was not done.
#[derive(Debug)]
pub(crate) struct Failure {
    errno: c_int,
    text: Cow<'static, str>,
}

/// What was done, or why not.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
}

impl Failure {
    pub(crate) fn new(errno: Errno, text: impl Into<Cow<'static, str>>) -> Failure {
        Failure { errno: errno as c_int, text: text.into() }
    }

    fn of_panic(panic: &(dyn Any + Send)) -> Failure {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
        Failure::new(Errno::ENOTRECOVERABLE, format!("BUG in libkddm, please report it: {text}"))
    }

    /// Keeps the text for this thread to read; gives the number.
    fn tell(self) -> c_int {
        let text: Vec<u8> = self.text.bytes().filter(|byte| *byte != 0).collect();
        // A thread that ends keeps nothing any more.
        let _ = LAST.try_with(|last| last.replace(CString::new(text).unwrap_or_default()));
        -self.errno
    }
}

impl From<kdfs_client::Error> for Failure {
    fn from(error: kdfs_client::Error) -> Failure {
        Failure { errno: error.errno(), text: error.to_string().into() }
    }
}

/// What `body` says, or `failed` of the negative errno.
pub(crate) fn answer_or<T>(failed: impl FnOnce(c_int) -> T, body: impl FnOnce() -> Result<T>) -> T {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(value)) => value,
        Ok(Err(failure)) => failed(failure.tell()),
        Err(panic) => failed(Failure::of_panic(&*panic).tell()),
    }
}

/// 0, or a negative errno.
pub(crate) fn answer(body: impl FnOnce() -> Result<()>) -> c_int {
    answer_or(|errno| errno, || body().map(|()| 0))
}

/// A count, or a negative errno.
pub(crate) fn count(body: impl FnOnce() -> Result<usize>) -> isize {
    // No slice of Rust has more bytes than an isize counts.
    answer_or(|errno| errno as isize, || body().map(|count| count as isize))
}

#[unsafe(no_mangle)]
extern "C" fn kddm_last_error() -> *const c_char {
    LAST.try_with(|last| last.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

#[unsafe(no_mangle)]
extern "C" fn kddm_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last() -> String {
        LAST.with_borrow(|last| last.to_string_lossy().into_owned())
    }

    #[test]
    fn a_panic_becomes_an_error() {
        assert_eq!(answer(|| panic!("here")), -(Errno::ENOTRECOVERABLE as c_int));
        assert_eq!(last(), "BUG in libkddm, please report it: here");
        assert_eq!(count(|| panic!("{}", 7)), -(Errno::ENOTRECOVERABLE as isize));
        assert!(last().ends_with(": 7"));
    }

    #[test]
    fn the_text_of_an_error_stays_until_the_next_of_the_thread() {
        answer(|| Err(Failure::new(Errno::EINVAL, "one\0two")));
        assert_eq!(answer(|| Ok(())), 0);
        std::thread::spawn(|| assert_eq!(last(), "")).join().unwrap();
        assert_eq!(last(), "onetwo");
    }
}
