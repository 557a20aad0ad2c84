//! What is written into objects: a value that fills them, so that a mixture of two is seen.

/// Fills `bytes` with `value`, which is not 0.
pub fn write(bytes: &mut [u8], value: u32) {
    for (place, chunk) in (0u32..).zip(bytes.chunks_exact_mut(4)) {
        chunk.copy_from_slice(&word(value, place).to_le_bytes());
    }
}

/// The value that fills `bytes`; 0 for zeros.
///
/// # Errors
/// The value of the first word, and the first place where another one lies.
pub fn read(bytes: &[u8]) -> Result<u32, (u32, usize)> {
    let mut words = bytes.chunks_exact(4).map(|chunk| {
        let (chunk, _) = chunk.split_first_chunk().expect("four bytes");
        u32::from_le_bytes(*chunk)
    });
    let Some(first) = words.next() else { return Ok(0) };
    match (1u32..).zip(words).find(|&(place, found)| found != word(first, place)) {
        None => Ok(first),
        Some((place, _)) => Err((first, place as usize)),
    }
}

fn word(value: u32, place: u32) -> u32 {
    if value == 0 { 0 } else { value.wrapping_add(place.wrapping_mul(0x9e37_79b9)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_and_mixtures_are_seen() {
        for size in [4, 4096, 65536] {
            let mut bytes = vec![0; size];
            assert_eq!(read(&bytes), Ok(0));
            write(&mut bytes, 7);
            assert_eq!(read(&bytes), Ok(7));
            let mut newer = bytes.clone();
            write(&mut newer, 8);
            if size > 4 {
                bytes[size / 2..].copy_from_slice(&newer[size / 2..]);
                assert_eq!(read(&bytes), Err((7, size / 8)));
                bytes.fill(0);
                bytes[size - 4..].copy_from_slice(&newer[size - 4..]);
                assert_eq!(read(&bytes), Err((0, size / 4 - 1)));
            }
        }
    }
}
