//! What is where in the memory that a server and a program share.
//!
//! ```text
//! 0      magic, version
//! 128    submissions: taken (server) · 192 the server sleeps (server)
//! 320    completions: taken (program) · 384 the program sleeps (program)
//! 4096   submissions, 64 bytes each; the last four of each are its number, from 1
//!        completions, 32 bytes each, as many, likewise
//!        window, from a page's begin on
//! ```
//!
//! All numbers are u64, in the byte order of the host. Who writes something has its cache line alone.

use crate::{completion::Completion, submission::Submission};

/// The version of this layout and of the entries in it. Ends of different versions do not talk.
pub const LAYOUT_VERSION: u32 = 1;

/// Most entries of a queue.
pub const MAX_ENTRIES: u32 = 4096;
/// Entries of a queue, unless a program asks for others: 12 KiB of memory.
pub(crate) const DEFAULT_ENTRIES: u32 = 128;
/// Largest window, bytes.
pub const MAX_WINDOW: u32 = 64 << 20;
/// Bytes of the window, unless a program asks for others. What is never touched takes no memory.
pub const DEFAULT_WINDOW: u32 = 4 << 20;

pub(crate) const MAGIC: u64 = u64::from_be_bytes(*b"kddmring");

pub(crate) const MAGIC_AT: usize = 0;
pub(crate) const VERSION_AT: usize = 8;
pub(crate) const SUBMITTED: QueueWords = QueueWords { taken: 128, asleep: 192 };
pub(crate) const COMPLETED: QueueWords = QueueWords { taken: 320, asleep: 384 };
const SUBMISSIONS: usize = 4096;
const PAGE: usize = 4096;

/// Where a queue's words are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueWords {
    /// Entries that were taken, ever: the receiver's.
    pub(crate) taken: usize,
    /// 1: the receiver sleeps, and wants its bell to be rung when something is sent. The receiver's, cleared by who rings.
    pub(crate) asleep: usize,
}

const _: () = {
    assert!(size_of::<Submission>() == 64 && size_of::<Completion>() == 32);
    assert!(cfg!(target_endian = "little"), "an entry's number is in the upper half of its last word");
    assert!(COMPLETED.asleep + 64 <= SUBMISSIONS);
    assert!(DEFAULT_ENTRIES <= MAX_ENTRIES && DEFAULT_WINDOW <= MAX_WINDOW);
    assert!(MAX_WINDOW.is_multiple_of(PAGE as u32) && DEFAULT_WINDOW.is_multiple_of(PAGE as u32));
    assert!(DEFAULT_WINDOW >= 2 * kddm_object::limits::MAX_OBJECT_SIZE, "an object, and a name beside it");
};

/// The sizes of an attachment's parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    entries: u32,
    window: u32,
}

impl Layout {
    /// Queues of `entries` and a window of `window` bytes; `None` if they cannot be: entries are a power of two up to [`MAX_ENTRIES`],
    /// the window whole pages up to [`MAX_WINDOW`].
    pub fn new(entries: u32, window: u32) -> Option<Layout> {
        let entries_fit = entries.is_power_of_two() && entries <= MAX_ENTRIES;
        let window_fits = window.is_multiple_of(PAGE as u32) && (1..=MAX_WINDOW).contains(&window);
        (entries_fit && window_fits).then_some(Layout { entries, window })
    }

    /// Entries of each queue.
    pub fn entries(self) -> u32 {
        self.entries
    }

    /// Bytes of the window.
    pub fn window(self) -> u32 {
        self.window
    }

    /// Bytes of all.
    pub fn memory_bytes(self) -> usize {
        self.window_at() + self.window as usize
    }

    pub(crate) fn submissions_at(self) -> usize {
        SUBMISSIONS
    }

    pub(crate) fn completions_at(self) -> usize {
        SUBMISSIONS + self.entries as usize * size_of::<Submission>()
    }

    pub(crate) fn window_at(self) -> usize {
        let end = self.completions_at() + self.entries as usize * size_of::<Completion>();
        end.next_multiple_of(PAGE)
    }
}

impl Default for Layout {
    fn default() -> Layout {
        Layout { entries: DEFAULT_ENTRIES, window: DEFAULT_WINDOW }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_overlap() {
        for entries in [1, 2, 128, MAX_ENTRIES] {
            for window in [4096, DEFAULT_WINDOW, MAX_WINDOW] {
                let layout = Layout::new(entries, window).unwrap();
                assert_eq!(layout.completions_at() - layout.submissions_at(), entries as usize * 64);
                assert!(layout.window_at() >= layout.completions_at() + entries as usize * 32);
                assert!(layout.window_at().is_multiple_of(4096));
                assert_eq!(layout.memory_bytes(), layout.window_at() + window as usize);
            }
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (entries, window) in
            [(0, 4096), (3, 4096), (8192, 4096), (8, 0), (8, 100), (8, MAX_WINDOW + 4096)]
        {
            assert_eq!(Layout::new(entries, window), None, "{entries} {window}");
        }
    }

    #[test]
    fn an_idle_attachment_touches_less_than_a_few_pages() {
        assert!(Layout::default().window_at() <= 20 << 10);
    }
}
