//! Sets by name, and who may do what with them.

use super::{
    limits::MAX_NAME,
    program::{Opened, Program},
    refusals::of_registry,
    work::{Outcome, bytes_of, tell},
};
use kddm_rdma::{Owner, SetInfo, SetPolicy};
use kddm_ring::{Done, Refusal, Region, Request, SetDetails, SetFacts, push_named};
use kdfs_fs::Caller;
use std::sync::Arc;
use zerocopy::IntoBytes;

const READ: u16 = 0o4;
const WRITE: u16 = 0o2;

/// Answers a request about sets.
pub async fn answer(program: Arc<Program>, request: Request) -> Outcome {
    match request {
        Request::CreateSet { name, details, mode } => create(&program, name, details, mode).await,
        Request::OpenSet { name, into } => open(&program, name, into).await,
        Request::DestroySet { name } => destroy(&program, name).await,
        Request::ListSets { from, into } => list(&program, from, into).await,
        _ => Err(Refusal::Malformed),
    }
}

async fn create(program: &Program, name: Region, details: SetDetails, mode: u16) -> Outcome {
    let name = name_of(program, name)?;
    let policy = SetPolicy { home: details.home, ..SetPolicy::volatile(details.object_size) };
    let owner = Owner { uid: program.caller.uid, gid: program.caller.gid, mode: mode & 0o777 };
    let set = program.fs.node().create_set(&name, policy, owner).await.map_err(of_registry)?;
    // Whoever makes a set may use it, as whoever makes a file may write it, whatever its mode.
    program.open_set(set, Opened { object_size: details.object_size, read: true, write: true })?;
    Ok(Done { value: set.0, length: 0 })
}

async fn open(program: &Program, name: Region, into: Region) -> Outcome {
    let name = name_of(program, name)?;
    let info = program.fs.node().open_set(&name).await.map_err(of_registry)?;
    let (read, write) = (may(&program.caller, info.owner, READ), may(&program.caller, info.owner, WRITE));
    if !read && !write {
        return Err(Refusal::Denied);
    }
    let told = tell(program, into, facts(&info, &name).as_bytes(), info.id.0)?;
    program.open_set(info.id, Opened { object_size: info.policy.object_size, read, write })?;
    Ok(told)
}

/// As a file in a sticky directory: whoever owns it, or is root, takes it away.
async fn destroy(program: &Program, name: Region) -> Outcome {
    let name = name_of(program, name)?;
    let node = program.fs.node();
    let info = node.open_set(&name).await.map_err(of_registry)?;
    if !program.caller.is_root() && program.caller.uid != info.owner.uid {
        return Err(Refusal::Denied);
    }
    node.destroy_set(&name).await.map_err(of_registry)?;
    Ok(Done::default())
}

async fn list(program: &Program, from: u64, into: Region) -> Outcome {
    let sets = program.fs.node().sets().await.map_err(of_registry)?;
    let mut bytes = Vec::new();
    let mut next = 0;
    for (number, (name, info)) in sets.iter().enumerate().skip(usize::try_from(from).unwrap_or(usize::MAX)) {
        if !push_named(&mut bytes, into.length as usize, &facts(info, name), name.as_bytes()) {
            next = number as u64;
            break;
        }
    }
    if bytes.is_empty() && next > 0 {
        return Err(Refusal::TooSmall(MAX_NAME));
    }
    tell(program, into, &bytes, next)
}

fn facts(info: &SetInfo, name: &str) -> SetFacts {
    let facts = SetFacts {
        set: info.id.0,
        object_size: info.policy.object_size,
        uid: info.owner.uid,
        gid: info.owner.gid,
        mode: info.owner.mode,
        name: name.len() as u16,
        ..SetFacts::default()
    };
    facts.with_home(info.policy.home)
}

fn name_of(program: &Program, name: Region) -> Result<String, Refusal> {
    if name.length > MAX_NAME {
        return Err(Refusal::Name);
    }
    String::from_utf8(bytes_of(program, name)?).map_err(|_| Refusal::Name)
}

/// As permission bits of a file are read.
fn may(caller: &Caller, owner: Owner, wanted: u16) -> bool {
    let granted = if caller.uid == owner.uid {
        owner.mode >> 6
    } else if caller.is_in(owner.gid) {
        owner.mode >> 3
    } else {
        owner.mode
    };
    caller.is_root() || granted & wanted != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_read_as_those_of_files() {
        let owner = Owner { uid: 10, gid: 20, mode: 0o640 };
        let caller = |uid, gid, groups: &[u32]| Caller { uid, gid, groups: groups.to_vec() };
        for (who, read, write) in [
            (caller(0, 0, &[]), true, true),
            (caller(10, 1, &[]), true, true),
            (caller(11, 20, &[]), true, false),
            (caller(11, 1, &[20]), true, false),
            (caller(11, 1, &[]), false, false),
        ] {
            assert_eq!((may(&who, owner, READ), may(&who, owner, WRITE)), (read, write), "{who:?}");
        }
        let strange = Owner { mode: 0o077, ..owner };
        assert!(!may(&caller(10, 20, &[]), strange, READ), "the owner's own bits count");
    }
}
