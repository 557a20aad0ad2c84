//! What C has instead of values: names in a table.
//!
//! A handle looks like a pointer and is none: `process << 52 | generation << 24 | index`. The generation of a place counts how often it was
//! used, so that a handle that was given back is found out. The process counts forks: a child begins with a new table, and knows handles
//! of its parent by their number. It is never 0, so a handle is no address that could be mapped.

use crate::{
    answer::{Failure, Result},
    files::{Directory, File},
    holds::Hold,
    pending::Pending,
    session::Session,
    sets::Set,
};
use kddm_memory::ForkMark;
use nix::errno::Errno;
use parking_lot::RwLock;
use std::{
    ffi::c_void,
    marker::PhantomData,
    ptr,
    sync::{Arc, OnceLock},
};

/// A handle of a `T`.
#[repr(transparent)]
pub(crate) struct Handle<T>(*mut c_void, PhantomData<fn() -> T>);

/// The handle of the session that something belongs to.
pub(crate) type SessionId = usize;

/// What a handle can name.
#[derive(Clone)]
pub(crate) enum Object {
    Session(Arc<Session>),
    Set(Arc<Set>),
    Hold(Arc<Hold>),
    Pending(Arc<Pending>),
    File(Arc<File>),
    Directory(Arc<Directory>),
}

/// A kind of [`Object`].
pub(crate) trait Kind: Sized {
    /// With its article.
    const NAME: &'static str;
    fn of(object: &Object) -> Option<&Arc<Self>>;
    fn object(this: Arc<Self>) -> Object;
}

macro_rules! kinds {
    ($($kind:ident $name:literal),*) => {$(
        impl Kind for $kind {
            const NAME: &'static str = $name;

            fn of(object: &Object) -> Option<&Arc<$kind>> {
                match object {
                    Object::$kind(this) => Some(this),
                    _ => None,
                }
            }

            fn object(this: Arc<$kind>) -> Object {
                Object::$kind(this)
            }
        }
    )*};
}

kinds!(Session "session", Set "set", Hold "hold", Pending "pending hold", File "file", Directory "directory");

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Handle<T> {
        *self
    }
}

impl<T> Copy for Handle<T> {}

impl<T> Handle<T> {
    pub(crate) const NULL: Handle<T> = Handle(ptr::null_mut(), PhantomData);

    pub(crate) fn is_null(self) -> bool {
        self.0.is_null()
    }

    fn of(number: usize) -> Handle<T> {
        Handle(ptr::without_provenance_mut(number), PhantomData)
    }

    fn number(self) -> usize {
        self.0.addr()
    }
}

impl<T: Kind> Handle<T> {
    /// What it names.
    pub(crate) fn get(self) -> Result<Arc<T>> {
        let table = self.table()?;
        let slots = table.slots.read();
        let object = slots.find(self.number()).and_then(T::of).cloned();
        drop(slots);
        object.ok_or_else(|| self.refused())
    }

    /// What it names, and from now on names no more.
    pub(crate) fn take(self) -> Result<Arc<T>> {
        let table = self.table()?;
        let mut slots = table.slots.write();
        let object = slots.find(self.number()).and_then(T::of).cloned();
        let object = object.ok_or_else(|| self.refused())?;
        slots.free(self.number());
        Ok(object)
    }

    /// Names `object`, which belongs to a session, as long as that is there.
    pub(crate) fn new(object: T, session: SessionId) -> Result<Handle<T>> {
        Handle::keep(object, Some(session))
    }

    fn keep(object: T, session: Option<SessionId>) -> Result<Handle<T>> {
        let table = Table::current()?;
        let object = Arc::new(object);
        let mut slots = table.slots.write();
        if session.is_some_and(|session| slots.find(session).is_none()) {
            // What it was goes when nothing is locked.
            drop(slots);
            return Err(Failure::new(Errno::ENOTCONN, "the program has detached meanwhile; attach anew"));
        }
        let number = slots.add(T::object(object.clone()), session, table.process);
        drop(slots);
        number
            .map(Handle::of)
            .ok_or_else(|| Failure::new(Errno::ENFILE, "there are too many handles; give some back"))
    }

    fn table(self) -> Result<&'static Table> {
        if self.is_null() {
            return Err(Failure::new(Errno::EINVAL, format!("the {} is NULL", T::NAME)));
        }
        let table = Table::current()?;
        match self.number() >> PROCESS_AT {
            process if process == table.process => Ok(table),
            process if (1..table.process).contains(&process) => Err(kdfs_client::Error::Child.into()),
            _ => Err(self.refused()),
        }
    }

    fn refused(self) -> Failure {
        let text = format!(
            "{:#x} is no {}: it was given back already, or is something else",
            self.number(),
            T::NAME
        );
        Failure::new(Errno::EINVAL, text)
    }
}

impl Handle<Session> {
    /// Names a session.
    pub(crate) fn of_session(session: Session) -> Result<Handle<Session>> {
        Handle::keep(session, None)
    }

    pub(crate) fn id(self) -> SessionId {
        self.number()
    }

    /// Takes the session and all that belongs to it.
    pub(crate) fn take_all(self) -> Result<Vec<Object>> {
        let table = self.table()?;
        let mut slots = table.slots.write();
        if slots.find(self.number()).and_then(Session::of).is_none() {
            return Err(self.refused());
        }
        Ok(slots.free_all_of(self.number()))
    }
}

const GENERATION_AT: u32 = 24;
const PROCESS_AT: u32 = 52;
const INDEX_MASK: usize = (1 << GENERATION_AT) - 1;
const GENERATION_MASK: usize = (1 << (PROCESS_AT - GENERATION_AT)) - 1;

/// All handles of a process.
struct Table {
    process: usize,
    mark: ForkMark,
    slots: RwLock<Slots>,
    /// The table of the child that this process is, if it is one.
    childs: OnceLock<Box<Table>>,
}

#[derive(Default)]
struct Slots {
    all: Vec<Slot>,
    free: Vec<usize>,
}

struct Slot {
    /// The handle that names it now, or did last.
    number: usize,
    session: Option<SessionId>,
    object: Option<Object>,
}

impl Table {
    /// This process's. That of a parent is left as it is, for its locks may be anybody's.
    fn current() -> Result<&'static Table> {
        static FIRST: OnceLock<Box<Table>> = OnceLock::new();
        let (mut place, mut process) = (&FIRST, 1);
        loop {
            let table = match place.get() {
                Some(table) => table,
                None => {
                    let table = Table::new(process)?;
                    place.get_or_init(|| table)
                }
            };
            if !table.mark.is_childs() {
                return Ok(table);
            }
            (place, process) = (&table.childs, process + 1);
        }
    }

    fn new(process: usize) -> Result<Box<Table>> {
        if process > MOST_PROCESSES {
            return Err(Failure::new(
                Errno::EAGAIN,
                "this process is a child of too many that were attached",
            ));
        }
        let mark = ForkMark::new().map_err(|errno| Failure::new(errno, errno.desc()))?;
        Ok(Box::new(Table { process, mark, slots: RwLock::default(), childs: OnceLock::new() }))
    }
}

const MOST_PROCESSES: usize = (1 << (usize::BITS - PROCESS_AT)) - 1;

impl Slots {
    fn find(&self, number: usize) -> Option<&Object> {
        let slot = self.all.get(number & INDEX_MASK)?;
        slot.object.as_ref().filter(|_| slot.number == number)
    }

    fn add(&mut self, object: Object, session: Option<SessionId>, process: usize) -> Option<usize> {
        let index = self.free.pop().unwrap_or(self.all.len());
        if index > INDEX_MASK {
            return None;
        }
        let before = self.all.get(index).map_or(0, |slot| slot.number >> GENERATION_AT);
        let generation = (before + 1) & GENERATION_MASK;
        let number = process << PROCESS_AT | generation << GENERATION_AT | index;
        let slot = Slot { number, session, object: Some(object) };
        match self.all.get_mut(index) {
            Some(place) => *place = slot,
            None => self.all.push(slot),
        }
        Some(number)
    }

    /// Only of a handle that was found, whose object the caller has.
    fn free(&mut self, number: usize) {
        let index = number & INDEX_MASK;
        self.all[index].object = None;
        self.free.push(index);
    }

    fn free_all_of(&mut self, session: SessionId) -> Vec<Object> {
        let mut taken = Vec::new();
        for (index, slot) in self.all.iter_mut().enumerate() {
            let its = slot.session == Some(session) || slot.number == session;
            if its && let Some(object) = slot.object.take() {
                taken.push(object);
                self.free.push(index);
            }
        }
        taken
    }
}
