//! A request of the kernel, parsed: every length checked, nothing borrowed beyond the buffer it was read into.

use super::abi::{self, InHeader, opcode};
use zerocopy::FromBytes;

/// One request.
#[derive(Debug)]
pub struct Request<'a> {
    /// Who asks, about which node id, and the number to answer to.
    pub header: InHeader,
    /// What for.
    pub operation: Operation<'a>,
}

/// What the kernel asks for. Names are the bytes of one path component.
#[derive(Debug)]
#[allow(missing_docs)] // the kernel's names; abi.rs says which structure is which
pub enum Operation<'a> {
    Init(abi::InitIn, u64),
    Destroy,
    Interrupt(abi::InterruptIn),
    Forget,
    Lookup { name: &'a [u8] },
    Getattr,
    Setattr(abi::SetattrIn),
    Readlink,
    Symlink { name: &'a [u8], target: &'a [u8] },
    Mknod { args: abi::MknodIn, name: &'a [u8] },
    Mkdir { args: abi::MkdirIn, name: &'a [u8] },
    Unlink { name: &'a [u8] },
    Rmdir { name: &'a [u8] },
    Rename { newdir: u64, flags: u32, from: &'a [u8], to: &'a [u8] },
    Link { args: abi::LinkIn, name: &'a [u8] },
    Open(abi::OpenIn),
    Create { args: abi::CreateIn, name: &'a [u8] },
    Read(abi::ReadIn),
    Write { args: abi::WriteIn, bytes: &'a [u8] },
    Release(abi::ReleaseIn),
    Fsync,
    Opendir,
    Readdir(abi::ReadIn),
    Readdirplus(abi::ReadIn),
    Releasedir(abi::ReleaseIn),
    Fsyncdir,
    Statfs,
    Lock(abi::LkIn),
    Unknown,
}

/// Why bytes are no request. The kernel is trusted to send none such: it means another protocol.
#[derive(Debug, thiserror::Error)]
#[error("a request of the kernel is cut off or malformed (opcode {opcode}, {length} bytes)")]
pub struct Malformed {
    /// The request's opcode, 0 if not even that was there.
    pub opcode: u32,
    /// Bytes read.
    pub length: usize,
}

impl<'a> Request<'a> {
    /// The request in `bytes`, all of which were read at once.
    ///
    /// # Errors
    /// It is shorter than what its opcode needs, or of another length than it says.
    pub fn parse(bytes: &'a [u8]) -> Result<Request<'a>, Malformed> {
        let length = bytes.len();
        let Ok((header, _)) = InHeader::read_from_prefix(bytes) else {
            return Err(Malformed { opcode: 0, length });
        };
        if header.len as usize != length {
            return Err(Malformed { opcode: header.opcode, length });
        }
        // Extensions stand at the end, in units of 8 bytes; none is requested at INIT.
        let extensions = 8 * (header.extensions & 0xffff) as usize;
        let body = size_of::<InHeader>()..length.saturating_sub(extensions);
        let operation = bytes.get(body).and_then(|body| operation(header.opcode, Body(body)));
        let operation = operation.ok_or(Malformed { opcode: header.opcode, length })?;
        Ok(Request { header, operation })
    }
}

fn operation(opcode: u32, mut body: Body<'_>) -> Option<Operation<'_>> {
    Some(match opcode {
        opcode::INIT => {
            let args: abi::InitIn = body.take()?;
            let high = u32::read_from_prefix(body.0).map_or(0, |(high, _)| high);
            Operation::Init(args, u64::from(args.flags) | u64::from(high) << 32)
        }
        opcode::DESTROY => Operation::Destroy,
        opcode::INTERRUPT => Operation::Interrupt(body.take()?),
        opcode::FORGET | opcode::BATCH_FORGET => Operation::Forget,
        opcode::LOOKUP => Operation::Lookup { name: body.name()? },
        opcode::GETATTR => Operation::Getattr,
        opcode::SETATTR => Operation::Setattr(body.take()?),
        opcode::READLINK => Operation::Readlink,
        opcode::SYMLINK => Operation::Symlink { name: body.name()?, target: body.name()? },
        opcode::MKNOD => Operation::Mknod { args: body.take()?, name: body.name()? },
        opcode::MKDIR => Operation::Mkdir { args: body.take()?, name: body.name()? },
        opcode::UNLINK => Operation::Unlink { name: body.name()? },
        opcode::RMDIR => Operation::Rmdir { name: body.name()? },
        opcode::RENAME => {
            let args: abi::RenameIn = body.take()?;
            Operation::Rename { newdir: args.newdir, flags: 0, from: body.name()?, to: body.name()? }
        }
        opcode::RENAME2 => {
            let args: abi::Rename2In = body.take()?;
            Operation::Rename { newdir: args.newdir, flags: args.flags, from: body.name()?, to: body.name()? }
        }
        opcode::LINK => Operation::Link { args: body.take()?, name: body.name()? },
        opcode::OPEN => Operation::Open(body.take()?),
        opcode::CREATE => Operation::Create { args: body.take()?, name: body.name()? },
        opcode::READ => Operation::Read(body.take()?),
        opcode::WRITE => {
            let args: abi::WriteIn = body.take()?;
            Operation::Write { args, bytes: body.0.get(..args.size as usize)? }
        }
        opcode::RELEASE => Operation::Release(body.take()?),
        opcode::FSYNC => Operation::Fsync,
        opcode::OPENDIR => Operation::Opendir,
        opcode::READDIR => Operation::Readdir(body.take()?),
        opcode::READDIRPLUS => Operation::Readdirplus(body.take()?),
        opcode::RELEASEDIR => Operation::Releasedir(body.take()?),
        opcode::FSYNCDIR => Operation::Fsyncdir,
        opcode::STATFS => Operation::Statfs,
        opcode::GETLK | opcode::SETLK | opcode::SETLKW => Operation::Lock(body.take()?),
        _ => Operation::Unknown,
    })
}

struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn take<T: FromBytes>(&mut self) -> Option<T> {
        let (value, rest) = T::read_from_prefix(self.0).ok()?;
        self.0 = rest;
        Some(value)
    }

    /// The bytes before the next zero byte.
    fn name(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|&byte| byte == 0)?;
        let name = &self.0[..end];
        self.0 = &self.0[end + 1..];
        Some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::IntoBytes;

    fn request(opcode: u32, body: &[u8]) -> Vec<u8> {
        let len = (size_of::<InHeader>() + body.len()) as u32;
        let header = InHeader { len, opcode, unique: 7, nodeid: 1, ..InHeader::default() };
        [header.as_bytes(), body].concat()
    }

    #[test]
    fn names_and_arguments_are_found() {
        let body = [abi::Rename2In { newdir: 9, flags: 2, padding: 0 }.as_bytes(), b"old\0new\0"].concat();
        let bytes = request(opcode::RENAME2, &body);
        let parsed = Request::parse(&bytes).unwrap();
        let Operation::Rename { newdir: 9, flags: 2, from: b"old", to: b"new" } = parsed.operation else {
            panic!("{parsed:?}")
        };
    }

    #[test]
    fn every_truncation_is_refused() {
        let write = abi::WriteIn { size: 5, ..abi::WriteIn::default() };
        let create = abi::CreateIn::default();
        for (opcode, body) in [
            (opcode::WRITE, [write.as_bytes(), b"bytes"].concat()),
            (opcode::CREATE, [create.as_bytes(), b"name\0"].concat()),
            (opcode::SYMLINK, b"name\0target\0".to_vec()),
            (opcode::SETATTR, abi::SetattrIn::default().as_bytes().to_vec()),
        ] {
            let whole = request(opcode, &body);
            assert!(Request::parse(&whole).is_ok());
            for length in 0..whole.len() {
                assert!(Request::parse(&whole[..length]).is_err(), "opcode {opcode}, {length} bytes");
            }
            for length in 0..body.len() {
                let shorter = request(opcode, &body[..length]);
                assert!(Request::parse(&shorter).is_err(), "opcode {opcode}, {length} honest bytes");
            }
            let longer = [&whole[..], b"x"].concat();
            assert!(Request::parse(&longer).is_err(), "opcode {opcode}, more bytes than it says");
        }
    }

    #[test]
    fn extensions_are_not_part_of_the_body() {
        let mut bytes = request(opcode::LOOKUP, b"name\0\0\0\0\0\0\0\0\0");
        bytes[36..38].copy_from_slice(&1u16.to_ne_bytes());
        assert!(matches!(Request::parse(&bytes).unwrap().operation, Operation::Lookup { name: b"name" }));
        bytes[36..38].copy_from_slice(&u16::MAX.to_ne_bytes());
        assert!(Request::parse(&bytes).is_err());
    }
}
