//! Devices, their ports and their GIDs.

use crate::VerbsError;
use ibverbs_sys as sys;
use nix::errno::Errno;
use std::{
    ffi::CStr,
    mem::MaybeUninit,
    net::{IpAddr, Ipv6Addr},
    os::fd::RawFd,
    ptr::NonNull,
    sync::Arc,
};

/// The names of the devices of this machine.
///
/// # Errors
/// The kernel has no RDMA, or does not say. No device is no error here.
pub fn devices() -> Result<Vec<String>, VerbsError> {
    let list =
        ibverbs::devices().map_err(|error| match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
            Errno::ENOSYS => VerbsError::NoKernelSupport,
            _ => VerbsError::Refused { device: "libibverbs".into(), what: "listing devices", error },
        })?;
    Ok(list.iter().filter_map(|device| Some(device.name()?.to_string_lossy().into_owned())).collect())
}

/// An open device.
pub struct Device {
    pub(crate) context: NonNull<sys::ibv_context>,
    name: String,
    limits: Limits,
}

// SAFETY: libibverbs may be called by any thread on any of its objects (ibv_open_device(3) and rdma-core's documentation: all is thread
// safe); what is behind the pointer lives until the drop.
unsafe impl Send for Device {}
// SAFETY: as above.
unsafe impl Sync for Device {}

/// What a device can do at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Ports, numbered from 1.
    pub ports: u8,
    /// Work requests of a queue pair.
    pub work_requests: u32,
    /// Entries of a completion queue.
    pub completions: u32,
    /// Buffers of a shared receive queue.
    pub receives: u32,
    /// Parts of memory that a READ lands in.
    pub landings: u32,
    /// READs in flight that a queue pair issues.
    pub reads_issued: u8,
    /// READs in flight that a queue pair answers.
    pub reads_answered: u8,
    /// Memory regions.
    pub regions: u32,
}

/// What carries a port's packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// InfiniBand: peers are addressed by LID.
    InfiniBand,
    /// RoCE: peers are addressed by GID.
    Ethernet,
}

/// A port of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its number, from 1.
    pub number: u8,
    /// "active" if it can carry something.
    pub state: &'static str,
    /// What carries its packets.
    pub link: Link,
    /// Bytes of a packet, at most.
    pub mtu: u32,
    /// Its LID; 0 on Ethernet.
    pub lid: u16,
    gids: u32,
}

impl Port {
    /// Whether it can carry something.
    pub fn is_active(&self) -> bool {
        self.state == "active"
    }
}

/// What a GID is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GidKind {
    /// InfiniBand.
    InfiniBand,
    /// RoCE version 1: does not cross routers, and is not used here.
    RoceV1,
    /// RoCE version 2: over UDP.
    RoceV2,
}

/// An address of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gid {
    /// Its place in the port's table.
    pub index: u32,
    /// What it is for.
    pub kind: GidKind,
    /// 128 bits, as they go over the wire.
    pub bytes: [u8; 16],
}

impl Gid {
    /// The IP address that a RoCE v2 GID stands for.
    pub fn address(&self) -> IpAddr {
        let six = Ipv6Addr::from(self.bytes);
        six.to_ipv4_mapped().map_or(IpAddr::V6(six), IpAddr::V4)
    }
}

impl Device {
    /// Opens the device of that name.
    ///
    /// # Errors
    /// It is not there, or cannot be opened.
    pub fn open(name: &str) -> Result<Arc<Device>, VerbsError> {
        let context = open(name)?;
        let mut device = Device { context, name: name.to_owned(), limits: Limits::none() };
        device.limits = device.query()?;
        Ok(Arc::new(device))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it can do at most.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    fn query(&self) -> Result<Limits, VerbsError> {
        let mut found = MaybeUninit::<sys::ibv_device_attr>::zeroed();
        // SAFETY: an open device, and room for the answer.
        let answer = unsafe { sys::ibv_query_device(self.context.as_ptr(), found.as_mut_ptr()) };
        VerbsError::check(&self.name, "asking for its limits", answer)?;
        // SAFETY: filled in, and zeros are valid where it was not.
        let found = unsafe { found.assume_init() };
        let count = |number: i32| u32::try_from(number).unwrap_or(0);
        let small = |number: i32| u8::try_from(number.clamp(1, 255)).unwrap_or(1);
        Ok(Limits {
            ports: found.phys_port_cnt,
            work_requests: count(found.max_qp_wr),
            completions: count(found.max_cqe),
            receives: count(found.max_srq_wr),
            landings: count(if found.max_sge_rd > 0 { found.max_sge_rd } else { found.max_sge }).max(1),
            reads_issued: small(found.max_qp_init_rd_atom),
            reads_answered: small(found.max_qp_rd_atom),
            regions: count(found.max_mr),
        })
    }

    /// A port, as it is now.
    ///
    /// # Errors
    /// There is no such port, or it does not answer.
    pub fn port(&self, number: u8) -> Result<Port, VerbsError> {
        let ports = self.limits.ports;
        if !(1..=ports).contains(&number) {
            return Err(VerbsError::NoPort { device: self.name.clone(), port: number, ports });
        }
        let mut found = MaybeUninit::<sys::ibv_port_attr>::zeroed();
        // SAFETY: an open device, and room for the answer: the call fills in what old programs know of, a prefix of the type.
        let answer = unsafe { sys::ibv_query_port(self.context.as_ptr(), number, found.as_mut_ptr().cast()) };
        VerbsError::check(&self.name, "asking for a port", answer)?;
        // SAFETY: as in `query`.
        let found = unsafe { found.assume_init() };
        Ok(Port {
            number,
            state: state(found.state),
            link: if found.link_layer == ETHERNET { Link::Ethernet } else { Link::InfiniBand },
            mtu: 128 << found.active_mtu.clamp(1, 5),
            lid: found.lid,
            gids: u32::try_from(found.gid_tbl_len).unwrap_or(0),
        })
    }

    /// The GIDs of a port; its table may have holes.
    pub fn gids(&self, port: &Port) -> Vec<Gid> {
        (0..port.gids).filter_map(|index| self.gid(port, index)).collect()
    }

    /// The GID at `index`, if there is one.
    pub fn gid(&self, port: &Port, index: u32) -> Option<Gid> {
        let mut found = MaybeUninit::<sys::ibv_gid_entry>::zeroed();
        let (context, size) = (self.context.as_ptr(), size_of::<sys::ibv_gid_entry>());
        // SAFETY: an open device, and room for the answer, whose size is told.
        let answer = unsafe {
            sys::_ibv_query_gid_ex(context, port.number.into(), index, found.as_mut_ptr(), 0, size)
        };
        if answer != 0 {
            return None;
        }
        // SAFETY: as in `query`; both views of the GID are plain bytes.
        let (kind, bytes) = unsafe {
            let found = found.assume_init();
            (found.gid_type, found.gid.raw)
        };
        let kind = match kind {
            sys::IBV_GID_TYPE_ROCE_V2 => GidKind::RoceV2,
            sys::IBV_GID_TYPE_ROCE_V1 => GidKind::RoceV1,
            _ => GidKind::InfiniBand,
        };
        (bytes != [0; 16]).then_some(Gid { index, kind, bytes })
    }

    /// A descriptor that is readable when [`Device::event`] has something to tell.
    pub fn descriptor(&self) -> RawFd {
        // SAFETY: an open device.
        unsafe { self.context.as_ref() }.async_fd
    }

    /// What has happened to the device by itself (a port that goes down, a broken queue), for people. `None`: nothing. The descriptor
    /// must have been made non-blocking ([`Domain::new`](crate::Domain::new) does).
    pub fn event(&self) -> Option<String> {
        let mut event = MaybeUninit::<sys::ibv_async_event>::zeroed();
        // SAFETY: an open device and room for the event, which is acknowledged at once.
        let kind = unsafe {
            if sys::ibv_get_async_event(self.context.as_ptr(), event.as_mut_ptr()) != 0 {
                return None;
            }
            let mut event = event.assume_init();
            sys::ibv_ack_async_event(&mut event);
            event.event_type
        };
        // SAFETY: answers a static text for any number.
        let text = unsafe { CStr::from_ptr(sys::ibv_event_type_str(kind)) };
        Some(text.to_string_lossy().into_owned())
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: opened by `open`, closed once; all that was made of it holds an Arc of it.
        unsafe { sys::ibv_close_device(self.context.as_ptr()) };
    }
}

impl Limits {
    const fn none() -> Limits {
        Limits {
            ports: 0,
            work_requests: 0,
            completions: 0,
            receives: 0,
            landings: 1,
            reads_issued: 1,
            reads_answered: 1,
            regions: 0,
        }
    }
}

/// IBV_LINK_LAYER_ETHERNET.
const ETHERNET: u8 = 2;

fn state(number: u32) -> &'static str {
    match number {
        sys::ibv_port_state::IBV_PORT_DOWN => "down",
        sys::ibv_port_state::IBV_PORT_INIT => "initializing (no subnet manager yet?)",
        sys::ibv_port_state::IBV_PORT_ARMED => "armed, not active",
        sys::ibv_port_state::IBV_PORT_ACTIVE => "active",
        _ => "in no usable state",
    }
}

fn open(name: &str) -> Result<NonNull<sys::ibv_context>, VerbsError> {
    let there = devices()?;
    let mut count = 0;
    // SAFETY: the list is ours until it is freed; names are C strings that live as long; an opened device outlives the list.
    let opened = unsafe {
        let list = sys::ibv_get_device_list(&mut count);
        if list.is_null() {
            return Err(VerbsError::last(name, "listing devices"));
        }
        let devices = std::slice::from_raw_parts(list, usize::try_from(count).unwrap_or(0));
        let named = |&device: &*mut sys::ibv_device| {
            CStr::from_ptr(sys::ibv_get_device_name(device)).to_bytes() == name.as_bytes()
        };
        let opened = devices.iter().find(|device| named(device)).map(|&device| sys::ibv_open_device(device));
        let failed = match Errno::last() {
            Errno::EACCES | Errno::EPERM => VerbsError::NotAllowed { device: name.to_owned() },
            _ => VerbsError::last(name, "opening the device"),
        };
        sys::ibv_free_device_list(list);
        opened.map(|context| NonNull::new(context).ok_or(failed))
    };
    let unknown = || match there.is_empty() {
        true => VerbsError::NoDevice,
        false => VerbsError::UnknownDevice { name: name.to_owned(), there: there.join(", ") },
    };
    opened.unwrap_or_else(|| Err(unknown()))
}
