//! Sizes as people write them: `64 MiB`.

const UNITS: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Bytes from `64 MiB`, `1GiB`, `4096 B` or `4096`.
///
/// # Errors
/// A sentence that says how to write a size.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let trimmed = text.trim();
    let (digits, factor) = UNITS
        .iter()
        .find_map(|&(unit, factor)| Some((trimmed.strip_suffix(unit)?, factor)))
        .unwrap_or((trimmed, 1));
    let number: Option<u64> = digits.trim_end().parse().ok();
    number.and_then(|number| number.checked_mul(factor)).ok_or_else(|| {
        format!(
            "{text:?} is no size: write a whole number and B, KiB, MiB, GiB or TiB, for example \"64 MiB\""
        )
    })
}

/// `bytes` in the largest unit that divides them.
pub fn format_size(bytes: u64) -> String {
    let (unit, factor) = UNITS
        .into_iter()
        .find(|&(_, factor)| bytes >= factor && bytes.is_multiple_of(factor))
        .unwrap_or(("B", 1));
    format!("{} {unit}", bytes / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_come_back() {
        for (text, bytes) in
            [("64 MiB", 64 << 20), ("1GiB", 1 << 30), ("4096", 4096), (" 7 KiB ", 7168), ("0 B", 0)]
        {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
            assert_eq!(parse_size(&format_size(bytes)), Ok(bytes), "{text}");
        }
        assert_eq!(format_size(64 << 20), "64 MiB");
    }

    #[test]
    fn other_texts_are_no_size() {
        for text in ["", "MiB", "-1 MiB", "1.5 GiB", "64 MB", "99999999999 TiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
