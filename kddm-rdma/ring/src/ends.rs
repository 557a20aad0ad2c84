//! The two ends of an attachment.

use crate::{
    completion::Completion,
    layout::{COMPLETED, LAYOUT_VERSION, Layout, MAGIC, MAGIC_AT, SUBMITTED, VERSION_AT},
    queue::{Corrupt, Receiver, Sender},
    request::Region,
    submission::Submission,
    window::Window,
};
use kddm_memory::{ForkMark, SharedBytes, Unshareable};
use std::{
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

/// The server's end: takes submissions, completes them, copies into and out of the window.
#[derive(Debug)]
pub struct ServerEnd {
    /// What is submitted.
    pub submissions: Submissions,
    /// What is completed.
    pub completions: Completions,
    /// The window.
    pub window: ServerWindow,
}

/// Submissions, to be taken.
#[derive(Debug)]
pub struct Submissions(Receiver<Submission>);

/// Completions, to be told.
#[derive(Debug)]
pub struct Completions(Sender<Completion>);

/// The window, as a server sees it. Clones are the same window.
#[derive(Clone, Debug)]
pub struct ServerWindow {
    memory: Arc<SharedBytes>,
    first: usize,
    length: u32,
}

impl ServerEnd {
    /// Makes the memory of an attachment, and the descriptor by which the program maps it.
    ///
    /// # Errors
    /// The kernel's: no memory, or too many descriptors are open.
    pub fn new(layout: Layout) -> Result<(ServerEnd, OwnedFd), nix::Error> {
        let (memory, descriptor) = SharedBytes::new(layout.memory_bytes())?;
        memory.word(MAGIC_AT).store(MAGIC, std::sync::atomic::Ordering::Relaxed);
        memory.word(VERSION_AT).store(LAYOUT_VERSION.into(), std::sync::atomic::Ordering::Relaxed);
        let (memory, entries) = (Arc::new(memory), layout.entries());
        let window =
            ServerWindow { memory: memory.clone(), first: layout.window_at(), length: layout.window() };
        let submissions = Receiver::new(memory.clone(), SUBMITTED, layout.submissions_at(), entries);
        let completions = Sender::new(memory, COMPLETED, layout.completions_at(), entries);
        let end = ServerEnd {
            submissions: Submissions(submissions),
            completions: Completions(completions),
            window,
        };
        Ok((end, descriptor))
    }
}

impl Submissions {
    /// The next submission, copied.
    #[inline]
    pub fn take(&mut self) -> Option<Submission> {
        self.0.take()
    }

    /// Gives the places of what was taken back.
    #[inline]
    pub fn release(&self) {
        self.0.release();
    }

    /// Whether there is something to take: looks until there is, but at most so often.
    #[inline]
    pub fn look(&self, times: u32) -> bool {
        self.0.look(times)
    }

    /// From now on the program rings. False, and it need not: something came before.
    pub fn sleep(&self) -> bool {
        self.0.sleep()
    }

    /// The program need not ring.
    pub fn wake(&self) {
        self.0.wake();
    }
}

impl Completions {
    /// Tells of an end. Whether the program sleeps, and its bell must be rung.
    ///
    /// # Errors
    /// The program counts wrong, or leaves no room where the rules say that there is some: the attachment has to end.
    #[inline]
    pub fn tell(&mut self, completion: &Completion) -> Result<bool, Corrupt> {
        if !self.0.write(completion)? {
            return Err(Corrupt::FULL);
        }
        Ok(self.0.publish())
    }

    /// Places for completions that are free: `wanted` or more, if there are so many.
    ///
    /// # Errors
    /// The program counts wrong.
    #[inline]
    pub fn room(&mut self, wanted: u64) -> Result<u64, Corrupt> {
        self.0.room(wanted)
    }
}

impl ServerWindow {
    /// Whether all of the region lies in the window.
    #[inline]
    pub fn has(&self, region: Region) -> bool {
        region.offset.checked_add(region.length).is_some_and(|end| end <= self.length)
    }

    /// Copies what is there; `None`: it is not all in the window. Torn, if the program writes meanwhile.
    pub fn read(&self, region: Region, into: &mut [u8]) -> Option<()> {
        let length = into.len().min(region.length as usize);
        self.has(region).then(|| self.memory.read(self.first + region.offset as usize, &mut into[..length]))
    }

    /// Copies `bytes` to the region's begin; `None`: it is not all in the window, or has fewer bytes.
    pub fn write(&self, region: Region, bytes: &[u8]) -> Option<()> {
        let fits = self.has(region) && bytes.len() <= region.length as usize;
        fits.then(|| self.memory.write(self.first + region.offset as usize, bytes))
    }
}

/// The program's end: submits, and takes completions.
#[derive(Debug)]
pub struct ProgramEnd {
    submissions: Sender<Submission>,
    completions: Receiver<Completion>,
    window: Window,
}

impl ProgramEnd {
    /// Maps the memory that a server has passed.
    ///
    /// # Errors
    /// It is not what it should be, or the kernel refuses.
    pub fn map(descriptor: impl AsFd, layout: Layout) -> Result<ProgramEnd, Unshareable> {
        let memory = Arc::new(SharedBytes::map(descriptor, layout.memory_bytes())?);
        let entries = layout.entries();
        let submissions = Sender::new(memory.clone(), SUBMITTED, layout.submissions_at(), entries);
        let completions = Receiver::new(memory.clone(), COMPLETED, layout.completions_at(), entries);
        let window = Window::new(memory, layout, ForkMark::new()?);
        Ok(ProgramEnd { submissions, completions, window })
    }

    /// Sends a submission. False: there is no room. Who has sent some publishes.
    ///
    /// # Errors
    /// The server counts wrong.
    #[inline(always)]
    pub fn write(&mut self, submission: &Submission) -> Result<bool, Corrupt> {
        self.submissions.write(submission)
    }

    /// Places for submissions that are free: `wanted` or more, if there are so many.
    ///
    /// # Errors
    /// The server counts wrong.
    #[inline]
    pub fn room(&mut self, wanted: u64) -> Result<u64, Corrupt> {
        self.submissions.room(wanted)
    }

    /// Submissions that were written and that the server has not taken.
    ///
    /// # Errors
    /// The server counts wrong.
    pub fn untaken(&self) -> Result<u64, Corrupt> {
        self.submissions.untaken()
    }

    /// Whether the server sleeps, and its bell must be rung for what was sent.
    #[inline]
    pub fn publish(&mut self) -> bool {
        self.submissions.publish()
    }

    /// The next completion.
    #[inline]
    pub fn take(&mut self) -> Option<Completion> {
        let taken = self.completions.take()?;
        self.completions.release();
        Some(taken)
    }

    /// Whether a completion waits: looks until one does, but at most so often.
    #[inline]
    pub fn look(&self, times: u32) -> bool {
        self.completions.look(times)
    }

    /// From now on the server rings. False, and it need not: something came before.
    pub fn sleep(&self) -> bool {
        self.completions.sleep()
    }

    /// The server need not ring.
    pub fn wake(&self) {
        self.completions.wake();
    }

    /// Says that so many completions were taken, for tests of servers.
    pub fn spoil(&self, count: u64) {
        self.completions.spoil(count);
    }

    /// The window.
    pub fn window(&self) -> &Window {
        &self.window
    }
}
