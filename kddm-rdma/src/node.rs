//! The public face of a node.

use crate::{Host, NodeError, NodeStatus, ObjectDump, OpError, Options, RegistryError, SetFamily, Transport};
use kddm_memory::Arena;
use kddm_object::{Incarnation, NodeId, ObjectKey, SetId, SetPolicy};
use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
    time::Duration,
};

/// What a node is told at birth.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// This node.
    pub me: NodeId,
    /// This life of it: larger than any before.
    pub incarnation: Incarnation,
    /// The members of the cluster, this node among them.
    pub members: Vec<NodeId>,
    /// Objects up to this size ride in messages; at most [`kddm_object::limits::INLINE_MAX`].
    pub inline_max: u32,
}

/// A node.
#[derive(Clone)]
pub struct Node(Arc<Inner>);

struct Inner {
    me: NodeId,
    host: Arc<dyn Host>,
}

#[allow(missing_docs, clippy::unused_async, unused_variables)]
impl Node {
    /// Starts a node.
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
        Err(NodeError::NotAMember(config.me))
    }
    pub fn me(&self) -> NodeId {
        self.0.me
    }
    pub fn host(&self) -> &Arc<dyn Host> {
        &self.0.host
    }
    pub fn get(&self, key: ObjectKey) -> impl Future<Output = Result<Shared, OpError>> + Send + '_ {
        async { Err(OpError::NoMemory) }
    }
    pub fn grab(&self, key: ObjectKey) -> impl Future<Output = Result<Exclusive, OpError>> + Send + '_ {
        async { Err(OpError::NoMemory) }
    }
    pub fn get_with(
        &self,
        key: ObjectKey,
        options: Options,
    ) -> impl Future<Output = Result<Shared, OpError>> + Send + '_ {
        async { Err(OpError::NoMemory) }
    }
    pub fn grab_with(
        &self,
        key: ObjectKey,
        options: Options,
    ) -> impl Future<Output = Result<Exclusive, OpError>> + Send + '_ {
        async { Err(OpError::NoMemory) }
    }
    pub fn try_get(
        &self,
        key: ObjectKey,
        options: Options,
    ) -> impl Future<Output = Result<Shared, OpError>> + Send + '_ {
        async { Err(OpError::NoMemory) }
    }
    pub fn try_grab(
        &self,
        key: ObjectKey,
        options: Options,
    ) -> impl Future<Output = Result<Exclusive, OpError>> + Send + '_ {
        async { Err(OpError::NoMemory) }
    }
    pub fn prefetch(&self, keys: impl IntoIterator<Item = ObjectKey>) {}
    pub fn remove(&self, key: ObjectKey) -> impl Future<Output = Result<(), OpError>> + Send + '_ {
        async { Err(OpError::NoMemory) }
    }
    pub fn sync(&self, key: ObjectKey) -> impl Future<Output = Result<(), OpError>> + Send + '_ {
        async { Err(OpError::NoMemory) }
    }
    pub fn flush(&self, key: ObjectKey) -> impl Future<Output = Result<(), OpError>> + Send + '_ {
        async { Err(OpError::NoMemory) }
    }
    pub fn cleaned(&self, guard: &Shared) {}
    pub fn dirty(&self) -> Vec<ObjectKey> {
        Vec::new()
    }
    pub fn connected(&self) -> impl Future<Output = ()> + Send + '_ {
        async {}
    }
    pub fn spin(&self, time: Duration) {}
    pub async fn create_set(&self, name: &str, policy: SetPolicy) -> Result<SetId, RegistryError> {
        Err(RegistryError::Unknown)
    }
    pub async fn open_set(&self, name: &str) -> Result<(SetId, SetPolicy), RegistryError> {
        Err(RegistryError::Unknown)
    }
    pub async fn destroy_set(&self, name: &str) -> Result<(), RegistryError> {
        Err(RegistryError::Unknown)
    }
    pub fn status(&self) -> NodeStatus {
        NodeStatus {
            me: self.0.me,
            incarnation: Incarnation(0),
            members: Vec::new(),
            peers: Vec::new(),
            counts: Default::default(),
            fabric: Default::default(),
        }
    }
    pub fn dump(&self, key: ObjectKey) -> ObjectDump {
        ObjectDump { key, home: None, word: None, state: String::new() }
    }
    pub fn shutdown(&self) {}
}

/// A shared hold.
pub struct Shared(());

impl Shared {
    /// The object that is held.
    pub fn key(&self) -> ObjectKey {
        ObjectKey::default()
    }
}

impl Deref for Shared {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &[]
    }
}

/// An exclusive hold.
pub struct Exclusive(());

impl Exclusive {
    /// The object that is held.
    pub fn key(&self) -> ObjectKey {
        ObjectKey::default()
    }
}

impl Deref for Exclusive {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &[]
    }
}

impl DerefMut for Exclusive {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut []
    }
}
