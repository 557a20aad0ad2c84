//! The connection over which rank 0 conducts: orders out, answers back, a line of JSON each. Plain TCP: for a network that is trusted.

use super::floor::Walked;
use super::node::object;
use super::pattern::{Program, Rank};
use anyhow::{Context, Result, bail, ensure};
use kddm_rdma::ObjectKey;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// What both sides must be of: the package, and the version of what is said here.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "/1");
/// Bytes of the longest line.
const LONGEST: u64 = 16 << 20;

/// A node's first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Of the program: [`VERSION`].
    pub version: String,
    /// Who it is.
    pub rank: Rank,
    /// How many addresses it was given.
    pub nodes: usize,
    /// The name of the fabric that it was told to use.
    pub fabric: String,
}

/// Rank 0's answer to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Welcome {
    /// Take part.
    Come {
        /// What this run's nodes have in common, and nobody else.
        run: [u8; 16],
        /// How long event loops and floors spin before they sleep, ns.
        spin_ns: u64,
        /// How long others may take to come, ms.
        patience_ms: u64,
    },
    /// Go away, for that reason.
    Refused(String),
}

/// Objects that are measured.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Keys {
    /// Their home; nobody: by hash.
    pub home: Option<Rank>,
    /// Bytes of each.
    pub bytes: u32,
    /// The number of the first.
    pub first: u32,
    /// How many.
    pub count: u32,
}

impl Keys {
    fn numbers(self) -> std::ops::Range<u32> {
        self.first..self.first.saturating_add(self.count)
    }

    /// All of them.
    pub fn iter(self) -> impl Iterator<Item = ObjectKey> {
        self.numbers().map(move |number| object(self.home, self.bytes, number))
    }

    /// Each by itself.
    pub fn singles(self) -> impl Iterator<Item = Keys> {
        self.numbers().map(move |first| Keys { first, count: 1, ..self })
    }
}

/// What is done with an object; holds are put at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deed {
    /// A shared hold.
    Get,
    /// An exclusive hold.
    Grab,
    /// The end of the object.
    Remove,
    /// The local copy away.
    Flush,
}

/// Gets and grabs of every node at once, half of each.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Mix {
    /// The objects that all nodes use.
    pub shared: Keys,
    /// The objects that this node alone uses.
    pub own: Keys,
    /// How many of a hundred go to the shared ones.
    pub percent: u32,
    /// How many operations.
    pub operations: u32,
    /// Where the choices come from.
    pub seed: u64,
}

/// What rank 0 tells a node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Order {
    /// Meet the others, of whose floors this was announced. Done.
    Meet(Vec<Vec<u8>>),
    /// Do it to all of them, as fast as it goes. Done.
    Do(Deed, Keys),
    /// Do it to all of them, one after the other. Times.
    Time(Deed, Keys),
    /// What was moved so far. Moved.
    Count,
    /// The part of the others in a floor: done (ready), and done again when rank 0 has walked.
    Serve(Program),
    /// A floor: so many walks, so many at a time. Times.
    Walk(Program, u32, u32),
    /// Grab the first in turn with others, so many nodes in all, until they have had so many turns. Turns.
    Alternate(Keys, u32, u32),
    /// Get all, as a range that is prefetched. Times, of one.
    Range(Keys),
    /// Get all, so many at a time. Times.
    Flight(Keys, u32),
    /// Times.
    Mix(Mix),
    /// It is over. No answer.
    End,
}

/// What a node answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// Its node is started, and this is what others need to know for the floor.
    Here(Vec<u8>),
    /// It is done.
    Done,
    /// How long things took.
    Times(Times),
    /// What its fabric has moved.
    Moved(Moved),
    /// Its turns.
    Turns(Vec<Turn>),
    /// It failed.
    Failed(String),
}

/// Durations, ns.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Times {
    /// Each.
    pub each: Vec<u64>,
    /// From the begin of the first to the end of the last.
    pub all: u64,
}

/// A turn of an alternation.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Turn {
    /// Which it was of all nodes' turns.
    pub number: u32,
    /// From this node's last put until it held again, ns; nothing for its first turn.
    pub waited: Option<u64>,
    /// How long it held, ns.
    pub held: u64,
}

/// What a node's fabric has moved, and whether more is to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// Messages sent.
    pub sent: u64,
    /// Messages received.
    pub received: u64,
    /// READs issued.
    pub reads: u64,
    /// READs posted beside requests.
    pub speculated: u64,
    /// Those of them that were good.
    pub good: u64,
    /// Nothing is under way here.
    pub quiet: bool,
}

/// A duration in whole nanoseconds.
pub fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl From<Walked> for Times {
    fn from(walked: Walked) -> Times {
        Times { each: walked.each.into_iter().map(nanos).collect(), all: nanos(walked.all) }
    }
}

/// One end of the connection.
pub struct Line {
    reader: BufReader<TcpStream>,
}

impl Line {
    /// Over `stream`.
    ///
    /// # Errors
    /// The system's.
    pub fn new(stream: TcpStream) -> Result<Line> {
        stream.set_nodelay(true)?;
        Ok(Line { reader: BufReader::new(stream) })
    }

    /// The stream itself.
    pub fn stream(&self) -> &TcpStream {
        self.reader.get_ref()
    }

    /// Says something.
    ///
    /// # Errors
    /// The network's.
    pub fn say(&mut self, what: &impl Serialize) -> Result<()> {
        say(self.stream(), what)
    }

    /// Hears something; nothing if the other side has ended.
    ///
    /// # Errors
    /// The network's, and if it makes no sense.
    pub fn hear<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        let mut line = Vec::new();
        match self.reader.by_ref().take(LONGEST).read_until(b'\n', &mut line) {
            Ok(0) => return Ok(None),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
            result => result?,
        };
        ensure!(line.ends_with(b"\n"), "a line that is cut off after {} bytes", line.len());
        Ok(Some(serde_json::from_slice(&line).context("a line that this version does not understand")?))
    }
}

/// Says something over `stream`.
///
/// # Errors
/// The network's.
pub fn say(mut stream: &TcpStream, what: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    stream.write_all(&line).context("the connection to the others is broken")
}

/// The next connection; nothing if none comes before `deadline`.
///
/// # Errors
/// The system's.
pub fn accept(listener: &TcpListener, deadline: Instant) -> Result<Option<TcpStream>> {
    loop {
        let Some(left) = deadline.checked_duration_since(Instant::now()) else { return Ok(None) };
        let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(listener.as_fd(), PollFlags::POLLIN)], left) {
            Ok(0) => return Ok(None),
            Ok(_) => return Ok(Some(listener.accept()?.0)),
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => bail!("waiting for connections: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Line, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (Line::new(listener.accept().unwrap().0).unwrap(), there)
    }

    #[test]
    fn lines_come_back_and_an_end_is_an_end() {
        let (mut here, there) = pair();
        let hello = Hello { version: VERSION.into(), rank: 1, nodes: 3, fabric: "tcp".into() };
        say(&there, &hello).unwrap();
        drop(there);
        assert_eq!(here.hear::<Hello>().unwrap(), Some(hello));
        assert_eq!(here.hear::<Hello>().unwrap(), None);
    }

    #[test]
    fn garbage_is_an_error_and_no_panic() {
        let (mut here, mut there) = pair();
        there.write_all(b"{\"rank\": 900}\n\xff\xfe\nhalf a li").unwrap();
        drop(there);
        assert!(here.hear::<Hello>().is_err());
        assert!(here.hear::<Order>().is_err());
        assert!(here.hear::<Answer>().unwrap_err().to_string().contains("cut off"));
    }

    #[test]
    fn nobody_comes_for_no_longer_than_one_waits() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(accept(&listener, Instant::now() + Duration::from_millis(20)).unwrap().is_none());
    }
}
