//! The nodes: their lives, one after the other.

use crate::device::Linker;
use crate::executor::Life;
use crate::host::{NoDisk, SimHost};
use crate::program::Program;
use crate::sets;
use crate::transport::Recorded;
use crate::world::World;
use fastrand::Rng;
use kddm_history::Who;
use kddm_object::limits::SLAB_MIN;
use kddm_rdma::{Arena, ArenaConfig, Incarnation, Loss, Node, NodeConfig, NodeId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A node that lives.
pub struct Alive {
    /// Its life.
    pub life: Life,
    /// The same for its peers.
    pub incarnation: Incarnation,
    /// The node.
    pub node: Node,
    /// Its memory.
    pub arena: Arc<Arena>,
    /// Told when it ends.
    dead: Arc<AtomicBool>,
}

/// All nodes.
pub struct Cluster {
    world: Arc<World>,
    rng: Rng,
    alive: BTreeMap<NodeId, Alive>,
    lives: u32,
}

impl Cluster {
    /// All members, in their first lives.
    pub fn start(world: Arc<World>, rng: Rng) -> Cluster {
        let members = world.plan.members.clone();
        let mut cluster = Cluster { world, rng, alive: BTreeMap::new(), lives: 0 };
        members.into_iter().for_each(|node| cluster.begin(node));
        cluster
    }

    /// A node begins a life.
    pub fn begin(&mut self, id: NodeId) {
        self.lives += 1;
        let life = Life(self.lives);
        let world = &self.world;
        let plan = &world.plan;
        let arena = ArenaConfig { bytes: plan.arena, slab_bytes: SLAB_MIN };
        let arena = Arc::new(Arena::new(arena).expect("the kernel gives a few hundred KiB"));
        let incarnation = Incarnation::of_start(self.lives.into()).expect("not so many lives");
        let transport = Recorded {
            inner: world.network.attach(id, incarnation, arena.clone()),
            me: id,
            executor: world.executor.clone(),
            log: world.log.clone(),
            lets_return: plan.unsound_returns,
        };
        let host = SimHost::new(world.executor.clone(), life, plan.device, self.rng.fork(), Arc::new(NoDisk));
        let dead = Arc::new(AtomicBool::new(false));
        let families = sets::families(|jobs| Linker {
            device: world.device(id).clone(),
            jobs,
            dead: dead.clone(),
            findings: world.findings.clone(),
            modes: Default::default(),
        });
        let config = NodeConfig {
            me: id,
            incarnation,
            members: plan.members.clone(),
            loss: if plan.views.is_some() { Loss::Agreed } else { Loss::Local },
            inline_max: plan.inline_max,
            speculate: true,
            unsound_keep_copies: plan.unsound_keep_copies,
        };
        let node = Node::start(config, Box::new(transport), arena.clone(), Arc::new(host), families)
            .expect("a member of its own list, with families of different kinds");
        world.log.note(world.executor.now(), id.get(), "begins", || format!("begins life {}", life.0));
        world.ledger.lock().begins(id);
        self.alive.insert(id, Alive { life, incarnation, node, arena, dead });
    }

    /// A process ends. Of its jobs some had done their work already, though nobody hears of it.
    pub fn end(&mut self, id: NodeId) {
        let Some(Alive { life, node, dead, .. }) = self.alive.remove(&id) else { return };
        let world = &self.world;
        world.log.note(world.executor.now(), id.get(), "ends", || "its process ends");
        let counts = node.status();
        world.coverage.add("eviction", counts.counts.evictions);
        world.network.kill(id);
        let (tasks, jobs) = world.executor.kill(life);
        for job in jobs {
            if self.rng.bool() {
                world.coverage.count("job done though its node died");
                job();
            }
        }
        dead.store(true, Ordering::Relaxed);
        drop(tasks);
        drop(node);
        // What that left to do is done for nobody.
        drop(world.executor.kill(life));
    }

    /// A node leaves in good order: first the node, so that nothing gets out of what its programs leave unfinished, not to the
    /// device either.
    pub fn leave(&mut self, id: NodeId) {
        let Some(alive) = self.alive.get(&id) else { return };
        alive.node.shutdown();
        alive.dead.store(true, Ordering::Relaxed);
        drop(self.world.executor.end_programs(alive.life));
    }

    /// The living, by id.
    pub fn alive(&self) -> impl Iterator<Item = (NodeId, &Alive)> {
        self.alive.iter().map(|(&id, alive)| (id, alive))
    }

    /// A node, if it lives.
    pub fn get(&self, id: NodeId) -> Option<&Alive> {
        self.alive.get(&id)
    }

    /// Those that do not live.
    pub fn away(&self) -> Vec<NodeId> {
        self.world.plan.members.iter().copied().filter(|id| !self.alive.contains_key(id)).collect()
    }

    /// The threads of a node begin.
    pub fn begin_programs(&mut self, id: NodeId, operations: u32) {
        let threads = self.world.plan.threads;
        for thread in 0..threads {
            let program = self.program(id, thread);
            if let Some((life, program)) = program {
                self.world.executor.spawn(life, true, Box::pin(program.run(operations)));
            }
        }
    }

    /// One thread of each node looks at all objects.
    pub fn look_at_all(&mut self) {
        let ids: Vec<NodeId> = self.alive.keys().copied().collect();
        for id in ids {
            if let Some((life, program)) = self.program(id, 0) {
                self.world.executor.spawn(life, true, Box::pin(program.look_at_all()));
            }
        }
    }

    fn program(&mut self, id: NodeId, thread: u8) -> Option<(Life, Program)> {
        let alive = self.alive.get(&id)?;
        let who = Who { node: id.get(), thread };
        let (world, node) = (self.world.clone(), alive.node.clone());
        Some((alive.life, Program { world, node, who, rng: self.rng.fork() }))
    }
}
