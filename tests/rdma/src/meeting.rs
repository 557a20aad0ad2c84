//! Plain connections between the processes of a run, beside the fabric that is tested: rank 0 is in the middle.

use crate::Place;
use anyhow::{Context, Result, bail};
use serde::{Serialize, de::DeserializeOwned};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// Nobody waits longer for another.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Rank 0's connections with the others in their order, or another's with rank 0.
pub struct Meeting {
    lines: Vec<Line>,
    rank: usize,
}

/// A connection that carries a value a line.
pub struct Line {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
}

impl Meeting {
    /// Meets all the others.
    ///
    /// # Errors
    /// Somebody does not come.
    pub fn join(place: &Place, port: u16) -> Result<Meeting> {
        let hub = SocketAddr::new(place.addresses[0], port);
        let mut lines = Vec::new();
        if place.rank == 0 {
            let listener = TcpListener::bind(hub).with_context(|| format!("listening on {hub}"))?;
            let mut places: Vec<Option<Line>> = (1..place.count()).map(|_| None).collect();
            for _ in 1..place.count() {
                let mut line = Line::new(listener.accept()?.0)?;
                let rank: usize = line.hear()?;
                match places.get_mut(rank.wrapping_sub(1)) {
                    Some(free @ None) => *free = Some(line),
                    _ => bail!("rank {rank} comes twice, or is none"),
                }
            }
            lines.extend(places.into_iter().flatten());
        } else {
            let mut line = Line::new(dial(hub)?)?;
            line.say(&place.rank)?;
            lines.push(line);
        }
        Ok(Meeting { lines, rank: place.rank })
    }

    /// Brings what everybody has to rank 0, in the order of ranks; nobody else gets anything.
    ///
    /// # Errors
    /// Somebody has gone.
    pub fn gather<T: Serialize + DeserializeOwned>(&mut self, mine: T) -> Result<Vec<T>> {
        if self.rank > 0 {
            self.lines[0].say(&mine)?;
            return Ok(Vec::new());
        }
        let others = self.lines.iter_mut().map(Line::hear).collect::<Result<Vec<T>>>()?;
        Ok([mine].into_iter().chain(others).collect())
    }

    /// Everybody gets what rank 0 has.
    ///
    /// # Errors
    /// Somebody has gone.
    pub fn tell<T: Serialize + DeserializeOwned>(&mut self, hub: T) -> Result<T> {
        if self.rank > 0 {
            return self.lines[0].hear();
        }
        self.lines.iter_mut().try_for_each(|line| line.say(&hub))?;
        Ok(hub)
    }

    /// Waits until all are here.
    ///
    /// # Errors
    /// Somebody has gone.
    pub fn together(&mut self) -> Result<()> {
        self.gather(())?;
        self.tell(())
    }

    /// The connections themselves.
    pub fn into_lines(self) -> Vec<Line> {
        self.lines
    }
}

/// Nobody tells when another process begins to listen, so it is tried.
fn dial(hub: SocketAddr) -> Result<TcpStream> {
    let begin = Instant::now();
    loop {
        match TcpStream::connect(hub) {
            Ok(stream) => return Ok(stream),
            Err(error) if begin.elapsed() > PATIENCE => {
                return Err(error).with_context(|| format!("reaching rank 0 at {hub}"));
            }
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

impl Line {
    fn new(stream: TcpStream) -> Result<Line> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Line { reader: BufReader::new(stream.try_clone()?), writer: stream })
    }

    /// Sends a value.
    ///
    /// # Errors
    /// The other has gone.
    pub fn say<T: Serialize>(&mut self, value: &T) -> Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.writer.write_all(&line).context("the other end has gone")
    }

    /// Waits for a value.
    ///
    /// # Errors
    /// The other has gone, or says something else.
    pub fn hear<T: DeserializeOwned>(&mut self) -> Result<T> {
        let mut line = String::new();
        let length = self.reader.read_line(&mut line).context("waiting for the other end")?;
        if length == 0 {
            bail!("the other end has gone");
        }
        serde_json::from_str(&line).with_context(|| format!("the other end says {line:?}"))
    }
}
