//! Memory of the directory, per object, as the allocator sees it.

use crate::{INLINE_MAX, PAGE};
use anyhow::{Context, Result};
use kddm_bench::allocations::counted;
use kddm_bench::cores::{Cores, placed};
use kddm_bench::report::Case;
use kddm_object::Hold;

/// Objects that fill an index of 2^17 places to the last one that it takes. With one more it has just doubled: six bytes an
/// object more, half of an index being air.
pub const OBJECTS: u32 = (1 << 17) / 8 * 7;

const HOME: u8 = 1;

/// Heap bytes of the home's directory per object, for `objects` objects that an owner and `sharers` others have copies of.
///
/// # Errors
/// If an operation fails, or the program does not count what it allocates.
pub fn bytes_per_object(nodes: u8, sharers: u8, objects: u32) -> Result<f64> {
    let empty = freed_by_dropping_the_home(Cores::new(nodes, INLINE_MAX))?;
    let mut cores = Cores::new(nodes, INLINE_MAX);
    for number in 0..objects {
        let key = placed(HOME, PAGE, number);
        // The nodes in turn, so that no copyset is like its neighbour's.
        let node = |at: u8| ((number + u32::from(at)) % u32::from(nodes - HOME)) as u8 + HOME + 1;
        cores.touch(node(0), key, Hold::Exclusive)?;
        for sharer in 1..=sharers {
            cores.touch(node(sharer), key, Hold::Shared)?;
            // The copy goes, silently: the directory does not hear of it, and memory is saved here.
            cores.evict(node(sharer), key);
        }
    }
    Ok((freed_by_dropping_the_home(cores)? - empty) / f64::from(objects))
}

fn freed_by_dropping_the_home(cores: Cores) -> Result<f64> {
    let home = cores.into_core(HOME);
    let asked = "this program does not count what it allocates: make Counting its global allocator";
    let before = counted().context(asked)?;
    drop(home);
    Ok(counted().context(asked)?.since(before).freed as f64 - 1.0)
}

/// The table: cluster sizes against sharers.
///
/// # Errors
/// If an operation fails, or the program does not count what it allocates.
pub fn run(sizes: &[u8], sharers: &[u8], objects: u32) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for &nodes in sizes {
        for &sharers in sharers.iter().filter(|&&sharers| sharers + 2 <= nodes) {
            cases.push(Case {
                nodes: Some(nodes.into()),
                sharers: Some(sharers.into()),
                directory_bytes: Some(bytes_per_object(nodes, sharers, objects)?),
                ..Case::counted("directory", objects.into())
            });
        }
    }
    Ok(cases)
}
