//! The other side, for tests: a server that keeps objects in a map, and a program that can say anything.

use crate::{
    bell::Bell,
    completion::{Completion, Done},
    ends::{ProgramEnd, ServerEnd},
    facts::SetFacts,
    hello::Hello,
    layout::Layout,
    meeting::{self, MeetingError, Met, Sleeper},
    refusal::Refusal,
    request::{HoldId, Region, Request},
    submission::Submission,
};
use kddm_object::{FirstTouch, Hold, ObjectKey};
use std::{collections::BTreeMap, io, os::unix::net::UnixStream};
use zerocopy::IntoBytes;

/// Bytes of every object of a [`MockServer`].
pub const OBJECT_BYTES: u32 = 128;
/// The only set of a [`MockServer`].
pub const SET: u64 = 0xff00_0000_0000_0001;

/// A server of one program, whose objects nobody else uses. Holds never wait, unless [`MockServer::hold_back`] says so.
#[derive(Debug)]
pub struct MockServer {
    end: ServerEnd,
    /// Rung by the program.
    pub bell: Bell,
    program: Bell,
    objects: BTreeMap<ObjectKey, Vec<u8>>,
    holds: BTreeMap<u64, (ObjectKey, Hold)>,
    next: u64,
    back: Option<Vec<Completion>>,
    /// Submissions that were taken, in order.
    pub taken: Vec<Submission>,
}

impl MockServer {
    /// Lets the program at the other end of the stream in.
    ///
    /// # Errors
    /// It said nothing sensible, or the kernel refuses.
    pub fn meet(stream: &mut UnixStream) -> Result<MockServer, MeetingError> {
        let layout = meeting::listen(stream)?.layout()?;
        let (end, bell, program) = meeting::let_in(stream, layout, 1)?;
        let (objects, holds, taken) = Default::default();
        Ok(MockServer { end, bell, program, objects, holds, next: 1, back: None, taken })
    }

    /// From now on nothing is told, until [`MockServer::tell`].
    pub fn hold_back(&mut self) {
        self.back = Some(Vec::new());
    }

    /// Tells what was held back, last things first.
    ///
    /// # Errors
    /// The program's ring cannot be.
    pub fn tell(&mut self) -> io::Result<()> {
        for completion in self.back.take().unwrap_or_default().into_iter().rev() {
            self.complete(completion)?;
        }
        Ok(())
    }

    /// Does what was submitted. Whether something was.
    ///
    /// # Errors
    /// The program's ring cannot be.
    pub fn turn(&mut self) -> io::Result<bool> {
        let mut some = false;
        while let Some(submission) = self.end.submissions.take() {
            // At once: who has an answer finds room for the next question.
            self.end.submissions.release();
            some = true;
            self.taken.push(submission);
            let outcome =
                submission.request().map_err(|_| Refusal::Malformed).and_then(|request| self.answer(request));
            if !(submission.is_quiet() && outcome.is_ok()) {
                self.complete(Completion::new(submission.tag(), &outcome))?;
            }
        }
        Ok(some)
    }

    /// Says that it sleeps; false: something came before.
    pub fn sleep(&self) -> bool {
        self.end.submissions.sleep()
    }

    /// Holds that the program has.
    pub fn holds(&self) -> usize {
        self.holds.len()
    }

    fn complete(&mut self, completion: Completion) -> io::Result<()> {
        match &mut self.back {
            Some(back) => back.push(completion),
            None => {
                if self.end.completions.tell(&completion).map_err(io::Error::other)? {
                    self.program.ring();
                }
            }
        }
        Ok(())
    }

    fn answer(&mut self, request: Request) -> Result<Done, Refusal> {
        match request {
            Request::Nothing | Request::Prefetch { .. } | Request::Flush { .. } | Request::Sync { .. } => {
                Ok(Done::default())
            }
            Request::Hold { key, hold, first_touch, into, .. } => self.hold(key, hold, first_touch, into),
            Request::Put { hold, changed } => self.put(hold, changed),
            Request::Remove { key } => {
                self.objects.remove(&key);
                Ok(Done::default())
            }
            Request::OpenSet { into, .. } => {
                let facts =
                    SetFacts { set: SET, object_size: OBJECT_BYTES, mode: 0o600, ..SetFacts::default() };
                self.end.window.write(into, facts.as_bytes()).ok_or(Refusal::Region)?;
                Ok(Done { value: SET, length: into.length })
            }
            Request::CreateSet { .. } => Ok(Done { value: SET, length: 0 }),
            _ => Err(Refusal::Malformed),
        }
    }

    fn hold(&mut self, key: ObjectKey, hold: Hold, touch: FirstTouch, into: Region) -> Result<Done, Refusal> {
        if touch == FirstTouch::Refuse && !self.objects.contains_key(&key) {
            return Err(Refusal::Absent);
        }
        let bytes = self.objects.entry(key).or_insert_with(|| vec![0; OBJECT_BYTES as usize]);
        self.end.window.write(into, bytes).ok_or(Refusal::Region)?;
        let number = self.next;
        self.next += 1;
        self.holds.insert(number, (key, hold));
        Ok(Done { value: number, length: OBJECT_BYTES })
    }

    fn put(&mut self, HoldId(number): HoldId, changed: Option<Region>) -> Result<Done, Refusal> {
        let (key, _) = self.holds.remove(&number).ok_or(Refusal::NoHold)?;
        if let (Some(region), Some(bytes)) = (changed, self.objects.get_mut(&key)) {
            self.end.window.read(region, bytes).ok_or(Refusal::Region)?;
        }
        Ok(Done::default())
    }
}

/// A program that says what it is told to, right or wrong.
#[derive(Debug)]
pub struct MockProgram {
    /// Submissions, completions, window.
    pub end: ProgramEnd,
    /// Wakes the server.
    pub server: Bell,
    sleeper: Sleeper,
    /// Its connection.
    pub stream: UnixStream,
}

impl MockProgram {
    /// Attaches over a stream.
    ///
    /// # Errors
    /// The server does not let it in.
    pub fn attach(mut stream: UnixStream, layout: Layout) -> Result<MockProgram, MeetingError> {
        let met = meeting::greet(&mut stream, &Hello::new("mock", Some(layout.window())))?;
        let Met { end, server, program, .. } = met;
        let sleeper = Sleeper::new(program, &stream)?;
        Ok(MockProgram { end, server, sleeper, stream })
    }

    /// Submits, and rings if the server sleeps. False: there is no room.
    ///
    /// # Errors
    /// The server's ring cannot be.
    pub fn submit(&mut self, submission: &Submission) -> io::Result<bool> {
        let written = self.end.write(submission).map_err(io::Error::other)?;
        if self.end.publish() {
            self.server.ring();
        }
        Ok(written)
    }

    /// Waits for the next completion.
    ///
    /// # Errors
    /// The server hung up.
    pub fn complete(&mut self) -> io::Result<Completion> {
        loop {
            if let Some(completion) = self.end.take() {
                return Ok(completion);
            }
            if self.end.sleep() {
                self.sleeper.wait(None)?;
            }
            self.end.wake();
        }
    }
}
