//! The state word of a slot: mode, reader count, writer bit, revoke bit.
//!
//! The one truth about who holds what on this node. It is changed only by compare-and-swap with the pure
//! functions below, by threads that hit and by the engine alike.
//!
//! ```text
//! bit  0..1   mode     0 none, 1 shared, 2 exclusive
//! bit  2      writer   a thread of this node has an exclusive hold
//! bit  3      revoke   the engine wants to hear of the last put; new holds take the slow path
//! bit  4      used     a hold was taken since the last sweep for victims
//! bit  8..31  readers  threads of this node with a shared hold
//! bit 32..63  tenancy  the slot's generation, so that a swap prepared for one tenant fails on the next
//! ```

use crate::Generation;
use std::fmt;

/// What this node may do with its copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// No valid copy.
    None,
    /// Valid for reading; others may have copies.
    Shared,
    /// The only valid copy.
    Exclusive,
}

/// The two kinds of hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hold {
    /// A get.
    Shared,
    /// A grab.
    Exclusive,
}

/// Why a hold cannot be taken by a swap of the word alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The copy's mode is too weak: the engine must ask the home.
    Mode,
    /// Another thread of this node holds it, or the engine is revoking: wait in line.
    Busy,
}

/// What a put leaves to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// Nothing.
    Quiet,
    /// The engine asked to be told (revoke is set) and nobody holds the object any more.
    Notify,
}

/// A value of the state word.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Word(pub u64);

const MODE: u64 = 0b11;
const WRITER: u64 = 1 << 2;
const REVOKE: u64 = 1 << 3;
const USED: u64 = 1 << 4;
const READER: u64 = 1 << 8;
const READERS: u64 = 0xff_ffff << 8;
const TENANCY: u32 = 32;

impl Word {
    /// The word of a slot newly given to an object: no mode, no holds.
    #[inline]
    pub const fn new(generation: Generation) -> Word {
        Word((generation.0 as u64) << TENANCY)
    }

    /// The slot's generation.
    #[inline]
    pub const fn generation(self) -> Generation {
        Generation((self.0 >> TENANCY) as u32)
    }

    /// The copy's mode.
    #[inline]
    pub const fn mode(self) -> Mode {
        match self.0 & MODE {
            0 => Mode::None,
            1 => Mode::Shared,
            _ => Mode::Exclusive,
        }
    }

    /// Threads with a shared hold.
    #[inline]
    pub const fn readers(self) -> u32 {
        ((self.0 & READERS) >> 8) as u32
    }

    /// Whether a thread has an exclusive hold.
    #[inline]
    pub const fn writer(self) -> bool {
        self.0 & WRITER != 0
    }

    /// Whether the engine is revoking.
    #[inline]
    pub const fn revoke(self) -> bool {
        self.0 & REVOKE != 0
    }

    /// Whether a hold was taken since [`Word::without_used`].
    #[inline]
    pub const fn used(self) -> bool {
        self.0 & USED != 0
    }

    /// Whether any thread holds it.
    #[inline]
    pub const fn held(self) -> bool {
        self.0 & (READERS | WRITER) != 0
    }

    /// Takes a hold on the fast path.
    ///
    /// # Errors
    /// [`Refused`] if the engine has to be asked.
    #[inline]
    pub const fn hold(self, hold: Hold) -> Result<Word, Refused> {
        if self.revoke() {
            // A word under revocation with too weak a mode still waits in line, not past it.
            return Err(Refused::Busy);
        }
        self.grant(hold)
    }

    /// Takes a hold on the engine's behalf, which may do so while it revokes: it serves the line in order.
    ///
    /// # Errors
    /// [`Refused`] if the mode is too weak or another hold excludes it.
    #[inline]
    pub const fn grant(self, hold: Hold) -> Result<Word, Refused> {
        match (hold, self.mode()) {
            (_, Mode::None) | (Hold::Exclusive, Mode::Shared) => Err(Refused::Mode),
            (Hold::Shared, _) => {
                if self.writer() || self.0 & READERS == READERS {
                    Err(Refused::Busy)
                } else {
                    Ok(Word((self.0 + READER) | USED))
                }
            }
            (Hold::Exclusive, Mode::Exclusive) => {
                if self.held() {
                    Err(Refused::Busy)
                } else {
                    Ok(Word(self.0 | WRITER | USED))
                }
            }
        }
    }

    /// Ends a hold. `None` if no such hold is there: a bug of the caller, and nothing is changed.
    #[inline]
    pub const fn release(self, hold: Hold) -> Option<(Word, Release)> {
        let left = match hold {
            Hold::Shared if self.readers() > 0 => Word(self.0 - READER),
            Hold::Exclusive if self.writer() => Word(self.0 & !WRITER),
            _ => return None,
        };
        let told = if left.revoke() && !left.held() { Release::Notify } else { Release::Quiet };
        Some((left, told))
    }

    /// With the mode replaced; holds stay.
    #[inline]
    #[must_use]
    pub const fn with_mode(self, mode: Mode) -> Word {
        Word((self.0 & !MODE) | mode as u64)
    }

    /// With the revoke bit set or clear.
    #[inline]
    #[must_use]
    pub const fn with_revoke(self, revoke: bool) -> Word {
        Word(if revoke { self.0 | REVOKE } else { self.0 & !REVOKE })
    }

    /// With the used bit clear.
    #[inline]
    #[must_use]
    pub const fn without_used(self) -> Word {
        Word(self.0 & !USED)
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}+{}r", self.mode(), self.readers())?;
        for (set, name) in [(self.writer(), "+w"), (self.revoke(), "+revoke"), (self.used(), "+used")] {
            if set {
                f.write_str(name)?;
            }
        }
        write!(f, "@{}", self.generation())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(mode: Mode) -> Word {
        Word::new(Generation(3)).with_mode(mode)
    }

    #[test]
    fn holds_exclude_as_promised() {
        let shared = word(Mode::Shared).hold(Hold::Shared).unwrap();
        assert_eq!(shared.hold(Hold::Shared).unwrap().readers(), 2);
        assert_eq!(shared.hold(Hold::Exclusive), Err(Refused::Mode));
        let writer = word(Mode::Exclusive).hold(Hold::Exclusive).unwrap();
        assert_eq!(writer.hold(Hold::Shared), Err(Refused::Busy));
        assert_eq!(writer.hold(Hold::Exclusive), Err(Refused::Busy));
        assert_eq!(word(Mode::None).hold(Hold::Shared), Err(Refused::Mode));
        let reader = word(Mode::Exclusive).hold(Hold::Shared).unwrap();
        assert_eq!(reader.hold(Hold::Exclusive), Err(Refused::Busy));
    }

    #[test]
    fn revocation_stops_hits_but_not_the_engine() {
        let revoked = word(Mode::Shared).with_revoke(true);
        assert_eq!(revoked.hold(Hold::Shared), Err(Refused::Busy));
        assert!(revoked.grant(Hold::Shared).is_ok());
    }

    #[test]
    fn only_the_last_put_notifies() {
        let two =
            word(Mode::Shared).hold(Hold::Shared).unwrap().hold(Hold::Shared).unwrap().with_revoke(true);
        let (one, told) = two.release(Hold::Shared).unwrap();
        assert_eq!(told, Release::Quiet);
        assert_eq!(one.release(Hold::Shared).unwrap().1, Release::Notify);
        assert_eq!(one.release(Hold::Exclusive), None);
    }

    #[test]
    fn parts_do_not_disturb_each_other() {
        let all = word(Mode::Exclusive).hold(Hold::Exclusive).unwrap().with_revoke(true);
        assert_eq!(all.generation(), Generation(3));
        assert_eq!(all.with_mode(Mode::Shared).mode(), Mode::Shared);
        assert!(all.with_mode(Mode::None).writer() && all.used() && !all.without_used().used());
    }
}
