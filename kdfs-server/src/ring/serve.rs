//! The ring thread: it sleeps until a bell rings, somebody comes or somebody dies, and looks a little before it sleeps again.

use super::{
    door::{Credentials, Door, Strangers},
    figures::{RingFigures, RingTold},
    limits::{MAX_PROGRAMS, TURN},
    program::{Parts, Program},
};
use crate::admin::AdminError;
use kddm_cluster::admin;
use kddm_rdma::{Host, NodeId};
use kddm_ring::{Corrupt, Hello, Spin, Submissions, meeting};
use kdfs_fs::FileSystem;
use mio::{Events, Interest, Poll, Registry, Token, unix::SourceFd};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    io,
    os::{
        fd::{AsFd, AsRawFd},
        unix::net::UnixStream,
    },
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

/// How long the thread looks for more before it sleeps, at most.
const MOST_SPIN: Duration = Duration::from_micros(50);
/// So many looks at a ring for one at clock and descriptors.
const LOOKS: u32 = 256;
/// A request that is served counts as so many looks.
const SERVED: u32 = 4;

const DOOR: Token = Token(0);
const STOP: Token = Token(1);
/// Connections have numbers from here on, in steps of [`KINDS`]; what is added says which of its descriptors it is.
const FIRST: usize = KINDS;
const KINDS: usize = 4;
const STREAM: usize = 0;
const BELL: usize = 1;
const PROCESS: usize = 2;

/// The programs that are attached to a server. Made with a door, ended by [`Rings::close`].
pub(crate) struct Rings {
    shared: Arc<Shared>,
    waker: mio::Waker,
}

#[derive(Default)]
struct Shared {
    programs: Mutex<HashMap<usize, Arc<Program>>>,
    stop: AtomicBool,
    figures: Arc<RingFigures>,
}

impl Rings {
    /// Lets programs in at `path` from now on.
    ///
    /// # Errors
    /// There can be no door.
    pub(crate) fn open(
        path: &Path,
        node: NodeId,
        fs: FileSystem,
        host: Arc<dyn Host>,
    ) -> Result<Rings, AdminError> {
        let door = Door::open(path, &*host)?;
        let system = |error| AdminError::System { path: path.to_owned(), error };
        let poll = Poll::new().map_err(system)?;
        let waker = mio::Waker::new(poll.registry(), STOP).map_err(system)?;
        watch(poll.registry(), &door.listener, DOOR).map_err(system)?;
        let shared = Arc::new(Shared::default());
        let (strangers, next) = (Strangers::default(), FIRST);
        let (hot, asleep) = (Vec::new(), HashMap::new());
        let spin = Spin::up_to(MOST_SPIN);
        let thread = Thread {
            shared: shared.clone(),
            door,
            poll,
            strangers,
            next,
            hot,
            asleep,
            spin,
            node,
            fs,
            host: host.clone(),
        };
        host.spawn_thread("ring", Box::new(move || thread.run()));
        Ok(Rings { shared, waker })
    }

    /// The programs that are attached.
    pub(crate) fn attached(&self) -> Vec<admin::Program> {
        let programs = self.shared.programs.lock();
        let mut attached: Vec<admin::Program> = programs
            .values()
            .map(|program| admin::Program {
                name: program.name.clone(),
                pid: program.pid,
                uid: program.caller.uid,
                holds: program.holds(),
            })
            .collect();
        attached.sort_unstable_by_key(|program| program.pid);
        attached
    }

    /// What they have asked for.
    pub(crate) fn figures(&self) -> RingTold {
        self.shared.figures.told()
    }

    /// Ends all attachments, and lets nobody in any more.
    pub(crate) fn close(&self) {
        self.shared.stop.store(true, Relaxed);
        for program in std::mem::take(&mut *self.shared.programs.lock()).into_values() {
            program.end("the server is leaving");
        }
        if let Err(error) = self.waker.wake() {
            tracing::error!(reason = %error, "BUG: the ring thread cannot be woken");
        }
    }
}

struct Thread {
    shared: Arc<Shared>,
    door: Door,
    poll: Poll,
    strangers: Strangers,
    next: usize,
    /// Programs that need not ring now: those that have submitted something since the thread slept.
    hot: Vec<Served>,
    /// The others, by their numbers.
    asleep: HashMap<usize, Served>,
    spin: Spin,
    node: NodeId,
    fs: FileSystem,
    host: Arc<dyn Host>,
}

/// A program and its ring, which only the thread looks at.
struct Served {
    token: usize,
    program: Arc<Program>,
    submissions: Submissions,
}

impl Served {
    /// Begins what was submitted; how much that was.
    ///
    /// # Errors
    /// Its ring cannot be.
    fn turn(&mut self) -> Result<u32, Corrupt> {
        let mut taken = 0;
        while taken < TURN
            && let Some(submission) = self.submissions.take()
            && !self.program.has_ended()
        {
            // At once: who has an answer finds room for the next question.
            self.submissions.release();
            taken += 1;
            self.program.begin(&submission)?;
        }
        Ok(taken)
    }
}

impl Thread {
    fn run(mut self) {
        let mut events = Events::with_capacity(256);
        while !self.shared.stop.load(Relaxed) {
            let idle_since = self.host.now();
            if let Err(error) = self.look(&mut events, None) {
                return self.fail(&error);
            }
            self.spin.came_after(self.host.now().saturating_sub(idle_since));
            if let Err(error) = self.serve(&mut events) {
                return self.fail(&error);
            }
        }
    }

    fn fail(&self, error: &io::Error) {
        tracing::error!(reason = %error, "programs can no longer be served");
        for program in std::mem::take(&mut *self.shared.programs.lock()).into_values() {
            program.end("the server cannot serve programs any more; its log says why");
        }
    }

    /// Serves the hot programs until all of them can sleep.
    fn serve(&mut self, events: &mut Events) -> io::Result<()> {
        while !self.hot.is_empty() && !self.shared.stop.load(Relaxed) {
            self.serve_until_quiet(events)?;
            // Who submits something just now stays.
            let quiet = |served: &mut Served| served.program.has_ended() || served.submissions.sleep();
            let quiet = self.hot.extract_if(.., quiet);
            self.asleep.extend(quiet.map(|served| (served.token, served)));
        }
        Ok(())
    }

    fn serve_until_quiet(&mut self, events: &mut Events) -> io::Result<()> {
        let mut quiet_since = None;
        let mut looks = 0;
        while !self.hot.is_empty() {
            let taken = self.turn();
            looks += taken * SERVED + self.hot.len() as u32;
            if taken > 0 {
                quiet_since = None;
            }
            if self.spin.time().is_zero() {
                if taken == 0 {
                    return Ok(());
                }
            } else if let [alone] = &self.hot[..] {
                if looks < LOOKS && !alone.submissions.look(LOOKS - looks) {
                    looks = LOOKS;
                }
            } else {
                std::hint::spin_loop();
            }
            if looks >= LOOKS {
                looks = 0;
                let now = self.host.now();
                if now.saturating_sub(*quiet_since.get_or_insert(now)) >= self.spin.time() {
                    return Ok(());
                }
                self.look(events, Some(Duration::ZERO))?;
            }
        }
        Ok(())
    }

    /// One look at each hot ring; how much there was.
    fn turn(&mut self) -> u32 {
        let turns = self.hot.iter_mut().map(|served| {
            served.turn().unwrap_or_else(|corrupt| {
                served.program.expel(&corrupt);
                0
            })
        });
        turns.sum()
    }

    /// Waits for what happens, at most so long, and takes note of it.
    fn look(&mut self, events: &mut Events, time: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(events, time) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        for event in events.iter() {
            let Token(token) = event.token();
            match event.token() {
                DOOR => self.let_in(),
                STOP => {}
                _ => self.happened(token / KINDS * KINDS, token % KINDS),
            }
        }
        Ok(())
    }

    fn happened(&mut self, token: usize, kind: usize) {
        if kind == BELL {
            if let Some(served) = self.asleep.remove(&token) {
                served.submissions.wake();
                self.hot.push(served);
            }
            return;
        }
        let program = self.shared.programs.lock().get(&token).cloned();
        match (program, kind) {
            // A program says nothing over its stream after hello: it has hung up, or died.
            (Some(program), _) => {
                self.shared.programs.lock().remove(&token);
                // What it submitted before counts: it may have put its holds and gone at once.
                if let Some(mut served) = self.forget(token) {
                    while served.turn().is_ok_and(|taken| taken > 0) {}
                }
                program.end("the program has ended, or hung up");
            }
            (None, STREAM) => {
                if let Some((stream, hello)) = self.strangers.hear(token) {
                    self.welcome(token, stream, &hello);
                }
            }
            (None, _) => {}
        }
    }

    fn forget(&mut self, token: usize) -> Option<Served> {
        let hot = self.hot.iter().position(|served| served.token == token);
        hot.map(|place| self.hot.swap_remove(place)).or_else(|| self.asleep.remove(&token))
    }

    fn let_in(&mut self) {
        loop {
            match self.door.listener.accept() {
                Ok((stream, _)) => self.stranger(stream),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::warn!(reason = %error, "a program could not be let in; raise the limit on open files (ulimit -n)");
                    return;
                }
            }
        }
    }

    fn stranger(&mut self, stream: UnixStream) {
        let token = self.next;
        self.next += KINDS;
        let watched = stream
            .set_nonblocking(true)
            .and_then(|()| watch(self.poll.registry(), &stream, Token(token + STREAM)));
        if let Err(error) = watched {
            tracing::warn!(reason = %error, "a program could not be let in");
            return;
        }
        // It may have said all before it was watched.
        if self.strangers.come(token, stream).is_some() {
            tracing::debug!("a connection that said nothing was closed");
        }
        self.happened(token, STREAM);
    }

    fn welcome(&mut self, token: usize, stream: UnixStream, hello: &Hello) {
        let full = self.shared.programs.lock().len() >= MAX_PROGRAMS;
        let layout = match hello.layout() {
            Ok(_) if full => {
                let reason = format!("{MAX_PROGRAMS} programs are attached, as many as there can be");
                return self.turn_away(&stream, &reason);
            }
            Ok(layout) => layout,
            Err(error) => return self.turn_away(&stream, &error.to_string()),
        };
        match self.attach(token, stream, hello, layout) {
            Ok(()) => {}
            Err(error) => {
                tracing::warn!(program = %hello.name(), reason = %error, "a program could not be let in")
            }
        }
    }

    fn turn_away(&self, stream: &UnixStream, reason: &str) {
        self.shared.figures.count_turned_away();
        meeting::turn_away(stream, reason, self.node.get());
    }

    fn attach(
        &mut self,
        token: usize,
        stream: UnixStream,
        hello: &Hello,
        layout: kddm_ring::Layout,
    ) -> io::Result<()> {
        let node = self.node.get();
        let who = Credentials::of(&stream)?;
        let (end, bell, programs_bell) = meeting::let_in(&stream, layout, node)?;
        let registry = self.poll.registry();
        watch(registry, &bell, Token(token + BELL))?;
        watch(registry, &who.process, Token(token + PROCESS))?;
        let (fs, host) = (self.fs.clone(), self.host.clone());
        let (name, bells) = (hello.name(), (bell, programs_bell));
        tracing::debug!(program = %name, pid = who.pid, uid = who.caller.uid, "attached");
        let figures = self.shared.figures.clone();
        figures.count_attached();
        let (program, submissions) =
            Program::new(Parts { name, who, stream, end, bells, fs, host, node, figures });
        self.shared.programs.lock().insert(token, program.clone());
        // The program's end begins awake; the server's as if it had been rung for.
        self.hot.push(Served { token, program, submissions });
        Ok(())
    }
}

fn watch(registry: &Registry, descriptor: &impl AsFd, token: Token) -> io::Result<()> {
    registry.register(&mut SourceFd(&descriptor.as_fd().as_raw_fd()), token, Interest::READABLE)
}
