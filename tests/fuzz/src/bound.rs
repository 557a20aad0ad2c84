//! How much memory a decoder may take.

/// Runs `decode`, which must not have more than `most` bytes on the heap at a time, beyond what was there.
///
/// # Panics
/// It has.
pub(crate) fn bounded<T>(most: usize, decode: impl FnOnce() -> T) -> T {
    let mut result = None;
    let allocated = allocation_counter::measure(|| result = Some(decode()));
    assert!(
        allocated.bytes_max <= most as u64,
        "{} bytes were allocated at a time, where {most} are allowed",
        allocated.bytes_max
    );
    result.expect("BUG: it was not run")
}
