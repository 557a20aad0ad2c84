//! How a round looks at what was changed.

use super::Subject;
use crate::random::Random;
use std::fmt;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// A way to look at a file through one side.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    side: usize,
    way: Way,
}

#[derive(Clone, Copy, Debug)]
enum Way {
    /// open, read to the end, close.
    Open,
    /// stat of the path.
    Stat,
    /// pread and fstat through a handle that stays open as long as the file has its name.
    Handle,
}

impl Look {
    /// All ways through the side that did not write, in random order; sometimes also one through the writer's.
    pub fn sequence(writer: usize, random: &mut Random) -> Vec<Look> {
        let mut ways = [Way::Open, Way::Stat, Way::Handle];
        let first = random.below(3);
        ways.rotate_left(first);
        let mut looks: Vec<Look> = ways.iter().map(|&way| Look { side: 1 - writer, way }).collect();
        if random.below(4) == 0 {
            looks.push(Look { side: writer, way: ways[0] });
        }
        looks
    }

    /// Through which side.
    pub fn side(self) -> usize {
        self.side
    }

    /// What differs from what `subject` is known to be, if anything does.
    ///
    /// # Errors
    /// If a system call failed otherwise than by not finding the file.
    pub fn see(self, subject: &mut Subject, sides: &[PathBuf; 2]) -> io::Result<Option<String>> {
        let path = sides[self.side].join(&subject.name);
        let seen = match self.way {
            Way::Stat => {
                let length = found(std::fs::metadata(&path))?.map(|metadata: Metadata| metadata.len());
                return Ok(differing_length(subject, length));
            }
            Way::Open => found(File::open(&path))?
                .map(|mut file| {
                    let mut bytes = Vec::new();
                    file.read_to_end(&mut bytes).map(|_| bytes)
                })
                .transpose()?,
            Way::Handle => {
                if subject.handles[self.side].is_none() {
                    subject.handles[self.side] =
                        found(OpenOptions::new().read(true).write(true).open(&path))?;
                }
                let Some(handle) = &subject.handles[self.side] else {
                    return Ok(differing(subject, None));
                };
                let bytes = read_through(handle)?;
                let length = handle.metadata()?.len();
                match differing_length(subject, Some(length)) {
                    Some(difference) => return Ok(Some(difference)),
                    None => Some(bytes),
                }
            }
        };
        Ok(differing(subject, seen))
    }
}

fn read_through(handle: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 10_000];
    loop {
        match handle.read_at(&mut buffer, bytes.len() as u64)? {
            0 => return Ok(bytes),
            count => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn differing(subject: &Subject, seen: Option<Vec<u8>>) -> Option<String> {
    if seen == subject.contents {
        return None;
    }
    let age = subject.past.iter().position(|past| *past == seen);
    let age = age.map_or("never written like this".into(), |age| format!("{} change(s) old", age + 1));
    let what = match (&seen, &subject.contents) {
        (Some(seen), Some(known)) => {
            let first = seen.iter().zip(known).position(|(seen, known)| seen != known);
            let first = first.unwrap_or_else(|| seen.len().min(known.len()));
            format!("{} bytes instead of {}, different from byte {first}", seen.len(), known.len())
        }
        (None, _) => "no such file".into(),
        (_, None) => "a file that was unlinked".into(),
    };
    Some(format!("{what} ({age})"))
}

fn differing_length(subject: &Subject, seen: Option<u64>) -> Option<String> {
    let known = subject.contents.as_ref().map(|contents| contents.len() as u64);
    let say = |length: Option<u64>| length.map_or("no file".into(), |length| format!("length {length}"));
    (seen != known).then(|| format!("{} instead of {}", say(seen), say(known)))
}

impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match self.way {
            Way::Open => "open and read",
            Way::Stat => "stat",
            Way::Handle => "open handle",
        };
        write!(f, "{way} on side {}", self.side)
    }
}
