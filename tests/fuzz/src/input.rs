//! Bytes of an input, taken for what a target needs.

/// What is left of an input.
pub(crate) struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// The next `length` bytes, fewer at the end.
    pub fn bytes(&mut self, length: usize) -> &'a [u8] {
        let (first, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        first
    }

    /// The next `N` bytes, with zeros for those that are missing.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        padded(self.bytes(N))
    }

    /// The next byte; `None` at the end.
    pub fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    /// The next piece: a length (2 bytes, little-endian), and as many bytes; `None` at the end.
    pub fn piece(&mut self) -> Option<&'a [u8]> {
        if self.0.is_empty() {
            return None;
        }
        let length = u16::from_le_bytes(self.array());
        Some(self.bytes(usize::from(length)))
    }
}

/// Appends a piece, as [`Input::piece`] takes it.
pub(crate) fn add_piece(input: &mut Vec<u8>, piece: &[u8]) {
    input.extend_from_slice(&(piece.len() as u16).to_le_bytes());
    input.extend_from_slice(piece);
}

/// The first `N` bytes, with zeros for those that are missing.
pub(crate) fn padded<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut whole = [0; N];
    let length = bytes.len().min(N);
    whole[..length].copy_from_slice(&bytes[..length]);
    whole
}
