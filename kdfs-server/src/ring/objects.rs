//! Holds and the rest of what is done with objects.

use super::{
    limits::MAX_PREFETCH,
    program::{Held, Program},
    refusals::of_operation,
    work::{Outcome, tell},
};
use kddm_object::Hold;
use kddm_rdma::{FirstTouch, Node, ObjectKey, OpError, Options};
use kddm_ring::{Done, HoldId, Refusal, Region, Tag, Wait};
use std::sync::Arc;
use zerocopy::IntoBytes;

/// Whether the program may have such a hold, and a place for its bytes.
pub fn admit(program: &Program, key: ObjectKey, hold: Hold, into: Region) -> Result<(), Refusal> {
    let opened = program.opened(key.set)?;
    let allowed = match hold {
        Hold::Shared => opened.read,
        Hold::Exclusive => opened.write,
    };
    if !allowed {
        return Err(Refusal::Denied);
    }
    if into.length < opened.object_size {
        return Err(Refusal::TooSmall(opened.object_size));
    }
    program.may_hold(1)
}

/// Takes a hold and hands the bytes over.
pub async fn hold(
    program: Arc<Program>,
    tag: Tag,
    (key, hold, first_touch, wait): (ObjectKey, Hold, FirstTouch, Wait),
    into: Region,
) -> Outcome {
    let options = Options { first_touch, ..Options::default() };
    let node = program.fs.node();
    let held = match hold {
        Hold::Shared => get(node, key, options, wait).await.map(Held::Shared),
        Hold::Exclusive => grab(node, key, options, wait).await.map(Held::Exclusive),
    };
    let held = held.map_err(of_operation)?;
    let length = held.len() as u32;
    program.window.write(into, &held).ok_or(Refusal::TooSmall(length))?;
    let value = program.keep(tag, vec![held])?;
    Ok(Done { value, length })
}

/// Whether the program may have such holds, and a place for their bytes; how many each has.
pub fn admit_range(
    program: &Program,
    key: ObjectKey,
    count: u32,
    hold: Hold,
    into: Region,
) -> Result<u32, Refusal> {
    let size = program.opened(key.set)?.object_size;
    let all = u64::from(size) * u64::from(count);
    if all > into.length.into() {
        return Err(Refusal::TooSmall(u32::try_from(all).unwrap_or(u32::MAX)));
    }
    if count == 0 || key.object.checked_add(count - 1).is_none() {
        return Err(Refusal::Malformed);
    }
    program.may_hold(count as usize)?;
    admit(program, key, hold, into).map(|()| size)
}

/// Takes holds of neighbouring objects and hands the bytes over.
pub async fn hold_range(
    program: Arc<Program>,
    tag: Tag,
    (key, count, hold): (ObjectKey, u32, Hold),
    into: Region,
    size: u32,
) -> Outcome {
    let (node, options) = (program.fs.node(), Options::default());
    let keys = (0..count).map(|number| ObjectKey { object: key.object + number, ..key });
    let held: Result<Vec<Held>, OpError> = match hold {
        Hold::Shared => {
            node.get_all(keys, options).await.map(|all| all.into_iter().map(Held::Shared).collect())
        }
        Hold::Exclusive => {
            node.grab_all(keys, options).await.map(|all| all.into_iter().map(Held::Exclusive).collect())
        }
    };
    let held = held.map_err(of_operation)?;
    for (held, number) in held.iter().zip(0..) {
        let place = Region { offset: into.offset + number * size, length: size };
        program.window.write(place, held).ok_or(Refusal::Region)?;
    }
    let value = program.keep(tag, held)?;
    Ok(Done { value, length: count * size })
}

async fn get(
    node: &Node,
    key: ObjectKey,
    options: Options,
    wait: Wait,
) -> Result<kddm_rdma::Shared, OpError> {
    match wait {
        Wait::Forever => node.get_with(key, options).await,
        Wait::Never => node.try_get(key, options).await,
        Wait::AtMost(time) => node.get_for(key, options, time).await,
    }
}

async fn grab(
    node: &Node,
    key: ObjectKey,
    options: Options,
    wait: Wait,
) -> Result<kddm_rdma::Exclusive, OpError> {
    match wait {
        Wait::Forever => node.grab_with(key, options).await,
        Wait::Never => node.try_grab(key, options).await,
        Wait::AtMost(time) => node.grab_for(key, options, time).await,
    }
}

/// Ends a hold; what the program changed is taken over first.
pub fn put(program: &Program, HoldId(number): HoldId, changed: Option<Region>) -> Outcome {
    let held = program.give_up(number, |held| match (held, changed) {
        (Held::Shared(_), Some(_)) => Err(Refusal::SharedHold),
        // What follows is not changed; what would go beyond the end was not meant for this object.
        (Held::Exclusive(guard), Some(region)) if region.length as usize > guard.len() => {
            Err(Refusal::TooLong(guard.len() as u32))
        }
        _ => Ok(()),
    })?;
    if let (Held::Exclusive(mut guard), Some(region)) = (held, changed) {
        // `work` has seen that the region lies in the window.
        program.window.read(region, &mut guard).ok_or(Refusal::Region)?;
    }
    Ok(Done::default())
}

/// Begins to bring copies here. What does not fit into the numbers of objects is left out.
pub fn prefetch(program: &Program, key: ObjectKey, count: u32) -> Outcome {
    if !program.opened(key.set)?.read {
        return Err(Refusal::Denied);
    }
    let objects = key.object..key.object.saturating_add(count.min(MAX_PREFETCH));
    program.fs.node().prefetch(objects.map(|object| ObjectKey { object, ..key }));
    Ok(Done::default())
}

/// The objects of a set that have a copy here.
pub fn local(program: &Program, after: ObjectKey, any: bool, into: Region) -> Outcome {
    if !program.opened(after.set)?.read {
        return Err(Refusal::Denied);
    }
    let room = into.length as usize / size_of::<u32>();
    let objects = program.fs.node().local(after.set, (!any).then_some(after.object), room);
    tell(program, into, objects.as_bytes(), objects.len() as u64)
}

/// Ends an object.
pub async fn remove(program: Arc<Program>, key: ObjectKey) -> Outcome {
    program.writable(key)?;
    done(program.fs.node().remove(key).await)
}

/// Drops this node's copy.
pub async fn flush(program: Arc<Program>, key: ObjectKey) -> Outcome {
    program.opened(key.set)?;
    done(program.fs.node().flush(key).await)
}

/// Writes it to its device.
pub async fn sync(program: Arc<Program>, key: ObjectKey) -> Outcome {
    program.opened(key.set)?;
    done(program.fs.node().sync(key).await)
}

fn done(result: Result<(), OpError>) -> Outcome {
    result.map(|()| Done::default()).map_err(of_operation)
}
