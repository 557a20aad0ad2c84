//! Progress of long work: a bar where a person watches, a line now and then elsewhere.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;

/// How far a piece of work is.
pub struct Progress {
    what: String,
    total: u64,
    done: u64,
    told: u64,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Work of `total` steps.
    pub fn new(what: impl Into<String>, total: u64) -> Progress {
        let what = what.into();
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = "{msg:34} {wide_bar} {pos}/{len} {eta}";
            let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(total).with_style(style).with_message(what.clone())
        });
        Progress { what, total, done: 0, told: 0, bar }
    }

    /// One more step is done.
    pub fn step(&mut self) {
        self.done += 1;
        if let Some(bar) = &self.bar {
            bar.inc(1);
        } else if (self.done - self.told) * 4 >= self.total.max(4) && self.done < self.total {
            self.told = self.done;
            eprintln!("  {}: {} of {}", self.what, self.done, self.total);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
