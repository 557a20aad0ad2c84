//! The bytes of an object: a value that fills it, so that a mixture of two is seen.

/// Bytes that are no value: parts of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The value that the first word says.
    pub first: u64,
    /// The word that does not fit.
    pub word: usize,
    /// What it says.
    pub found: u64,
}

/// The `word`th word of `value`; zeros for 0.
fn word(value: u64, word: usize) -> u64 {
    match value {
        0 => 0,
        _ => value.wrapping_add((word as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
    }
}

/// Fills the words from `from` on, as far as there are any. What does not fill a word stays.
pub fn write(bytes: &mut [u8], value: u64, from: usize) {
    for (place, chunk) in bytes.chunks_exact_mut(8).enumerate().skip(from) {
        chunk.copy_from_slice(&word(value, place).to_le_bytes());
    }
}

/// The value; 0 if there are no words.
///
/// # Errors
/// What does not fit.
pub fn read(bytes: &[u8]) -> Result<u64, Torn> {
    let words = bytes.chunks_exact(8).map(|chunk| {
        let (chunk, _) = chunk.split_first_chunk().expect("chunks of 8 bytes");
        u64::from_le_bytes(*chunk)
    });
    let first = words.clone().next().unwrap_or(0);
    for (place, found) in words.enumerate() {
        if found != word(first, place) {
            return Err(Torn { first, word: place, found });
        }
    }
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_and_mixtures_do_not() {
        for size in [0, 8, 64, 4096] {
            let mut bytes = vec![0; size];
            assert_eq!(read(&bytes), Ok(0));
            write(&mut bytes, 7, 0);
            assert_eq!(read(&bytes), Ok(if size == 0 { 0 } else { 7 }));
            if size > 8 {
                write(&mut bytes, 8, 3);
                assert_eq!(read(&bytes).unwrap_err().first, 7);
                bytes.fill(0);
                write(&mut bytes, 8, 3);
                assert_eq!(read(&bytes).unwrap_err().word, 3);
            }
        }
    }
}
