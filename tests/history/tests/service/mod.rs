//! A service of one object with threads that use it, as a story of operations; and the judge that tries every order.

use fastrand::Rng;
use kddm_history::{Mode, Touch};

/// What an operation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Acquire(Mode, Touch, u64),
    /// A hold from its beginning to its end, at one moment; it may leave something else.
    Hold(Touch, u64, Option<u64>),
    Put(Mode, Option<u64>),
    Remove,
    FoundNothing,
    Sync,
    Loss,
}

#[derive(Clone, Debug)]
pub struct Operation {
    pub thread: u8,
    pub kind: Kind,
    /// Else nobody knows whether it took effect.
    pub certain: bool,
}

#[derive(Clone, Copy, Debug)]
pub enum Event {
    Begins(usize),
    Ends(usize),
}

#[derive(Clone, Debug, Default)]
pub struct Story {
    pub operations: Vec<Operation>,
    pub events: Vec<Event>,
}

/// The object, as the judge and the service see it: no cleverness.
#[derive(Clone, Debug, PartialEq)]
struct Object {
    /// `None`: untouched.
    value: Option<u64>,
    readers: u32,
    writer: bool,
    past: Vec<Option<u64>>,
}

impl Object {
    fn new() -> Object {
        Object { value: None, readers: 0, writer: false, past: Vec::new() }
    }

    fn set(&mut self, value: Option<u64>) {
        if self.value != value {
            self.past.push(self.value);
            self.value = value;
        }
    }

    /// All that it may be after `kind`.
    fn after(&self, kind: Kind) -> Vec<Object> {
        let mut next = self.clone();
        match kind {
            Kind::Acquire(mode, touch, saw) => {
                let free = !self.writer && (mode == Mode::Shared || self.readers == 0);
                let seen = match self.value {
                    Some(value) => value == saw,
                    None => saw == 0 && touch != Touch::Refuse,
                };
                if !free || !seen {
                    return Vec::new();
                }
                next.set(Some(saw));
                match mode {
                    Mode::Shared => next.readers += 1,
                    Mode::Exclusive => next.writer = true,
                }
            }
            Kind::Hold(touch, saw, wrote) => {
                let held = self.after(Kind::Acquire(Mode::Exclusive, touch, saw));
                let put = |held: Object| held.after(Kind::Put(Mode::Exclusive, wrote));
                return held.into_iter().flat_map(put).collect();
            }
            Kind::Put(mode, wrote) => {
                match mode {
                    Mode::Shared => next.readers = self.readers.saturating_sub(1),
                    Mode::Exclusive => next.writer = false,
                }
                if let Some(value) = wrote {
                    next.set(Some(value));
                }
            }
            Kind::Remove if self.writer || self.readers > 0 => return Vec::new(),
            Kind::Remove => next = Object::new(),
            Kind::FoundNothing if self.value.is_some() => return Vec::new(),
            Kind::FoundNothing => {}
            Kind::Sync => next.past.clear(),
            Kind::Loss => {
                let back = |kept: usize| Object {
                    value: self.past[kept],
                    past: self.past[..kept].to_vec(),
                    ..self.clone()
                };
                return (0..self.past.len()).map(back).collect();
            }
        }
        vec![next]
    }
}

/// What a thread is doing.
#[derive(Clone, Copy, Debug)]
enum Doing {
    Nothing,
    /// Began, no effect yet.
    Asked(usize),
    /// Took effect, nobody has been told.
    Done(usize),
    Holding(Mode),
}

pub struct Service {
    object: Object,
    threads: Vec<Doing>,
    /// Threads have whole holds.
    whole: bool,
    /// Of 65,536 steps.
    crashes: u16,
    story: Story,
    written: u64,
}

impl Service {
    pub fn new(threads: u8, crashes: u16) -> Service {
        let threads = vec![Doing::Nothing; usize::from(threads)];
        let (object, story) = (Object::new(), Story::default());
        Service { object, threads, whole: false, crashes, story, written: 0 }
    }

    /// Of its holds only is told when they began and ended.
    pub fn of_whole_holds(self) -> Service {
        Service { whole: true, ..self }
    }

    /// About so many operations.
    pub fn run(mut self, rng: &mut Rng, operations: usize) -> Story {
        while self.story.operations.len() < operations {
            let thread = rng.usize(0..self.threads.len());
            self.step(thread, rng);
            if rng.u16(..) < self.crashes {
                self.crash(rng);
            }
        }
        // What a whole hold wrote is known from its end alone.
        for thread in 0..self.threads.len() {
            if self.whole && matches!(self.threads[thread], Doing::Done(_)) {
                self.step(thread, rng);
            }
        }
        self.story
    }

    fn begin(&mut self, thread: usize, kind: Kind) -> usize {
        let place = self.story.operations.len();
        self.story.operations.push(Operation { thread: thread as u8, kind, certain: true });
        self.story.events.push(Event::Begins(place));
        place
    }

    fn step(&mut self, thread: usize, rng: &mut Rng) {
        match self.threads[thread] {
            Doing::Nothing => {
                let mode = if rng.bool() { Mode::Shared } else { Mode::Exclusive };
                let touch = if rng.u8(0..4) == 0 { Touch::Refuse } else { Touch::Make };
                let kind = match rng.u8(0..12) {
                    0 => Kind::Remove,
                    1 => Kind::Sync,
                    _ if self.whole => {
                        let wrote = (mode == Mode::Exclusive).then(|| {
                            self.written += 1;
                            self.written
                        });
                        Kind::Hold(touch, 0, wrote)
                    }
                    _ => Kind::Acquire(mode, touch, 0),
                };
                self.threads[thread] = Doing::Asked(self.begin(thread, kind));
            }
            Doing::Asked(place) => self.take_effect(thread, place),
            Doing::Done(place) => {
                self.story.events.push(Event::Ends(place));
                self.threads[thread] = match self.story.operations[place].kind {
                    Kind::Acquire(mode, ..) => Doing::Holding(mode),
                    _ => Doing::Nothing,
                };
            }
            Doing::Holding(mode) => {
                let wrote = (mode == Mode::Exclusive && rng.u8(0..4) > 0).then(|| {
                    self.written += 1;
                    self.written
                });
                let place = self.begin(thread, Kind::Put(mode, wrote));
                self.story.events.push(Event::Ends(place));
                self.object = self.object.after(Kind::Put(mode, wrote)).remove(0);
                self.threads[thread] = Doing::Nothing;
            }
        }
    }

    fn take_effect(&mut self, thread: usize, place: usize) {
        let kind = match self.story.operations[place].kind {
            Kind::Acquire(mode, touch, _) => match (self.object.value, touch) {
                (None, Touch::Refuse) => Kind::FoundNothing,
                (value, _) => Kind::Acquire(mode, touch, value.unwrap_or(0)),
            },
            Kind::Hold(touch, _, wrote) => match (self.object.value, touch) {
                (None, Touch::Refuse) => Kind::FoundNothing,
                (value, _) => Kind::Hold(touch, value.unwrap_or(0), wrote),
            },
            kind => kind,
        };
        if let Some(next) = self.object.after(kind).pop() {
            self.object = next;
            self.story.operations[place].kind = kind;
            self.threads[thread] = Doing::Done(place);
        }
    }

    /// What was put may be gone, and some operation ends nobody knows how. Nobody holds anything meanwhile.
    fn crash(&mut self, rng: &mut Rng) {
        if self.object.writer || self.object.readers > 0 {
            return;
        }
        self.begin(0, Kind::Loss);
        let mut back = self.object.after(Kind::Loss);
        if !back.is_empty() && rng.bool() {
            self.object = back.swap_remove(rng.usize(0..back.len()));
        }
        let removing = |doing: &Doing| match *doing {
            Doing::Asked(place) => (self.story.operations[place].kind == Kind::Remove).then_some(place),
            _ => None,
        };
        if let Some(place) = self.threads.iter().find_map(removing) {
            self.story.operations[place].certain = false;
            self.story.events.push(Event::Ends(place));
            if rng.bool() {
                self.object = Object::new();
            }
            let gave_up = |doing: &&mut Doing| matches!(**doing, Doing::Asked(asked) if asked == place);
            self.threads.iter_mut().filter(gave_up).for_each(|doing| *doing = Doing::Nothing);
        }
    }
}

impl Story {
    /// Changes what one of them saw, or did.
    pub fn spoil(&mut self, rng: &mut Rng) {
        let place = rng.usize(0..self.operations.len());
        let other = rng.u64(0..4);
        let operation = &mut self.operations[place];
        operation.kind = match operation.kind {
            Kind::Acquire(mode, touch, _) => Kind::Acquire(mode, touch, other),
            Kind::Hold(touch, _, wrote) => Kind::Hold(touch, other, wrote),
            Kind::Put(mode, Some(_)) => Kind::Put(mode, None),
            Kind::Put(Mode::Exclusive, None) => Kind::Put(Mode::Exclusive, Some(other)),
            kind => kind,
        };
    }

    /// Whether some order of the operations explains it: all are tried.
    pub fn is_right(&self) -> bool {
        let count = self.operations.len();
        let (mut began, mut ended) = (vec![0; count], vec![usize::MAX; count]);
        for (time, event) in self.events.iter().enumerate() {
            match *event {
                Event::Begins(place) => began[place] = time,
                Event::Ends(place) if self.operations[place].certain => ended[place] = time,
                Event::Ends(_) => {}
            }
        }
        // What is still under way when the story ends may have happened or not, and saw nothing that counts.
        let told = |place: usize| ended[place] != usize::MAX;
        let mut left: Vec<usize> = (0..count)
            .filter(|&place| {
                told(place)
                    || !matches!(
                        self.operations[place].kind,
                        Kind::Acquire(..) | Kind::Hold(..) | Kind::FoundNothing
                    )
            })
            .collect();
        // A hold that nobody heard of may have made the object.
        let touches: Vec<usize> = (0..count)
            .filter(|&place| {
                let kind = self.operations[place].kind;
                !told(place) && matches!(kind, Kind::Acquire(_, Touch::Make, _) | Kind::Hold(Touch::Make, ..))
            })
            .collect();
        left.extend(&touches);
        self.search(&Object::new(), &left, &began, &ended)
    }

    fn search(&self, object: &Object, left: &[usize], began: &[usize], ended: &[usize]) -> bool {
        let until = left.iter().map(|&place| ended[place]).min().unwrap_or(usize::MAX);
        if until == usize::MAX {
            return true;
        }
        left.iter().filter(|&&place| began[place] < until).any(|&place| {
            let rest: Vec<usize> = left.iter().copied().filter(|&other| other != place).collect();
            let kind = match self.operations[place].kind {
                Kind::Acquire(..) | Kind::Hold(..) if ended[place] == usize::MAX => {
                    return self.made(object, &rest, began, ended);
                }
                kind => kind,
            };
            object.after(kind).iter().any(|next| self.search(next, &rest, began, ended))
        })
    }

    fn made(&self, object: &Object, rest: &[usize], began: &[usize], ended: &[usize]) -> bool {
        let mut next = object.clone();
        next.set(next.value.or(Some(0)));
        self.search(&next, rest, began, ended)
    }
}
