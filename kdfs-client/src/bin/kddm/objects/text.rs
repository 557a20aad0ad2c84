//! Objects as text.

/// The bytes without the zeros at their end: what somebody put who had less than an object.
pub fn trimmed(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    &bytes[..end]
}

/// The bytes as a line of at most about `most` characters.
pub fn shown(bytes: &[u8], most: usize) -> String {
    let bytes = trimmed(bytes);
    let (part, more) = if bytes.len() > most { (&bytes[..most], "…") } else { (bytes, "") };
    format!("\"{}\"{more}", part.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_at_the_end_are_not_shown_and_others_are() {
        assert_eq!(trimmed(b"a\0b\0\0"), b"a\0b");
        assert_eq!(trimmed(b"\0\0"), b"");
        assert_eq!(shown(b"a\0b\n\0", 10), r#""a\x00b\n""#);
        assert_eq!(shown(b"abcdef", 3), "\"abc\"…");
    }
}
