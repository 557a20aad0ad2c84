//! The events of several nodes in one order, in which nothing comes before its cause.
//!
//! The events of a node have an order. A message is received after it was sent; which sending a receipt belongs to is known by what both
//! say of it and, of several that say the same, by their order, since messages between two nodes do not overtake each other. Whatever
//! that leaves open is decided by the clock.

use kddm_cluster::admin::TraceEvent;
use std::collections::{BTreeMap, HashMap, VecDeque};

/// An event, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The node.
    pub node: u8,
    /// What happened there.
    pub event: TraceEvent,
}

/// Puts events in order.
#[derive(Default)]
pub struct Merger {
    waiting: BTreeMap<u8, VecDeque<TraceEvent>>,
    /// How many more of a message's sendings than of its receipts were taken.
    under_way: HashMap<Saying, i64>,
    horizon: u64,
}

/// What sender and receiver of a message both know.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Saying {
    from: u8,
    to: u8,
    message: Option<String>,
    seq: Option<u32>,
    rid: Option<u32>,
    detail: String,
}

impl Merger {
    /// What happened on `node`, in order, after what was added before.
    pub fn add(&mut self, node: u8, events: Vec<TraceEvent>) {
        self.waiting.entry(node).or_default().extend(events);
    }

    /// Everything that happened before this time has been added, of all nodes.
    pub fn known_until(&mut self, time: u64) {
        self.horizon = time;
    }

    /// The events whose place is known, in order.
    pub fn take(&mut self) -> Vec<Placed> {
        std::iter::from_fn(|| self.next()).collect()
    }

    fn next(&mut self) -> Option<Placed> {
        let heads = self.waiting.iter().filter_map(|(node, events)| Some((*node, events.front()?)));
        let known = heads.filter(|(_, event)| event.at <= self.horizon);
        let first = known.min_by_key(|(node, event)| (self.is_early(*node, event), event.at, *node));
        let node = first.map(|(node, _)| node)?;
        let event = self.waiting.get_mut(&node)?.pop_front()?;
        match Saying::of(node, &event) {
            Some(saying) if event.what == "sent" => *self.under_way.entry(saying).or_default() += 1,
            Some(saying) => *self.under_way.entry(saying).or_default() -= 1,
            None => {}
        }
        Some(Placed { node, event })
    }

    /// Whether it is the receipt of a message whose sending has yet to be taken.
    fn is_early(&self, node: u8, event: &TraceEvent) -> bool {
        let Some(saying) = Saying::of(node, event).filter(|_| event.what == "received") else { return false };
        let taken = self.under_way.get(&saying).is_some_and(|count| *count > 0);
        let of_sender = self.waiting.get(&saying.from).into_iter().flatten();
        let mut sendings = of_sender.filter(|event| event.what == "sent");
        !taken && sendings.any(|event| Saying::of(saying.from, event).as_ref() == Some(&saying))
    }
}

impl Saying {
    fn of(node: u8, event: &TraceEvent) -> Option<Saying> {
        let peer = event.peer?;
        let (from, to) = match event.what.as_str() {
            "sent" => (node, peer),
            "received" => (peer, node),
            _ => return None,
        };
        let TraceEvent { message, seq, rid, detail, .. } = event.clone();
        Some(Saying { from, to, message, seq, rid, detail })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: u64, at: u64, what: &str, peer: u8, message: &str) -> TraceEvent {
        let message = (!message.is_empty()).then(|| message.to_owned());
        let (peer, detail) = ((peer != 0).then_some(peer), String::new());
        TraceEvent { number, at, what: what.to_owned(), peer, message, seq: Some(7), rid: None, detail }
    }

    fn order(merger: &mut Merger) -> Vec<(u8, u64)> {
        merger.take().into_iter().map(|placed| (placed.node, placed.event.number)).collect()
    }

    #[test]
    fn a_receipt_comes_after_its_sending_whatever_the_clocks_say() {
        let mut merger = Merger::default();
        merger.add(1, vec![event(1, 10, "received", 2, "REQ"), event(2, 11, "sent", 2, "GRANT")]);
        merger.add(2, vec![event(1, 12, "sent", 1, "REQ"), event(2, 13, "received", 1, "GRANT")]);
        merger.known_until(99);
        assert_eq!(order(&mut merger), [(2, 1), (1, 1), (1, 2), (2, 2)]);
    }

    #[test]
    fn equal_messages_are_told_apart_by_their_order() {
        let mut merger = Merger::default();
        merger.add(1, vec![event(1, 1, "sent", 2, "ACK"), event(2, 30, "sent", 2, "ACK")]);
        merger.add(2, vec![event(1, 5, "received", 1, "ACK"), event(2, 6, "received", 1, "ACK")]);
        merger.known_until(99);
        assert_eq!(order(&mut merger), [(1, 1), (2, 1), (1, 2), (2, 2)]);
    }

    #[test]
    fn what_may_still_have_a_cause_waits() {
        let mut merger = Merger::default();
        merger.add(2, vec![event(1, 20, "received", 1, "INV")]);
        merger.known_until(10);
        assert_eq!(order(&mut merger), []);
        merger.add(1, vec![event(1, 19, "sent", 2, "INV")]);
        merger.known_until(25);
        assert_eq!(order(&mut merger), [(1, 1), (2, 1)]);
    }

    #[test]
    fn a_sender_that_is_not_traced_keeps_nobody_waiting() {
        let mut merger = Merger::default();
        merger.add(1, vec![event(1, 1, "received", 9, "REQ"), event(2, 2, "asked", 0, "")]);
        merger.add(2, vec![event(1, 1, "put", 0, "")]);
        merger.known_until(5);
        assert_eq!(order(&mut merger), [(1, 1), (2, 1), (1, 2)]);
    }
}
