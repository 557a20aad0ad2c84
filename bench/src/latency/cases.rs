//! One operation at a time: what the nodes do before, what rank 0 does and is timed, and the walk that is its floor.
//!
//! Rank 0 asks. Copies are made by gets in the order of [`Roles::others`], so that the first of those nodes is the owner.

use super::control::Deed;
use super::node::INLINE_MAX;
use super::pattern::Step::{All, Aside, Message, Read};
use super::pattern::{Rank, Step, Walk};

/// Who asks.
pub const REQUESTER: Rank = 0;
/// The owner, where that is another node.
pub const OWNER: Rank = 1;

/// Copies on other nodes that a case may have, each beyond what a small cluster has.
const MOST_COPIES: Rank = 3;

/// Bytes of messages as `kddm_fabric::wire` has them; bytes that ride along come on top.
pub mod wire {
    /// REQ.
    pub const REQUEST: u32 = 68;
    /// GRANT.
    pub const GRANT: u32 = 96;
    /// FINISHED.
    pub const FINISHED: u32 = 44;
    /// INV.
    pub const INVALIDATE: u32 = 60;
    /// ACK.
    pub const ACK: u32 = 64;
    /// RECALL.
    pub const RECALL: u32 = 64;
    /// HAND.
    pub const HAND: u32 = 64;
    /// DISCARD.
    pub const DISCARD: u32 = 44;
    /// DONE and SHARED.
    pub const DONE: u32 = 56;
    /// FETCHED.
    pub const FETCHED: u32 = 44;
}

/// Which objects a step of the preparation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The measured ones.
    Measured,
    /// As many others with the same home.
    Others,
}

/// A step of a preparation.
pub type Before = (Rank, Deed, Which);

/// An operation to be measured.
#[derive(Clone, Debug)]
pub struct Spec {
    /// For people.
    pub name: String,
    /// Bytes of an object.
    pub bytes: u32,
    /// The objects' home.
    pub home: Rank,
    /// What the roles of the home are, for people.
    pub place: &'static str,
    /// Nodes with a copy before.
    pub sharers: Option<u64>,
    /// How many nodes it takes.
    pub nodes: Rank,
    /// Done with all objects of a block before it is timed.
    pub before: Vec<Before>,
    /// Done with each object just before it is timed.
    pub just_before: Vec<(Rank, Deed)>,
    /// What is timed.
    pub deed: Deed,
    /// What it cannot do without.
    pub walk: Walk,
}

/// Who is who in a cluster, for objects with one home.
#[derive(Clone, Copy, Debug)]
struct Roles {
    nodes: Rank,
    home: Rank,
    bytes: u32,
}

/// The home that is another node than requester and owner, if there are so many.
pub fn distant(nodes: Rank) -> Rank {
    if nodes > 2 { 2 } else { OWNER }
}

/// How the report calls a home.
pub fn place(home: Rank) -> &'static str {
    match home {
        REQUESTER => "local",
        OWNER => "owner",
        _ => "distant",
    }
}

/// All operations on objects of `bytes` bytes that make sense for `nodes` nodes and more; some need more nodes than there are.
pub fn all(nodes: Rank, bytes: u32) -> Vec<Spec> {
    let mut specs = Vec::new();
    for home in [REQUESTER, distant(nodes)] {
        let roles = Roles { nodes, home, bytes };
        specs.push(roles.first_touch(Deed::Get));
        specs.extend([1, 2].map(|copies| roles.get_shared(copies)));
        specs.push(roles.exclusive_elsewhere(Deed::Get));
        specs.push(roles.first_touch(Deed::Grab));
        specs.extend([0, 1, 2, 3].map(|copies| roles.upgrade(copies)));
        specs.extend([1, 2, 3].map(|copies| roles.grab_shared(copies)));
        specs.push(roles.upgrade_of_another());
        specs.push(roles.exclusive_elsewhere(Deed::Grab));
        specs.push(roles.remove(true, 0));
        specs.extend([1, 2, 3].map(|copies| roles.remove(false, copies)));
    }
    let roles = Roles { nodes, home: distant(nodes), bytes };
    specs.extend([roles.get_again_good(), roles.get_again_bad()]);
    specs
}

/// The walk of the get that every other is compared with: of a shared object.
pub fn get_shared(nodes: Rank, home: Rank, bytes: u32) -> Walk {
    Roles { nodes, home, bytes }.granted()
}

/// From holder to holder, through the ranks below `holders`: one message, and a READ if the bytes do not ride along; and that the
/// holder asks for its next turn.
pub fn hand_over(holders: Rank, home: Rank, bytes: u32) -> Walk {
    let hand = |from: Rank| {
        let to = (from + 1) % holders;
        let rides = bytes <= INLINE_MAX;
        let again = Aside(vec![Message(home, wire::REQUEST), Message(to, wire::RECALL)]);
        let message = Message(to, wire::HAND + if rides { bytes } else { 0 });
        let read = (!rides).then_some(Read(from, bytes));
        [Some(message), Some(again), read, Some(done(home)), Some(fetched(from))].into_iter().flatten()
    };
    (0..holders).flat_map(hand).collect()
}

/// The requester has what it asked for: nobody waits for that to arrive.
fn done(home: Rank) -> Step {
    Aside(vec![Message(home, wire::DONE)])
}

/// So has it the bytes of the old owner.
fn fetched(owner: Rank) -> Step {
    Aside(vec![Message(owner, wire::FETCHED)])
}

impl Roles {
    /// Nodes with copies: the owner first; the home, whose messages to itself are none, last of those that there are.
    fn others(self) -> impl Iterator<Item = Rank> {
        let last = Some(self.home).filter(|&home| home > OWNER);
        let there = (OWNER..self.nodes).filter(move |&rank| Some(rank) != last).chain(last);
        there.chain(self.nodes..OWNER + MOST_COPIES)
    }

    fn inline(self) -> bool {
        self.bytes <= INLINE_MAX
    }

    fn spec(self, name: String, deed: Deed, walk: Walk) -> Spec {
        let nodes = if self.home == REQUESTER { 1 } else { 2 };
        let (bytes, home, place) = (self.bytes, self.home, place(self.home));
        let (before, just_before) = (Vec::new(), Vec::new());
        Spec { name, bytes, home, place, sharers: None, nodes, before, just_before, deed, walk }
    }

    /// The spec, after gets of ourselves, if so, and of so many others.
    fn shared(self, own: bool, copies: Rank, spec: Spec) -> Spec {
        let ranks = own.then_some(REQUESTER).into_iter().chain(self.others().take(copies.into()));
        let before = ranks.map(|rank| (rank, Deed::Get, Which::Measured)).collect();
        let sharers = Some(u64::from(copies) + u64::from(own));
        Spec { before, sharers, nodes: spec.nodes.max(copies + 1), ..spec }
    }

    /// Asks the home; then what follows there.
    fn ask(self, then: Walk) -> Walk {
        [vec![Message(self.home, wire::REQUEST)], then].concat()
    }

    /// A grant of the owner's copy, as bytes where it is the home's, small, and nobody else has to be asked.
    fn grant(self) -> Walk {
        match self.home == OWNER && self.inline() {
            true => vec![Message(REQUESTER, wire::GRANT + self.bytes)],
            false => vec![Message(REQUESTER, wire::GRANT), Read(OWNER, self.bytes)],
        }
    }

    fn granted(self) -> Walk {
        self.ask(self.grant())
    }

    /// The home tells so many others to drop their copies; they tell `to`.
    fn invalidate(self, copies: Rank, to: Rank) -> impl Iterator<Item = Walk> {
        let others = self.others().take(copies.into());
        others.map(move |sharer| vec![Message(sharer, wire::INVALIDATE), Message(to, wire::ACK)])
    }

    fn first_touch(self, deed: Deed) -> Spec {
        let name = format!("{}, first touch", named(deed));
        self.spec(name, deed, self.ask(vec![Message(REQUESTER, wire::GRANT), done(self.home)]))
    }

    fn get_shared(self, copies: Rank) -> Spec {
        let name = match copies {
            1 => "get first, 1 copy elsewhere".into(),
            _ => format!("get first, {copies} copies elsewhere"),
        };
        self.shared(false, copies, self.spec(name, Deed::Get, self.granted()))
    }

    fn exclusive_elsewhere(self, deed: Deed) -> Spec {
        let name = format!("{}, exclusive elsewhere", named(deed));
        let hand: Walk = match self.inline() {
            true => vec![Message(REQUESTER, wire::HAND + self.bytes)],
            false => vec![Message(REQUESTER, wire::HAND), Read(OWNER, self.bytes)],
        };
        // SHARED, or DONE and FETCHED.
        let walk = match deed {
            Deed::Get => [vec![Message(OWNER, wire::RECALL), done(self.home)], hand].concat(),
            _ => [vec![Message(OWNER, wire::RECALL)], hand, vec![done(self.home), fetched(OWNER)]].concat(),
        };
        let walk = self.ask(walk);
        let spec = self.spec(name, deed, walk);
        Spec { before: vec![(OWNER, Deed::Grab, Which::Measured)], nodes: 2, ..spec }
    }

    /// A grab by a node without a copy.
    fn grab_shared(self, copies: Rank) -> Spec {
        let name = match copies {
            1 => "grab, 1 remote copy".into(),
            _ => format!("grab, {copies} remote copies"),
        };
        let branches = [self.grant()].into_iter().chain(self.invalidate(copies, REQUESTER)).collect();
        let walk = self.ask(vec![All(branches), done(self.home), fetched(OWNER)]);
        self.shared(false, copies, self.spec(name, Deed::Grab, walk))
    }

    /// A grab by the owner.
    fn upgrade(self, copies: Rank) -> Spec {
        let name = match copies {
            0 => "grab, 1 local copy".into(),
            _ => format!("grab, 1 local + {copies} remote (upgrade)"),
        };
        self.shared(true, copies, self.spec(name, Deed::Grab, self.upgraded(copies)))
    }

    fn upgrade_of_another(self) -> Spec {
        let walk = [self.upgraded(1), vec![fetched(OWNER)]].concat();
        let spec = self.spec("upgrade, the owner is another".into(), Deed::Grab, walk);
        let before = [OWNER, REQUESTER].map(|rank| (rank, Deed::Get, Which::Measured)).into();
        Spec { before, sharers: Some(2), nodes: 2, ..spec }
    }

    fn upgraded(self, copies: Rank) -> Walk {
        let grant = vec![Message(REQUESTER, wire::GRANT)];
        let branches = [grant].into_iter().chain(self.invalidate(copies, REQUESTER)).collect();
        self.ask(vec![All(branches), done(self.home)])
    }

    /// The home has all copies dropped; then it has what the nodes keep dropped, the newest last, which is the owner's here.
    fn remove(self, own: bool, copies: Rank) -> Spec {
        let name = match (own, copies) {
            (true, _) => "remove, 1 local copy".into(),
            (_, 1) => "remove, 1 remote copy".into(),
            _ => format!("remove, {copies} remote copies"),
        };
        let round = |rank: Rank, bytes: u32| vec![Message(rank, bytes), Message(self.home, wire::ACK)];
        let newest = if own { REQUESTER } else { OWNER };
        let copied: Vec<Walk> = match own {
            true => vec![round(REQUESTER, wire::INVALIDATE)],
            false => self.invalidate(copies, self.home).collect(),
        };
        let all = (0..self.nodes).filter(|&rank| rank != newest);
        let discarded: Vec<Walk> = all.map(|rank| round(rank, wire::DISCARD)).collect();
        let rounds: Vec<Step> = vec![All(copied), All(discarded), All(vec![round(newest, wire::DISCARD)])];
        let walk = self.ask([rounds, vec![Message(REQUESTER, wire::FINISHED)]].concat());
        self.shared(own, copies, self.spec(name, Deed::Remove, walk))
    }

    /// Rank 0 remembers where the object is, which has not moved since.
    fn get_again_good(self) -> Spec {
        let asked = vec![Message(self.home, wire::REQUEST), Message(REQUESTER, wire::GRANT)];
        let walk = vec![All(vec![asked, vec![Read(OWNER, self.bytes)]])];
        let spec = self.spec("get again, speculation good".into(), Deed::Get, walk);
        let before = [(OWNER, Deed::Get), (REQUESTER, Deed::Get), (REQUESTER, Deed::Flush)];
        let before = before.map(|(rank, deed)| (rank, deed, Which::Measured)).into();
        Spec { before, sharers: Some(1), nodes: 3, ..spec }
    }

    /// Rank 0 remembers where the object is, which has been written and shared there since. It has heard of other news of the home,
    /// so that it believes in its READ.
    fn get_again_bad(self) -> Spec {
        let spec = self.spec("get again, speculation bad".into(), Deed::Get, self.granted());
        let mine = [(OWNER, Deed::Get), (REQUESTER, Deed::Get), (OWNER, Deed::Grab)];
        let mine = mine.map(|(rank, deed)| (rank, deed, Which::Measured));
        let news = [self.home, REQUESTER].map(|rank| (rank, Deed::Get, Which::Others));
        let just_before = vec![(self.home, Deed::Get)];
        Spec { before: [mine.as_slice(), &news].concat(), just_before, sharers: Some(2), nodes: 3, ..spec }
    }
}

fn named(deed: Deed) -> &'static str {
    match deed {
        Deed::Get => "get",
        Deed::Grab => "grab",
        Deed::Remove => "remove",
        Deed::Flush => "flush",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::node::{id, object};
    use crate::latency::pattern::Program;
    use kddm_coherence::{Body, Message, RecallKind, Request, RequestKind, Source};
    use kddm_object::{FirstTouch, Generation, Location, NodeSet, Rid, Seq, SlotId, ViewId};
    use kddm_rdma::Incarnation;

    #[test]
    fn every_walk_comes_back_and_names_only_nodes_that_it_asks_for() {
        for (nodes, bytes) in [(2, 4), (2, 4096), (3, 4), (3, 4096), (4, 4), (4, 4096)] {
            for spec in all(nodes, bytes).into_iter().filter(|spec| spec.nodes <= nodes) {
                let program = Program::of(&spec.walk, REQUESTER).unwrap();
                assert!(program.others().iter().all(|&rank| rank < nodes), "{spec:?}");
                assert_eq!(program.is_empty(), spec.home == REQUESTER && program.others().is_empty());
            }
        }
    }

    #[test]
    fn messages_have_the_size_that_they_have_on_the_wire() {
        let bytes = |body: Body| {
            let (view, incarnation, key) = (ViewId(1), Incarnation(1), object(None, 4, 0));
            let mut out = Vec::new();
            kddm_fabric::wire::encode(&Message { view, incarnation, clock: 0, key, body }, &mut out);
            out.len() as u32
        };
        let (rid, seq, requester, life) = (Rid(1), Seq(1), id(0).unwrap(), Incarnation(1));
        let request = Request {
            rid,
            kind: RequestKind::Get,
            first_touch: FirstTouch::Make,
            try_only: false,
            have: false,
            hint: None,
            seen: 0,
        };
        assert_eq!(bytes(Body::Request(request)), wire::REQUEST);
        let (source, acks) = (Source::Copy, NodeSet::EMPTY);
        assert_eq!(bytes(Body::Ack { seq, of: requester, retained: None, since: seq }), wire::ACK);
        let kind = RecallKind::Share;
        let recall = Body::Recall { seq, kind, requester, life, rid, after: rid, try_only: false };
        assert_eq!(bytes(recall), wire::RECALL);
        let grant = Body::Grant { rid, seq, source: source.clone(), acks, owner: None, exclusive: false };
        assert_eq!(bytes(grant), wire::GRANT);
        assert_eq!(bytes(Body::Finished { rid }), wire::FINISHED);
        let invalidate = Body::Invalidate { seq, requester, life, after: rid, keep: true };
        assert_eq!(bytes(invalidate), wire::INVALIDATE);
        assert_eq!(bytes(Body::Hand { seq, rid, source, exclusive: true }), wire::HAND);
        assert_eq!(bytes(Body::Discard { seq }), wire::DISCARD);
        let (slot, generation) = (SlotId(1), Generation(1));
        let location = Location { node: requester, slot, generation };
        assert_eq!(bytes(Body::Shared { seq, location }), wire::DONE);
        assert_eq!(bytes(Body::Fetched { seq }), wire::FETCHED);
    }
}
