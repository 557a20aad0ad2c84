//! Requests of the kernel (`kdfs_server`'s fuse/request.rs).

use super::Target;
use crate::bound::bounded;
use kdfs_server::fuzz::{
    abi::{self, InHeader, opcode},
    request::{Operation, Request},
};
use zerocopy::{FromZeros, IntoBytes};

pub(super) const TARGET: Target =
    Target { name: "fuse", what: "requests of the kernel's FUSE", check, seeds, longest: 1024 };

fn check(input: &[u8]) {
    parse(input);
    let mut honest = input.to_vec();
    if honest.len() >= size_of::<InHeader>() {
        let length = honest.len() as u32;
        honest[..4].copy_from_slice(&length.to_ne_bytes());
        parse(&honest);
    }
}

/// What is parsed stands in the bytes, in the places where the kernel put it.
fn parse(bytes: &[u8]) {
    match bounded(0, || Request::parse(bytes)) {
        Ok(request) => {
            assert_eq!(request.header.len as usize, bytes.len(), "a request of another length than it says");
            let extensions = 8 * (request.header.extensions & 0xffff) as usize;
            let body = &bytes[size_of::<InHeader>()..bytes.len() - extensions];
            assert_eq!(request.header.as_bytes(), &bytes[..size_of::<InHeader>()]);
            check_body(request.header.opcode, &request.operation, body);
        }
        Err(error) => assert_eq!(error.length, bytes.len()),
    }
}

/// Lays the operation out again, as the kernel's header has it, and compares.
fn check_body(opcode: u32, operation: &Operation<'_>, body: &[u8]) {
    let laid_out = lay_out(opcode, operation, body);
    assert!(body.starts_with(&laid_out), "opcode {opcode}: {operation:?} from {body:?}");
    for name in names(operation) {
        assert!(!name.contains(&0), "a name with a NUL: {name:?}");
    }
}

fn names<'a>(operation: &Operation<'a>) -> Vec<&'a [u8]> {
    match *operation {
        Operation::Lookup { name } | Operation::Unlink { name } | Operation::Rmdir { name } => vec![name],
        Operation::Mknod { name, .. } | Operation::Mkdir { name, .. } => vec![name],
        Operation::Link { name, .. } | Operation::Create { name, .. } => vec![name],
        Operation::Symlink { name, target } => vec![name, target],
        Operation::Rename { from, to, .. } => vec![from, to],
        _ => vec![],
    }
}

fn lay_out(opcode: u32, operation: &Operation<'_>, body: &[u8]) -> Vec<u8> {
    let arguments: Vec<u8> = match operation {
        Operation::Init(args, flags) => {
            assert_eq!(*flags as u32, args.flags, "the low flags of INIT");
            args.as_bytes().to_vec()
        }
        Operation::Interrupt(args) => args.as_bytes().to_vec(),
        Operation::Setattr(args) => args.as_bytes().to_vec(),
        Operation::Mknod { args, .. } => args.as_bytes().to_vec(),
        Operation::Mkdir { args, .. } => args.as_bytes().to_vec(),
        Operation::Rename { newdir, .. } if opcode == opcode::RENAME => newdir.to_ne_bytes().to_vec(),
        // The padding of RENAME2 means nothing.
        Operation::Rename { newdir, flags, .. } => {
            [&newdir.to_ne_bytes()[..], &flags.to_ne_bytes(), &body[12..16]].concat()
        }
        Operation::Link { args, .. } => args.as_bytes().to_vec(),
        Operation::Open(args) => args.as_bytes().to_vec(),
        Operation::Create { args, .. } => args.as_bytes().to_vec(),
        Operation::Read(args) | Operation::Readdir(args) | Operation::Readdirplus(args) => {
            args.as_bytes().to_vec()
        }
        Operation::Write { args, bytes } => {
            assert_eq!(args.size as usize, bytes.len(), "a WRITE of another length than it says");
            [args.as_bytes(), bytes].concat()
        }
        Operation::Release(args) | Operation::Releasedir(args) => args.as_bytes().to_vec(),
        Operation::Lock(args) => args.as_bytes().to_vec(),
        _ => vec![],
    };
    let names = names(operation).into_iter().flat_map(|name| [name, b"\0"]);
    [&arguments[..]].into_iter().chain(names).collect::<Vec<_>>().concat()
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let zeros = |length: usize| vec![0; length];
    let read = abi::ReadIn { fh: 3, offset: 4096, size: 131_072, ..abi::ReadIn::new_zeroed() };
    let write = abi::WriteIn { size: 5, ..abi::WriteIn::new_zeroed() };
    let init = abi::InitIn { major: 7, minor: 38, max_readahead: 1 << 17, flags: 0x73ff_fffb };
    let rename2 = abi::Rename2In { newdir: 9, flags: 1, padding: 0 };
    let bodies: [(&str, u32, Vec<u8>); 29] = [
        ("init", opcode::INIT, [init.as_bytes(), &[1; 48]].concat()),
        ("init-old", opcode::INIT, init.as_bytes().to_vec()),
        ("destroy", opcode::DESTROY, vec![]),
        ("interrupt", opcode::INTERRUPT, 77u64.as_bytes().to_vec()),
        ("forget", opcode::FORGET, zeros(8)),
        ("batch-forget", opcode::BATCH_FORGET, zeros(24)),
        ("lookup", opcode::LOOKUP, b"name\0".to_vec()),
        ("getattr", opcode::GETATTR, zeros(16)),
        ("setattr", opcode::SETATTR, zeros(88)),
        ("readlink", opcode::READLINK, vec![]),
        ("symlink", opcode::SYMLINK, b"name\0target/of\0".to_vec()),
        ("mknod", opcode::MKNOD, [&zeros(16)[..], b"fifo\0"].concat()),
        ("mkdir", opcode::MKDIR, [&zeros(8)[..], b"directory\0"].concat()),
        ("unlink", opcode::UNLINK, b"name\0".to_vec()),
        ("rmdir", opcode::RMDIR, b"name\0".to_vec()),
        ("rename", opcode::RENAME, [&9u64.to_ne_bytes()[..], b"old\0new\0"].concat()),
        ("rename2", opcode::RENAME2, [rename2.as_bytes(), b"old\0new\0"].concat()),
        ("link", opcode::LINK, [&7u64.to_ne_bytes()[..], b"second\0"].concat()),
        ("open", opcode::OPEN, zeros(8)),
        ("create", opcode::CREATE, [&zeros(16)[..], b"name\0"].concat()),
        ("read", opcode::READ, read.as_bytes().to_vec()),
        ("write", opcode::WRITE, [write.as_bytes(), b"bytes"].concat()),
        ("release", opcode::RELEASE, zeros(24)),
        ("fsync", opcode::FSYNC, zeros(16)),
        ("readdirplus", opcode::READDIRPLUS, read.as_bytes().to_vec()),
        ("releasedir", opcode::RELEASEDIR, zeros(24)),
        ("statfs", opcode::STATFS, vec![]),
        ("setlkw", opcode::SETLKW, zeros(48)),
        ("unknown", 4096, zeros(8)),
    ];
    let mut seeds: Vec<(String, Vec<u8>)> =
        bodies.into_iter().map(|(name, opcode, body)| (name.to_owned(), request(opcode, &body, 0))).collect();
    // With an extension of 16 bytes, which is not asked for at INIT.
    seeds.push(("extended".to_owned(), request(opcode::LOOKUP, &[b"name\0", &[0; 19][..]].concat(), 2)));
    seeds
}

fn request(opcode: u32, body: &[u8], extensions: u32) -> Vec<u8> {
    let len = (size_of::<InHeader>() + body.len()) as u32;
    let header = InHeader { len, opcode, unique: 8, nodeid: 1, uid: 1000, gid: 1000, pid: 99, extensions };
    [header.as_bytes(), body].concat()
}
