//! Which fields each operation uses.

use super::{NO_FIRST_TOUCH, QUIET, Submission, TIMED, TRY, operation::*};
use crate::queue::Entry;

type Words = <Submission as Entry>::Words;

const KEY: u8 = 1;
const REGION: u8 = 2;
const SECOND: u8 = 4;
const ARGUMENT: u8 = 8;
const HANDLE: u8 = 16;
const COUNT: u8 = 32;
const MODE: u8 = 64;
const HOLD_FLAGS: u8 = 128;

/// The fields of an operation beside tag and number; none, if there is no such operation.
const fn fields(operation: u8) -> u8 {
    match operation {
        GET | GRAB => KEY | REGION | ARGUMENT | HOLD_FLAGS,
        GET_RANGE | GRAB_RANGE | LOCAL => KEY | REGION | COUNT,
        PUT | CLOSE | FSYNC => HANDLE,
        PUT_CHANGED => HANDLE | REGION,
        PREFETCH => KEY | COUNT,
        REMOVE | FLUSH | SYNC => KEY,
        CANCEL => ARGUMENT,
        CREATE_SET => REGION | HANDLE | MODE,
        DESTROY_SET | UNLINK | REMOVE_DIRECTORY => REGION,
        LIST_SETS => ARGUMENT | REGION,
        OPEN => REGION | COUNT | MODE,
        READ | WRITE | READ_DIRECTORY => HANDLE | ARGUMENT | REGION,
        STAT => REGION | COUNT | SECOND,
        TRUNCATE => HANDLE | ARGUMENT,
        MAKE_DIRECTORY => REGION | MODE,
        OPEN_SET | RENAME | READ_LINK | SYMLINK => REGION | SECOND,
        _ => 0,
    }
}

/// Ones, if `field` is one of `fields`.
const fn ones(fields: u8, field: u8) -> u64 {
    if fields & field != 0 { u64::MAX } else { 0 }
}

/// Ones where an operation may have some.
const fn form(operation: u8) -> Submission {
    let fields = fields(operation);
    Submission {
        tag: u64::MAX,
        set: ones(fields, KEY),
        object: ones(fields, KEY) as u32,
        operation: u8::MAX,
        flags: QUIET | ones(fields, HOLD_FLAGS) as u8 & (TRY | TIMED | NO_FIRST_TOUCH),
        mode: ones(fields, MODE) as u16,
        region: zerocopy::transmute!(ones(fields, REGION)),
        second: zerocopy::transmute!(ones(fields, SECOND)),
        argument: ones(fields, ARGUMENT),
        handle: ones(fields, HANDLE),
        count: ones(fields, COUNT) as u32,
        number: 0,
    }
}

/// So many operations there can be.
const OPERATIONS: usize = 64;

static FORMS: [Words; OPERATIONS] = {
    let mut forms = [[0; 8]; OPERATIONS];
    let mut operation = 0;
    while operation < OPERATIONS {
        forms[operation] = zerocopy::transmute!(form(operation as u8));
        operation += 1;
    }
    forms
};

/// Whether there is something where its operation has nothing.
#[inline]
pub(super) fn says_more(submission: &Submission) -> bool {
    let Some(form) = FORMS.get(usize::from(submission.operation)) else { return true };
    submission.to_words().iter().zip(form).any(|(word, form)| word & !form != 0)
}

/// Without what its operation does not have.
#[cfg(test)]
pub(super) fn without_more(submission: Submission) -> Submission {
    let mut words = submission.to_words();
    let form = FORMS.get(usize::from(submission.operation)).unwrap_or(&FORMS[0]);
    words.iter_mut().zip(form).for_each(|(word, form)| *word &= form);
    Submission::of_words(words)
}
