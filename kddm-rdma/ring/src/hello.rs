//! How a program and a server meet, over a Unix socket. The server knows the program's user from the socket itself.

use crate::layout::{
    DEFAULT_ENTRIES, DEFAULT_WINDOW, LAYOUT_VERSION, Layout, MAGIC, MAX_ENTRIES, MAX_WINDOW,
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What a program says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Hello {
    magic: u64,
    version: u32,
    entries: u32,
    window: u32,
    zero: u32,
    /// What it calls itself, for people to read: UTF-8, zeros behind.
    name: [u8; 40],
}

/// What the server answers. If it lets the program in, three descriptors come with it: the memory, the bell that wakes the server, and
/// the bell that wakes the program. The same again, later, with another reason, says why the attachment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Welcome {
    magic: u64,
    version: u32,
    entries: u32,
    window: u32,
    node: u32,
    /// Why not: UTF-8, zeros behind. Nothing: come in.
    reason: [u8; 232],
}

/// Bytes of a [`Hello`].
pub const HELLO_BYTES: usize = size_of::<Hello>();
/// Bytes of a [`Welcome`].
pub const WELCOME_BYTES: usize = size_of::<Welcome>();
const _: () = assert!(HELLO_BYTES == 64 && WELCOME_BYTES == 256);

/// Why a program is not let in, or does not come in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// Not one of ours.
    #[error("that is no {0} of a kDDM ring")]
    Stranger(&'static str),
    /// Another version.
    #[error(
        "the program's ring has version {program}, the server's {server}; use a library and a server of the same version"
    )]
    Version {
        /// The program's.
        program: u32,
        /// The server's.
        server: u32,
    },
    /// Sizes that cannot be.
    #[error(
        "a ring of {entries} entries with a window of {window} bytes cannot be: entries are a power of two up to {MAX_ENTRIES}, the window \
         whole pages up to {MAX_WINDOW} bytes"
    )]
    Sizes {
        /// Entries that were asked for.
        entries: u32,
        /// Bytes of window.
        window: u32,
    },
    /// The server says why.
    #[error("{0}")]
    Refused(String),
}

impl Hello {
    /// From a program of that name. Without a size, what is usual.
    pub fn new(name: &str, window: Option<u32>) -> Hello {
        let window = window.unwrap_or(DEFAULT_WINDOW);
        let mut hello = Hello {
            magic: MAGIC,
            version: LAYOUT_VERSION,
            entries: DEFAULT_ENTRIES,
            window,
            zero: 0,
            name: [0; 40],
        };
        put_text(&mut hello.name, name);
        hello
    }

    /// What the program wants.
    ///
    /// # Errors
    /// It cannot be had.
    pub fn layout(&self) -> Result<Layout, HelloError> {
        if self.magic != MAGIC {
            return Err(HelloError::Stranger("program"));
        }
        if self.version != LAYOUT_VERSION {
            return Err(HelloError::Version { program: self.version, server: LAYOUT_VERSION });
        }
        let (entries, window) = (self.entries, self.window);
        Layout::new(entries, window).ok_or(HelloError::Sizes { entries, window })
    }

    /// What the program calls itself; control characters are left out.
    pub fn name(&self) -> String {
        text(&self.name)
    }
}

impl Welcome {
    /// Come in.
    pub fn to(layout: Layout, node: u8) -> Welcome {
        Welcome {
            magic: MAGIC,
            version: LAYOUT_VERSION,
            entries: layout.entries(),
            window: layout.window(),
            node: node.into(),
            reason: [0; 232],
        }
    }

    /// Stay away, or go: why.
    pub fn refuse(reason: &str, node: u8) -> Welcome {
        let mut welcome = Welcome::to(Layout::default(), node);
        put_text(&mut welcome.reason, if reason.is_empty() { "no reason was given" } else { reason });
        welcome
    }

    /// What the server gives, and its node.
    ///
    /// # Errors
    /// It is no server of ours, or gives nothing.
    pub fn layout(&self) -> Result<(Layout, u8), HelloError> {
        if self.magic != MAGIC {
            return Err(HelloError::Stranger("server"));
        }
        let reason = text(&self.reason);
        if !reason.is_empty() {
            return Err(HelloError::Refused(reason));
        }
        if self.version != LAYOUT_VERSION {
            return Err(HelloError::Version { program: LAYOUT_VERSION, server: self.version });
        }
        let (entries, window) = (self.entries, self.window);
        let layout = Layout::new(entries, window).ok_or(HelloError::Sizes { entries, window })?;
        Ok((layout, self.node as u8))
    }
}

fn put_text(into: &mut [u8], text: &str) {
    let length =
        (0..=into.len().min(text.len())).rev().find(|&end| text.is_char_boundary(end)).unwrap_or_default();
    into[..length].copy_from_slice(&text.as_bytes()[..length]);
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_let_in() {
        let hello = Hello::new("counter", Some(8192));
        let layout = hello.layout().unwrap();
        assert_eq!((layout.window(), hello.name().as_str()), (8192, "counter"));
        assert_eq!(Welcome::to(layout, 7).layout(), Ok((layout, 7)));
    }

    #[test]
    fn others_learn_why_not() {
        let version = Hello { version: 99, ..Hello::new("", None) };
        assert!(version.layout().unwrap_err().to_string().contains("has version 99, the server's 1"));
        let odd = Hello { entries: 3, ..Hello::new("", None) };
        assert!(matches!(odd.layout(), Err(HelloError::Sizes { entries: 3, .. })));
        let strange = Hello { magic: 0, ..Hello::new("", None) };
        assert!(strange.layout().unwrap_err().to_string().contains("no program"));
        let refused = Welcome::refuse("the server is full", 1);
        assert_eq!(refused.layout(), Err(HelloError::Refused("the server is full".into())));
        let other = Welcome { version: 2, ..Welcome::to(Layout::default(), 1) };
        assert_eq!(other.layout(), Err(HelloError::Version { program: 1, server: 2 }));
    }

    #[test]
    fn texts_are_cut_between_characters_and_hide_nothing() {
        let hello = Hello::new(&"é".repeat(60), None);
        assert_eq!(hello.name(), "é".repeat(20));
        assert_eq!(Hello::new("a\x1b[31mb\nc", None).name(), "a[31mbc");
        assert!(Welcome::refuse("", 1).layout().is_err());
    }
}
