//! `kddm_set`, and what is done with objects beyond holds.

use crate::{
    answer::{Failure, Result, answer, answer_or, count},
    handles::{Handle, SessionId},
    options::{SetOptions, home},
    pointers::{Optional, Place, Text},
    session::Session,
};
use kddm_object::Home;
use nix::errno::Errno;
use std::{
    ffi::{CString, c_char, c_int, c_void},
    ops::Range,
};

/// An open set.
pub(crate) struct Set {
    pub(crate) set: kdfs_client::Set,
    pub(crate) session: SessionId,
}

/// `kddm_set_info`.
#[repr(C)]
pub struct SetInfo {
    name: *const c_char,
    id: u64,
    object_size: u32,
    mode: u32,
    uid: u32,
    gid: u32,
    home: u32,
    home_node: u32,
}

type SetVisitor = Option<extern "C" fn(&SetInfo, *mut c_void) -> c_int>;
type ObjectVisitor = Option<extern "C" fn(u32, *mut c_void) -> c_int>;

#[unsafe(no_mangle)]
extern "C" fn kddm_create_set(
    session: Handle<Session>,
    name: Text,
    options: Optional<SetOptions>,
    set: Place<Handle<Set>>,
) -> c_int {
    opened(session, set, |session| Ok(session.create_set(name.str("name")?, options.options()?)?))
}

#[unsafe(no_mangle)]
extern "C" fn kddm_open_set(session: Handle<Session>, name: Text, set: Place<Handle<Set>>) -> c_int {
    opened(session, set, |session| Ok(session.open_set(name.str("name")?)?))
}

fn opened(
    session: Handle<Session>,
    place: Place<Handle<Set>>,
    open: impl FnOnce(&kdfs_client::Session) -> Result<kdfs_client::Set>,
) -> c_int {
    place.store(Handle::NULL);
    answer(|| {
        place.check("set")?;
        let set = Set { set: open(&session.get()?.0)?, session: session.id() };
        place.store(Handle::new(set, session.id())?);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn kddm_close_set(set: Handle<Set>) -> c_int {
    answer(|| set.take().map(drop))
}

#[unsafe(no_mangle)]
extern "C" fn kddm_destroy_set(session: Handle<Session>, name: Text) -> c_int {
    answer(|| Ok(session.get()?.0.destroy_set(name.str("name")?)?))
}

#[unsafe(no_mangle)]
extern "C" fn kddm_each_set(session: Handle<Session>, visitor: SetVisitor, context: *mut c_void) -> c_int {
    answer_or(
        |errno| errno,
        || {
            let visitor = visitor.ok_or_else(no_visitor)?;
            for set in session.get()?.0.sets()? {
                let name = CString::new(set.name.as_str()).unwrap_or_default();
                match visitor(&SetInfo::of(&set, &name), context) {
                    0 => {}
                    end => return Ok(end),
                }
            }
            Ok(0)
        },
    )
}

impl SetInfo {
    fn of(set: &kdfs_client::session::SetSummary, name: &CString) -> SetInfo {
        let (home, home_node) = match set.home {
            Some(Home::Hash) => (home::HASH, 0),
            Some(Home::Node(node)) => (home::NODE, node.get().into()),
            Some(Home::ObjectBits) => (home::OBJECT_BITS, 0),
            _ => (home::UNKNOWN, 0),
        };
        SetInfo {
            name: name.as_ptr(),
            id: set.id.0,
            object_size: set.object_size,
            mode: set.mode.into(),
            uid: set.uid,
            gid: set.gid,
            home,
            home_node,
        }
    }

    /// Where each field is, and how many bytes there are: as kddm.h has it.
    pub const LAYOUT: &'static [(&'static str, usize)] = &[
        ("name", std::mem::offset_of!(SetInfo, name)),
        ("id", std::mem::offset_of!(SetInfo, id)),
        ("object_size", std::mem::offset_of!(SetInfo, object_size)),
        ("mode", std::mem::offset_of!(SetInfo, mode)),
        ("uid", std::mem::offset_of!(SetInfo, uid)),
        ("gid", std::mem::offset_of!(SetInfo, gid)),
        ("home", std::mem::offset_of!(SetInfo, home)),
        ("home_node", std::mem::offset_of!(SetInfo, home_node)),
        ("", size_of::<SetInfo>()),
    ];
}

fn no_visitor() -> Failure {
    Failure::new(Errno::EINVAL, "the visitor is NULL")
}

#[unsafe(no_mangle)]
extern "C" fn kddm_set_id(set: Handle<Set>) -> u64 {
    answer_or(|_| 0, || Ok(set.get()?.set.id().0))
}

#[unsafe(no_mangle)]
extern "C" fn kddm_set_object_size(set: Handle<Set>) -> isize {
    count(|| Ok(set.get()?.set.object_size() as usize))
}

#[unsafe(no_mangle)]
extern "C" fn kddm_prefetch(set: Handle<Set>, first: u32, count: u32) -> c_int {
    answer(|| Ok(set.get()?.set.prefetch(range(first, count)?)?))
}

#[unsafe(no_mangle)]
extern "C" fn kddm_remove(set: Handle<Set>, object: u32) -> c_int {
    answer(|| Ok(set.get()?.set.remove(object)?))
}

#[unsafe(no_mangle)]
extern "C" fn kddm_flush(set: Handle<Set>, object: u32) -> c_int {
    answer(|| Ok(set.get()?.set.flush(object)?))
}

#[unsafe(no_mangle)]
extern "C" fn kddm_sync(set: Handle<Set>, object: u32) -> c_int {
    answer(|| Ok(set.get()?.set.sync(object)?))
}

#[unsafe(no_mangle)]
extern "C" fn kddm_each_local(set: Handle<Set>, visitor: ObjectVisitor, context: *mut c_void) -> c_int {
    answer_or(
        |errno| errno,
        || {
            let visitor = visitor.ok_or_else(no_visitor)?;
            for object in set.get()?.set.local() {
                match visitor(object?, context) {
                    0 => {}
                    end => return Ok(end),
                }
            }
            Ok(0)
        },
    )
}

/// `count` objects from `first` on.
pub(crate) fn range(first: u32, count: u32) -> Result<Range<u32>> {
    let end = first.checked_add(count);
    let end = end.ok_or_else(|| Failure::new(Errno::EINVAL, "a range ends before object 2^32 - 1"))?;
    Ok(first..end)
}
