//! A node's process: meets the others and does what rank 0 says.

use super::control::{Answer, Deed, Hello, Line, Moved, Order, VERSION, Welcome};
use super::fabric::{self, Kind};
use super::floor::{self, Bare};
use super::node;
use super::pattern::{Program, Rank};
use super::workloads;
use crate::processors::Processors;
use anyhow::{Context, Result, bail, ensure};
use kddm_rdma::Node;
use nix::unistd::Pid;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Between two attempts to reach rank 0, which may not have been started yet.
const AGAIN: Duration = Duration::from_millis(100);
/// How many operations are under way together where nobody takes the time.
const TOGETHER: u32 = 16;

/// Who this is, and who the others are.
#[derive(Clone, Debug)]
pub struct Place {
    /// This node's place in the list.
    pub rank: Rank,
    /// Where each node's fabric listens.
    pub addresses: Vec<SocketAddr>,
    /// Where rank 0 conducts.
    pub control: SocketAddr,
    /// The fabric.
    pub fabric: Kind,
    /// How long others may take to come.
    pub patience: Duration,
    /// Whether its threads keep to one processor.
    pub pin: bool,
}

/// A node at work.
struct Member {
    rank: Rank,
    node: Node,
    bare: Box<dyn Bare>,
    spin: Duration,
    patience: Duration,
}

/// Takes part until rank 0 says that it is over.
///
/// # Errors
/// If rank 0 is not there, does not want us, or ends early; or if something that it ordered failed.
pub fn run(place: &Place) -> Result<()> {
    if place.pin {
        Processors::allowed()?.keep(Pid::from_raw(0), place.rank.into())?;
    }
    let mut line = dial(place)?;
    let (nodes, fabric) = (place.addresses.len(), place.fabric.name().to_owned());
    let hello = Hello { version: VERSION.into(), rank: place.rank, nodes, fabric };
    line.say(&hello)?;
    let (run, spin, patience) = match line.hear()?.context("rank 0 has ended")? {
        Welcome::Refused(reason) => bail!("rank 0 at {} refuses this node: {reason}", place.control),
        Welcome::Come { run, spin_ns, patience_ms } => {
            (run, Duration::from_nanos(spin_ns), Duration::from_millis(patience_ms))
        }
    };
    let mut member = match Member::start(place, run, spin, patience) {
        Ok(member) => member,
        Err(error) => {
            line.say(&Answer::Failed(format!("{error:#}")))?;
            return Err(error);
        }
    };
    let result = member.obey(&mut line);
    member.node.shutdown();
    result
}

fn dial(place: &Place) -> Result<Line> {
    let deadline = Instant::now() + place.patience;
    loop {
        let error = match TcpStream::connect_timeout(&place.control, place.patience) {
            Ok(stream) => return Line::new(stream),
            Err(error) => error,
        };
        if Instant::now() + AGAIN > deadline {
            bail!(
                "rank 0 does not answer at {} within {:?} ({error}): is `kddm-bench latency-node --rank 0` running there, \
                 with the same --addresses?",
                place.control,
                place.patience
            );
        }
        std::thread::sleep(AGAIN);
    }
}

impl Member {
    fn start(place: &Place, run: [u8; 16], spin: Duration, patience: Duration) -> Result<Member> {
        let rank = place.rank;
        let node = node::start(place.fabric, rank, &place.addresses, run)?;
        node.spin(spin);
        let bare = fabric::start_bare(place.fabric, rank, &place.addresses, run)?;
        Ok(Member { rank, node, bare, spin, patience })
    }

    fn obey(&mut self, line: &mut Line) -> Result<()> {
        line.say(&Answer::Here(self.bare.announcement()))?;
        loop {
            let order = match line.hear()?.context("rank 0 has ended before the run was over")? {
                Order::End => return Ok(()),
                order => order,
            };
            match self.perform(order, line) {
                Ok(answer) => line.say(&answer)?,
                Err(error) => {
                    line.say(&Answer::Failed(format!("{error:#}")))?;
                    return Err(error);
                }
            }
        }
    }

    fn perform(&mut self, order: Order, line: &mut Line) -> Result<Answer> {
        let node = &self.node;
        match order {
            Order::Meet(announced) => {
                node::meet(node, self.patience)?;
                self.bare.connect(&announced)?;
                Ok(Answer::Done)
            }
            Order::Do(deed, keys) => workloads::flight(node, deed, keys, TOGETHER).map(|_| Answer::Done),
            Order::Time(deed, keys) => workloads::row(node, deed, keys).map(Answer::Times),
            Order::Count => Ok(Answer::Moved(moved(node))),
            Order::Serve(program) => {
                let program = checked(program)?;
                line.say(&Answer::Done)?;
                floor::serve(self.bare.as_mut(), &program, self.rank, self.spin)?;
                Ok(Answer::Done)
            }
            Order::Walk(program, rounds, width) => {
                let program = checked(program)?;
                let walked = floor::walk(self.bare.as_mut(), &program, rounds, width, self.spin)?;
                Ok(Answer::Times(walked.into()))
            }
            Order::Alternate(keys, holders, total) => {
                workloads::alternate(node, keys, holders, total).map(Answer::Turns)
            }
            Order::Range(keys) => workloads::range(node, keys).map(Answer::Times),
            Order::Flight(keys, width) => workloads::flight(node, Deed::Get, keys, width).map(Answer::Times),
            Order::Mix(mix) => workloads::mix(node, mix).map(Answer::Times),
            Order::End => Ok(Answer::Done),
        }
    }
}

/// Acts of a program: as many walks as are under way at most have numbers for them all.
const MOST_ACTS: usize = 63;

/// A program that came over the network.
fn checked(program: Program) -> Result<Program> {
    let acts = program.acts.len();
    let mut named = program.acts.iter().flat_map(|act| &act.then);
    let known = named.all(|&act| act <= acts) && program.first.iter().all(|&act| act < acts);
    ensure!(
        known && (1..=MOST_ACTS).contains(&acts),
        "a program that names acts it does not have, or too many"
    );
    Ok(program)
}

fn moved(node: &Node) -> Moved {
    let quiet = node.is_quiet();
    let status = node.status();
    Moved {
        sent: status.fabric.messages_sent,
        received: status.fabric.messages_received,
        reads: status.fabric.reads_issued,
        speculated: status.counts.speculations,
        good: status.counts.good_speculations,
        quiet,
    }
}
