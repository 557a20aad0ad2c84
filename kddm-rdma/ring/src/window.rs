//! The window: bytes that a program and its server hand each other.
//!
//! The program's end hands out its parts. Whoever has a [`Piece`] reads and writes it as its own memory; as long as a request is under way that
//! names it, the piece is kept by those who wait for its completion, and nobody looks. (The server, which may write it then, is trusted:
//! it is the node's own daemon.) The server's end has no pieces: it copies in and out, whatever the program does meanwhile.

use crate::{layout::Layout, request::Region};
use kddm_memory::{ForkMark, SharedBytes};
use offset_allocator::{Allocation, Allocator};
use parking_lot::Mutex;
use std::{
    fmt,
    ops::{Deref, DerefMut},
    ptr::NonNull,
    sync::Arc,
};

/// Pieces are whole units of this many bytes, so that each has its cache lines alone.
const UNIT: u32 = 64;

/// There is no room for a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the window of {window} bytes has no room for {wanted} more: put some holds first, or attach with a larger window"
)]
pub struct WindowFull {
    /// Bytes that were wanted.
    pub wanted: u32,
    /// Bytes of the whole window.
    pub window: u32,
}

/// The program's end of the window. Clones are the same window.
#[derive(Clone)]
pub struct Window(Arc<Inner>);

struct Inner {
    memory: Arc<SharedBytes>,
    first: usize,
    length: u32,
    here: ForkMark,
    free: Mutex<Allocator>,
}

/// A part of the window, owned. Empty pieces take no room.
pub struct Piece {
    window: Window,
    _owned: Option<Arc<Owned>>,
    region: Region,
}

/// What the allocator gave, until the last piece of it goes.
struct Owned {
    window: Window,
    allocation: Allocation,
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.window.0.free.lock().free(self.allocation);
    }
}

impl Window {
    pub(crate) fn new(memory: Arc<SharedBytes>, layout: Layout, here: ForkMark) -> Window {
        let (first, length) = (layout.window_at(), layout.window());
        let free = Mutex::new(Allocator::new(length / UNIT));
        Window(Arc::new(Inner { memory, first, length, here, free }))
    }

    /// A piece of `length` bytes, in which anything may be.
    ///
    /// # Errors
    /// There is no room.
    pub fn piece(&self, length: u32) -> Result<Piece, WindowFull> {
        let window = self.clone();
        if length == 0 {
            return Ok(Piece { window, _owned: None, region: Region::default() });
        }
        let allocation = self.0.free.lock().allocate(length.div_ceil(UNIT));
        let allocation = allocation.ok_or(WindowFull { wanted: length, window: self.0.length })?;
        let region = Region { offset: allocation.offset * UNIT, length };
        let owned = Some(Arc::new(Owned { window: self.clone(), allocation }));
        Ok(Piece { window, _owned: owned, region })
    }

    /// A piece with these bytes.
    ///
    /// # Errors
    /// There is no room.
    pub fn piece_of(&self, bytes: &[u8]) -> Result<Piece, WindowFull> {
        let full = WindowFull { wanted: u32::MAX, window: self.0.length };
        let mut piece = self.piece(u32::try_from(bytes.len()).map_err(|_| full)?)?;
        piece.copy_from_slice(bytes);
        Ok(piece)
    }

    /// Bytes of the whole.
    pub fn length(&self) -> u32 {
        self.0.length
    }

    /// Whether this process is a child of the one that attached.
    #[inline]
    pub fn is_childs(&self) -> bool {
        self.0.here.is_childs()
    }
}

impl Piece {
    /// Where it is.
    pub fn region(&self) -> Region {
        self.region
    }

    /// Leaves only the first `length` bytes to be seen.
    pub fn truncate(&mut self, length: u32) {
        self.region.length = self.region.length.min(length);
    }

    /// Cuts it into pieces of `length` bytes; what is left over is nobody's. Of no bytes there are none.
    pub fn cut(self, length: u32) -> Vec<Piece> {
        let count = self.region.length.checked_div(length).unwrap_or_default();
        let piece = |number| Piece {
            window: self.window.clone(),
            _owned: self._owned.clone(),
            region: Region { offset: self.region.offset + number * length, length },
        };
        (0..count).map(piece).collect()
    }

    fn first(&self) -> NonNull<u8> {
        let inner = &self.window.0;
        assert!(
            !inner.here.is_childs(),
            "a child process has no part in the holds and files of its parent; attach it anew"
        );
        let at = inner.first + self.region.offset as usize;
        match inner.memory.pointer(at, self.region.length as usize) {
            Some(first) => first,
            None => panic!("BUG: a piece outside its window: {:?}", self.region()),
        }
    }
}

impl Deref for Piece {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the bytes are mapped as long as the window is, which the piece keeps; no other piece has any of them (the allocator's
        // promise, and `cut`'s), and the server does not write while nobody's request names them (the module's text).
        unsafe { std::slice::from_raw_parts(self.first().as_ptr(), self.region.length as usize) }
    }
}

impl DerefMut for Piece {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and the piece is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.first().as_ptr(), self.region.length as usize) }
    }
}

impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Piece").field(&self.region()).finish()
    }
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Window").field("length", &self.0.length).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(bytes: u32) -> Window {
        let layout = Layout::new(8, bytes).unwrap();
        let memory = Arc::new(SharedBytes::new(layout.memory_bytes()).unwrap().0);
        Window::new(memory, layout, ForkMark::new().unwrap())
    }

    #[test]
    fn pieces_are_apart_and_come_back() {
        let window = window(8192);
        let mut pieces: Vec<Piece> = (0..128).map(|n| window.piece_of(&[n; 64]).unwrap()).collect();
        assert_eq!(window.piece(1).unwrap_err(), WindowFull { wanted: 1, window: 8192 });
        for (n, piece) in pieces.iter().enumerate() {
            assert_eq!(**piece, [n as u8; 64]);
        }
        pieces.clear();
        assert_eq!(window.piece(8192).unwrap().len(), 8192);
    }

    #[test]
    fn a_piece_that_is_cut_comes_back_with_the_last_of_its_parts() {
        let window = window(4096);
        let mut parts = window.piece(4096).unwrap().cut(1000);
        assert_eq!(parts.len(), 4);
        for (part, value) in parts.iter_mut().zip(0..) {
            part.fill(value);
        }
        assert!(parts.iter().zip(0..).all(|(part, value)| **part == [value; 1000]));
        let last = parts.pop();
        drop(parts);
        assert!(window.piece(64).is_err());
        drop(last);
        assert!(window.piece(4096).is_ok());
        assert!(window.piece(64).unwrap().cut(0).is_empty());
    }

    #[test]
    fn an_empty_piece_needs_no_room() {
        let window = window(4096);
        let _all = window.piece(4096).unwrap();
        assert!(window.piece(0).unwrap().is_empty());
        assert!(window.piece_of(&[1]).is_err());
    }

    #[test]
    fn random_pieces_never_share_a_byte() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let window = window(64 << 10);
        let mut pieces: Vec<(Piece, u8)> = Vec::new();
        for round in 0..20_000_u32 {
            if random.bool() {
                if let Ok(mut piece) = window.piece(random.u32(..5000)) {
                    piece.fill(round as u8);
                    pieces.push((piece, round as u8));
                }
            } else if !pieces.is_empty() {
                let (piece, value) = pieces.swap_remove(random.usize(..pieces.len()));
                assert!(piece.iter().all(|&byte| byte == value), "seed {seed}, round {round}");
            }
        }
    }
}
