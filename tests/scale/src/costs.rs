//! Messages, READs and hops of an operation, and what they should be by the roles of the nodes.

use crate::{HINTS, INLINE_MAX};
use kddm_bench::cores::{Cores, Time, placed};
use kddm_bench::report::Case;
use kddm_coherence::OpError;
use kddm_object::{Hold, ObjectKey};

/// What the requester finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A get of its own copy.
    Hit,
    /// A get; another node owns the object, which is shared.
    GetShared,
    /// The same, by a node that remembers where the object is.
    GetRemembered,
    /// A get; another node has written the object.
    GetExclusive,
    /// A grab; so many other nodes have copies, the owner among them.
    GrabShared(u8),
    /// A grab by the owner; so many others have copies.
    Upgrade(u8),
    /// A grab; another node has written the object.
    GrabExclusive,
}

/// Which nodes have which part. Sharers are taken from the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    /// Keeps the directory entry.
    pub home: u8,
    /// Has the copy that is READ.
    pub owner: u8,
    /// Asks.
    pub requester: u8,
}

/// What an operation takes until nothing more comes of it; `hops` until the hold is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Messages between nodes.
    pub messages: u64,
    /// READs.
    pub reads: u64,
    /// One-way latencies.
    pub hops: Time,
}

impl Outcome {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Hit => "get, hit",
            Outcome::GetShared => "get, shared elsewhere",
            Outcome::GetRemembered => "get, shared elsewhere, READ beside the request",
            Outcome::GetExclusive => "get, exclusive elsewhere",
            Outcome::GrabShared(_) => "grab, shared elsewhere",
            Outcome::Upgrade(_) => "grab, upgrade by the owner",
            Outcome::GrabExclusive => "grab, exclusive elsewhere",
        }
    }

    /// Other nodes with copies.
    pub fn sharers(self) -> Option<u8> {
        match self {
            Outcome::GrabShared(sharers) | Outcome::Upgrade(sharers) => Some(sharers),
            _ => None,
        }
    }

    /// Messages and READs as docs/protocol.md has them: home, owner and requester are three nodes, bytes do not ride along.
    pub fn documented(self) -> (u64, u64) {
        match self {
            Outcome::Hit => (0, 0),
            Outcome::GetShared | Outcome::GetRemembered => (2, 1),
            Outcome::GetExclusive => (4, 1),
            Outcome::GrabShared(sharers) => (2 * u64::from(sharers) + 4, 1),
            Outcome::Upgrade(others) => (2 * u64::from(others) + 3, 0),
            Outcome::GrabExclusive => (5, 1),
        }
    }

    /// The cost by the paths of the messages, of which those from a node to itself are none.
    pub fn expected(self, roles: Roles) -> Cost {
        let Roles { home, owner, requester } = roles;
        let sharers = sharers(self, roles);
        let way = |path: &(u8, u8)| u64::from(path.0 != path.1);
        let length = |path: &[(u8, u8)]| path.iter().map(way).sum::<u64>();
        let read = 2 * way(&(owner, requester));
        let request = (requester, home);
        let acks: Vec<[(u8, u8); 2]> =
            sharers.iter().map(|&sharer| [(home, sharer), (sharer, requester)]).collect();
        // INV and ACK run beside GRANT and READ.
        let slowest = acks.iter().map(|path| length(path)).max().unwrap_or(0);
        let grant = (home, requester);
        let (paths, hops): (Vec<(u8, u8)>, Time) = match self {
            Outcome::Hit => (vec![], 0),
            Outcome::GetShared => (vec![request, grant], length(&[request, grant]) + read),
            Outcome::GetRemembered => (vec![request, grant], length(&[request, grant]).max(read)),
            Outcome::GetExclusive => {
                let granted = [request, (home, owner), (owner, requester)];
                (granted.into_iter().chain([(owner, home)]).collect(), length(&granted) + read)
            }
            Outcome::GrabExclusive => {
                let granted = [request, (home, owner), (owner, requester)];
                let tail = [(requester, home), (requester, owner)];
                (granted.into_iter().chain(tail).collect(), length(&granted) + read)
            }
            Outcome::GrabShared(_) | Outcome::Upgrade(_) => {
                let ends = [request, grant, (requester, home), (requester, owner)];
                let paths = ends.into_iter().chain(acks.iter().flatten().copied()).collect();
                (paths, way(&request) + slowest.max(way(&grant) + read))
            }
        };
        let reads = u64::from(self != Outcome::Hit && owner != requester);
        Cost { messages: length(&paths), reads, hops }
    }
}

/// The nodes with copies beside the requester, the owner first where that is another.
fn sharers(outcome: Outcome, roles: Roles) -> Vec<u8> {
    let Roles { home, owner, requester } = roles;
    let rest = (1..=250).filter(|node| ![home, owner, requester].contains(node));
    let owner = Some(owner).filter(|&owner| owner != requester);
    let count = usize::from(outcome.sharers().unwrap_or(0));
    owner.into_iter().chain(rest).take(count).collect()
}

/// The roles that make a difference in a cluster of `nodes`: all three apart if there are so many, then two in one.
pub fn roles(nodes: u8) -> Vec<(&'static str, Roles)> {
    let apart = ("another", Roles { home: nodes, owner: 1, requester: 2 });
    let asks = ("requester", Roles { home: 2, owner: 1, requester: 2 });
    let owns = ("owner", Roles { home: 1, owner: 1, requester: 2 });
    if nodes > 2 { vec![apart, asks, owns] } else { vec![asks, owns] }
}

/// The same for an upgrade, which the owner asks for.
pub fn roles_of_upgrade(nodes: u8) -> Vec<(&'static str, Roles)> {
    let elsewhere = ("another", Roles { home: nodes, owner: 1, requester: 1 });
    let here = ("requester", Roles { home: 1, owner: 1, requester: 1 });
    if nodes > 2 { vec![elsewhere, here] } else { vec![here] }
}

/// Brings object `number` of `bytes` bytes into the state that `outcome` names, does the operation, and counts.
///
/// # Errors
/// If an operation fails.
pub fn measure(
    cores: &mut Cores,
    outcome: Outcome,
    roles: Roles,
    bytes: u32,
    number: u32,
) -> Result<Cost, OpError> {
    let key = placed(roles.home, bytes, number);
    prepare(cores, outcome, roles, key)?;
    let hold = match outcome {
        Outcome::GrabShared(_) | Outcome::Upgrade(_) | Outcome::GrabExclusive => Hold::Exclusive,
        _ => Hold::Shared,
    };
    let before = cores.traffic();
    let (slot, hops) = cores.hold(roles.requester, key, hold)?;
    cores.put(roles.requester, key, slot, hold);
    cores.settle();
    let traffic = cores.traffic().since(before);
    Ok(Cost { messages: traffic.messages, reads: traffic.reads, hops })
}

fn prepare(cores: &mut Cores, outcome: Outcome, roles: Roles, key: ObjectKey) -> Result<(), OpError> {
    let Roles { owner, requester, .. } = roles;
    cores.touch(owner, key, Hold::Exclusive)?;
    match outcome {
        Outcome::Hit => {
            cores.touch(requester, key, Hold::Shared)?;
        }
        Outcome::GetShared | Outcome::GrabShared(1) => {
            // Its own copy makes the object shared, and goes silently.
            cores.touch(requester, key, Hold::Shared)?;
            cores.evict(requester, key);
        }
        Outcome::GetRemembered => {
            // The home's own word, which comes with the second copy, is what a READ can lean on.
            for _ in 0..2 {
                cores.touch(requester, key, Hold::Shared)?;
                cores.evict(requester, key);
            }
        }
        Outcome::GrabShared(_) | Outcome::Upgrade(_) => {
            for sharer in sharers(outcome, roles).into_iter().filter(|&sharer| sharer != owner) {
                cores.touch(sharer, key, Hold::Shared)?;
            }
        }
        Outcome::GetExclusive | Outcome::GrabExclusive => {}
    }
    Ok(())
}

/// The outcomes and roles that a cluster of `nodes` can have, with 1 to 32 and with as many sharers as there can be.
pub fn all(nodes: u8) -> Vec<(Outcome, &'static str, Roles)> {
    let most = nodes.saturating_sub(2).max(1);
    let counts: Vec<u8> =
        [1, 2, 3, 4, 8, 16, 32].into_iter().filter(|&count| count < most).chain([most]).collect();
    let simple = [
        Outcome::Hit,
        Outcome::GetShared,
        Outcome::GetRemembered,
        Outcome::GetExclusive,
        Outcome::GrabExclusive,
    ];
    let grabs = counts.iter().map(|&count| Outcome::GrabShared(count));
    let upgrades = counts.iter().map(|&count| Outcome::Upgrade(count));
    let with = |outcome: Outcome, roles: Vec<(&'static str, Roles)>| {
        roles.into_iter().map(move |(place, roles)| (outcome, place, roles))
    };
    let others = simple.into_iter().chain(grabs).flat_map(|outcome| with(outcome, roles(nodes)));
    others.chain(upgrades.flat_map(|outcome| with(outcome, roles_of_upgrade(nodes)))).collect()
}

/// The table for a cluster of `nodes`, objects of `bytes` bytes.
///
/// # Errors
/// If an operation fails.
pub fn run(nodes: u8, bytes: u32) -> Result<Vec<Case>, OpError> {
    let mut cores = Cores::speculating(nodes, INLINE_MAX, HINTS);
    let rows = all(nodes).into_iter().zip(0..).map(|((outcome, place, roles), number)| {
        let Cost { messages, reads, hops } = measure(&mut cores, outcome, roles, bytes, number)?;
        Ok(Case {
            home: Some(place.into()),
            nodes: Some(nodes.into()),
            sharers: outcome.sharers().map(u64::from),
            bytes: Some(bytes.into()),
            messages: Some(messages as f64),
            reads: Some(reads as f64),
            hops: Some(hops as f64),
            ..Case::counted(outcome.name(), 1)
        })
    });
    rows.collect()
}
