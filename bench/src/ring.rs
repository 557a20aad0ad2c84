//! Round trips of the ring that programs attach through, beside two processes that only hand each other a word.

mod floor;

use crate::{
    playground::{Options as PlaygroundOptions, Playground},
    processors::{Processors, thread_named},
    report::{Case, Latencies},
};
use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use floor::Floor;
pub use floor::answer;
use kdfs_client::{Session, Set, SetOptions};
use nix::{
    sys::resource::{Resource, getrlimit, setrlimit},
    unistd::Pid,
};
use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// How the two sides wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Waiting {
    /// Both look until the answer is there.
    Spinning,
    /// Both sleep.
    Sleeping,
}

/// Rounds of a block.
const BLOCK: u32 = 200;
/// Long enough for both sides of everything to have gone to sleep.
const PAUSE: Duration = Duration::from_micros(300);
/// A program that looks for so long sleeps in no block.
const LONG_SPIN: Duration = Duration::from_millis(1);
/// Whose turn it is to get a processor: see [`Processors::keep`].
const ASKS: usize = 0;
const ANSWERS: usize = 1;
/// Bytes of the objects.
const BYTES: u32 = 4096;

/// A thing that is done again and again.
type Round<'a> = Box<dyn FnMut() -> Result<()> + 'a>;

/// Rounds at the begin of a block that are not measured: meanwhile both sides learn how long to look, and processors how the code goes.
fn warm(waiting: Waiting) -> u32 {
    match waiting {
        Waiting::Spinning => 1000,
        // Between two of these everything is cold again.
        Waiting::Sleeping => 50,
    }
}

/// Measures everything on a playground of one node in `directory`, `count` rounds each. `apart`: who asks has one processor, and who
/// answers has another, in the ring as in what stands beside it.
///
/// # Errors
/// If something does not answer.
pub fn run(directory: &Path, count: u32, apart: bool) -> Result<Vec<Case>> {
    let playground = Playground::up(&directory.join("cluster"), &PlaygroundOptions::nodes(1))?;
    let processors = if apart { Some(Processors::allowed()?) } else { None };
    if let Some(processors) = &processors {
        processors.keep(thread_named(playground.pid(1)?, "ring")?, ANSWERS)?;
    }
    let measured = thread::scope(|scope| {
        let measure = scope.spawn(|| measure(&playground, processors.as_ref(), count));
        measure.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    playground.down()?;
    Ok(measured)
}

fn measure(playground: &Playground, processors: Option<&Processors>, count: u32) -> Result<Vec<Case>> {
    if let Some(processors) = processors {
        processors.keep(Pid::from_raw(0), ASKS)?;
    }
    let session = Session::attach(playground.ring(1))?;
    let set = session.create_set("kddm-bench", SetOptions::new(BYTES))?;
    set.grab(0)?.fill(1);
    let mut cases = Vec::new();
    for waiting in [Waiting::Spinning, Waiting::Sleeping] {
        session.spin(if waiting == Waiting::Spinning { LONG_SPIN } else { Duration::ZERO });
        let mut floor = Floor::start(waiting, processors)?;
        for (name, bytes, mut round) in rounds(&session, &set) {
            let (mut ours, mut floors) = (Latencies::default(), Latencies::default());
            for _ in 0..count.div_ceil(BLOCK) {
                floor.begin()?;
                block(&mut || floor.round(), waiting, &mut floors)?;
                floor.rest();
                block(&mut *round, waiting, &mut ours)?;
            }
            let (name, floor) = match waiting {
                Waiting::Spinning => (format!("{name}, spinning"), "two processes, spinning"),
                Waiting::Sleeping => (format!("{name}, sleeping"), "two processes, futex"),
            };
            let case = Case::new(name, &ours).beside(floor, &floors);
            cases.push(if bytes > 0 { case.moving(bytes.into()) } else { case });
        }
    }
    drop(set);
    session.destroy_set("kddm-bench")?;
    Ok(cases)
}

fn rounds<'a>(session: &'a Session, set: &'a Set) -> Vec<(&'static str, u32, Round<'a>)> {
    vec![
        ("ring round trip", 0, Box::new(|| Ok(session.ping()?))),
        ("get and put, hit", BYTES, Box::new(|| Ok(set.get(0)?.put()?))),
        ("get, hit; put with the next", BYTES, Box::new(|| set.get(0).map(drop).map_err(Into::into))),
        (
            "grab, change and put, hit",
            BYTES,
            Box::new(|| {
                let mut object = set.grab(0)?;
                object[0] = object[0].wrapping_add(1);
                Ok(object.put()?)
            }),
        ),
    ]
}

fn block(round: &mut dyn FnMut() -> Result<()>, waiting: Waiting, into: &mut Latencies) -> Result<()> {
    let warm = warm(waiting);
    for number in 0..warm + BLOCK {
        if waiting == Waiting::Sleeping {
            std::thread::sleep(PAUSE);
        }
        let begin = Instant::now();
        round()?;
        if number >= warm {
            into.add(begin.elapsed());
        }
    }
    Ok(())
}

/// What programs cost that are attached and do nothing.
#[derive(Clone, Copy, Debug)]
pub struct Idle {
    /// Programs.
    pub programs: u32,
    /// The part of a core that their server uses meanwhile.
    pub cores: f64,
    /// Bytes of the server's resident memory, shared memory included, for each.
    pub bytes: u64,
}

/// Attaches `programs` times to the one node of a playground, and watches its server for `time`.
///
/// # Errors
/// If one is not let in.
pub fn idle(playground: &Playground, programs: u32, time: Duration) -> Result<Idle> {
    let pid = playground.pid(1)?;
    // Five descriptors each.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let resident = || crate::idle::usage(pid).map(|usage| usage.beside_arena + usage.arena);
    // What is allocated once, for the first programs, is not theirs.
    let first: Vec<Session> =
        (0..10).map(|_| Session::attach(playground.ring(1))).collect::<Result<_, _>>()?;
    let before = resident()?;
    let attached = (0..programs).map(|_| Session::attach(playground.ring(1)));
    let attached: Vec<Session> = attached.collect::<Result<_, _>>().context("attaching one more")?;
    for session in &attached {
        session.ping()?;
    }
    let after = resident()?;
    let begin = crate::idle::usage(pid)?.cpu;
    std::thread::sleep(time);
    let cpu = crate::idle::usage(pid)?.cpu - begin;
    ensure!(attached.len() == programs as usize && first.len() == 10, "all stay attached");
    let bytes = after.saturating_sub(before) / u64::from(programs);
    Ok(Idle { programs, cores: cpu.as_secs_f64() / time.as_secs_f64(), bytes })
}
