//! Who is busy with what.

use crate::Server;
use kddm_cluster::admin::{Ended, Holder, SetUse, Times, Top, Weight};
use kddm_object::{Mode, ObjectKey, SetId};
use kddm_rdma::figures::{Distribution, Figures, OperationKind, Outcome, Weighed};

/// Objects of each list.
const OBJECTS: usize = 32;

pub fn top(server: &Server) -> Top {
    let figures = server.node().figures();
    let holds = server.arena().holds();
    Top {
        node: server.node().me().get(),
        get_hits: figures.hits[0],
        grab_hits: figures.hits[1],
        operations: operations(&figures),
        sets: sets(&figures),
        hottest: weights(&figures.hottest),
        contended: weights(&figures.contended),
        waiting: figures.waiting as u64,
        shared_holds: holds.shared,
        exclusive_holds: holds.exclusive,
    }
}

/// What this node has to do with each of the objects.
pub fn holders(server: &Server, objects: &[(u64, u32)]) -> Vec<Holder> {
    let me = server.node().me();
    let about = |&(set, object): &(u64, u32)| {
        let key = ObjectKey::new(SetId(set), object);
        let dump = server.node().dump(key);
        let mode = match dump.word.map(|word| word.mode()) {
            None | Some(Mode::None) => "none",
            Some(Mode::Shared) => "shared",
            Some(Mode::Exclusive) => "exclusive",
        };
        Holder {
            set,
            object,
            mode: mode.to_owned(),
            home: dump.home == Some(me),
            readers: dump.word.map_or(0, |word| word.readers()),
            writer: dump.word.is_some_and(|word| word.writer()),
            waiting: dump.waiting,
        }
    };
    objects.iter().map(about).collect()
}

fn operations(figures: &Figures) -> Vec<Ended> {
    let all =
        OperationKind::ALL.iter().flat_map(|kind| Outcome::ALL.iter().map(move |outcome| (*kind, *outcome)));
    let ended = all.map(|(kind, outcome)| Ended {
        operation: kind.name().to_owned(),
        outcome: outcome.name().to_owned(),
        times: times(&figures.times(kind, outcome)),
    });
    ended.filter(|ended| ended.times.count() > 0).collect()
}

fn sets(figures: &Figures) -> Vec<SetUse> {
    let kinds = figures.families.iter().map(|family| SetUse {
        set: None,
        kind: family.name.clone(),
        hits: family.hits,
        misses: family.misses(),
        failed: family.failed(),
        times: None,
    });
    let name = |set: SetId| {
        let family = figures.families.iter().find(|family| family.kind == set.kind());
        family.map_or_else(|| format!("kind {}", set.kind()), |family| family.name.clone())
    };
    let sets = figures.sets.iter().map(|used| SetUse {
        set: Some(used.set.0),
        kind: name(used.set),
        hits: used.hits,
        misses: used.misses.times.count(),
        failed: used.misses.failed,
        times: Some(times(&used.misses.times)),
    });
    kinds.chain(sets).filter(|used| used.hits + used.misses > 0).collect()
}

fn weights(heaviest: &[Weighed<ObjectKey>]) -> Vec<Weight> {
    let known = heaviest.iter().take(OBJECTS);
    known.map(|of| Weight { set: of.key.set.0, object: of.key.object, weight: of.weight }).collect()
}

fn times(times: &Distribution) -> Times {
    Times { counts: times.counts.to_vec(), nanos: times.nanos }
}
