//! What is shown, of all nodes together.

use crate::object::set_name;
use kddm_cluster::admin::{Holder, SetUse, Times, Top, Weight};
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};

/// All of it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Seconds that it is about; none: since the servers started.
    pub seconds: Option<f64>,
    pub nodes: Vec<Node>,
    pub sets: Vec<Set>,
    pub outcomes: Vec<Outcome>,
    pub hottest: Vec<Object>,
    pub contended: Vec<Object>,
}

/// A node.
#[derive(Clone, Debug, Serialize)]
pub struct Node {
    pub node: u8,
    pub hits: u64,
    pub misses: u64,
    /// Of all gets and grabs, 0 to 1.
    pub hit_ratio: Option<f64>,
    pub shared_holds: u64,
    pub exclusive_holds: u64,
    pub waiting: u64,
}

/// A set, or all sets of a kind.
#[derive(Clone, Debug, Serialize)]
pub struct Set {
    pub name: String,
    pub set: Option<u64>,
    pub hits: u64,
    pub misses: u64,
    pub failed: u64,
    pub hit_ratio: Option<f64>,
    #[serde(flatten)]
    pub latency: Latency,
}

/// Operations that ended in one way.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    pub operation: String,
    pub outcome: String,
    pub count: u64,
    #[serde(flatten)]
    pub latency: Latency,
}

/// How long something took, in microseconds: upper bounds, less than twice too long.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Latency {
    pub p50_us: Option<u64>,
    pub p99_us: Option<u64>,
}

/// An object.
#[derive(Clone, Debug, Serialize)]
pub struct Object {
    pub set: u64,
    pub name: String,
    pub object: u32,
    pub weight: u64,
    pub home: Option<u8>,
    pub holds: Vec<Hold>,
    pub waits: Vec<Wait>,
}

/// Who holds it.
#[derive(Clone, Debug, Serialize)]
pub struct Hold {
    pub node: u8,
    pub readers: u32,
    pub writer: bool,
}

/// Who waits for it.
#[derive(Clone, Debug, Serialize)]
pub struct Wait {
    pub node: u8,
    pub operations: u32,
}

/// What the nodes say, put together; objects lack who holds them.
pub fn report(tops: &[Top], objects: usize) -> Report {
    Report {
        seconds: None,
        nodes: tops.iter().map(node).collect(),
        sets: sets(tops),
        outcomes: outcomes(tops),
        hottest: heaviest(tops, |top| &top.hottest, objects),
        contended: heaviest(tops, |top| &top.contended, objects),
    }
}

impl Object {
    /// What `node` has to do with it.
    pub fn note(&mut self, node: u8, holder: &Holder) {
        if holder.home {
            self.home = Some(node);
        }
        if holder.readers > 0 || holder.writer {
            self.holds.push(Hold { node, readers: holder.readers, writer: holder.writer });
        }
        if holder.waiting > 0 {
            self.waits.push(Wait { node, operations: holder.waiting });
        }
    }
}

impl Latency {
    fn of(times: &Times) -> Latency {
        let micros = |quantile| times.quantile(quantile).map(|time: Duration| time.as_micros() as u64);
        Latency { p50_us: micros(0.5), p99_us: micros(0.99) }
    }
}

fn node(top: &Top) -> Node {
    let holds = |operation: &str| operation == "get" || operation == "grab";
    let missed =
        top.operations.iter().filter(|ended| holds(&ended.operation)).map(|ended| ended.times.count());
    let (hits, misses) = (top.get_hits + top.grab_hits, missed.sum());
    Node {
        node: top.node,
        hits,
        misses,
        hit_ratio: ratio(hits, misses),
        shared_holds: top.shared_holds,
        exclusive_holds: top.exclusive_holds,
        waiting: top.waiting,
    }
}

/// Kinds first, then the sets that were used most.
fn sets(tops: &[Top]) -> Vec<Set> {
    let mut sums: BTreeMap<(Option<u64>, &str), SetUse> = BTreeMap::new();
    for used in tops.iter().flat_map(|top| &top.sets) {
        match sums.get_mut(&(used.set, used.kind.as_str())) {
            Some(sum) => add(sum, used),
            None => drop(sums.insert((used.set, &used.kind), used.clone())),
        }
    }
    let mut sets: Vec<Set> = sums.into_values().map(|used| set(&used)).collect();
    sets.sort_by_key(|set| (set.set.is_some(), std::cmp::Reverse(set.hits + set.misses)));
    sets
}

fn add(sum: &mut SetUse, used: &SetUse) {
    sum.hits += used.hits;
    sum.misses += used.misses;
    sum.failed += used.failed;
    if let Some(times) = &used.times {
        sum.times.get_or_insert_default().add(times);
    }
}

fn set(used: &SetUse) -> Set {
    Set {
        name: used.set.map_or_else(|| format!("all {}", used.kind), set_name),
        set: used.set,
        hits: used.hits,
        misses: used.misses,
        failed: used.failed,
        hit_ratio: ratio(used.hits, used.misses),
        latency: used.times.as_ref().map(Latency::of).unwrap_or_default(),
    }
}

fn outcomes(tops: &[Top]) -> Vec<Outcome> {
    let mut sums: BTreeMap<(&str, &str), Times> = BTreeMap::new();
    for ended in tops.iter().flat_map(|top| &top.operations) {
        sums.entry((&ended.operation, &ended.outcome)).or_default().add(&ended.times);
    }
    let hits = |of: fn(&Top) -> u64| tops.iter().map(of).sum::<u64>();
    let hits = [("get", hits(|top| top.get_hits)), ("grab", hits(|top| top.grab_hits))];
    let hits = hits.map(|(operation, count)| Outcome {
        operation: operation.to_owned(),
        outcome: "hit".to_owned(),
        count,
        latency: Latency::default(),
    });
    let others = sums.into_iter().map(|((operation, outcome), times)| Outcome {
        operation: operation.to_owned(),
        outcome: outcome.to_owned(),
        count: times.count(),
        latency: Latency::of(&times),
    });
    let mut all: Vec<Outcome> = hits.into_iter().chain(others).filter(|outcome| outcome.count > 0).collect();
    all.sort_by_key(|outcome| (outcome.operation.clone(), std::cmp::Reverse(outcome.count)));
    all
}

fn heaviest(tops: &[Top], of: impl Fn(&Top) -> &Vec<Weight>, count: usize) -> Vec<Object> {
    let mut sums: BTreeMap<(u64, u32), u64> = BTreeMap::new();
    for weight in tops.iter().flat_map(of) {
        *sums.entry((weight.set, weight.object)).or_default() += weight.weight;
    }
    let object = |((set, object), weight)| Object {
        set,
        name: set_name(set),
        object,
        weight,
        home: None,
        holds: Vec::new(),
        waits: Vec::new(),
    };
    let mut objects: Vec<Object> = sums.into_iter().map(object).collect();
    objects.sort_by_key(|object| std::cmp::Reverse(object.weight));
    objects.truncate(count);
    objects
}

fn ratio(hits: u64, misses: u64) -> Option<f64> {
    (hits + misses > 0).then(|| hits as f64 / (hits + misses) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn top(node: u8, hits: u64, hot: &[(u32, u64)]) -> Top {
        let weight = |&(object, weight): &(u32, u64)| Weight { set: 7, object, weight };
        let times = Times { counts: vec![0, 0, hits], nanos: 0 };
        let ended = |operation: &str| kddm_cluster::admin::Ended {
            operation: operation.to_owned(),
            outcome: "home".to_owned(),
            times: times.clone(),
        };
        Top {
            node,
            get_hits: hits,
            grab_hits: 0,
            operations: vec![ended("get"), ended("sync")],
            sets: Vec::new(),
            hottest: hot.iter().map(weight).collect(),
            contended: Vec::new(),
            waiting: 0,
            shared_holds: 0,
            exclusive_holds: 0,
        }
    }

    #[test]
    fn nodes_are_put_together() {
        let report = report(&[top(1, 10, &[(1, 5), (2, 4)]), top(2, 30, &[(2, 3), (3, 1)])], 2);
        assert_eq!(
            report.nodes.iter().map(|node| node.hit_ratio).collect::<Vec<_>>(),
            [Some(0.5), Some(0.5)]
        );
        let hottest: Vec<_> = report.hottest.iter().map(|object| (object.object, object.weight)).collect();
        assert_eq!(hottest, [(2, 7), (1, 5)]);
        let gets: Vec<_> = report
            .outcomes
            .iter()
            .filter(|outcome| outcome.operation == "get")
            .map(|outcome| outcome.count)
            .collect();
        assert_eq!(gets, [40, 40], "hits and those from a home");
        assert_eq!(
            report.outcomes.iter().find(|outcome| outcome.outcome == "home").unwrap().latency.p50_us,
            Some(4)
        );
    }
}
