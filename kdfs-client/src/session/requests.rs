//! Requests that are under way, and the threads that wait for their ends.
//!
//! Of the threads that wait, one *leads*: it looks at the ring, or sleeps on its bell, and hands out what comes; the others sleep until it
//! says that something came, or that it leads no more. Futures are woken by whoever leads; while only futures wait, a thread of
//! the library leads, which is started with the first of them.

use super::{
    call::{Answer, Call},
    state::State,
};
use crate::{Error, error::Result};
use kddm_ring::{
    Bell, Completion, Done, HoldId, Piece, Request, Spin, Submission, Tag, Window, WindowFull,
    meeting::{self, Met, Sleeper},
};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::{
    io,
    os::unix::net::UnixStream,
    sync::{Arc, Weak},
    task::Waker,
    thread,
    time::{Duration, Instant},
};

/// How long a thread looks before it sleeps, at most, unless the program says otherwise.
const MOST_SPIN: Duration = Duration::from_micros(20);
/// Places that are left for puts, and for the question that makes room.
const SPARE: u64 = 8;
/// So many looks at the ring for one at the clock.
const LOOKS: u32 = 64;

/// All requests of an attachment.
pub(crate) struct Requests {
    state: Mutex<State>,
    /// Something came, or nobody leads.
    changed: Condvar,
    window: Window,
    /// Pieces of the window that bytes of files go through: a thread that finds no room waits for the end of one.
    transfers: Mutex<usize>,
    transferred: Condvar,
    server: Bell,
    sleeper: Sleeper,
    stream: UnixStream,
    node: u8,
}

impl Requests {
    /// # Errors
    /// The kernel's: too many descriptors are open.
    pub(crate) fn new(met: Met, stream: UnixStream) -> io::Result<Arc<Requests>> {
        let Met { end, server, program, layout, node } = met;
        let sleeper = Sleeper::new(program, &stream)?;
        let window = end.window().clone();
        let state = State::new(end, layout.entries(), MOST_SPIN);
        let (state, changed) = (Mutex::new(state), Condvar::new());
        let (transfers, transferred) = (Mutex::new(0), Condvar::new());
        Ok(Arc::new(Requests {
            state,
            changed,
            window,
            transfers,
            transferred,
            server,
            sleeper,
            stream,
            node,
        }))
    }

    pub(crate) fn node(&self) -> u8 {
        self.node
    }

    pub(crate) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    pub(crate) fn spin(&self, most: Duration) {
        self.state.lock().spin = Spin::up_to(most);
    }

    /// A piece of the window.
    pub(crate) fn piece(self: &Arc<Self>, length: u32) -> Result<Piece> {
        self.with_room(|window| window.piece(length))
    }

    /// A piece with these bytes.
    pub(crate) fn piece_of(self: &Arc<Self>, bytes: &[u8]) -> Result<Piece> {
        self.with_room(|window| window.piece_of(bytes))
    }

    /// A piece for a transfer of `least` to `most` bytes, as many as there is room for; waits for other transfers if it is for none.
    pub(crate) fn transfer(self: &Arc<Self>, least: u32, most: u32) -> Result<(Piece, Transfer<'_>)> {
        let mut transfers = self.transfers.lock();
        loop {
            let mut length = most;
            loop {
                match self.piece(length) {
                    Ok(piece) => {
                        *transfers += 1;
                        return Ok((piece, Transfer(self)));
                    }
                    Err(Error::Window(_)) if length > least => length = (length / 2).max(least),
                    // Each ends without needing more than it has.
                    Err(Error::Window(_)) if *transfers > 0 => break,
                    Err(error) => return Err(error),
                }
            }
            self.transferred.wait(&mut transfers);
        }
    }

    /// The window may only seem full: of puts that the server has not taken yet.
    fn with_room(
        self: &Arc<Self>,
        make: impl Fn(&Window) -> std::result::Result<Piece, WindowFull>,
    ) -> Result<Piece> {
        if self.window.is_childs() {
            return Err(Error::Child);
        }
        if let Ok(piece) = make(&self.window) {
            return Ok(piece);
        }
        self.reap(&mut self.state.lock())?;
        if let Ok(piece) = make(&self.window) {
            return Ok(piece);
        }
        if !self.state.lock().quiet.is_empty() {
            // When it is answered, all before it has been taken.
            self.order(Request::Nothing)?;
            self.reap(&mut self.state.lock())?;
        }
        Ok(make(&self.window)?)
    }

    /// Begins a request, which has `pieces` until it ends.
    pub(crate) fn call<const N: usize>(
        self: &Arc<Self>,
        request: Request,
        pieces: [Piece; N],
    ) -> Result<Call> {
        let (state, tag) = self.begin(&request)?;
        self.publish(state);
        Ok(Call::new(self.clone(), tag, places(pieces)))
    }

    /// As [`Requests::call`], and waits for its end.
    pub(crate) fn ask<const N: usize>(&self, request: Request, pieces: [Piece; N]) -> Result<Answer> {
        let mut pieces = places(pieces);
        let done = self.done(&request, || std::mem::take(&mut pieces))?;
        Ok(Answer { done, pieces })
    }

    /// As [`Requests::ask`], for what needs no bytes.
    pub(crate) fn order(&self, request: Request) -> Result<Done> {
        self.done(&request, Default::default)
    }

    /// Begins a request and waits for its end. If that is not to be heard, what it has of the window is kept as long as the server may need it.
    #[inline]
    fn done(&self, request: &Request, pieces: impl FnOnce() -> [Option<Piece>; 2]) -> Result<Done> {
        let (mut state, tag) = self.begin(request)?;
        let ended = if state.end.publish() {
            MutexGuard::unlocked(&mut state, || self.server.ring());
            Ok(None)
        } else {
            self.soon(&mut state, tag)
        };
        let ended = match ended {
            Ok(None) => self.until(state, None, |state| state.fetch(tag)),
            ended => ended,
        };
        match ended {
            Ok(completion) => Ok(completion.ok_or(Error::Answer("no end"))?.outcome()?),
            Err(error) => {
                self.abandon(tag, pieces());
                Err(error)
            }
        }
    }

    /// The end of a request, if it comes soon, as it mostly does: then nobody has to lead.
    #[inline]
    fn soon(&self, state: &mut State, tag: Tag) -> Result<Option<Completion>> {
        if state.leads || state.spin.time().is_zero() {
            return Ok(None);
        }
        // While the server is at it: after its answer this would take time.
        state.take_back()?;
        if !state.end.look(LOOKS) {
            return Ok(None);
        }
        let end = state.next_end(tag);
        if end.is_none() {
            // It may be what another thread waits for.
            self.changed.notify_all();
        }
        Ok(end)
    }

    /// Writes a submission, which has yet to be published.
    #[inline]
    fn begin(&self, request: &Request) -> Result<(MutexGuard<'_, State>, Tag)> {
        if self.window.is_childs() {
            return Err(Error::Child);
        }
        let mut state = self.room(2)?;
        let most = (state.entries - SPARE) as usize;
        if state.under_way >= most {
            self.reap(&mut state)?;
            if state.under_way >= most {
                return Err(Error::TooManyUnderWay(most));
            }
        }
        let tag = state.begin();
        state.write(&Submission::new(tag, *request, false))?;
        Ok((state, tag))
    }

    /// Ends a hold; nobody waits for it. The piece is lent until the server has taken it.
    pub(crate) fn put(&self, hold: HoldId, changed: bool, piece: Piece) {
        if self.window.is_childs() {
            // The parent's hold is none of ours.
            return;
        }
        let request = Request::Put { hold, changed: changed.then(|| piece.region()) };
        // If it is over, the hold is, too.
        let Ok(mut state) = self.room(2) else { return };
        if state.write_quiet(request, Some(piece)).is_ok() {
            self.publish(state);
        }
    }

    /// The state, when so many submissions have room.
    #[inline]
    fn room(&self, wanted: u64) -> Result<MutexGuard<'_, State>> {
        loop {
            let mut state = self.state.lock();
            state.usable()?;
            let mut room = state.room(wanted)?;
            if room < wanted {
                self.reap(&mut state)?;
                room = state.room(wanted)?;
            }
            if room >= wanted {
                return Ok(state);
            }
            if room == 0 {
                // Somebody else has asked.
                drop(state);
                self.until(self.state.lock(), None, |state| state.room(1).ok().filter(|&room| room > 0))?;
                continue;
            }
            // The server takes what is there before it answers this; its place was kept for it.
            let fence = state.begin();
            state.write(&Submission::new(fence, Request::Nothing, false))?;
            self.publish(state);
            self.completion(fence, None)?;
        }
    }

    fn publish(&self, mut state: MutexGuard<'_, State>) {
        let rings = state.end.publish();
        drop(state);
        if rings {
            self.server.ring();
        }
    }

    /// Waits for the end of a request. `None`: the time is over, and it goes on.
    pub(crate) fn completion(&self, tag: Tag, deadline: Option<Instant>) -> Result<Option<Completion>> {
        self.until(self.state()?, deadline, |state| state.fetch(tag))
    }

    /// Waits for the end of one of these requests; which. `None`: the time is over.
    pub(crate) fn first_ended(&self, tags: &[Tag], deadline: Option<Instant>) -> Result<Option<usize>> {
        self.until(self.state()?, deadline, |state| tags.iter().position(|&tag| state.has_ended(tag)))
    }

    fn state(&self) -> Result<MutexGuard<'_, State>> {
        if self.window.is_childs() {
            return Err(Error::Child);
        }
        Ok(self.state.lock())
    }

    /// Waits until `is` gives something, which it is asked for whenever something came.
    #[inline]
    fn until<'a, T>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        deadline: Option<Instant>,
        is: impl Fn(&mut State) -> Option<T>,
    ) -> Result<Option<T>> {
        loop {
            self.reap(&mut state)?;
            if let Some(found) = is(&mut state) {
                return Ok(Some(found));
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(None);
            }
            if !state.leads {
                state = self.lead(state, left);
            } else if let Some(left) = left {
                self.changed.wait_for(&mut state, left);
            } else {
                self.changed.wait(&mut state);
            }
        }
    }

    /// Looks, and sleeps, until something comes.
    #[inline]
    fn lead<'a>(&'a self, mut state: MutexGuard<'a, State>, most: Option<Duration>) -> MutexGuard<'a, State> {
        state.leads = true;
        let before = state.taken;
        // Others take what comes, too: it may be what this thread waits for.
        if !look(&mut state) && state.taken == before {
            let since = Instant::now();
            if state.end.sleep() {
                let waited = MutexGuard::unlocked(&mut state, || self.sleeper.wait(most));
                state.end.wake();
                if waited.is_err() {
                    state.over.get_or_insert_with(|| self.last_words().into());
                }
            }
            let time = state.spin.time() + since.elapsed();
            state.spin.came_after(time);
        }
        state.leads = false;
        self.changed.notify_all();
        state
    }

    fn last_words(&self) -> String {
        match self.stream.try_clone() {
            Ok(mut stream) => meeting::farewell(&mut stream),
            Err(error) => error.to_string(),
        }
    }

    #[inline]
    fn reap(&self, state: &mut State) -> Result<()> {
        state.take_back()?;
        if state.drain() {
            self.changed.notify_all();
        }
        let Some(reason) = state.over.clone() else { return Ok(()) };
        for waker in state.wakers() {
            waker.wake();
        }
        Err(Error::Over(reason))
    }

    /// The end of a request, or `waker` is woken when it has ended.
    pub(crate) fn poll(self: &Arc<Self>, tag: Tag, waker: &Waker) -> Result<Option<Completion>> {
        if self.window.is_childs() {
            return Err(Error::Child);
        }
        let mut state = self.state.lock();
        self.reap(&mut state)?;
        if let Some(completion) = state.fetch(tag) {
            return Ok(Some(completion));
        }
        state.register(tag, waker);
        if !state.driven {
            state.driven = true;
            let requests = Arc::downgrade(self);
            let driver = thread::Builder::new().name("kddm-driver".into());
            if driver.spawn(move || drive(&requests)).is_err() {
                state.driven = false;
                return Err(Error::Answer("no thread could be started to wait for it (ulimit -u)"));
            }
        }
        self.changed.notify_all();
        Ok(None)
    }

    /// Nobody waits for a request any more: what it was to get is given up, even if it has it already.
    pub(crate) fn abandon(&self, tag: Tag, pieces: [Option<Piece>; 2]) {
        if self.window.is_childs() {
            return;
        }
        self.state.lock().abandon(tag, pieces);
        // If it is over, nothing is under way.
        if let Ok(mut state) = self.room(2)
            && state.write_quiet(Request::Cancel { tag }, None).is_ok()
        {
            self.publish(state);
        }
    }
}

/// A transfer that is under way. Its piece is given back before this.
pub(crate) struct Transfer<'a>(&'a Requests);

impl Drop for Transfer<'_> {
    fn drop(&mut self) {
        *self.0.transfers.lock() -= 1;
        // All: who wakes and finds holds in the window instead gives up, and wakes nobody.
        self.0.transferred.notify_all();
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        // Said, not only done by closing: a child of this process may have the connection, too, and then it would stay open.
        if !self.window.is_childs() {
            let _ = self.stream.shutdown(std::net::Shutdown::Both);
        }
    }
}

fn places<const N: usize>(pieces: [Piece; N]) -> [Option<Piece>; 2] {
    let mut pieces = pieces.into_iter();
    [pieces.next(), pieces.next()]
}

/// Looks for as long as that pays; whether something came.
fn look(state: &mut MutexGuard<'_, State>) -> bool {
    let (time, before) = (state.spin.time(), state.taken);
    if time.is_zero() {
        return state.end.look(1);
    }
    let mut since = None;
    while state.taken == before {
        if state.end.look(LOOKS) {
            return true;
        }
        // The clock costs more than a quick answer takes.
        if since.get_or_insert_with(Instant::now).elapsed() >= time {
            return false;
        }
        // Others submit, and take, meanwhile.
        MutexGuard::bump(state);
    }
    true
}

/// Leads while only futures wait.
fn drive(requests: &Weak<Requests>) {
    loop {
        let Some(requests) = requests.upgrade() else { return };
        let mut state = requests.state.lock();
        if requests.reap(&mut state).is_err() {
            return;
        }
        if state.futures == 0 {
            // Nothing to do for a while: the attachment can end meanwhile.
            state.driven = false;
            return;
        }
        if state.leads {
            requests.changed.wait(&mut state);
        } else {
            drop(requests.lead(state, None));
        }
    }
}

impl std::fmt::Debug for Requests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Requests").field("node", &self.node).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kddm_ring::{Hello, mock::MockServer};
    use std::sync::{
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{Receiver, channel},
    };

    const PAGE: u32 = 4096;
    const LONG: Duration = Duration::from_secs(10);

    /// A program with a window of four pages. Its server is there, as long as the stream is, and asked nothing.
    fn attached() -> (Arc<Requests>, MockServer, UnixStream) {
        let (mut program, mut server) = UnixStream::pair().unwrap();
        let meeting = thread::spawn(move || (MockServer::meet(&mut server).unwrap(), server));
        let met = meeting::greet(&mut program, &Hello::new("test", Some(4 * PAGE))).unwrap();
        let (mock, stream) = meeting.join().unwrap();
        (Requests::new(met, program).unwrap(), mock, stream)
    }

    /// A thread that wants a page of the window, and gives back whether it got one.
    fn wants_a_page(requests: &Arc<Requests>) -> Receiver<bool> {
        let (tell, hear) = channel();
        let requests = requests.clone();
        thread::spawn(move || {
            let got = requests.transfer(PAGE, PAGE).is_ok();
            // The test may have failed meanwhile.
            let _ = tell.send(got);
        });
        hear
    }

    /// Waits until so many threads sleep for want of room. Each looks again, and sleeps again, for it is woken for nothing.
    fn until_asleep(requests: &Requests, threads: usize) {
        while requests.transferred.notify_all() != threads {
            thread::yield_now();
        }
    }

    #[test]
    fn puts_that_fail_quietly_never_fill_the_completions() {
        let (requests, mut server, stream) = attached();
        let over = Arc::new(AtomicBool::new(false));
        let serving = {
            let over = over.clone();
            thread::spawn(move || {
                let _stream = stream;
                while !over.load(Relaxed) {
                    if !server.turn().unwrap() {
                        thread::yield_now();
                    }
                }
            })
        };
        for every in [2, 50, 10_000] {
            for number in 1..1000 {
                requests.put(HoldId(number), false, requests.piece(0).unwrap());
                if number.is_multiple_of(every) {
                    requests.order(Request::Nothing).unwrap();
                }
            }
        }
        over.store(true, Relaxed);
        serving.join().unwrap();
    }

    #[test]
    fn an_end_that_another_thread_finds_is_kept_for_who_waits_for_it() {
        let (requests, mut server, _stream) = attached();
        for round in 1..100 {
            let first = requests.call(Request::Nothing, []).unwrap();
            assert!(server.turn().unwrap());
            let other = {
                let requests = requests.clone();
                thread::spawn(move || requests.order(Request::Nothing))
            };
            while server.taken.len() < 2 * round {
                server.turn().unwrap();
            }
            other.join().unwrap().unwrap();
            first.wait().unwrap();
        }
    }

    #[test]
    fn a_transfer_takes_what_room_there_is_and_waits_for_another_if_there_is_none() {
        let (requests, _server, _stream) = attached();
        let held = requests.piece(2 * PAGE).unwrap();
        let (first, transfer) = requests.transfer(PAGE, 16 * PAGE).unwrap();
        assert_eq!(first.region().length, 2 * PAGE);
        let second = wants_a_page(&requests);
        until_asleep(&requests, 1);
        drop(first);
        drop(transfer);
        assert_eq!(second.recv_timeout(LONG), Ok(true));
        drop(held);
    }

    #[test]
    fn a_window_full_of_holds_is_told_to_all_who_wait() {
        for _ in 0..50 {
            let (requests, _server, _stream) = attached();
            let _held = requests.piece(3 * PAGE).unwrap();
            let (piece, transfer) = requests.transfer(PAGE, PAGE).unwrap();
            let waiting = [wants_a_page(&requests), wants_a_page(&requests)];
            until_asleep(&requests, 2);
            // The transfer ends, but what it had is held by now.
            drop(transfer);
            for thread in waiting {
                assert_eq!(thread.recv_timeout(LONG), Ok(false), "nobody has told it that nothing is coming");
            }
            drop(piece);
        }
    }
}
