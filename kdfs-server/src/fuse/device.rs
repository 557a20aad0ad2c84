//! The descriptor of /dev/fuse: one request a read, one answer a write.

use super::abi::OutHeader;
use nix::{errno::Errno, sys::uio, unistd};
use std::{io::IoSlice, os::fd::OwnedFd};
use zerocopy::IntoBytes;

/// A connection to the kernel. It ends when the mount is gone; dropping it aborts the mount.
#[derive(Debug)]
pub struct Device(OwnedFd);

impl Device {
    /// The device behind `descriptor`, which `mount(2)` was given.
    pub fn new(descriptor: OwnedFd) -> Device {
        Device(descriptor)
    }

    /// Waits for a request and reads it. `None`: the mount is gone.
    ///
    /// # Errors
    /// `buffer` is too small, or the descriptor is none of a mounted /dev/fuse.
    pub fn read<'a>(&self, buffer: &'a mut [u8]) -> nix::Result<Option<&'a [u8]>> {
        loop {
            match unistd::read(&self.0, buffer) {
                Ok(length) => return Ok(Some(&buffer[..length])),
                // ENOENT: the request was withdrawn between the wake-up and the read.
                Err(Errno::ENOENT | Errno::EINTR | Errno::EAGAIN) => {}
                Err(Errno::ENODEV | Errno::ECONNABORTED) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// Answers request `unique` with `parts`. False: nobody waits for it any more.
    pub fn answer(&self, unique: u64, parts: &[&[u8]]) -> bool {
        let length = size_of::<OutHeader>() + parts.iter().map(|part| part.len()).sum::<usize>();
        let header = OutHeader { len: length as u32, error: 0, unique };
        let mut slices = [IoSlice::new(&[]); 3];
        slices[0] = IoSlice::new(header.as_bytes());
        for (slice, part) in slices[1..].iter_mut().zip(parts) {
            *slice = IoSlice::new(part);
        }
        self.write(&slices[..=parts.len().min(2)])
    }

    /// Answers request `unique` with an error.
    pub fn fail(&self, unique: u64, error: Errno) -> bool {
        let header = OutHeader { len: size_of::<OutHeader>() as u32, error: -(error as i32), unique };
        self.write(&[IoSlice::new(header.as_bytes())])
    }

    fn write(&self, slices: &[IoSlice<'_>]) -> bool {
        match uio::writev(&self.0, slices) {
            Ok(_) => true,
            // ENOENT: the caller was killed; ENODEV: the mount is gone.
            Err(Errno::ENOENT | Errno::ENODEV) => false,
            Err(error) => {
                tracing::error!(reason = %error, "BUG: the kernel refused an answer");
                false
            }
        }
    }
}
