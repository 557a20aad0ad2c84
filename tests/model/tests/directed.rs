//! Schedules that went wrong once, told step by step: each is a line of messages that random schedules meet too rarely.

use kddm_coherence::{
    Asked, Body, Config, Core, Effect, Input, LinkerCall, LinkerReply, Loss, Member, Message, OpError, OpId,
    Operation, ReadToken, Source, Store, View,
};
use kddm_model::{Memory, policy, set_of};
use kddm_object::{
    FirstTouch, Generation, Hold, Incarnation, Location, NodeId, ObjectKey, Rid, Seq, SetId, SlotId, ViewId,
};
use std::collections::{BTreeMap, VecDeque};

type Ended = Result<Option<SlotId>, OpError>;

/// Some nodes whose messages arrive when the test says so.
struct Bench {
    nodes: BTreeMap<NodeId, (Core, Memory)>,
    lives: BTreeMap<NodeId, Incarnation>,
    links: BTreeMap<(NodeId, NodeId), VecDeque<Message>>,
    reads: Vec<(NodeId, ReadToken)>,
    calls: Vec<(NodeId, ObjectKey, LinkerCall)>,
    ended: BTreeMap<OpId, Ended>,
    /// How first touches end.
    made: LinkerReply,
    leaving: Option<NodeId>,
}

fn n(id: u8) -> NodeId {
    NodeId::new(id).unwrap()
}

/// An object with its home on node 1.
fn object(durable: bool, number: u32) -> ObjectKey {
    ObjectKey::new(set_of(1, durable, false), number)
}

fn hold(hold: Hold) -> Asked {
    Asked::Hold { hold, first_touch: FirstTouch::Make, try_only: false, reserve: false }
}

fn if_there(hold: Hold) -> Asked {
    Asked::Hold { hold, first_touch: FirstTouch::Refuse, try_only: false, reserve: false }
}

impl Bench {
    fn new(nodes: u8, slots: usize, reserved: usize) -> Bench {
        let mut bench = Bench::apart(nodes, slots, reserved, Loss::Local);
        bench.meet();
        bench
    }

    /// The same with agreed views, and the first of them.
    fn agreed(nodes: u8) -> Bench {
        let mut bench = Bench::apart(nodes, 8, 0, Loss::Agreed);
        bench.meet();
        bench.agree(1);
        bench
    }

    fn apart(nodes: u8, slots: usize, reserved: usize, loss: Loss) -> Bench {
        let members: Vec<NodeId> = (1..=nodes).map(n).collect();
        let mut bench = Bench {
            nodes: BTreeMap::new(),
            lives: BTreeMap::new(),
            links: BTreeMap::new(),
            reads: Vec::new(),
            calls: Vec::new(),
            ended: BTreeMap::new(),
            made: LinkerReply::Ok,
            leaving: None,
        };
        for &me in &members {
            bench.begin_life(me, &members, loss, slots, reserved, Incarnation(1));
        }
        bench
    }

    fn begin_life(
        &mut self,
        me: NodeId,
        members: &[NodeId],
        loss: Loss,
        slots: usize,
        reserved: usize,
        incarnation: Incarnation,
    ) {
        let core = Core::new(Config {
            me,
            incarnation,
            members: members.to_vec(),
            loss,
            inline_max: 256,
            hints: 0,
            eager: false,
            unsound_keep_copies: false,
            #[cfg(feature = "mutants")]
            mutant: None,
        });
        self.nodes.insert(me, (core, Memory::new(slots, reserved, incarnation)));
        self.lives.insert(me, incarnation);
    }

    /// All who live are connected with each other.
    fn meet(&mut self) {
        let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
        for &me in &ids {
            for &peer in ids.iter().filter(|&&peer| peer != me) {
                self.input(me, Input::PeerUp(peer, self.lives[&peer]));
            }
        }
    }

    /// The next view: all who live, and nobody else has a lease.
    fn agree(&mut self, number: u32) {
        let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
        let member =
            |&node: &NodeId| Member { node, life: self.lives[&node], leaving: self.leaving == Some(node) };
        let members: Vec<Member> = ids.iter().map(member).collect();
        for &id in &ids {
            let view = View { id: ViewId(number), members: members.clone(), founding: number == 1 };
            self.input(id, Input::View(view));
            self.input(id, Input::Fenced(ViewId(number)));
        }
        self.settle();
    }

    fn input(&mut self, id: NodeId, input: Input) {
        let (core, memory) = self.nodes.get_mut(&id).expect("a node of the bench");
        let mut effects = Vec::new();
        core.step(input, memory, &mut effects);
        for effect in effects {
            match effect {
                Effect::Send(to, message) => self.links.entry((id, to)).or_default().push_back(message),
                Effect::Read { token, .. } => self.reads.push((id, token)),
                Effect::Linker(key, LinkerCall::FirstTouch { slot }) => {
                    self.nodes.get_mut(&id).unwrap().1.clear(slot, 16);
                    self.input(id, Input::LinkerDone(key, self.made));
                }
                Effect::Linker(key, call) => self.calls.push((id, key, call)),
                Effect::Complete(op, result) => assert_eq!(self.ended.insert(op, result), None),
                Effect::NeedMemory(_) | Effect::Changed(..) => {}
            }
        }
    }

    fn begin(&mut self, id: NodeId, op: u64, key: ObjectKey, asked: Asked) {
        self.input(id, Input::Begin(Operation { op: OpId(op), key, asked }));
    }

    /// The next message from the first to the second arrives.
    fn deliver(&mut self, from: NodeId, to: NodeId) {
        let message =
            self.links.get_mut(&(from, to)).and_then(VecDeque::pop_front).expect("something is there");
        self.input(to, Input::Message(from, message));
    }

    /// Whatever comes first arrives.
    fn deliver_next(&mut self) {
        let link = self.links.iter().find(|(_, line)| !line.is_empty()).map(|(link, _)| *link);
        let (from, to) = link.expect("something is there");
        self.deliver(from, to);
    }

    /// Everything arrives, but for what goes over `held`.
    fn settle_but(&mut self, held: Option<(NodeId, NodeId)>) {
        let next = |bench: &Bench| {
            let mut full = bench.links.iter().filter(|(link, line)| Some(**link) != held && !line.is_empty());
            full.next().map(|(&link, _)| link)
        };
        loop {
            while let Some((from, to)) = next(self) {
                self.deliver(from, to);
            }
            let Some((id, token)) = self.reads.pop() else { return };
            self.input(id, Input::ReadDone(token, true));
        }
    }

    fn settle(&mut self) {
        self.settle_but(None);
    }

    /// Ends the hold that `op` got.
    fn put(&mut self, id: NodeId, op: u64, key: ObjectKey, hold: Hold) {
        let Some(Ok(Some(slot))) = self.ended.remove(&OpId(op)) else { panic!("operation {op} has no hold") };
        let memory = &mut self.nodes.get_mut(&id).unwrap().1;
        let word = memory.load(slot);
        memory.swap(slot, word, word.release(hold).expect("it is held").0).expect("one thread");
        self.input(id, Input::Released(key));
    }

    /// A grab of the object, from its beginning to its put.
    fn own(&mut self, id: NodeId, key: ObjectKey) {
        self.begin(id, 99, key, hold(Hold::Exclusive));
        self.settle();
        self.put(id, 99, key, Hold::Exclusive);
    }

    /// Others notice that a node is gone, and nothing that it has sent arrives any more.
    fn dies(&mut self, id: NodeId) {
        self.links.retain(|&(from, to), _| from != id && to != id);
        self.nodes.remove(&id);
        let others: Vec<NodeId> = self.nodes.keys().copied().collect();
        others.into_iter().for_each(|other| self.input(other, Input::PeerDown(id)));
    }

    fn is_quiet(&self) -> bool {
        self.nodes.values().all(|(core, _)| core.is_quiet())
    }
}

/// Node 2 has the object and hands it to node 3, which has not got it when node 1 removes it.
fn remove_beside_a_hand_over() -> (Bench, ObjectKey) {
    let (mut bench, key) = (Bench::new(3, 8, 0), object(false, 1));
    bench.own(n(2), key);
    bench.begin(n(3), 1, key, hold(Hold::Shared));
    let slow = Some((n(2), n(3)));
    bench.settle_but(slow);
    bench.begin(n(1), 2, key, Asked::Remove);
    bench.settle_but(slow);
    assert!(matches!(bench.links[&(n(2), n(3))].front().map(|it| &it.body), Some(Body::Hand { .. })));
    assert!(bench.ended.is_empty());
    (bench, key)
}

#[test]
fn a_get_keeps_its_turn_though_a_remove_comes_before_its_hand_over() {
    let (mut bench, key) = remove_beside_a_hand_over();
    bench.deliver(n(2), n(3));
    assert!(matches!(bench.ended.get(&OpId(1)), Some(Ok(Some(_)))), "{:?}", bench.ended);
    bench.put(n(3), 1, key, Hold::Shared);
    bench.settle();
    assert_eq!(bench.ended.remove(&OpId(2)), Some(Ok(None)));
    assert!(bench.is_quiet());
}

#[test]
fn a_hand_over_that_dies_beside_a_remove_holds_up_neither() {
    let (mut bench, key) = remove_beside_a_hand_over();
    bench.dies(n(2));
    bench.settle();
    assert_eq!(bench.ended.remove(&OpId(2)), Some(Ok(None)));
    bench.put(n(3), 1, key, Hold::Shared);
    bench.settle();
    assert!(bench.is_quiet());
}

#[test]
fn a_try_that_is_refused_has_made_nothing() {
    let (mut bench, key) = (Bench::new(2, 8, 0), object(true, 1));
    let (hold, try_only, reserve) = (Hold::Exclusive, true, false);
    bench.begin(n(2), 1, key, Asked::Hold { hold, first_touch: FirstTouch::Make, try_only, reserve });
    bench.settle();
    assert!(matches!(bench.calls.pop(), Some((_, _, LinkerCall::Insert { make: true, .. }))));
    let (hold, first_touch, try_only) = (Hold::Shared, FirstTouch::Refuse, false);
    bench.begin(n(1), 2, key, Asked::Hold { hold, first_touch, try_only, reserve });
    bench.settle();
    bench.input(n(1), Input::LinkerDone(key, LinkerReply::Ok));
    bench.settle();
    assert_eq!(bench.ended.remove(&OpId(1)), Some(Err(OpError::WouldBlock)));
    assert!(matches!(bench.calls.pop(), Some((_, _, LinkerCall::Insert { make: false, .. }))));
    bench.input(n(1), Input::LinkerDone(key, LinkerReply::Absent));
    assert_eq!(bench.ended.remove(&OpId(2)), Some(Err(OpError::Absent)));
    assert!(bench.is_quiet());
}

#[test]
fn who_asked_and_who_owned_die_together() {
    let (mut bench, key) = (Bench::new(3, 8, 0), object(false, 1));
    bench.own(n(2), key);
    bench.begin(n(3), 1, key, hold(Hold::Shared));
    bench.deliver(n(3), n(1));
    bench.dies(n(3));
    bench.dies(n(2));
    bench.begin(n(1), 2, key, hold(Hold::Shared));
    bench.settle();
    assert_eq!(bench.ended.remove(&OpId(2)), Some(Err(OpError::Lost)));
    assert!(bench.is_quiet());
}

/// Node 2 has one slot. It waits for the object with another one, which then has the slot.
fn granted_without_a_place() -> (Bench, ObjectKey) {
    let (mut bench, key) = (Bench::new(3, 8, 0), object(false, 1));
    bench.nodes.get_mut(&n(2)).unwrap().1 = Memory::new(1, 0, Incarnation(1));
    bench.begin(n(2), 1, key, hold(Hold::Shared));
    bench.settle();
    bench.put(n(2), 1, key, Hold::Shared);
    // A grab of node 3 takes the copy of node 2, which waits for its upgrade, and then for a place.
    bench.begin(n(3), 2, key, hold(Hold::Exclusive));
    bench.deliver(n(3), n(1));
    bench.begin(n(2), 3, key, hold(Hold::Exclusive));
    bench.begin(n(2), 4, object(false, 2), hold(Hold::Exclusive));
    bench.settle();
    bench.put(n(3), 2, key, Hold::Exclusive);
    bench.settle();
    bench.put(n(2), 4, object(false, 2), Hold::Exclusive);
    assert!(bench.ended.is_empty());
    (bench, key)
}

#[test]
fn who_has_no_place_for_what_was_granted_does_not_keep_it_from_others() {
    let (mut bench, key) = granted_without_a_place();
    bench.begin(n(1), 5, key, hold(Hold::Exclusive));
    bench.settle();
    assert!(bench.ended.is_empty(), "node 2 may still find a place");
    bench.input(n(2), Input::OutOfMemory(key));
    bench.settle();
    assert_eq!(bench.ended.remove(&OpId(3)), Some(Err(OpError::NoMemory)));
    bench.put(n(1), 5, key, Hold::Exclusive);
    bench.settle();
    assert!(bench.is_quiet());
    let copies = bench.nodes.values().filter(|(_, memory)| memory.lookup(key).is_some());
    assert_eq!(copies.count(), 1, "what was kept for node 2 is free");
}

#[test]
fn no_memory_for_one_is_no_failure_of_the_device_for_another() {
    let (mut bench, key) = (Bench::new(2, 2, 1), object(true, 1));
    bench.own(n(1), object(false, 2));
    bench.begin(n(1), 1, key, hold(Hold::Shared));
    bench.begin(n(2), 2, key, hold(Hold::Shared));
    bench.settle();
    assert_eq!(bench.calls.len(), 1, "the fill has the slot of the reserve");
    bench.input(n(1), Input::OutOfMemory(key));
    bench.input(n(1), Input::LinkerDone(key, LinkerReply::Ok));
    bench.settle();
    assert_eq!(bench.ended.remove(&OpId(1)), Some(Err(OpError::NoMemory)));
    bench.put(n(2), 2, key, Hold::Shared);
    assert!(bench.is_quiet());
}

#[test]
fn a_hold_from_the_last_life_of_a_home_keeps_nothing_but_its_object_from_others() {
    for durable in [true, false] {
        let (mut bench, key) = (Bench::agreed(3), object(durable, 1));
        let other = ObjectKey::new(SetId::from_parts(0, 2 << 24, 0), 1);
        bench.begin(n(3), 1, key, hold(Hold::Exclusive));
        bench.settle();
        bench
            .calls
            .pop()
            .into_iter()
            .for_each(|_| bench.input(n(1), Input::LinkerDone(key, LinkerReply::Ok)));
        bench.settle();
        bench.dies(n(1));
        bench.agree(2);
        bench.begin_life(n(1), &[n(1), n(2), n(3)], Loss::Agreed, 8, 0, Incarnation(2));
        bench.meet();
        bench.agree(3);

        // Who holds it may wait for something else, at any home.
        bench.begin(n(3), 2, other, hold(Hold::Exclusive));
        bench.begin(n(2), 3, key, hold(Hold::Exclusive));
        bench.settle();
        bench.put(n(3), 2, other, Hold::Exclusive);
        assert!(!bench.ended.contains_key(&OpId(3)), "node 3 still holds it");
        bench.put(n(3), 1, key, Hold::Exclusive);
        bench.settle();
        if durable {
            assert!(matches!(bench.calls.pop(), Some((_, _, LinkerCall::Insert { .. }))));
            bench.input(n(1), Input::LinkerDone(key, LinkerReply::Ok));
            bench.settle();
            bench.put(n(2), 3, key, Hold::Exclusive);
            bench.settle();
        } else {
            assert_eq!(bench.ended.remove(&OpId(3)), Some(Err(OpError::Lost)));
        }
        assert!(bench.is_quiet());
    }
}

/// An object without bytes whose home is node 1 among two nodes, and node 2 among three.
fn lock_that_moves() -> ObjectKey {
    let set = set_of(0, false, true);
    let home = |key, nodes| policy(set).home_of(key, &(1..=nodes).map(n).collect::<Vec<_>>());
    let mut keys = (0..).map(|number| ObjectKey::new(set, number * 64));
    keys.find(|&key| (home(key, 2), home(key, 3)) == (Some(n(1)), Some(n(2)))).expect("one in six")
}

#[test]
fn a_lock_whose_hand_over_a_view_cuts_off_is_still_there() {
    let (mut bench, key) = (Bench::agreed(2), lock_that_moves());
    bench.own(n(2), key);
    bench.begin(n(1), 1, key, if_there(Hold::Exclusive));
    // Node 2 has yielded, and the HAND is under way.
    bench.deliver(n(1), n(2));
    assert!(matches!(bench.links[&(n(2), n(1))].front().map(|it| &it.body), Some(Body::Hand { .. })));
    let members = [n(1), n(2), n(3)];
    bench.begin_life(n(3), &members, Loss::Agreed, 8, 0, Incarnation(1));
    bench.meet();
    bench.agree(2);
    bench.put(n(1), 1, key, Hold::Exclusive);
    bench.settle();
    assert!(bench.is_quiet());
}

#[test]
fn a_lock_that_was_removed_does_not_come_back_when_its_home_dies() {
    let (mut bench, key) = (Bench::agreed(2), lock_that_moves());
    bench.own(n(2), key);
    bench.begin(n(1), 1, key, Asked::Remove);
    while !bench.ended.contains_key(&OpId(1)) {
        bench.deliver_next();
    }
    bench.dies(n(1));
    bench.agree(2);
    bench.begin(n(2), 2, key, if_there(Hold::Shared));
    bench.settle();
    assert_eq!(bench.ended.remove(&OpId(2)), Some(Err(OpError::Absent)));
    assert!(bench.is_quiet());
}

#[test]
fn what_a_leaver_could_not_make_is_not_lost_with_it() {
    let (mut bench, key) = (Bench::agreed(2), object(false, 1));
    (bench.leaving, bench.made) = (Some(n(2)), LinkerReply::Failed(5));
    bench.agree(2);
    bench.begin(n(2), 1, key, hold(Hold::Exclusive));
    let may_go = |bench: &Bench| bench.nodes[&n(2)].0.is_drained() && bench.nodes[&n(2)].0.is_quiet();
    while !may_go(&bench) {
        bench.deliver_next();
    }
    assert_eq!(bench.ended.remove(&OpId(1)), Some(Err(OpError::Device(5))));
    bench.dies(n(2));
    bench.agree(3);
    bench.begin(n(1), 2, key, if_there(Hold::Shared));
    bench.settle();
    assert_eq!(bench.ended.remove(&OpId(2)), Some(Err(OpError::Absent)));
    assert!(bench.is_quiet());
}

/// Node 2 has the object when nodes 1 and 3 are lost to each other; node 3 begins a new life, and node 1 has met that before node 2 has.
#[test]
fn who_begins_a_new_life_is_told_of_by_the_home_before_others_have_met_it() {
    let (mut bench, key) = (Bench::new(3, 8, 0), object(false, 1));
    bench.own(n(2), key);
    bench.links.retain(|&(from, to), _| from != n(3) && to != n(3));
    bench.input(n(1), Input::PeerDown(n(3)));
    bench.input(n(3), Input::PeerDown(n(1)));
    bench.input(n(3), Input::PeerDown(n(2)));
    bench.lives.insert(n(3), Incarnation(2));
    bench.input(n(3), Input::Renewed(Incarnation(2)));
    bench.input(n(1), Input::PeerUp(n(3), Incarnation(2)));
    bench.input(n(3), Input::PeerUp(n(1), Incarnation(1)));

    bench.begin(n(3), 1, key, hold(Hold::Exclusive));
    bench.settle();
    assert!(
        bench.ended.is_empty(),
        "node 2 still has the old life's session, over which nothing may go to the new one"
    );
    bench.input(n(2), Input::PeerDown(n(3)));
    bench.input(n(2), Input::PeerUp(n(3), Incarnation(2)));
    bench.input(n(3), Input::PeerUp(n(2), Incarnation(1)));
    bench.settle();
    bench.put(n(3), 1, key, Hold::Exclusive);
    bench.settle();
    assert!(bench.is_quiet());
}

/// Nodes 2 and 3 have copies, and node 2 grabs. The ACK of node 3 comes before the GRANT, and between them from node 3 what was meant for an
/// earlier request of node 2, which was given up.
fn late_news_before_a_grant(body: Body) -> (Bench, ObjectKey) {
    let (mut bench, key) = (Bench::new(3, 8, 0), object(false, 1));
    for node in [2, 3] {
        bench.begin(n(node), 1, key, hold(Hold::Shared));
        bench.settle();
        bench.put(n(node), 1, key, Hold::Shared);
    }
    bench.settle();
    bench.begin(n(2), 2, key, hold(Hold::Exclusive));
    bench.settle_but(Some((n(1), n(2))));
    assert!(bench.ended.is_empty(), "the GRANT is on its way");
    let message = Message { view: ViewId(1), incarnation: Incarnation(1), clock: 0, key, body };
    bench.input(n(2), Input::Message(n(3), message));
    bench.settle_but(Some((n(2), n(3))));
    (bench, key)
}

/// What node 3 keeps for that earlier request.
fn late() -> (Seq, Location) {
    (Seq(12_345), Location { node: n(3), slot: SlotId(0), generation: Generation(1) })
}

#[test]
fn a_hand_over_that_comes_too_late_takes_no_ack_away() {
    let (seq, location) = late();
    let body = Body::Hand { seq, rid: Rid(12_345), source: Source::Read(location), exclusive: false };
    let (mut bench, key) = late_news_before_a_grant(body);
    bench.settle();
    bench.put(n(2), 2, key, Hold::Exclusive);
    bench.settle();
    assert!(bench.is_quiet());
}

#[test]
fn an_ack_that_comes_too_late_takes_no_ack_away() {
    let (seq, location) = late();
    let body = Body::Ack { seq, of: n(3), retained: Some(location), since: seq };
    let (mut bench, key) = late_news_before_a_grant(body);
    let mut said = bench.links[&(n(2), n(3))].iter();
    assert!(said.any(|message| message.body == Body::Fetched { seq }), "the slot may go");
    bench.settle();
    bench.put(n(2), 2, key, Hold::Exclusive);
    bench.settle();
    assert!(bench.is_quiet());
}

/// Node 3 hands over to node 2, which never hears of it, for the home ends and begins again. In its next life node 2 changes the object,
/// and dies with it.
#[test]
fn what_was_kept_for_a_life_of_the_home_that_is_over_is_no_ones_any_more() {
    let (mut bench, key) = (Bench::new(3, 8, 0), object(false, 1));
    let slow = Some((n(3), n(2)));
    bench.own(n(3), key);
    bench.begin(n(2), 1, key, hold(Hold::Exclusive));
    bench.settle_but(slow);
    assert!(matches!(bench.links[&(n(3), n(2))].front().map(|it| &it.body), Some(Body::Hand { .. })));
    bench.dies(n(1));
    assert_eq!(bench.ended.remove(&OpId(1)), Some(Err(OpError::PeerLost(n(1)))));
    let members = [n(1), n(2), n(3)];
    bench.begin_life(n(1), &members, Loss::Local, 8, 0, Incarnation(2));
    for peer in [n(2), n(3)] {
        bench.input(n(1), Input::PeerUp(peer, Incarnation(1)));
        bench.input(peer, Input::PeerUp(n(1), Incarnation(2)));
    }
    bench.begin(n(2), 2, key, hold(Hold::Exclusive));
    bench.settle_but(slow);
    bench.put(n(2), 2, key, Hold::Exclusive);
    bench.settle_but(slow);
    bench.dies(n(2));
    bench.begin(n(1), 3, key, hold(Hold::Shared));
    bench.settle();
    assert_eq!(bench.ended.remove(&OpId(3)), Some(Err(OpError::Lost)), "not what node 3 had before");
    assert!(bench.is_quiet());
}
