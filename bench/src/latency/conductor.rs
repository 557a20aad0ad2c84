//! Rank 0's view of the others: who has come, what they are told, what they answer.

use super::control::{Answer, Hello, Line, Moved, Order, Times, Turn, VERSION, Welcome, accept, say};
use super::member::Place;
use super::pattern::{Program, Rank};
use anyhow::{Context, Result, anyhow, bail, ensure};
use std::cell::Cell;
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than any order takes, on the slowest fabric: whoever has not answered by then hangs.
const ANSWER: Duration = Duration::from_secs(300);
/// How long a new connection may take to say who it is.
const GREETING: Duration = Duration::from_secs(5);
/// How long the nodes may take to come to rest.
const REST: Duration = Duration::from_secs(30);

type Heard = (Rank, Result<Answer, String>);

/// All nodes, rank 0's own among them. They end when this is dropped.
pub struct Cluster {
    place: Place,
    streams: Vec<TcpStream>,
    answers: Receiver<Heard>,
    /// How many the floor has had.
    programs: Cell<u32>,
}

impl Cluster {
    /// Waits on `listener` until all have come, then has them meet. `run` is what they have in common.
    ///
    /// # Errors
    /// If somebody does not come in time, or is of another kind (version, number of nodes, fabric).
    pub fn gather(listener: &TcpListener, place: &Place, run: [u8; 16], spin: Duration) -> Result<Cluster> {
        let lines = meet(listener, place)?;
        let (heard, answers) = mpsc::channel();
        let mut streams = Vec::new();
        for (mut line, rank) in lines.into_iter().zip(0..) {
            let (spin_ns, patience_ms) = (spin.as_nanos() as u64, place.patience.as_millis() as u64);
            line.say(&Welcome::Come { run, spin_ns, patience_ms })?;
            streams.push(line.stream().try_clone()?);
            let heard = heard.clone();
            thread::Builder::new().name("listens".into()).spawn(move || listen(rank, line, &heard))?;
        }
        let cluster = Cluster { place: place.clone(), streams, answers, programs: Cell::new(0) };
        let announced = cluster.answers_of(&cluster.ranks())?.into_iter().map(|answer| match answer {
            Answer::Here(announced) => Ok(announced),
            other => Err(unexpected(&other)),
        });
        let announced: Vec<_> = announced.collect::<Result<_>>()?;
        cluster.all(&Order::Meet(announced))?;
        Ok(cluster)
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> Rank {
        self.streams.len() as Rank
    }

    /// All ranks.
    pub fn ranks(&self) -> Vec<Rank> {
        (0..self.nodes()).collect()
    }

    /// Tells `rank`, and waits until it has answered.
    ///
    /// # Errors
    /// If it failed, or anybody has ended.
    pub fn one(&self, rank: Rank, order: &Order) -> Result<Answer> {
        self.tell(rank, order)?;
        self.answers_of(&[rank])?.pop().context("BUG: an answer was lost")
    }

    /// Tells everybody, and waits until all have answered.
    ///
    /// # Errors
    /// If somebody failed, or has ended.
    pub fn all(&self, order: &Order) -> Result<Vec<Answer>> {
        self.together(self.ranks().into_iter().map(|rank| (rank, order.clone())))
    }

    /// Tells each what it is to do, and waits until all have answered, in the order of ranks.
    ///
    /// # Errors
    /// If somebody failed, or has ended.
    pub fn together(&self, orders: impl IntoIterator<Item = (Rank, Order)>) -> Result<Vec<Answer>> {
        let mut ranks = Vec::new();
        for (rank, order) in orders {
            self.tell(rank, &order)?;
            ranks.push(rank);
        }
        self.answers_of(&ranks)
    }

    /// The floor: `rounds` walks, `width` at a time.
    ///
    /// # Errors
    /// If somebody failed, or has ended.
    pub fn walk(&self, program: &Program, rounds: u32, width: u32) -> Result<Times> {
        let number = self.programs.get();
        self.programs.set(number.wrapping_add(1));
        let program = Program { number, ..program.clone() };
        let others = program.others();
        self.together(others.iter().map(|&rank| (rank, Order::Serve(program.clone()))))?;
        self.tell(program.start, &Order::Walk(program.clone(), rounds, width))?;
        let ranks: Vec<Rank> = others.into_iter().chain([program.start]).collect();
        times(self.answers_of(&ranks)?.pop().context("BUG: an answer was lost")?)
    }

    /// Waits until nothing is under way anywhere, and says what was moved so far: every node is at rest, and all messages
    /// that were sent have been received, twice in a row with nothing sent in between (Mattern, Algorithms for distributed termination
    /// detection, 1987, the four-counter method).
    ///
    /// # Errors
    /// If that does not come to be, somebody failed, or has ended.
    pub fn settle(&self) -> Result<Moved> {
        let begin = Instant::now();
        let mut last = None;
        while begin.elapsed() < REST {
            let now = self.moved()?;
            if now.quiet && now.sent == now.received && last == Some(now) {
                return Ok(now);
            }
            last = Some(now);
        }
        bail!("the nodes do not come to rest within {REST:?}: {last:?}")
    }

    fn moved(&self) -> Result<Moved> {
        let mut sum = Moved { quiet: true, ..Moved::default() };
        for answer in self.all(&Order::Count)? {
            let Answer::Moved(moved) = answer else { return Err(unexpected(&answer)) };
            sum = Moved {
                sent: sum.sent + moved.sent,
                received: sum.received + moved.received,
                reads: sum.reads + moved.reads,
                speculated: sum.speculated + moved.speculated,
                good: sum.good + moved.good,
                quiet: sum.quiet && moved.quiet,
            };
        }
        Ok(sum)
    }

    fn tell(&self, rank: Rank, order: &Order) -> Result<()> {
        let stream = self.streams.get(usize::from(rank)).context("BUG: an order for nobody")?;
        match say(stream, order) {
            // Why is told by what was heard from there.
            Err(error) => self.answers_of(&[rank]).and(Err(error)),
            done => done,
        }
    }

    /// One answer of each, in this order.
    fn answers_of(&self, ranks: &[Rank]) -> Result<Vec<Answer>> {
        let mut answers: Vec<Option<Answer>> = ranks.iter().map(|_| None).collect();
        while answers.iter().any(Option::is_none) {
            let (rank, answer) = match self.answers.recv_timeout(ANSWER) {
                Ok((rank, Ok(answer))) => (rank, answer),
                Ok((rank, Err(reason))) => bail!("{}: {reason}", self.name(rank)),
                Err(_) => {
                    let silent = ranks.iter().zip(&answers).filter(|(_, answer)| answer.is_none());
                    let silent: Vec<String> = silent.map(|(&rank, _)| self.name(rank)).collect();
                    bail!("no answer from {} for {ANSWER:?}", silent.join(", "));
                }
            };
            if let Answer::Failed(reason) = answer {
                bail!("{}: {reason}", self.name(rank));
            }
            let place =
                ranks.iter().position(|&asked| asked == rank).and_then(|place| answers.get_mut(place));
            *place.with_context(|| format!("{} answers what nobody asked", self.name(rank)))? = Some(answer);
        }
        Ok(answers.into_iter().flatten().collect())
    }

    fn name(&self, rank: Rank) -> String {
        named(&self.place, rank)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for stream in &self.streams {
            // Whoever has ended already need not hear it.
            let _ = say(stream, &Order::End);
        }
    }
}

/// The durations in an answer.
pub fn times(answer: Answer) -> Result<Times> {
    match answer {
        Answer::Times(times) => Ok(times),
        other => Err(unexpected(&other)),
    }
}

/// The turns in an answer.
pub fn turns(answer: Answer) -> Result<Vec<Turn>> {
    match answer {
        Answer::Turns(turns) => Ok(turns),
        other => Err(unexpected(&other)),
    }
}

fn unexpected(answer: &Answer) -> anyhow::Error {
    anyhow!("an answer to another question: {answer:?}")
}

fn named(place: &Place, rank: Rank) -> String {
    let address = place.addresses.get(usize::from(rank));
    let address = address.map(|address| address.ip().to_string()).unwrap_or_default();
    format!("node {} (rank {rank}, {address})", u16::from(rank) + 1)
}

/// Passes on what a node says until it ends.
fn listen(rank: Rank, mut line: Line, heard: &Sender<Heard>) {
    loop {
        let answer = match line.hear() {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err("has ended in the middle of the run; its own output says why".to_owned()),
            Err(error) => Err(format!("{error:#}")),
        };
        let over = answer.is_err();
        if heard.send((rank, answer)).is_err() || over {
            return;
        }
    }
}

/// The connections of all, by rank.
fn meet(listener: &TcpListener, place: &Place) -> Result<Vec<Line>> {
    let deadline = Instant::now() + place.patience;
    let mut lines: Vec<Option<Line>> = place.addresses.iter().map(|_| None).collect();
    while lines.iter().any(Option::is_none) {
        let Some(stream) = accept(listener, deadline)? else {
            let missing = lines.iter().zip(0..).filter(|(line, _)| line.is_none());
            let missing: Vec<String> = missing.map(|(_, rank)| named(place, rank)).collect();
            let remedy = "start `kddm-bench latency-node` there with its --rank and the same --addresses";
            bail!("not there within {:?}: {}; {remedy}", place.patience, missing.join(", "));
        };
        let from = stream.peer_addr();
        let mut line = Line::new(stream)?;
        line.stream().set_read_timeout(Some(GREETING))?;
        let hello = match line.hear::<Hello>() {
            Ok(Some(hello)) => hello,
            Ok(None) => continue,
            Err(error) => {
                eprintln!("a connection from {from:?} says nothing that can be understood: {error:#}");
                continue;
            }
        };
        line.stream().set_read_timeout(None)?;
        let taken = lines.get(usize::from(hello.rank)).is_some_and(Option::is_some);
        if let Err(error) = fits(&hello, place, taken) {
            let reason = format!("{error:#}");
            // Whether it hears why or not, the run is over.
            let _ = line.say(&Welcome::Refused(reason.clone()));
            bail!("{} cannot take part: {reason}", named(place, hello.rank));
        }
        if let Some(seat) = lines.get_mut(usize::from(hello.rank)) {
            *seat = Some(line);
        }
    }
    Ok(lines.into_iter().flatten().collect())
}

fn fits(hello: &Hello, place: &Place, taken: bool) -> Result<()> {
    let (nodes, rank) = (place.addresses.len(), hello.rank);
    ensure!(
        hello.version == VERSION,
        "it runs version {}, and rank 0 runs {VERSION}: use one build everywhere",
        hello.version
    );
    ensure!(hello.nodes == nodes, "it was given {} addresses, and rank 0 {nodes}", hello.nodes);
    ensure!(usize::from(rank) < nodes, "there is no rank {rank} among {nodes} nodes");
    let fabric = place.fabric.name();
    ensure!(hello.fabric == fabric, "its fabric is {}, and that of rank 0 {fabric}", hello.fabric);
    ensure!(!taken, "another node has come as rank {rank}: give each its own --rank");
    Ok(())
}
