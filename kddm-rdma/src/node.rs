//! The public face of a node.

use crate::{
    Host, NodeError, NodeStatus, ObjectDump, OpError, Options, SetFamily, Transport,
    engine::Engine,
    family::Families,
    figures::Figures,
    inner::Inner,
    membership::Lease,
    registry::{Registered, Registry},
    trace::Trace,
    waiting::{Acquire, Operate},
};
use kddm_coherence::{Asked, Config, Core, Input, Loss};
use kddm_memory::{Arena, Exclusive, Miss, Shared};
use kddm_object::{FirstTouch, Hold, Incarnation, Mode, NodeId, ObjectKey, Refused, SetId};
use std::{sync::Arc, time::Duration};

/// What a node is told at birth.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// This node.
    pub me: NodeId,
    /// This life of it: larger than any before.
    pub incarnation: Incarnation,
    /// The members of the cluster, this node among them.
    pub members: Vec<NodeId>,
    /// How the loss of nodes is dealt with. With agreed views the members of the cluster are those of the view
    /// ([`Node::membership`]), and nothing is done before the first.
    pub loss: Loss,
    /// Objects up to this size ride in messages; at most [`kddm_object::limits::INLINE_MAX`].
    pub inline_max: u32,
    /// Post READs beside requests, where the object was last, when that pays.
    pub speculate: bool,
    /// UNSOUND, for showing that a test sees stale bytes: acknowledge invalidations without dropping the copy.
    pub unsound_keep_copies: bool,
}

/// A node: coherent objects, shared with the other nodes of the cluster.
///
/// Clones are the same node. It ends with [`Node::shutdown`], or when the last clone goes; guards may outlive it.
///
/// All operations are futures without a runtime's types: any executor can poll them, and one that waits occupies no
/// thread. A future that is dropped gives up: nothing stays held.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
    /// Beside `inner`, not around it: a hit follows one pointer less.
    _running: Arc<Running>,
}

/// Ends the node with the last clone.
struct Running(Arc<Inner>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.shutdown();
    }
}

impl Node {
    /// Starts a node. With a fabric that has a descriptor to sleep on, it gets a thread of its own; otherwise somebody
    /// has to call [`Node::drive`].
    ///
    /// # Errors
    /// See [`NodeError`].
    pub fn start(
        config: NodeConfig,
        transport: Box<dyn Transport>,
        arena: Arc<Arena>,
        host: Arc<dyn Host>,
        families: Vec<Arc<dyn SetFamily>>,
    ) -> Result<Node, NodeError> {
        let mut members = config.members;
        members.sort_unstable();
        members.dedup();
        let (Some(&registrar), true) = (members.first(), members.contains(&config.me)) else {
            return Err(NodeError::NotAMember(config.me));
        };
        let own: [Arc<dyn SetFamily>; 2] =
            [Arc::new(Registry::at(registrar)), Arc::new(Registered::among(&families))];
        let families = Families::new(own.into_iter().chain(families)).map_err(NodeError::KindTaken)?;
        arena.begin_life(config.incarnation);
        let core = Core::new(Config {
            me: config.me,
            incarnation: config.incarnation,
            members: members.clone(),
            loss: config.loss,
            inline_max: config.inline_max,
            hints: if config.speculate { hints(&arena) } else { 0 },
            eager: false,
            unsound_keep_copies: config.unsound_keep_copies,
        });
        let engine = Engine::new(config.me, core, transport);
        let lease = Lease::of(config.loss);
        let inner = Inner::start(config.me, members, lease, engine, arena, host, families)?;
        Ok(Node { _running: Arc::new(Running(inner.clone())), inner })
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    /// This node's id.
    pub fn me(&self) -> NodeId {
        self.inner.me
    }

    /// The world around it.
    pub fn host(&self) -> &Arc<dyn Host> {
        &self.inner.host
    }

    /// Takes a shared hold: until it is put (dropped), nobody changes the object, anywhere.
    #[inline(always)]
    pub fn get(&self, key: ObjectKey) -> impl Future<Output = Result<Shared, OpError>> + Send + '_ {
        self.get_with(key, Options::default())
    }

    /// Takes an exclusive hold: until it is put (dropped), nobody else has any hold on the object, anywhere.
    #[inline(always)]
    pub fn grab(&self, key: ObjectKey) -> impl Future<Output = Result<Exclusive, OpError>> + Send + '_ {
        self.grab_with(key, Options::default())
    }

    /// [`Node::get`], with options.
    #[inline(always)]
    pub fn get_with(
        &self,
        key: ObjectKey,
        options: Options,
    ) -> impl Future<Output = Result<Shared, OpError>> + Send + '_ {
        Acquire::new(&self.inner, key, options, false)
    }

    /// [`Node::grab`], with options.
    #[inline(always)]
    pub fn grab_with(
        &self,
        key: ObjectKey,
        options: Options,
    ) -> impl Future<Output = Result<Exclusive, OpError>> + Send + '_ {
        Acquire::new(&self.inner, key, options, false)
    }

    /// A get that fails with [`OpError::WouldBlock`] where it would have to wait for somebody's hold, or for a request that
    /// the object's home is busy with, and then has changed nothing.
    pub fn try_get(
        &self,
        key: ObjectKey,
        options: Options,
    ) -> impl Future<Output = Result<Shared, OpError>> + Send + '_ {
        Acquire::new(&self.inner, key, options, true)
    }

    /// A grab that fails with [`OpError::WouldBlock`] where it would have to wait for somebody's hold, or for a request that
    /// the object's home is busy with, and then has changed nothing.
    pub fn try_grab(
        &self,
        key: ObjectKey,
        options: Options,
    ) -> impl Future<Output = Result<Exclusive, OpError>> + Send + '_ {
        Acquire::new(&self.inner, key, options, true)
    }

    /// Begins to bring copies here, all of them in flight together, so that gets hit later. Nothing is held, and what
    /// cannot be had is silently left.
    pub fn prefetch(&self, keys: impl IntoIterator<Item = ObjectKey>) {
        self.bring::<Shared>(keys, FirstTouch::Refuse);
    }

    /// The same for holds of that kind.
    pub(crate) fn bring<G: Guard>(&self, keys: impl IntoIterator<Item = ObjectKey>, first_touch: FirstTouch) {
        let node = &self.inner;
        let hits = |key| {
            let word = node.arena.lookup(key).map(|slot| node.arena.load(slot));
            word.is_some_and(|word| word.grant(G::HOLD) != Err(Refused::Mode))
        };
        node.enter(|engine| {
            for key in keys {
                if !hits(key) {
                    engine.begin_detached(node, key, Asked::Prefetch { hold: G::HOLD, first_touch });
                }
            }
        });
    }

    /// Ends the object: on every node, and on the device. Waits for all holds; whoever comes later finds it untouched.
    pub fn remove(&self, key: ObjectKey) -> impl Future<Output = Result<(), OpError>> + Send + '_ {
        Operate::new(&self.inner, key, Asked::Remove)
    }

    /// Writes everything put so far to the device of the object's home. Volatile objects have none: nothing is done.
    pub fn sync(&self, key: ObjectKey) -> impl Future<Output = Result<(), OpError>> + Send + '_ {
        Operate::new(&self.inner, key, Asked::Sync)
    }

    /// Drops this node's copy, unless it is held or the last.
    pub fn flush(&self, key: ObjectKey) -> impl Future<Output = Result<(), OpError>> + Send + '_ {
        Operate::new(&self.inner, key, Asked::Flush)
    }

    /// Says that the caller, who holds the object shared at its home, has written its bytes to the device.
    pub fn cleaned(&self, guard: &Shared) {
        let node = &self.inner;
        node.enter(|engine| engine.input(node, Input::Cleaned(guard.key())));
    }

    /// The objects homed here that differ, or may differ, from what the device has.
    pub fn dirty(&self) -> Vec<ObjectKey> {
        self.inner.enter(|engine| engine.dirty())
    }

    /// Those of `keys`, which have their home here, that some node may have: no other was touched since this node started,
    /// or its last copy has gone.
    pub fn known(&self, keys: impl IntoIterator<Item = ObjectKey>) -> Vec<ObjectKey> {
        self.inner.enter(|engine| keys.into_iter().filter(|&key| engine.is_known(key)).collect())
    }

    /// Bytes of memory that this node has for objects.
    pub fn arena_bytes(&self) -> usize {
        self.inner.arena.config().bytes
    }

    /// The numbers of the objects of `set` behind `after` that this node has a copy of, ascending, `count` at most.
    pub fn local(&self, set: SetId, after: Option<u32>, count: usize) -> Vec<u32> {
        self.inner.arena.local(set, after, count)
    }

    /// Whether this node has a copy of the object, now: then a get is likely to be a hit.
    pub fn is_here(&self, key: ObjectKey) -> bool {
        self.inner.arena.lookup(key).is_some_and(|slot| self.inner.arena.load(slot).mode() != Mode::None)
    }

    /// Ends when every member of the cluster is there.
    pub fn connected(&self) -> impl Future<Output = ()> + Send + '_ {
        std::future::poll_fn(|context| self.inner.enter(|engine| engine.poll_connected(&self.inner, context)))
    }

    /// Lets the node's thread spin for up to `time` after each event before it sleeps. Saves the wake-up where a core is
    /// to spare; costs where nodes and programs outnumber the cores. Zero, never, is what a node starts with.
    pub fn spin(&self, time: Duration) {
        self.inner.set_spin(time);
    }

    /// Brings at most so many objects ahead of who gets those of a set in ascending order, whatever the set's family says; 0 ends
    /// read-ahead on this node. A node starts with what the families say: 32 for sets by name.
    pub fn read_ahead(&self, most: u32) {
        self.inner.enter(|engine| engine.set_read_ahead(most));
    }

    /// For a fabric without a descriptor: looks once for what has happened; true if something had.
    pub fn drive(&self) -> bool {
        self.inner.turn()
    }

    /// The node as it is now.
    pub fn status(&self) -> NodeStatus {
        self.inner.status()
    }

    /// What the node has done.
    pub fn figures(&self) -> Figures {
        self.inner.figures()
    }

    /// What this node knows of one object.
    pub fn dump(&self, key: ObjectKey) -> ObjectDump {
        self.inner.dump(key)
    }

    /// Traces an object from now on, as long as somebody asks at least every ten seconds; and gives what happened after event
    /// `after`, at most `limit` events, the oldest first. Hits are not seen.
    pub fn trace(&self, key: ObjectKey, after: u64, limit: usize) -> Trace {
        self.inner.enter(|engine| engine.trace(&self.inner, key, after, limit))
    }

    /// Whether nothing is under way here: no operation, no exchange with other nodes, nobody who waits for memory.
    pub fn is_quiet(&self) -> bool {
        self.inner.enter(|engine| engine.is_quiet())
    }

    /// Ends the node in good order: operations that wait fail, peers learn it at once, its thread ends. What is held stays
    /// readable here until it is put; what is dirty is the caller's to sync before.
    pub fn shutdown(&self) {
        self.inner.shutdown();
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Node").field(&self.me()).finish()
    }
}

/// As many locations as there is room for pages; they take less than a hundredth of it.
fn hints(arena: &Arena) -> usize {
    (arena.config().bytes / 4096).clamp(256, 1 << 16)
}

/// The hold that a guard stands for, and how to come by one.
pub(crate) trait Guard: Sized + Send {
    const HOLD: Hold;
    /// By the state word alone.
    fn hit(arena: &Arc<Arena>, key: ObjectKey) -> Result<Self, Miss>;
    /// From the engine, which has counted the hold in the word of `slot`.
    fn adopt(arena: &Arc<Arena>, slot: kddm_object::SlotId) -> Self;
}

impl Guard for Shared {
    const HOLD: Hold = Hold::Shared;
    #[inline(always)]
    fn hit(arena: &Arc<Arena>, key: ObjectKey) -> Result<Shared, Miss> {
        arena.get(key)
    }
    #[inline(always)]
    fn adopt(arena: &Arc<Arena>, slot: kddm_object::SlotId) -> Shared {
        arena.adopt_shared(slot)
    }
}

impl Guard for Exclusive {
    const HOLD: Hold = Hold::Exclusive;
    #[inline(always)]
    fn hit(arena: &Arc<Arena>, key: ObjectKey) -> Result<Exclusive, Miss> {
        arena.grab(key)
    }
    #[inline(always)]
    fn adopt(arena: &Arc<Arena>, slot: kddm_object::SlotId) -> Exclusive {
        arena.adopt_exclusive(slot)
    }
}
