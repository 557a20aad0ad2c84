//! Random schedules of the running core over an in-memory cluster.
//!
//! `SEEDS=n FIRST=s` runs n seeds from s on, `SEED=s` replays one with its events, `BLESS=1` writes the table of transitions anew.

#[cfg(feature = "mutants")]
use kddm_coherence::Mutant;
#[cfg(feature = "mutants")]
use kddm_model::Unsound;
use kddm_model::{Action, Options, Violation, Want, World};
use kddm_object::{Hold, NodeId};

type Transitions = kddm_model::Transitions;

/// The world of a seed: every feature appears, in many mixtures.
fn options(rng: &mut fastrand::Rng) -> Options {
    let nodes = rng.u8(1..=4);
    let mut wants = vec![
        Want::Hold(Hold::Shared),
        Want::Hold(Hold::Exclusive),
        Want::Hold(Hold::Exclusive),
        Want::Try(Hold::Shared),
        Want::Try(Hold::Exclusive),
        Want::Existing(Hold::Shared),
        Want::Existing(Hold::Exclusive),
        Want::Manual,
        Want::Prefetch,
        Want::Remove,
        Want::Sync,
        Want::Flush,
        Want::Range(Hold::Shared),
        Want::Range(Hold::Exclusive),
    ];
    rng.shuffle(&mut wants);
    wants.truncate(rng.usize(1..=wants.len()));
    wants.extend([Want::Hold(Hold::Shared), Want::Hold(Hold::Exclusive)]);
    let objects = (0..rng.usize(1..=3)).map(|_| (rng.u8(1..=nodes), rng.bool())).collect::<Vec<_>>();
    let shortage = rng.u8(..4) == 0;
    let options = Options {
        nodes,
        threads: rng.usize(1..=3),
        operations: rng.usize(2..=12),
        slots: if shortage {
            rng.usize(1..=objects.len() + 2)
        } else if rng.bool() {
            objects.len() + 4
        } else {
            16
        },
        objects,
        inline: rng.bool(),
        wants,
        kills: if rng.u8(..4) == 0 && nodes > 1 { rng.usize(1..=2) } else { 0 },
        device_fails: rng.u8(..6) == 0,
        evictions: if rng.bool() { 10 } else { 0 },
        repeats: 3,
        cancels: rng.u8(..4) == 0,
        shortage,
        deaths: if rng.u8(..4) == 0 { rng.usize(1..=3) } else { 0 },
        word_steps: rng.bool(),
        ..Options::default()
    };
    if nodes > 1 && rng.bool() { with_views(options, rng) } else { options }
}

/// The same with agreed views, and objects whose homes move.
fn with_views(options: Options, rng: &mut fastrand::Rng) -> Options {
    let mut options = Options { views: true, kills: rng.usize(0..=2), ..options };
    if rng.bool() {
        options.outsiders = rng.u8(0..options.nodes);
        // Who leaves needs room on the others.
        options.leaves = if options.shortage { 0 } else { rng.usize(0..=1) };
    }
    for object in &mut options.objects {
        // The home of a fixed one may not leave: its objects would be out of reach.
        if options.leaves > 0 || options.outsiders > 0 || rng.u8(..3) > 0 {
            *object = (0, false);
        }
    }
    options
}

/// Runs one seed to its end.
fn run(
    seed: u64,
    trace: bool,
    change: impl Fn(&mut Options),
    taken: &mut Transitions,
) -> Result<(), Violation> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut options = options(&mut rng);
    // Every other world speculates, half of those with more objects than places for their locations, half with hope or without.
    options.hints = [0, 4, 0, 1][(seed % 4) as usize];
    options.eager = (seed / 4).is_multiple_of(2);
    options.locks = (seed / 8).is_multiple_of(4);
    if seed % 6 == 5 {
        options.wants.push(Want::Destroy);
    }
    change(&mut options);
    if trace {
        println!("{options:#?}");
    }
    // What one link has is far behind all else.
    let mut node = || NodeId::new(rng.u8(1..=options.nodes)).expect("from 1 on");
    let slow = (node(), node());
    let slow = rng.bool().then_some(slow);
    let mut world = World::new(options);
    let mut draining = false;
    for step in 0.. {
        // Nodes that are all full may ask each other for room as long as somebody looks for it.
        draining |= step > 5_000;
        let mut actions = world.actions(draining);
        // Work that is under way is more likely to go on than new work to come.
        if rng.u8(..3) > 0 && actions.iter().any(|action| !matches!(action, Action::Start(..))) {
            actions.retain(|action| !matches!(action, Action::Start(..)));
        }
        if rng.u8(..20) > 0 {
            let rare = |action: &Action| match action {
                Action::Deliver(from, to) => slow == Some((*from, *to)),
                _ => matches!(
                    action,
                    Action::Kill(..)
                        | Action::Expel(_)
                        | Action::Leave(_)
                        | Action::Admit(_)
                        | Action::Cancel(..)
                        | Action::Die(..)
                        | Action::LinkerFails(_)
                        | Action::Repeat(_)
                        | Action::OutOfMemory(..)
                ),
            };
            if actions.iter().any(|action| !rare(action)) {
                actions.retain(|action| !rare(action));
            }
        }
        let Some(&action) = rng.choice(&actions) else {
            if draining {
                break;
            }
            draining = true;
            continue;
        };
        if step > 20_000 {
            return Err(Violation(format!("no rest after {step} steps: {}", world.describe())));
        }
        if trace {
            println!("{step}: {}", world.preview(action));
        }
        let before = if trace { world.outline() } else { Vec::new() };
        world.apply(action, taken)?;
        if trace {
            let changed = world.outline().into_iter().filter(|line| !before.contains(line));
            changed.for_each(|line| println!("{line}"));
        }
    }
    world.check_rest()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|value| value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number")))
}

/// The table of all transitions, by side: what 1000 seeds must take, each at least once, and nothing else.
const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/transitions.txt");

fn compare_with_table(taken: &Transitions) {
    let name = |state: &str| if state.is_empty() { "-".to_string() } else { state.to_string() };
    let mut rows: Vec<String> = taken
        .keys()
        .map(|(side, before, what, after)| format!("{side} | {} | {what} | {}", name(before), name(after)))
        .collect();
    rows.sort();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(TABLE, rows.join("\n") + "\n").expect("the table is beside this test");
    }
    let table = std::fs::read_to_string(TABLE).expect("the table is beside this test");
    let known: Vec<&str> = table.lines().collect();
    let never: Vec<&&str> = known.iter().filter(|row| !rows.iter().any(|taken| taken == **row)).collect();
    let new: Vec<&String> = rows.iter().filter(|row| !known.contains(&row.as_str())).collect();
    assert!(
        never.is_empty() && new.is_empty(),
        "never taken: {never:#?}\nnot in the table: {new:#?}\nIf that is meant: BLESS=1 cargo test -p kddm-model --test schedules"
    );
}

/// Says how to replay the seed that panicked.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        println!(
            "replay: SEED={} cargo test -p kddm-model --test schedules -- --nocapture every_promise",
            self.0
        );
    }
}

#[test]
fn every_promise_is_kept_and_every_transition_taken() {
    let mut taken = Transitions::new();
    if let Some(seed) = number("SEED") {
        return run(seed, true, |_| (), &mut taken)
            .unwrap_or_else(|Violation(what)| panic!("seed {seed}: {what}"));
    }
    let seeds = number("SEEDS").unwrap_or(1000);
    let first = number("FIRST").unwrap_or(0);
    for seed in first..first + seeds {
        let replay = Replay(seed);
        let result = run(seed, false, |_| (), &mut taken);
        std::mem::forget(replay);
        if let Err(Violation(what)) = result {
            panic!(
                "{what}\nreplay: SEED={seed} cargo test -p kddm-model --test schedules -- --nocapture every_promise"
            );
        }
    }
    if seeds == 1000 && first == 0 {
        compare_with_table(&taken);
    }
    println!("{seeds} seeds, {} kinds of transitions, {} taken", taken.len(), taken.values().sum::<u64>());
}

#[test]
fn a_core_that_keeps_invalidated_copies_is_caught() {
    let unsound = |options: &mut Options| {
        *options = Options {
            nodes: 3,
            operations: 6,
            unsound_keep_copies: true,
            objects: vec![(1, true)],
            ..Options::default()
        };
    };
    let caught = (0..200).filter(|&seed| run(seed, false, unsound, &mut Transitions::new()).is_err()).count();
    assert!(caught > 50, "the checks saw stale bytes in {caught} of 200 seeds only");
}

/// What can be planted: in the core, or in the threads.
#[cfg(feature = "mutants")]
#[derive(Clone, Copy, Debug)]
enum Mistake {
    Core(Mutant),
    Threads(Unsound),
}

#[cfg(feature = "mutants")]
impl Mistake {
    /// Plants it. A rare one gets a world in which what it needs is frequent.
    fn plant(self, options: &mut Options) {
        let grabs = [Want::Hold(Hold::Exclusive); 2];
        match self {
            Mistake::Core(mutant) => options.mutant = Some(mutant),
            Mistake::Threads(unsound) => options.unsound = Some(unsound),
        }
        let losses = |wants: &[Want], objects: &[(u8, bool)], options: &mut Options| {
            (options.nodes, options.threads, options.kills) = (3, 2, 2);
            (options.cancels, options.shortage, options.deaths) = (false, false, 0);
            options.wants = grabs.iter().chain(wants).copied().collect();
            options.objects = objects.to_vec();
        };
        match self {
            // Who keeps bytes older than the device's.
            Mistake::Core(Mutant::KeptBeatsDevice) => losses(&[Want::Sync], &[(1, true)], options),
            // Who keeps bytes of what was removed.
            Mistake::Core(Mutant::NoDiscard) => {
                let object = options.objects[0];
                losses(&[Want::Remove], &[object], options);
            }
            Mistake::Core(Mutant::AbandonedLandingIsFree) => {
                losses(&[Want::Hold(Hold::Shared)], &[(1, false)], options);
                (options.views, options.outsiders, options.leaves) = (false, 0, 0);
            }
            // Who waits for a thread of an expelled node.
            Mistake::Core(Mutant::HoldsWithoutLease) => {
                losses(&[], &[(0, false)], options);
                (options.views, options.outsiders, options.leaves, options.operations) = (true, 0, 0, 12);
            }
            // Who loses interest in what a view has cut short.
            Mistake::Core(Mutant::CancelBeforeOpen) => {
                losses(&[Want::Hold(Hold::Shared)], &[(0, false)], options);
                (options.views, options.outsiders, options.leaves, options.cancels) = (true, 0, 0, true);
            }
            // A home that returns while a range has its object and waits for another.
            Mistake::Core(Mutant::ReportAfterForgotten) => {
                let ranges = [Want::Range(Hold::Shared), Want::Range(Hold::Exclusive)];
                losses(&ranges, &[(1, true), (2, true), (0, false)], options);
                (options.views, options.outsiders, options.leaves) = (true, 0, 0);
            }
            Mistake::Threads(Unsound::CrossedRanges) => {
                // Nothing that ends a range half-way.
                let wants = vec![Want::Range(Hold::Shared), Want::Range(Hold::Exclusive)];
                let objects = vec![(1, false), (2, false)];
                let unsound = options.unsound;
                *options = Options { nodes: 3, wants, objects, unsound, ..Options::default() };
            }
            Mistake::Threads(Unsound::BlindPut) => options.word_steps = true,
            Mistake::Core(_) => {}
        }
    }
}

/// Plants each mistake in turn and looks for a schedule in which a promise is broken. `SEEDS=n` sets after how many it counts as
/// not caught, `MUTANT=name` plants that one alone.
#[cfg(feature = "mutants")]
#[test]
fn every_planted_mistake_is_caught() {
    let seeds = number("SEEDS").unwrap_or(30_000);
    // What the memory of a world asserts is a finding like any other.
    std::panic::set_hook(Box::new(|_| ()));
    let core = Mutant::ALL.iter().copied().map(Mistake::Core);
    let threads = [Unsound::CrossedRanges, Unsound::BlindPut].map(Mistake::Threads);
    let (mut planted, mut missed) = (0, Vec::new());
    let one = std::env::var("MUTANT").ok();
    let wanted = |it: &Mistake| one.as_ref().is_none_or(|name| format!("{it:?}").contains(name));
    for mistake in core.chain(threads).filter(wanted) {
        planted += 1;
        let broken = |seed: u64| {
            let plant = |options: &mut Options| mistake.plant(options);
            let schedule = std::panic::AssertUnwindSafe(|| run(seed, false, plant, &mut Transitions::new()));
            match std::panic::catch_unwind(schedule) {
                Ok(Ok(())) => None,
                Ok(Err(Violation(what))) => Some(what),
                Err(panic) => Some(panic.downcast_ref::<String>().cloned().unwrap_or_default()),
            }
        };
        match (0..seeds).find_map(|seed| Some((seed, broken(seed)?))) {
            Some((seed, what)) => {
                let what: String = what.lines().next().unwrap_or_default().chars().take(90).collect();
                println!("mutant: {mistake:?} caught by seed {seed}: {what}");
            }
            None => {
                println!("mutant: {mistake:?} NOT caught in {seeds} seeds");
                missed.push(mistake);
            }
        }
    }
    let _ = std::panic::take_hook();
    println!("mutant: {planted} mutants, {} caught", planted - missed.len());
    assert!(missed.is_empty(), "not caught: {missed:?}");
}
