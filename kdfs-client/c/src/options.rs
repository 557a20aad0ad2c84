//! Options: structures that may grow.

use crate::{
    answer::{Failure, Result},
    pointers::{Extensible, Optional},
};
use kddm_object::{Home, NodeId};
use nix::errno::Errno;
use std::{ffi::c_char, time::Duration};

/// `kddm_attach_options`.
#[repr(C)]
pub struct AttachOptions {
    size: usize,
    pub(crate) name: *const c_char,
    pub(crate) spin_ns: i64,
    pub(crate) window: u32,
    zero: u32,
}

/// `kddm_set_options`.
#[repr(C)]
pub struct SetOptions {
    size: usize,
    object_size: u32,
    mode: u32,
    home: u32,
    home_node: u32,
}

/// `kddm_hold_options`.
#[repr(C)]
pub struct HoldOptions {
    size: usize,
    wait_ns: i64,
    flags: u32,
    zero: u32,
}

/// `KDDM_HOME_...`
pub(crate) mod home {
    pub(crate) const HASH: u32 = 0;
    pub(crate) const NODE: u32 = 1;
    pub(crate) const OBJECT_BITS: u32 = 2;
    pub(crate) const UNKNOWN: u32 = 255;
}

const TRY: u32 = 1;
const ONLY_EXISTING: u32 = 2;

macro_rules! layout {
    ($options:ty, $name:literal, $($field:ident $at:literal)* = $size:literal) => {
        // SAFETY: integers and a pointer without padding, as the offsets say.
        unsafe impl Extensible for $options {
            const NAME: &'static str = $name;
        }

        impl $options {
            /// Where each field is, and how many bytes there are: as kddm.h has it.
            pub const LAYOUT: &'static [(&'static str, usize)] = &[$((stringify!($field), $at),)* ("", $size)];
        }

        const _: () = {
            $(assert!(std::mem::offset_of!($options, $field) == $at);)*
            assert!(size_of::<$options>() == $size);
        };
    };
}

layout!(AttachOptions, "kddm_attach_options", size 0 name 8 spin_ns 16 window 24 zero 28 = 32);
layout!(SetOptions, "kddm_set_options", size 0 object_size 8 mode 12 home 16 home_node 20 = 24);
layout!(HoldOptions, "kddm_hold_options", size 0 wait_ns 8 flags 16 zero 20 = 24);

fn wrong<T: Extensible, V>(text: &str) -> Result<V> {
    Err(Failure::new(Errno::EINVAL, format!("{}: {text}", T::NAME)))
}

impl Optional<AttachOptions> {
    pub(crate) fn options(&self) -> Result<Option<AttachOptions>> {
        let options = self.get()?;
        match &options {
            Some(options) if options.zero != 0 => wrong::<AttachOptions, _>("`zero` is to be 0"),
            _ => Ok(options),
        }
    }
}

impl Optional<SetOptions> {
    pub(crate) fn options(&self) -> Result<kdfs_client::SetOptions> {
        let Some(SetOptions { size: _, object_size, mode, home, home_node }) = self.get()? else {
            return Ok(kdfs_client::SetOptions::new(0));
        };
        let node = u8::try_from(home_node).ok().and_then(|node| NodeId::new(node).ok());
        let home = match (home, node) {
            (home::HASH, None) if home_node == 0 => Home::Hash,
            (home::NODE, Some(node)) => Home::Node(node),
            (home::OBJECT_BITS, None) if home_node == 0 => Home::ObjectBits,
            _ => {
                return wrong::<SetOptions, _>(
                    "`home` is a KDDM_HOME_..., `home_node` 0, or with KDDM_HOME_NODE a node, 1 to 254",
                );
            }
        };
        let Ok(mode @ 0..=0o777) = u16::try_from(mode) else {
            return wrong::<SetOptions, _>("`mode` is permission bits, 0001 to 0777");
        };
        let usual = kdfs_client::SetOptions::new(object_size);
        Ok(kdfs_client::SetOptions { home, mode: if mode == 0 { usual.mode } else { mode }, ..usual })
    }
}

impl Optional<HoldOptions> {
    pub(crate) fn options(&self) -> Result<kdfs_client::HoldOptions> {
        let Some(HoldOptions { size: _, wait_ns, flags, zero }) = self.get()? else {
            return Ok(kdfs_client::HoldOptions::default());
        };
        if zero != 0 || flags & !(TRY | ONLY_EXISTING) != 0 {
            return wrong::<HoldOptions, _>("`flags` are KDDM_TRY and KDDM_ONLY_EXISTING, `zero` is to be 0");
        }
        let wait = match (flags & TRY != 0, wait_ns) {
            (false, 0) => kdfs_client::Wait::Forever,
            (true, 0) => kdfs_client::Wait::Never,
            (true, _) => return wrong::<HoldOptions, _>("with KDDM_TRY there is no `wait_ns`"),
            (false, time) => wait(time)?,
        };
        Ok(kdfs_client::HoldOptions { wait, only_existing: flags & ONLY_EXISTING != 0 })
    }
}

/// How long a hold is waited for.
pub(crate) fn wait(time_ns: i64) -> Result<kdfs_client::Wait> {
    Ok(match time(time_ns)? {
        Duration::MAX => kdfs_client::Wait::Forever,
        time => kdfs_client::Wait::AtMost(time),
    })
}

/// A time; [`Duration::MAX`]: KDDM_FOREVER.
pub(crate) fn time(time_ns: i64) -> Result<Duration> {
    match (u64::try_from(time_ns), time_ns) {
        (Ok(time), _) => Ok(Duration::from_nanos(time)),
        (_, -1) => Ok(Duration::MAX),
        _ => Err(Failure::new(Errno::EINVAL, "a time is nanoseconds, 0 or more, or KDDM_FOREVER")),
    }
}
