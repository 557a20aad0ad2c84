//! Floors: what a walk takes on a fabric with no protocol above it, between the same processes.
//!
//! A fabric gives [`Bare`], its messages and READs and nothing else; the acts of a [`Program`] are done here, the same way for
//! every fabric: one thread, which polls as a node's event loop does (spins for as long as that has paid of late, then sleeps).

mod shm;
mod tcp;
mod verbs;

pub use shm::BareShm;
pub use tcp::BareTcp;
pub use verbs::BareVerbs;

use super::pattern::{Program, Rank, What};
use anyhow::{Context, Result, bail, ensure};
use std::time::{Duration, Instant};

/// Names a message or a READ: which act of which walk it is.
pub type Tag = u32;

/// Low bits of a tag: the act of the walk, in all walks that are under way; all set, it ends the serving of the program. Above them is
/// the program's number.
const ACT_BITS: u32 = 12;
const STOP: Tag = (1 << ACT_BITS) - 1;
/// Bytes of that message.
const STOP_BYTES: u32 = 64;
/// When nothing comes for so long, something is broken.
const SILENCE: Duration = Duration::from_secs(60);

/// Bytes of the largest READ.
pub const MAX_READ: u32 = 64 << 10;
/// Walks that are under way together at most.
pub const MAX_WIDTH: u32 = 64;

/// A node's end of a fabric, bare. The bytes mean nothing; only how many they are counts.
pub trait Bare: Send {
    /// What the others need to know in order to connect: addresses, queue-pair numbers, keys. Asked once, before
    /// [`Bare::connect`].
    fn announcement(&self) -> Vec<u8>;

    /// Connects to all others, by what each has announced; in the order of ranks, our own among them. All call it at the same time.
    ///
    /// # Errors
    /// If somebody is not there, or what was announced makes no sense.
    fn connect(&mut self, announced: &[Vec<u8>]) -> Result<()>;

    /// Sends a message of `bytes` bytes, in order with those to the same node. Nothing need go out before [`Bare::flush`].
    ///
    /// # Errors
    /// If the connection is broken.
    fn send(&mut self, to: Rank, tag: Tag, bytes: u32) -> Result<()>;

    /// READs `bytes` bytes, at most [`MAX_READ`], of `from`'s memory. Of its messages and READs together up to a few hundred are
    /// under way.
    ///
    /// # Errors
    /// If the connection is broken.
    fn read(&mut self, from: Rank, tag: Tag, bytes: u32) -> Result<()>;

    /// Hands everything to the network.
    ///
    /// # Errors
    /// If a connection is broken.
    fn flush(&mut self) -> Result<()>;

    /// Appends the tags of the messages that came and of the READs that landed. If there is nothing to do at all it sleeps until
    /// there is, at most for `patience`; it may come back earlier, and empty-handed.
    ///
    /// # Errors
    /// If a connection is broken.
    fn poll(&mut self, arrived: &mut Vec<Tag>, patience: Duration) -> Result<()>;
}

/// How long walks took.
#[derive(Clone, Debug, Default)]
pub struct Walked {
    /// Each.
    pub each: Vec<Duration>,
    /// All together.
    pub all: Duration,
}

/// Does `program` at the node where it begins, `rounds` times, `width` at a time, beside others who [`serve`] it.
///
/// # Errors
/// If a connection is broken, or nothing comes for a minute.
pub fn walk(
    bare: &mut dyn Bare,
    program: &Program,
    rounds: u32,
    width: u32,
    spin: Duration,
) -> Result<Walked> {
    ensure!((1..=MAX_WIDTH).contains(&width), "{width} walks at a time: 1 to {MAX_WIDTH} are possible");
    let mut walker = Walker::new(bare, program, program.start, width, spin);
    let mut walked = Walked::default();
    let begin = Instant::now();
    let mut begun = vec![begin; width as usize];
    let mut left = rounds;
    for instance in 0..width.min(rounds) {
        left -= 1;
        walker.begin(instance)?;
    }
    walker.bare.flush()?;
    while walked.each.len() < rounds as usize {
        for instance in walker.turn()?.ended {
            let place = begun.get_mut(instance as usize).context("BUG: a walk that nobody began")?;
            walked.each.push(place.elapsed());
            if left > 0 {
                left -= 1;
                *place = Instant::now();
                walker.begin(instance)?;
            }
        }
        walker.bare.flush()?;
    }
    walked.all = begin.elapsed();
    for rank in program.others() {
        walker.bare.send(rank, walker.number | STOP, STOP_BYTES)?;
    }
    walker.bare.flush()?;
    Ok(walked)
}

/// Does the part of rank `me` in `program`, until the node where it begins has enough.
///
/// # Errors
/// As [`walk`].
pub fn serve(bare: &mut dyn Bare, program: &Program, me: Rank, spin: Duration) -> Result<()> {
    let mut walker = Walker::new(bare, program, me, MAX_WIDTH, spin);
    while !walker.turn()?.stopped {
        walker.bare.flush()?;
    }
    Ok(())
}

/// What came of looking once.
#[derive(Default)]
struct Turn {
    ended: Vec<u32>,
    stopped: bool,
}

struct Walker<'a> {
    bare: &'a mut dyn Bare,
    program: &'a Program,
    me: Rank,
    number: Tag,
    /// The longest, and the present time for which it looks again before it sleeps.
    most_spin: Duration,
    spin: Duration,
    /// For each act, and the end, of each walk under way: how many others it still waits for.
    awaited: Vec<u32>,
    arrived: Vec<Tag>,
}

impl<'a> Walker<'a> {
    fn new(bare: &'a mut dyn Bare, program: &'a Program, me: Rank, width: u32, spin: Duration) -> Self {
        let once = program.acts.iter().map(|act| act.after).chain([program.ends]);
        let number = program.number << ACT_BITS;
        let awaited = std::iter::repeat_n(once, width as usize).flatten().collect();
        Walker { bare, program, me, number, most_spin: spin, spin, awaited, arrived: Vec::new() }
    }

    fn begin(&mut self, instance: u32) -> Result<()> {
        self.program.first.iter().try_for_each(|&act| self.act(instance, act))
    }

    /// Waits until something has come, and does what follows.
    fn turn(&mut self) -> Result<Turn> {
        let begin = Instant::now();
        let mut slept = false;
        while self.arrived.is_empty() {
            let waited = begin.elapsed();
            ensure!(waited < SILENCE, "nothing has come from the other nodes for {SILENCE:?}");
            slept = waited >= self.spin;
            self.bare.poll(&mut self.arrived, if slept { SILENCE } else { Duration::ZERO })?;
        }
        let next = if slept { self.spin / 2 } else { self.spin * 2 };
        self.spin = next.clamp(self.most_spin / 64, self.most_spin);
        let mut turn = Turn::default();
        for tag in std::mem::take(&mut self.arrived) {
            match tag & STOP {
                // Nobody waited for it, in a program that is over.
                _ if tag & !STOP != self.number => {}
                STOP => turn.stopped = true,
                act => turn.ended.extend(self.done(act)?),
            }
        }
        Ok(turn)
    }

    /// An act is done: what follows it? The number of its walk, if that has ended.
    fn done(&mut self, tag: Tag) -> Result<Option<u32>> {
        let acts = self.program.acts.len();
        let (instance, act) = (tag / acts as u32, tag as usize % acts);
        for &next in &self.program.acts[act].then {
            let place = instance as usize * (acts + 1) + next;
            let awaited = self.awaited.get_mut(place).with_context(|| format!("no act has the tag {tag}"))?;
            *awaited = awaited.checked_sub(1).context("an act was done twice")?;
            if *awaited > 0 {
                continue;
            }
            // Ready for the next walk of this number.
            *awaited = self.program.acts.get(next).map_or(self.program.ends, |act| act.after);
            if next == acts {
                return Ok(Some(instance));
            }
            self.act(instance, next)?;
        }
        Ok(None)
    }

    fn act(&mut self, instance: u32, number: usize) -> Result<()> {
        let act = &self.program.acts[number];
        if act.at != self.me {
            bail!("BUG: rank {} is to do what rank {} has to", self.me, act.at);
        }
        let tag = self.number | (instance * self.program.acts.len() as u32 + number as u32);
        match act.what {
            What::Send(to, bytes) => self.bare.send(to, tag, bytes),
            What::Read(from, bytes) => self.bare.read(from, tag, bytes),
        }
    }
}
