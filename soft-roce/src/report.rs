//! What a person sees: the guests' lines, each after the guest's number.

use std::collections::HashMap;
use std::io::Write;

/// Where a line goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// Cuts what guests write into lines and prints them.
#[derive(Debug, Default)]
pub struct Report {
    begun: HashMap<(u8, Stream), Vec<u8>>,
}

impl Report {
    /// More of what guest `rank` writes.
    pub fn output(&mut self, rank: u8, stream: Stream, bytes: &[u8]) {
        let begun = self.begun.entry((rank, stream)).or_default();
        begun.extend(bytes);
        let whole = begun.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines: Vec<u8> = begun.drain(..whole).collect();
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            print(rank, stream, line);
        }
    }

    /// Guest `rank` writes no more: what it left without an end of line is a line too.
    pub fn end(&mut self, rank: u8) {
        for stream in [Stream::Out, Stream::Err] {
            if let Some(mut line) = self.begun.remove(&(rank, stream)).filter(|line| !line.is_empty()) {
                line.push(b'\n');
                print(rank, stream, &line);
            }
        }
    }

    /// Something about guest `rank`.
    pub fn note(&self, rank: u8, words: &str) {
        eprintln!("[{rank}] soft-roce: {words}");
    }
}

/// A reader that has gone away (as `head` does) is not this program's trouble: the guests go on.
fn print(rank: u8, stream: Stream, line: &[u8]) {
    let text = [format!("[{rank}] ").as_bytes(), line].concat();
    let _ = match stream {
        Stream::Out => std::io::stdout().write_all(&text).and_then(|()| std::io::stdout().flush()),
        Stream::Err => std::io::stderr().write_all(&text),
    };
}
