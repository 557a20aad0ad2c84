//! `kddm_session`: the program's attachment.

use crate::{
    answer::{Failure, Result, answer, answer_or},
    handles::{Handle, Object},
    options::AttachOptions,
    pointers::{Optional, Place, Text},
};
use kdfs_client::Attach;
use nix::errno::Errno;
use std::{ffi::c_int, time::Duration};

/// A session.
pub(crate) struct Session(pub(crate) kdfs_client::Session);

#[unsafe(no_mangle)]
extern "C" fn kddm_attach(
    socket: Text,
    options: Optional<AttachOptions>,
    session: Place<Handle<Session>>,
) -> c_int {
    session.store(Handle::NULL);
    answer(|| {
        session.check("session")?;
        let attached = attach(&options)?.to(socket.path("socket")?)?;
        session.store(Handle::of_session(Session(attached))?);
        Ok(())
    })
}

fn attach(options: &Optional<AttachOptions>) -> Result<Attach> {
    let mut attach = Attach::default();
    let Some(options) = options.options()? else { return Ok(attach) };
    if let Some(name) = Text::of(options.name).optional_str("kddm_attach_options.name")? {
        attach = attach.name(name);
    }
    if options.window != 0 {
        attach = attach.window(options.window);
    }
    if options.spin_ns != 0 {
        attach = attach.spin(Duration::from_nanos(u64::try_from(options.spin_ns).unwrap_or_default()));
    }
    Ok(attach)
}

#[unsafe(no_mangle)]
extern "C" fn kddm_detach(session: Handle<Session>) -> c_int {
    answer(|| {
        let objects = session.take_all()?;
        for object in &objects {
            if let Object::Hold(hold) = object {
                hold.forget_changes();
            }
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn kddm_node(session: Handle<Session>) -> c_int {
    answer_or(|errno| errno, || Ok(session.get()?.0.node().into()))
}

#[unsafe(no_mangle)]
extern "C" fn kddm_ping(session: Handle<Session>) -> c_int {
    answer(|| Ok(session.get()?.0.ping()?))
}

#[unsafe(no_mangle)]
extern "C" fn kddm_spin(session: Handle<Session>, time_ns: i64) -> c_int {
    answer(|| {
        let time = u64::try_from(time_ns);
        let time =
            time.map_err(|_| Failure::new(Errno::EINVAL, "a time to look is 0 or more nanoseconds"))?;
        session.get()?.0.spin(Duration::from_nanos(time));
        Ok(())
    })
}
