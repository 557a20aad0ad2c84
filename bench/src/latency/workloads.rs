//! What a node does when rank 0 says so: one operation after the other, several at once, or its part in what several nodes do.

use super::control::{Deed, Keys, Mix, Times, Turn, nanos};
use super::floor::MAX_WIDTH;
use super::node::wait;
use crate::random::Random;
use anyhow::{Context, Result, ensure};
use async_executor::LocalExecutor;
use kddm_rdma::{Node, ObjectKey};
use std::cell::RefCell;
use std::time::{Duration, Instant};

/// An object that others should be waiting for, and nobody asks for it: something is broken.
const LONELY: Duration = Duration::from_secs(60);
/// How often a holder looks whether others wait: the time of holds is not part of what is measured.
const LOOK_AGAIN: Duration = Duration::from_micros(50);

/// Does it to `key`, and puts at once.
async fn act(node: &Node, deed: Deed, key: ObjectKey) -> Result<()> {
    let done = match deed {
        Deed::Get => node.get(key).await.map(drop),
        Deed::Grab => node.grab(key).await.map(drop),
        Deed::Remove => node.remove(key).await,
        Deed::Flush => node.flush(key).await,
    };
    done.with_context(|| format!("{deed:?} of {key}"))
}

/// Does it to all of `keys`, one after the other.
pub fn row(node: &Node, deed: Deed, keys: Keys) -> Result<Times> {
    let begin = Instant::now();
    let mut each = Vec::with_capacity(keys.count as usize);
    for key in keys.iter() {
        let begin = Instant::now();
        wait(act(node, deed, key))?;
        each.push(nanos(begin.elapsed()));
    }
    Ok(Times { each, all: nanos(begin.elapsed()) })
}

/// Grabs the first of `keys` again and again in turn with others, `holders` nodes in all, and puts it when another waits for it;
/// until all of them together have had `total` turns. The object counts: first who has come, then, when all have, the turns.
pub fn alternate(node: &Node, keys: Keys, holders: u32, total: u32) -> Result<Vec<Turn>> {
    let key = keys.iter().next().context("an alternation needs an object")?;
    let mut turns = Vec::new();
    let mut come = false;
    let mut put: Option<Instant> = None;
    loop {
        let mut guard = wait(node.grab(key)).with_context(|| format!("grab of {key}, in turn"))?;
        let begin = Instant::now();
        let count = guard.first_chunk_mut::<4>().context("an object of fewer than 4 bytes")?;
        let number = u32::from_le_bytes(*count);
        let turn = number.checked_sub(holders);
        // Nobody leaves earlier, so that until then somebody else is coming.
        if turn.is_some_and(|turn| turn >= total) {
            return Ok(turns);
        }
        if turn.is_some() || !std::mem::replace(&mut come, true) {
            *count = (number + 1).to_le_bytes();
        }
        while !node.dump(key).word.is_some_and(|word| word.revoke()) {
            ensure!(begin.elapsed() < LONELY, "no other node has asked for {key} for {LONELY:?}");
            // A node tells nobody that its holder is waited for. Looking all the time would take the processor from the others.
            std::thread::sleep(LOOK_AGAIN);
        }
        let end = Instant::now();
        if let Some(number) = turn {
            turns.push(Turn { number, waited: put.map(|put| nanos(begin - put)), held: nanos(end - begin) });
            put = Some(end);
        }
        drop(guard);
    }
}

/// Gets all of `keys`, which are prefetched together.
pub fn range(node: &Node, keys: Keys) -> Result<Times> {
    let begin = Instant::now();
    node.prefetch(keys.iter());
    for key in keys.iter() {
        drop(wait(node.get(key)).with_context(|| format!("get of {key}, in a range"))?);
    }
    let all = nanos(begin.elapsed());
    Ok(Times { each: vec![all], all })
}

/// Does it to all of `keys`, `width` at a time.
pub fn flight(node: &Node, deed: Deed, keys: Keys, width: u32) -> Result<Times> {
    ensure!((1..=MAX_WIDTH).contains(&width), "{width} at a time: 1 to {MAX_WIDTH} are possible");
    let next = RefCell::new(keys.iter());
    let take = || next.borrow_mut().next();
    let executor = LocalExecutor::new();
    let begin = Instant::now();
    let workers: Vec<_> = (0..width)
        .map(|_| {
            executor.spawn(async {
                let mut each = Vec::new();
                while let Some(key) = take() {
                    let begin = Instant::now();
                    act(node, deed, key).await?;
                    each.push(nanos(begin.elapsed()));
                }
                anyhow::Ok(each)
            })
        })
        .collect();
    wait(executor.run(async {
        let mut each = Vec::new();
        for worker in workers {
            each.extend(worker.await?);
        }
        Ok(Times { each, all: nanos(begin.elapsed()) })
    }))
}

/// Gets and grabs objects by chance, one after the other.
pub fn mix(node: &Node, mix: Mix) -> Result<Times> {
    let mut random = Random::new(mix.seed);
    let [shared, own] = [mix.shared, mix.own].map(|keys| keys.iter().collect::<Vec<_>>());
    let mut each = Vec::with_capacity(mix.operations as usize);
    let begin = Instant::now();
    for _ in 0..mix.operations {
        let objects = if random.below(100) < mix.percent as usize { &shared } else { &own };
        let key = *objects.get(random.below(objects.len())).context("a mix needs objects")?;
        let writes = random.below(2) == 0;
        let begin = Instant::now();
        if writes {
            let mut guard = wait(node.grab(key)).with_context(|| format!("grab of {key}, in a mix"))?;
            if let Some(byte) = guard.first_mut() {
                *byte = byte.wrapping_add(1);
            }
        } else {
            drop(wait(node.get(key)).with_context(|| format!("get of {key}, in a mix"))?);
        }
        each.push(nanos(begin.elapsed()));
    }
    Ok(Times { each, all: nanos(begin.elapsed()) })
}
