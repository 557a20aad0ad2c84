//! What an operation cannot do without: messages and READs in their order, with no protocol above them.
//!
//! A [`Walk`] begins at the requester, goes from node to node with each message, may fork and join, and ends where it began: a
//! get whose home and owner are two other nodes is *message to the home, message back, READ from the owner*. A [`Program`] is the same
//! for machines: acts, and which follow which. It is all that a floor has to know, on every node alike.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A node's place in the list of addresses, from 0.
pub type Rank = u8;

/// Steps one after the other. It is at one node at a time, but in forks.
pub type Walk = Vec<Step>;

/// A step of a walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A message of so many bytes goes to that node, and the walk with it.
    Message(Rank, u32),
    /// The node where the walk is READs so many bytes from that one, and goes on when they are there.
    Read(Rank, u32),
    /// A walk that begins here, and that nobody waits for.
    Aside(Walk),
    /// Walks that begin here together. All end at one node, and there the walk goes on when the last of them has come.
    All(Vec<Walk>),
}

/// What a node does: here, as soon as so many others are done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// The node that does it.
    pub at: Rank,
    /// What.
    pub what: What,
    /// How many acts it follows.
    pub after: u32,
    /// The acts that follow it: they are done where it ends. The number of all acts stands for the end of the walk.
    pub then: Vec<usize>,
}

/// What is done in an act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// A message to a node, of so many bytes; ends when it has come.
    Send(Rank, u32),
    /// A READ of so many bytes of a node's memory; ends when they have landed.
    Read(Rank, u32),
}

/// A walk as acts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Tells it from others: what nobody waits for may arrive when the next is under way.
    pub number: u32,
    /// Where it begins and ends.
    pub start: Rank,
    /// All acts.
    pub acts: Vec<Act>,
    /// Those with which it begins.
    pub first: Vec<usize>,
    /// How many acts its end follows.
    pub ends: u32,
}

impl Program {
    /// The acts of a walk from `start`. Steps from a node to itself are none.
    ///
    /// # Errors
    /// If walks that should join end at different nodes, or the whole does not come back.
    pub fn of(walk: &Walk, start: Rank) -> Result<Program> {
        let mut program = Program { number: 0, start, acts: Vec::new(), first: Vec::new(), ends: 0 };
        let (end, last) = program.lay(walk, start, Vec::new())?;
        ensure!(end == start, "the walk ends at rank {end}, not at rank {start} where it began");
        program.ends = last.len() as u32;
        let end = program.acts.len();
        last.into_iter().for_each(|act| program.acts[act].then.push(end));
        Ok(program)
    }

    /// Nothing is to be done: there is no floor.
    pub fn is_empty(&self) -> bool {
        self.acts.is_empty()
    }

    /// The nodes that have a part in it, beside the one where it begins.
    pub fn others(&self) -> Vec<Rank> {
        let partners = self.acts.iter().flat_map(|act| {
            let (What::Send(partner, _) | What::Read(partner, _)) = act.what;
            [act.at, partner]
        });
        partners.filter(|&rank| rank != self.start).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Adds the acts of `walk`, which begins at `at` after the acts `last`; where it ends, and after which.
    fn lay(&mut self, walk: &Walk, mut at: Rank, mut last: Vec<usize>) -> Result<(Rank, Vec<usize>)> {
        for step in walk {
            let (what, next) = match step {
                Step::Message(to, bytes) => (What::Send(*to, *bytes), *to),
                Step::Read(from, bytes) => (What::Read(*from, *bytes), at),
                Step::All(walks) => {
                    (at, last) = self.fork(walks, at, &last)?;
                    continue;
                }
                Step::Aside(walk) => {
                    self.lay(walk, at, last.clone())?;
                    continue;
                }
            };
            let (What::Send(partner, _) | What::Read(partner, _)) = what;
            if partner != at {
                let act = self.acts.len();
                self.acts.push(Act { at, what, after: last.len() as u32, then: Vec::new() });
                if last.is_empty() {
                    self.first.push(act);
                }
                last.iter().for_each(|&before| self.acts[before].then.push(act));
                last = vec![act];
            }
            at = next;
        }
        Ok((at, last))
    }

    fn fork(&mut self, walks: &[Walk], at: Rank, last: &[usize]) -> Result<(Rank, Vec<usize>)> {
        let mut joined: Option<Rank> = None;
        let mut ends = BTreeSet::new();
        for walk in walks {
            let (end, after) = self.lay(walk, at, last.to_vec())?;
            let meets = *joined.get_or_insert(end);
            ensure!(meets == end, "walks that should join end at ranks {meets} and {end}");
            ends.extend(after);
        }
        Ok((joined.unwrap_or(at), if walks.is_empty() { last.to_vec() } else { ends.into_iter().collect() }))
    }
}

#[cfg(test)]
mod tests {
    use super::Step::{All, Message, Read};
    use super::*;

    #[test]
    fn a_get_is_three_acts_in_a_row() {
        let get = Program::of(&vec![Message(2, 68), Message(0, 96), Read(1, 4096)], 0).unwrap();
        let what: Vec<_> = get.acts.iter().map(|act| (act.at, act.what, act.after)).collect();
        assert_eq!(what, [(0, What::Send(2, 68), 0), (2, What::Send(0, 96), 1), (0, What::Read(1, 4096), 1)]);
        assert_eq!((get.first.as_slice(), get.ends, get.acts[2].then.as_slice()), (&[0][..], 1, &[3][..]));
        assert_eq!(get.others(), [1, 2]);
    }

    #[test]
    fn a_grab_forks_at_its_home_and_joins_at_its_requester() {
        let ack = |sharer| vec![Message(sharer, 60), Message(0, 64)];
        let walk = vec![Message(2, 68), All(vec![vec![Message(0, 96), Read(1, 4096)], ack(1), ack(3)])];
        let grab = Program::of(&walk, 0).unwrap();
        assert_eq!((grab.acts.len(), grab.ends), (7, 3));
        assert_eq!(grab.acts[0].then.len(), 3, "{grab:?}");
    }

    #[test]
    fn the_home_gathers_before_it_goes_on() {
        let round = |sharer| vec![Message(sharer, 60), Message(2, 64)];
        let remove = vec![Message(2, 68), All(vec![round(1), round(3)]), Message(0, 44)];
        let remove = Program::of(&remove, 0).unwrap();
        assert_eq!((remove.acts.last().unwrap().after, remove.ends), (2, 1));
    }

    #[test]
    fn steps_to_oneself_are_none_and_walks_must_come_back() {
        let local = Program::of(&vec![Message(0, 68), Message(0, 96)], 0).unwrap();
        assert!(local.is_empty() && local.others().is_empty());
        assert!(Program::of(&vec![Message(1, 68)], 0).unwrap_err().to_string().contains("rank 1"));
        let apart = vec![All(vec![vec![Message(1, 1)], vec![Message(2, 1)]])];
        assert!(Program::of(&apart, 0).unwrap_err().to_string().contains("join"));
    }
}
