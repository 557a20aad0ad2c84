//! Memory of another process: what is mapped, what is refused, and READs from it.

use kddm_memory::{Arena, ArenaConfig, PeerSlab, SharedBytes, Unshareable};
use kddm_object::{ObjectKey, SetId};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::ftruncate;
use std::os::fd::OwnedFd;

const BYTES: usize = 64 << 10;

fn memory(bytes: usize, seals: SealFlag) -> OwnedFd {
    let memory = memfd_create(c"test", MFdFlags::MFD_ALLOW_SEALING).unwrap();
    ftruncate(&memory, bytes as i64).unwrap();
    fcntl(&memory, FcntlArg::F_ADD_SEALS(seals)).unwrap();
    memory
}

#[test]
fn what_could_go_away_is_not_mapped() {
    let sealed = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW;
    assert!(PeerSlab::map(memory(BYTES, sealed), BYTES).is_ok());
    for seals in [SealFlag::empty(), SealFlag::F_SEAL_SHRINK, SealFlag::F_SEAL_GROW] {
        assert_eq!(PeerSlab::map(memory(BYTES, seals), BYTES).unwrap_err(), Unshareable::NotSealed);
        assert_eq!(SharedBytes::map(memory(BYTES, seals), BYTES).unwrap_err(), Unshareable::NotSealed);
    }
    for there in [0, BYTES - 4096, BYTES + 4096] {
        let refused = PeerSlab::map(memory(there, sealed), BYTES).unwrap_err();
        assert_eq!(refused, Unshareable::Size { there: there as i64, wanted: BYTES });
    }
    let (pipe, _end) = std::io::pipe().unwrap();
    assert_eq!(PeerSlab::map(pipe, BYTES).unwrap_err(), Unshareable::NotMemory);
}

#[test]
fn both_ends_see_the_same_bytes_wherever_they_begin() {
    let (one, descriptor) = SharedBytes::new(4096).unwrap();
    let other = SharedBytes::map(&descriptor, 4096).unwrap();
    for at in 0..16 {
        for length in [0, 1, 7, 8, 9, 40] {
            let bytes: Vec<u8> = (0..length).map(|n| (n * 7 + at + 1) as u8).collect();
            one.write(0, &[0; 64]);
            one.write(at, &bytes);
            let mut seen = vec![0; 64];
            other.read(0, &mut seen);
            assert_eq!(&seen[at..at + length], bytes);
            assert!(seen[..at].iter().chain(&seen[at + length..]).all(|&byte| byte == 0));
            other.read(at, &mut seen[..length]);
            assert_eq!(seen[..length], bytes);
        }
    }
}

#[test]
fn a_read_lands_whole_or_not_at_all() {
    let arenas = [1, 2].map(|_| Arena::new(ArenaConfig { bytes: 2 * BYTES, slab_bytes: BYTES }).unwrap());
    let [source, landing] = [&arenas[0], &arenas[1]].map(|arena| {
        (0..3).for_each(|object| {
            arena.allocate(ObjectKey::new(SetId(1), object), 4096, true).unwrap();
        });
        arena.lookup(ObjectKey::new(SetId(1), 2)).unwrap()
    });
    let bytes: Vec<u8> = (0..4096u32).map(|n| (n * 31 / 8) as u8).collect();
    assert!(arenas[0].copy_in(source, 0, &bytes));
    let slab = PeerSlab::map(arenas[0].slab_descriptor(source.slab()).unwrap().unwrap(), BYTES).unwrap();
    let from = usize::from(source.index()) * 4096;
    assert!(arenas[1].copy_across(landing, 0, &slab, from, 2000));
    assert!(arenas[1].copy_across(landing, 2000, &slab, from + 2000, 2096));
    let mut seen = vec![0; 4096];
    assert!(arenas[1].copy_out(landing, arenas[1].generation(landing), &mut seen));
    assert!(seen == bytes);
    assert!(!arenas[1].copy_across(landing, 0, &slab, BYTES - 2048, 4096), "the slab ends before");
    assert!(!arenas[1].copy_across(landing, 0, &slab, usize::MAX - 7, 4096));
    assert!(!arenas[1].copy_across(landing, 8, &slab, 0, 4096), "the slot ends before");
    assert!(!arenas[1].copy_across(landing, 4, &slab, 0, 8), "no whole words");
    arenas[1].release(landing);
    assert!(!arenas[1].copy_across(landing, 0, &slab, 0, 8), "it is free");
}
