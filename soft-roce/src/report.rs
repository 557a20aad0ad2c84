//! What a person sees: the guests' lines, each after the guest's number.

use crate::port::Stream;
use std::collections::HashMap;
use std::io::{self, Write};

/// Cuts what guests write into lines and prints them.
#[derive(Debug, Default)]
pub struct Report {
    begun: HashMap<(u8, Stream), Vec<u8>>,
}

impl Report {
    /// More of what guest `rank` writes.
    ///
    /// # Errors
    /// If nobody reads it any more, as when `head` has seen enough.
    pub fn output(&mut self, rank: u8, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        let begun = self.begun.entry((rank, stream)).or_default();
        let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') else {
            begun.extend(bytes);
            return Ok(());
        };
        begun.extend(&bytes[..=end]);
        let lines = std::mem::replace(begun, bytes[end + 1..].to_vec());
        print(rank, stream, &lines)
    }

    /// Guest `rank` writes no more: what it left without an end of line is a line too.
    pub fn end(&mut self, rank: u8) {
        for stream in [Stream::Out, Stream::Err] {
            if let Some(mut line) = self.begun.remove(&(rank, stream)).filter(|line| !line.is_empty()) {
                line.push(b'\n');
                // All is said; whether it was read changes nothing.
                let _ = print(rank, stream, &line);
            }
        }
    }

    /// Something about guest `rank`.
    pub fn note(&self, rank: u8, words: &str) {
        say(&format!("[{rank}] soft-roce: {words}"));
    }
}

/// Says something to the person. One who has closed standard error does not want to hear it.
pub fn say(words: &str) {
    let _ = writeln!(io::stderr(), "{words}");
}

/// Prints whole lines at once.
fn print(rank: u8, stream: Stream, lines: &[u8]) -> io::Result<()> {
    let rank = format!("[{rank}] ");
    let lines = lines.split_inclusive(|byte| *byte == b'\n');
    let text: Vec<u8> = lines.flat_map(|line| [rank.as_bytes(), line].concat()).collect();
    match stream {
        Stream::Out => io::stdout().write_all(&text).and_then(|()| io::stdout().flush()),
        Stream::Err => io::stderr().write_all(&text),
    }
}
