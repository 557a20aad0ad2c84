//! Why a device cannot be used, and what to do.

use std::io;

/// Why something of a device cannot be had. Nothing was left behind.
#[derive(Debug, thiserror::Error)]
pub enum VerbsError {
    /// The kernel knows no RDMA.
    #[error(
        "this kernel has no RDMA (no ib_uverbs): load the device's driver and `modprobe ib_uverbs`, or write \
         fabric = \"tcp\" in cluster.toml"
    )]
    NoKernelSupport,
    /// There is no device at all.
    #[error(
        "there is no RDMA device: load the driver of one, or make a soft-RoCE device (modprobe rdma_rxe; rdma link \
         add rxe0 type rxe netdev eth0), or write fabric = \"tcp\" in cluster.toml"
    )]
    NoDevice,
    /// The device that was named is not there.
    #[error("there is no RDMA device {name:?}; there are: {there}")]
    UnknownDevice {
        /// As it was named.
        name: String,
        /// The names of those that are there.
        there: String,
    },
    /// The device may not be used by this user.
    #[error(
        "{device} may not be opened by this user: run as root, or give access to /dev/infiniband/uverbs* (rdma-core's \
         udev rules do)"
    )]
    NotAllowed {
        /// The device.
        device: String,
    },
    /// Several devices, and nothing says which.
    #[error(
        "no RDMA device has the address {address}, and there are several ({there}): name one as `device` in cluster.toml"
    )]
    Ambiguous {
        /// The node's address.
        address: std::net::IpAddr,
        /// The names of those that are there.
        there: String,
    },
    /// The device has no such port.
    #[error("{device} has no port {port}: it has ports 1 to {ports}")]
    NoPort {
        /// The device.
        device: String,
        /// The port that was asked for.
        port: u8,
        /// How many there are.
        ports: u8,
    },
    /// The port cannot carry anything.
    #[error(
        "port {port} of {device} is {state}: check its cable and switch, and that its network interface is up (ip link)"
    )]
    PortDown {
        /// The device.
        device: String,
        /// The port.
        port: u8,
        /// Its state.
        state: &'static str,
    },
    /// The GID that was asked for is not there, or cannot be used.
    #[error("port {port} of {device} has no usable GID at index {index}: {why}; see them with `kddm doctor`")]
    WrongGid {
        /// The device.
        device: String,
        /// The port.
        port: u8,
        /// The index that was asked for.
        index: u32,
        /// What is there.
        why: String,
    },
    /// An Ethernet port without a RoCE v2 GID.
    #[error(
        "port {port} of {device} has no RoCE v2 GID: give its network interface an IP address, before the device is made"
    )]
    NoGid {
        /// The device.
        device: String,
        /// The port.
        port: u8,
    },
    /// Memory could not be pinned.
    #[error(
        "{bytes} bytes of memory cannot be registered with {device}: {error}; the limit on locked memory is {limit}: \
         raise it (ulimit -l unlimited, LimitMEMLOCK=infinity in a unit), or make `arena` smaller in cluster.toml"
    )]
    Memlock {
        /// The device.
        device: String,
        /// How much was to be registered.
        bytes: usize,
        /// What the system said.
        error: io::Error,
        /// The limit, in words.
        limit: String,
    },
    /// The device or the system refused something.
    #[error("{device}: {what}: {error}")]
    Refused {
        /// The device.
        device: String,
        /// What was wanted.
        what: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

impl VerbsError {
    /// `device` refused `what` with the system's last error.
    pub(crate) fn last(device: &str, what: &'static str) -> VerbsError {
        VerbsError::Refused { device: device.to_owned(), what, error: io::Error::last_os_error() }
    }

    /// As the functions of libibverbs answer: 0, or an error number.
    pub(crate) fn check(device: &str, what: &'static str, answer: i32) -> Result<(), VerbsError> {
        match answer {
            0 => Ok(()),
            // Old providers answer -1 and set errno.
            -1 => Err(VerbsError::last(device, what)),
            number => Err(VerbsError::Refused {
                device: device.to_owned(),
                what,
                error: io::Error::from_raw_os_error(number.abs()),
            }),
        }
    }
}
