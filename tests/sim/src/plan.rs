//! What a seed stands for: how large the cluster is, what its programs do, what goes wrong.

use crate::host::Speed;
use crate::sets::Shape;
use fastrand::Rng;
use kddm_fabric::sim::SimConfig;
use kddm_object::limits::{SLAB_MIN, SLOT_SIZES, size_class};
use kddm_rdma::{Home, NodeId, ObjectKey, SetId};
use std::collections::BTreeMap;
use std::time::Duration;

/// What a thread can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Deed {
    /// A get.
    Get,
    /// A grab that writes.
    Write,
    /// A grab that changes nothing.
    Grab,
    /// A get that does not wait.
    TryGet,
    /// A grab that does not wait.
    TryWrite,
    /// A get of what is there.
    Existing,
    /// A grab of what is there.
    ExistingWrite,
    /// A grab that makes what nobody has made, or what was lost.
    Manual,
    /// Copies without holds.
    Prefetch,
    /// The end of an object.
    Remove,
    /// Bytes to the device.
    Sync,
    /// The local copy away.
    Flush,
    /// A get or grab that is given up.
    Cancel,
    /// Two objects held together.
    Two,
    /// What is dirty here is written by hand.
    Checkpoint,
    /// A set by name.
    Named,
}

const DEEDS: [Deed; 16] = [
    Deed::Get,
    Deed::Write,
    Deed::Grab,
    Deed::TryGet,
    Deed::TryWrite,
    Deed::Existing,
    Deed::ExistingWrite,
    Deed::Manual,
    Deed::Prefetch,
    Deed::Remove,
    Deed::Sync,
    Deed::Flush,
    Deed::Cancel,
    Deed::Two,
    Deed::Checkpoint,
    Deed::Named,
];

/// How much goes wrong in a round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Processes that end, at once or in good order.
    pub ends: u32,
    /// Nodes that nobody hears for longer than the silence that is noticed; with views, for a while.
    pub losses: u32,
    /// Nodes that leave in good order, with views.
    pub departs: u32,
    /// Links that are cut for a moment.
    pub cuts: u32,
    /// Processes that stand still for a moment.
    pub stops: u32,
    /// Links that become slow.
    pub slow: u32,
    /// Of a hundred calls of a device, so many fail.
    pub device_percent: u8,
}

/// How views are agreed upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ViewPlan {
    /// So many of the members found the cluster; the others join.
    pub founders: usize,
    /// How long a lease lasts.
    pub lease: Duration,
}

/// Everything that a seed decides beforehand.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// The members.
    pub members: Vec<NodeId>,
    /// Threads of programs on each node.
    pub threads: u8,
    /// Times that everything comes to rest.
    pub rounds: u32,
    /// What each thread does in a round.
    pub operations: u32,
    /// Which objects there are.
    pub objects: Vec<ObjectKey>,
    /// Of a hundred operations, so many are on the first object.
    pub hot_percent: u8,
    /// What threads do.
    pub deeds: Vec<Deed>,
    /// Longest time between two operations.
    pub think: Duration,
    /// Longest time that something is held.
    pub hold: Duration,
    /// The network.
    pub network: SimConfig,
    /// Bytes of each node's arena.
    pub arena: usize,
    /// Whether objects may find no place.
    pub tight: bool,
    /// Objects up to this ride in messages.
    pub inline_max: u32,
    /// The devices.
    pub device: Speed,
    /// Whether views are agreed upon, and how: with every even seed.
    pub views: Option<ViewPlan>,
    /// What goes wrong.
    pub faults: Faults,
    /// UNSOUND, to see that it is seen: nodes keep the copies that they have said to have dropped.
    pub unsound_keep_copies: bool,
    /// UNSOUND, for the same: nodes that were given up go on with the same life.
    pub unsound_returns: bool,
}

fn micros(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

impl Plan {
    /// The plan of a seed. With `isolation` views are not agreed upon, whatever the seed.
    pub fn of(seed: u64, isolation: bool) -> Plan {
        let rng = &mut Rng::with_seed(seed);
        let members: Vec<NodeId> =
            (1..=rng.u8(1..=5)).map(|id| NodeId::new(id).expect("1 to 5 are node ids")).collect();
        let views = (seed.is_multiple_of(2) && !isolation).then(|| views(seed, members.len()));
        let objects = objects(
            rng,
            &members,
            views.map(|(views, departs)| views.founders < members.len() || departs > 0),
        );
        let tight = rng.u8(0..4) == 0;
        let arena = if tight { tight_arena(rng, &objects) } else { 8 << 20 };
        let most = [5, 50, 500, 5000][rng.usize(0..4)];
        let mut deeds = DEEDS.to_vec();
        rng.shuffle(&mut deeds);
        deeds.truncate(rng.usize(0..=DEEDS.len()));
        deeds.extend([Deed::Get, Deed::Write, Deed::Write]);
        let wide = objects.len() > 60;
        Plan {
            seed,
            threads: rng.u8(1..=4),
            rounds: rng.u32(1..=3),
            operations: if wide { rng.u32(20..=60) } else { rng.u32(4..=30) },
            hot_percent: [0, 0, 50, 90][rng.usize(0..4)],
            deeds,
            think: micros([0, 20, 500, 20_000][rng.usize(0..4)]),
            hold: micros([0, 20, 200, 5_000][rng.usize(0..4)]),
            network: SimConfig {
                least_delay: micros(1),
                most_delay: micros(most),
                read_parts: rng.u32(1..=5),
                repeated_percent: [0, 25, 60][rng.usize(0..3)],
                ..SimConfig::new(rng.u64(..))
            },
            arena,
            tight,
            inline_max: [0, 64, 256][rng.usize(0..3)],
            device: Speed {
                least: micros(10),
                most: micros([20, 200, 5_000][rng.usize(0..3)]),
                stalled_percent: [0, 0, 5][rng.usize(0..3)],
            },
            faults: Faults {
                // Where there is no room, who leaves has to wait for ever.
                departs: views.map_or(0, |(_, departs)| if tight { 0 } else { departs }),
                ..faults(rng, seed, members.len(), views.is_some())
            },
            views: views.map(|(views, _)| views),
            members,
            objects,
            unsound_keep_copies: false,
            unsound_returns: false,
        }
    }

    /// The longest way of a message, if nothing goes wrong.
    pub fn most_delay(&self) -> Duration {
        self.network.most_delay
    }

    /// Whether nothing is in the way of an orderly line: no fault, no shortage, and no request of which programs do not hear.
    pub fn is_fair(&self) -> bool {
        let silent = |deed: &Deed| matches!(deed, Deed::Prefetch | Deed::Cancel | Deed::Flush);
        let silent = self.deeds.iter().any(silent);
        let joined = self.views.is_none_or(|views| views.founders == self.members.len());
        self.faults == Faults::default() && joined && !self.tight && !silent
    }

    /// Whether nodes may be lost.
    pub fn loses_nodes(&self) -> bool {
        let stops = if self.views.is_some() { self.faults.stops + self.faults.cuts } else { 0 };
        self.faults.ends + self.faults.losses + stops > 0
    }
}

/// At most as much as is needed if one node has all volatile objects, which cannot leave, and holds its threads' worth of others;
/// often less: then programs are told that there is no memory.
fn tight_arena(rng: &mut Rng, objects: &[ObjectKey]) -> usize {
    let mut slots: BTreeMap<u32, usize> = BTreeMap::new();
    for key in objects {
        let size = crate::sets::policy(key.set).map_or(0, |policy| policy.object_size);
        let class = size_class(size).map_or(0, |class| SLOT_SIZES[class]);
        let slots = slots.entry(class).or_default();
        *slots = if crate::sets::is_stored(key.set) { (*slots).max(16) } else { *slots + 1 };
    }
    let slabs: usize =
        slots.iter().map(|(&class, &slots)| (slots * class as usize).div_ceil(SLAB_MIN) + 1).sum();
    let less = if rng.bool() { rng.usize(0..=slabs) } else { 0 };
    // The registry's objects have their place, too.
    (slabs + 2 - less).max(2) * SLAB_MIN
}

fn faults(rng: &mut Rng, seed: u64, nodes: usize, views: bool) -> Faults {
    let mut some = |one_in: u8, most: u32| if rng.u8(0..one_in) == 0 { rng.u32(1..=most) } else { 0 };
    let quiet = some(3, 1) == 1;
    let faults = Faults {
        ends: some(3, 3),
        losses: if views { some(6, 2) } else { losses(seed) },
        departs: 0,
        cuts: some(3, 6),
        stops: some(4, 4),
        slow: some(4, 3),
        device_percent: if some(5, 1) == 1 { 10 } else { 0 },
    };
    match (quiet, nodes) {
        (true, _) => Faults::default(),
        (false, 1) => Faults { losses: 0, ..faults },
        (false, _) => faults,
    }
}

/// How many nodes are given up while they live, where views are not agreed upon. By a die of its own: what else happens in a seed does not
/// depend on it.
fn losses(seed: u64) -> u32 {
    let rng = &mut Rng::with_seed(seed ^ 0x6100);
    if rng.u8(0..6) == 0 { rng.u32(1..=2) } else { 0 }
}

/// How views are agreed upon, and how many nodes leave in a round.
fn views(seed: u64, members: usize) -> (ViewPlan, u32) {
    let rng = &mut Rng::with_seed(seed ^ 0x71e35);
    let founders = if rng.bool() { members } else { rng.usize(1..=members) };
    let lease = Duration::from_millis([100, 200, 400][rng.usize(0..3)]);
    let departs = if rng.bool() && members > 1 { rng.u32(1..=3) } else { 0 };
    (ViewPlan { founders, lease }, departs)
}

/// `moving`: with views, whether nodes join or leave. Then the home of what has a fixed one is the first node, which does neither.
fn objects(rng: &mut Rng, members: &[NodeId], moving: Option<bool>) -> Vec<ObjectKey> {
    let mut objects = Vec::new();
    let sets = rng.u32(1..=4);
    for number in 0..sets {
        let home = match rng.u8(0..5) {
            0 | 1 => Home::Hash,
            2 => Home::Node(members[rng.usize(0..members.len())]),
            3 => Home::ObjectBits,
            _ => Home::SubjectBits,
        };
        // A device does not move.
        let stored = rng.u8(0..5) < 2 && (moving.is_none() || home != Home::Hash);
        let shape = Shape { size: rng.u8(0..7), home, stored, jobs: rng.bool() };
        let count = match rng.u8(0..6) {
            0 if shape.size < 5 => rng.u32(70..=400),
            0..=2 => rng.u32(2..=40),
            _ => rng.u32(1..=3),
        };
        let set: SetId = shape.set(number);
        // Of hashed homes, 64 neighbours share one.
        let stride = if rng.bool() { 1 } else { 61 };
        let node = |at: u32| match home {
            Home::ObjectBits => u32::from(members[at as usize % members.len()].get()) << 24,
            _ => 0,
        };
        objects.extend((0..count).map(|at| ObjectKey::new(set, node(at) | (at * stride))));
    }
    rng.shuffle(&mut objects);
    // SubjectBits may name a node that a small cluster does not have.
    objects.retain(|&key| crate::sets::home_of(key, members).is_some());
    if moving == Some(true) {
        objects.retain(|&key| {
            crate::sets::is_moving(key.set) || crate::sets::home_of(key, members) == members.first().copied()
        });
    }
    if objects.is_empty() {
        let shape = Shape { size: 1, home: Home::Hash, stored: false, jobs: false };
        objects.push(ObjectKey::new(shape.set(9), 1));
    }
    objects
}
