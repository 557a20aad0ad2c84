//! Latencies of objects beside their floors: hits beside a lock, misses over tcp beside a ping-pong.

mod floor;
mod hits;
mod locks;
mod misses;
mod nodes;

pub use floor::serve;

use crate::report::Case;
use anyhow::Result;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Blocks of hits, 20,000 pairs each.
    pub hit_blocks: usize,
    /// Misses of each kind.
    pub misses: u32,
}

/// All cases.
///
/// # Errors
/// If nodes or floors cannot be started, or an operation failed.
pub fn run(options: Options) -> Result<Vec<Case>> {
    let mut cases = hits::run(options.hit_blocks)?;
    cases.extend(misses::run(options.misses)?);
    Ok(cases)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hits_need_no_message_and_every_case_has_its_floor() {
        let cases = hits::run(3).unwrap();
        assert_eq!(cases.len(), 4);
        assert!(cases.iter().all(|case| case.ratio.is_some() && case.messages == Some(0.0)), "{cases:?}");
    }
}
