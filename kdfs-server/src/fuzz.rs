//! Doors for fuzz targets (tests/fuzz): what only this crate may decode otherwise.

pub use crate::partition::fuzz::{Checkpoint, log};

use crate::admin::stream::Stream;
use kddm_cluster::admin::Request;
use std::{io::Write, os::unix::net::UnixStream};

/// The kernel's structures.
pub mod abi {
    pub use crate::fuse::abi::*;
}

/// Requests of the kernel.
pub mod request {
    pub use crate::fuse::request::*;
}

/// The requests that a client of the admin socket makes with `bytes`, until it hangs up or says something that is none.
pub fn requests(bytes: &[u8]) -> Vec<Request> {
    let (mut client, server) = UnixStream::pair().expect("two descriptors");
    client.write_all(bytes).expect("a socket has room for some kilobytes");
    drop(client);
    let mut stream = Stream::new(server);
    std::iter::from_fn(|| stream.receive().ok().flatten()).map(|(request, _)| request).collect()
}
