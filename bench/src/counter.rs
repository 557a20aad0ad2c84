//! A counter that programs on several nodes share.

use anyhow::{Result, ensure};
use kdfs_client::{Refusal, Session, Set, SetOptions};
use std::path::Path;

/// Increments the first object of the set `name`, as a program attached at `ring`, so many times; what it was in the end.
///
/// # Errors
/// The node does not let it in, or the set is of another kind.
pub fn count(ring: &Path, name: &str, times: u64) -> Result<u64> {
    let set = open(&Session::attach(ring)?, name)?;
    let mut value = 0;
    for _ in 0..times {
        let mut object = set.grab(0)?;
        let Some(bytes) = object.first_chunk_mut::<8>() else { anyhow::bail!("{name}: no set of counters") };
        value = u64::from_le_bytes(*bytes) + 1;
        *bytes = value.to_le_bytes();
    }
    Ok(value)
}

/// What the counter is.
///
/// # Errors
/// As [`count`].
pub fn read(ring: &Path, name: &str) -> Result<u64> {
    let object = Session::attach(ring)?.open_set(name)?.get(0)?;
    ensure!(object.len() == 8, "{name}: no set of counters");
    Ok(u64::from_le_bytes(object[..].try_into()?))
}

/// Several programs may come at once: one of them makes it.
fn open(session: &Session, name: &str) -> Result<Set> {
    match session.create_set(name, SetOptions::new(8)) {
        Err(error) if error.refusal() == Some(Refusal::NameTaken) => Ok(session.open_set(name)?),
        made => Ok(made?),
    }
}
