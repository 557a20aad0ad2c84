//! Hits inside a node, lookup included, beside an uncontended pthread_rwlock: lock and unlock.

use super::fabric::Kind;
use super::locks::Locks;
use super::measure::Measured;
use super::node::{self, at_once, wait};
use crate::progress::Progress;
use crate::random::Random;
use crate::report::{Case, Latencies};
use anyhow::{Context, Result, ensure};
use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

/// Objects of the random cases.
const OBJECTS: u32 = 64 << 10;
/// Bytes of each.
const BYTES: u32 = 64;
/// Pairs in a block.
const PAIRS: usize = 20_000;

/// The four cases, from `blocks` blocks each, on a node that is alone.
pub fn run(blocks: usize) -> Result<Vec<Measured>> {
    let alone = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let node = node::start(Kind::Tcp, 0, &[alone], [0; 16])?;
    let object = |number| node::object(Some(0), BYTES, number);
    for number in 0..OBJECTS {
        drop(wait(node.grab(object(number)))?);
    }
    let locks = Locks::new(OBJECTS as usize);
    let one = vec![OBJECTS / 2; PAIRS];
    let mut random = Random::new(1);
    let many: Vec<u32> = (0..PAIRS * 8).map(|_| random.below(OBJECTS as usize) as u32).collect();
    let get = |number| at_once(node.get(object(number))).is_some_and(|got| got.is_ok());
    let grab = |number| at_once(node.grab(object(number))).is_some_and(|got| got.is_ok());
    let read = |number| {
        locks.read(number as usize);
        true
    };
    let write = |number| {
        locks.write(number as usize);
        true
    };
    let mut progress = Progress::new("hits", 4);
    let mut cases = Vec::new();
    let before = node.status().fabric;
    let mut add = |row: Result<Measured>| -> Result<()> {
        let row = row?;
        let case = Case { messages: Some(0.0), reads: Some(0.0), bytes: Some(BYTES.into()), ..row.case };
        cases.push(Measured { case, ..row });
        progress.step();
        Ok(())
    };
    add(compare("get+put, hit, one object", blocks, &one, get, read))?;
    add(compare("grab+put, hit, one object", blocks, &one, grab, write))?;
    add(compare("get+put, hit, random of 65536", blocks, &many, get, read))?;
    add(compare("grab+put, hit, random of 65536", blocks, &many, grab, write))?;
    ensure!(node.status().fabric == before, "hits have sent messages");
    node.shutdown();
    Ok(cases)
}

/// `hit` beside `floor` over the same kind of objects, in alternating blocks.
fn compare(
    name: &str,
    blocks: usize,
    objects: &[u32],
    hit: impl Fn(u32) -> bool,
    floor: impl Fn(u32) -> bool,
) -> Result<Measured> {
    let [mut ours, mut theirs] = [Latencies::default(), Latencies::default()];
    let [mut hit_times, mut floor_times] = [Vec::new(), Vec::new()];
    // Different objects in each block, so that neither finds in the cache what the other brought.
    let mut chunks = objects.chunks(PAIRS).cycle();
    for _ in 0..blocks {
        let chunk = chunks.next().context("there are objects")?;
        let time = block(chunk, &hit).with_context(|| format!("{name}: a hit was none"))?;
        ours.add_block(time, PAIRS as u32);
        hit_times.push(time);
        let chunk = chunks.next().context("there are objects")?;
        let time = block(chunk, &floor).with_context(|| format!("{name}: a lock failed"))?;
        theirs.add_block(time, PAIRS as u32);
        floor_times.push(time);
    }
    let case = Case::new(name, &ours).on("n1").beside("pthread_rwlock", &theirs);
    // A histogram of whole nanoseconds is too coarse for the median of such short times.
    let [median, floor] =
        [hit_times, floor_times].map(|times| middle(times).as_secs_f64() * 1e6 / PAIRS as f64);
    let case = Case { floor_us: Some(floor), ..case }.with_median(median);
    Ok(Measured { case, ours, floor: Some(theirs), floor_ops_s: None })
}

/// The time of one pair on each of `objects`; nothing if one failed.
fn block(objects: &[u32], pair: impl Fn(u32) -> bool) -> Option<Duration> {
    let begin = Instant::now();
    let mut good = true;
    for &number in objects {
        good &= pair(black_box(number));
    }
    let time = begin.elapsed();
    good.then_some(time)
}

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
