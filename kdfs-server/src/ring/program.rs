//! One attached program.

use super::{
    door::Credentials,
    figures::{self, RingFigures},
    limits::{MAX_FILES, MAX_HOLDS, PINNED_PART, TRANSFERS},
    work::{Outcome, Work},
};
use async_lock::{Semaphore, SemaphoreGuard};
use futures_util::future::{AbortHandle, Abortable};
use kddm_object::limits;
use kddm_rdma::{BoxFuture, Exclusive, Host, ObjectKey, SetId, Shared};
use kddm_ring::{
    Bell, Completion, Completions, Corrupt, Done, Refusal, Request, ServerEnd, ServerWindow, Submission,
    Submissions, Tag, meeting,
};
use kdfs_fs::{Access, Caller, FileId, FileSystem};
use parking_lot::Mutex;
use std::{
    collections::{HashMap, hash_map::Entry},
    ops::Deref,
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
};

/// A program, as long as it is attached.
pub struct Program {
    /// What it calls itself.
    pub name: String,
    /// Who it is.
    pub caller: Caller,
    /// Its process.
    pub pid: i32,
    pub window: ServerWindow,
    pub fs: FileSystem,
    host: Arc<dyn Host>,
    told: Mutex<Told>,
    bell: Bell,
    stream: UnixStream,
    ended: AtomicBool,
    state: Mutex<State>,
    /// Permits for bytes of files that are on their way.
    transfers: Semaphore,
    node: u8,
    figures: Arc<RingFigures>,
    /// Kept open, for the poller watches them.
    _watched: (OwnedFd, Bell),
}

/// What a program is told, and what it is still to be told.
struct Told {
    completions: Completions,
    /// Requests that were taken and have not ended.
    under_way: u64,
}

/// What a program has. Gone when it has ended.
#[derive(Default)]
struct State {
    ended: bool,
    waiting: HashMap<Tag, AbortHandle>,
    holds: HashMap<u64, Kept>,
    pinned: usize,
    sets: HashMap<SetId, Opened>,
    files: HashMap<u64, OpenFile>,
    /// The last number given to a hold or file.
    last: u64,
}

/// A hold, and the request that got it.
struct Kept {
    held: Held,
    tag: Tag,
}

/// A hold.
pub enum Held {
    Shared(Shared),
    Exclusive(Exclusive),
}

impl Held {
    /// Bytes of the arena that it keeps: those of the slot.
    fn pins(&self) -> usize {
        limits::size_class(self.len() as u32).map_or(0, |class| limits::SLOT_SIZES[class] as usize)
    }
}

/// A set that a program has opened, and what it may do.
#[derive(Clone, Copy, Debug)]
pub struct Opened {
    /// Bytes of an object.
    pub object_size: u32,
    /// Get.
    pub read: bool,
    /// Grab, remove, …
    pub write: bool,
}

/// A file that a program has open.
#[derive(Clone, Copy, Debug)]
pub struct OpenFile {
    pub file: FileId,
    /// The request that opened it.
    pub tag: Tag,
    pub access: Access,
    /// Writes go to the end.
    pub append: bool,
}

impl Deref for Held {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Held::Shared(guard) => guard,
            Held::Exclusive(guard) => guard,
        }
    }
}

/// What a program is made of.
pub struct Parts {
    pub name: String,
    pub who: Credentials,
    pub stream: UnixStream,
    pub end: ServerEnd,
    /// Rung by the program, and by the server.
    pub bells: (Bell, Bell),
    pub fs: FileSystem,
    pub host: Arc<dyn Host>,
    pub node: u8,
    pub figures: Arc<RingFigures>,
}

impl Program {
    /// A program, and what it submits.
    pub fn new(parts: Parts) -> (Arc<Program>, Submissions) {
        let Parts { name, who, stream, end, bells, fs, host, node, figures } = parts;
        let ServerEnd { submissions, completions, window } = end;
        let program = Program {
            name,
            caller: who.caller,
            pid: who.pid,
            window,
            fs,
            host,
            told: Mutex::new(Told { completions, under_way: 0 }),
            bell: bells.1,
            stream,
            ended: AtomicBool::new(false),
            state: Mutex::default(),
            transfers: Semaphore::new(TRANSFERS),
            node,
            figures,
            _watched: (who.process, bells.0),
        };
        (Arc::new(program), submissions)
    }

    /// Begins what was submitted.
    ///
    /// # Errors
    /// Its ring cannot be.
    #[inline]
    pub fn begin(self: &Arc<Self>, submission: &Submission) -> Result<(), Corrupt> {
        let tag = submission.tag();
        let request = submission.request();
        let number = figures::number(request.as_ref().ok());
        let work = match &request {
            Err(_) => Work::Done(Err(Refusal::Malformed)),
            Ok(Request::Cancel { tag: other }) => {
                self.cancel(*other);
                Work::Done(Ok(Done::default()))
            }
            Ok(request) => Work::of(self, tag, request),
        };
        match work {
            Work::Done(outcome) => self.ended_at_once(submission, number, &outcome),
            // What can be had at once needs no task.
            Work::Waits(mut future) => match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(outcome) => self.ended_at_once(submission, number, &outcome),
                Poll::Pending => self.go_on(submission, number, future),
            },
        }
    }

    #[inline]
    fn ended_at_once(
        &self,
        submission: &Submission,
        number: usize,
        outcome: &Outcome,
    ) -> Result<(), Corrupt> {
        self.figures.at_once(number, outcome);
        self.complete(submission.tag(), outcome, submission.is_quiet(), 0)
    }

    /// Leaves what has to wait to a task.
    fn go_on(
        self: &Arc<Self>,
        submission: &Submission,
        number: usize,
        future: BoxFuture<'static, Outcome>,
    ) -> Result<(), Corrupt> {
        let (tag, quiet) = (submission.tag(), submission.is_quiet());
        let (handle, registration) = AbortHandle::new_pair();
        {
            let mut state = self.state.lock();
            if state.ended {
                return Ok(());
            }
            match state.waiting.entry(tag) {
                Entry::Vacant(place) => drop(place.insert(handle)),
                // Which of the two a cancel means could not be told. What this one has begun is given up.
                Entry::Occupied(_) => {
                    drop(state);
                    drop(future);
                    return self.ended_at_once(submission, number, &Err(Refusal::TagUnderWay));
                }
            }
        }
        self.told.lock().admit()?;
        let (program, begun) = (self.clone(), self.host.now());
        self.host.spawn(Box::pin(async move {
            let outcome = Abortable::new(future, registration).await.unwrap_or(Err(Refusal::Cancelled));
            program.state.lock().waiting.remove(&tag);
            program.figures.waited(number, &outcome, program.host.now().saturating_sub(begun));
            if let Err(corrupt) = program.complete(tag, &outcome, quiet, 1) {
                program.expel(&corrupt);
            }
        }));
        Ok(())
    }

    fn cancel(&self, tag: Tag) {
        let (handle, holds, files) = self.state.lock().of_tag(tag);
        if let Some(handle) = handle {
            handle.abort();
        }
        for open in files {
            self.fs.release(open.file);
        }
        // Puts may wake others: under no lock.
        drop(holds);
    }

    /// Tells of an end, of a request that was admitted (1) or that ended as it was taken (0).
    #[inline]
    fn complete(&self, tag: Tag, outcome: &Outcome, quiet: bool, admitted: u64) -> Result<(), Corrupt> {
        if quiet && outcome.is_ok() && admitted == 0 {
            return Ok(());
        }
        let rings = {
            let mut told = self.told.lock();
            told.under_way -= admitted;
            let silent = quiet && outcome.is_ok() || self.has_ended();
            !silent && told.tell(&Completion::new(tag, outcome))?
        };
        if rings {
            self.bell.ring();
        }
        Ok(())
    }

    /// Ends the attachment of a program whose ring cannot be.
    pub fn expel(&self, corrupt: &Corrupt) {
        tracing::warn!(program = %self.name, pid = self.pid, reason = %corrupt, "a program was ended");
        self.figures.count_corrupt();
        self.end(&corrupt.to_string());
    }

    /// Ends the attachment: what the program holds and has open goes, what is under way is given up. Says why, if it can still hear.
    pub fn end(&self, reason: &str) {
        let mut state = self.state.lock();
        if state.ended {
            return;
        }
        let State { waiting, holds, files, .. } = std::mem::take(&mut *state);
        state.ended = true;
        self.ended.store(true, Relaxed);
        drop(state);
        tracing::debug!(program = %self.name, pid = self.pid, reason, holds = holds.len(), files = files.len(), "a program has ended");
        for handle in waiting.into_values() {
            handle.abort();
        }
        for open in files.into_values() {
            self.fs.release(open.file);
        }
        // Puts may wake others: under no lock.
        drop(holds);
        meeting::turn_away(&self.stream, reason, self.node);
        // The poller hears of it, and forgets the program.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }

    #[inline]
    pub fn has_ended(&self) -> bool {
        self.ended.load(Relaxed)
    }

    /// Leave to have [`TRANSFER`](super::limits::TRANSFER) bytes of a file in the server's memory.
    pub async fn transfer(&self) -> SemaphoreGuard<'_> {
        self.transfers.acquire().await
    }

    /// How many holds the program has.
    pub fn holds(&self) -> usize {
        self.state.lock().holds.len()
    }

    /// Keeps the holds that the request `tag` got; gives back the number of the first, which the others follow.
    pub fn keep(&self, tag: Tag, got: Vec<Held>) -> Result<u64, Refusal> {
        let mut state = self.state.lock();
        let pinned = state.pinned + got.iter().map(Held::pins).sum::<usize>();
        let most = self.fs.node().arena_bytes() / PINNED_PART;
        let refusal = if state.ended {
            Refusal::Leaving
        } else if state.holds.len() + got.len() > MAX_HOLDS {
            Refusal::TooManyHolds(MAX_HOLDS as u32)
        } else if pinned > most {
            Refusal::TooMuchHeld((most >> 10) as u32)
        } else {
            let first = state.last + 1;
            state.pinned = pinned;
            state.last += got.len() as u64;
            state.holds.extend((first..).zip(got.into_iter().map(|held| Kept { held, tag })));
            return Ok(first);
        };
        // Before the holds go, which may wake others.
        drop(state);
        Err(refusal)
    }

    /// Whether there is room for so many more holds.
    pub fn may_hold(&self, more: usize) -> Result<(), Refusal> {
        let full = self.state.lock().holds.len() + more > MAX_HOLDS;
        if full { Err(Refusal::TooManyHolds(MAX_HOLDS as u32)) } else { Ok(()) }
    }

    /// Takes a hold back, unless `check` refuses: then nothing has changed.
    pub fn give_up(
        &self,
        number: u64,
        check: impl FnOnce(&Held) -> Result<(), Refusal>,
    ) -> Result<Held, Refusal> {
        let mut state = self.state.lock();
        check(&state.holds.get(&number).ok_or(Refusal::NoHold)?.held)?;
        let Kept { held, .. } = state.holds.remove(&number).ok_or(Refusal::NoHold)?;
        state.pinned -= held.pins();
        Ok(held)
    }

    /// What the program may do with a set.
    pub fn opened(&self, set: SetId) -> Result<Opened, Refusal> {
        self.state.lock().sets.get(&set).copied().ok_or(Refusal::NotOpened)
    }

    /// What the program may do with an object, if it may write it.
    pub fn writable(&self, key: ObjectKey) -> Result<Opened, Refusal> {
        let opened = self.opened(key.set)?;
        if opened.write { Ok(opened) } else { Err(Refusal::Denied) }
    }

    /// The program has opened a set.
    pub fn open_set(&self, set: SetId, opened: Opened) -> Result<(), Refusal> {
        let mut state = self.state.lock();
        if state.sets.len() >= super::limits::MAX_SETS && !state.sets.contains_key(&set) {
            return Err(Refusal::NoMemory);
        }
        state.sets.insert(set, opened);
        Ok(())
    }

    /// Keeps an open file; gives back its number. If it cannot be kept, it is closed.
    pub fn open_file(&self, open: OpenFile) -> Result<u64, Refusal> {
        let mut state = self.state.lock();
        if state.ended || state.files.len() == MAX_FILES {
            drop(state);
            self.fs.release(open.file);
            return Err(Refusal::TooManyFiles(MAX_FILES as u32));
        }
        state.last += 1;
        let number = state.last;
        state.files.insert(number, open);
        Ok(number)
    }

    /// An open file.
    pub fn file(&self, number: u64) -> Result<OpenFile, Refusal> {
        self.state.lock().files.get(&number).copied().ok_or(Refusal::File(nix::libc::EBADF))
    }

    /// Forgets an open file, which the caller closes.
    pub fn close_file(&self, number: u64) -> Result<OpenFile, Refusal> {
        self.state.lock().files.remove(&number).ok_or(Refusal::File(nix::libc::EBADF))
    }
}

impl Told {
    /// One more under way: there must be room for its completion beside those of the others.
    fn admit(&mut self) -> Result<(), Corrupt> {
        self.under_way += 1;
        Corrupt::unless_room(self.under_way, self.completions.room(self.under_way)?)
    }

    /// One more completion, beside those that are still to come.
    #[inline]
    fn tell(&mut self, completion: &Completion) -> Result<bool, Corrupt> {
        let needed = self.under_way + 1;
        Corrupt::unless_room(needed, self.completions.room(needed)?)?;
        self.completions.tell(completion)
    }
}

impl State {
    /// What the request `tag` waits for, or got.
    fn of_tag(&mut self, tag: Tag) -> (Option<AbortHandle>, Vec<Held>, Vec<OpenFile>) {
        let holds: Vec<Held> =
            self.holds.extract_if(|_, kept| kept.tag == tag).map(|(_, kept)| kept.held).collect();
        self.pinned -= holds.iter().map(Held::pins).sum::<usize>();
        let files = self.files.extract_if(|_, open| open.tag == tag).map(|(_, open)| open).collect();
        (self.waiting.remove(&tag), holds, files)
    }
}
