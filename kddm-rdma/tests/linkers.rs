//! What a node asks of linkers and tells them.

mod cluster;

use cluster::{Cluster, Setup, id};
use futures_lite::future::block_on;
use kddm_rdma::{
    Durability, Home, Inserted, IoLinker, Keep, Mode, NodeId, ObjectKey, OpError, SetFamily, SetId, SetPolicy,
};
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;

const KIND: u8 = 20;

/// A family whose sets lie at node 1, or where their subject says, and whose linker writes down what it hears.
#[derive(Default)]
struct Listener {
    blocks: bool,
    notified: bool,
    per_set: bool,
    keep: bool,
    heard: Mutex<Vec<String>>,
}

struct Family(Arc<Listener>);

impl SetFamily for Family {
    fn kind(&self) -> u8 {
        KIND
    }
    fn name(&self) -> &str {
        "listened to"
    }
    fn policy(&self, _set: SetId) -> Option<SetPolicy> {
        let home = Home::Node(id(1));
        Some(SetPolicy { object_size: 4096, home, durability: Durability::WriteBack })
    }
    fn linker(&self) -> Option<Arc<dyn IoLinker>> {
        Some(self.0.clone())
    }
}

impl Listener {
    fn hear(&self, what: String) {
        self.heard.lock().push(what);
    }

    fn heard(&self) -> Vec<String> {
        std::mem::take(&mut self.heard.lock())
    }

    fn start(self, nodes: u8) -> (Arc<Listener>, Cluster) {
        let listener = Arc::new(self);
        let families: Vec<Arc<dyn SetFamily>> = vec![Arc::new(Family(listener.clone()))];
        (listener, Setup { families, arena: 1 << 20, ..Setup::nodes(nodes) }.start())
    }
}

impl IoLinker for Listener {
    fn blocks(&self) -> bool {
        self.blocks
    }
    fn notified(&self) -> bool {
        self.notified
    }
    fn per_set(&self) -> bool {
        self.per_set
    }
    fn instantiate(&self, set: SetId) -> io::Result<()> {
        self.hear(format!("instantiate {}", set.subject()));
        if set.generation() == 99 { Err(io::Error::from_raw_os_error(nix::libc::EACCES)) } else { Ok(()) }
    }
    fn uninstantiate(&self, set: SetId) {
        self.hear(format!("uninstantiate {}", set.subject()));
    }
    fn first_touch(&self, key: ObjectKey, bytes: &mut [u8]) -> io::Result<()> {
        bytes.fill(key.object as u8);
        Ok(())
    }
    fn insert_object(&self, key: ObjectKey, _bytes: &mut [u8]) -> io::Result<Inserted> {
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        self.hear(format!("insert {}", if name == "kddm-blocking" { "may block" } else { "at once" }));
        assert!(key.object != 13, "a planted panic");
        Ok(Inserted::Absent)
    }
    fn default_owner(&self, set: SetId) -> Option<NodeId> {
        NodeId::new(set.subject() as u8).ok()
    }
    fn change_state(&self, key: ObjectKey, from: Mode, to: Mode) {
        self.hear(format!("{} {from:?} -> {to:?}", key.object));
    }
    fn put_object(&self, key: ObjectKey) {
        self.hear(format!("put {}", key.object));
    }
    fn invalidate_object(&self, _key: ObjectKey) -> Keep {
        if self.keep { Keep::Keep } else { Keep::Drop }
    }
}

fn key(subject: u32, object: u32) -> ObjectKey {
    ObjectKey::new(SetId::from_parts(KIND, subject, 0), object)
}

#[test]
fn calls_that_may_block_do_so_on_threads_of_their_own() {
    let (listener, cluster) = Listener { blocks: true, ..Listener::default() }.start(1);
    block_on(async {
        assert!(cluster.nodes[0].get(key(0, 7)).await.unwrap().iter().all(|&byte| byte == 7));
    });
    assert_eq!(listener.heard(), ["insert may block"]);
    let (listener, cluster) = Listener::default().start(1);
    block_on(async {
        assert!(cluster.nodes[0].get(key(0, 7)).await.unwrap().iter().all(|&byte| byte == 7));
    });
    assert_eq!(listener.heard(), ["insert at once"]);
}

#[test]
fn a_panic_of_a_linker_is_an_error_of_the_device() {
    for blocks in [false, true] {
        let (_, cluster) = Listener { blocks, ..Listener::default() }.start(1);
        block_on(async {
            let failed = cluster.nodes[0].get(key(0, 13)).await.unwrap_err();
            assert_eq!(failed, OpError::Device(nix::libc::EIO));
            cluster.nodes[0].get(key(0, 14)).await.unwrap();
        });
    }
}

#[test]
fn sets_are_instantiated_once_and_ended_at_shutdown() {
    let (listener, cluster) = Listener { per_set: true, ..Listener::default() }.start(1);
    let node = &cluster.nodes[0];
    let refused = SetId::from_parts(KIND, 0, 99);
    block_on(async {
        for object in 0..3 {
            node.get(key(0, object)).await.unwrap();
            node.get(key(1, object)).await.unwrap();
        }
        let failed = node.get(ObjectKey::new(refused, 0)).await.unwrap_err();
        assert_eq!(failed, OpError::Device(nix::libc::EACCES));
    });
    node.shutdown();
    let mut heard = listener.heard();
    heard.retain(|what| !what.starts_with("insert"));
    let (begun, ended) = heard.split_at(3);
    assert_eq!(begun, ["instantiate 0", "instantiate 1", "instantiate 0"]);
    let mut ended = ended.to_vec();
    ended.sort();
    assert_eq!(ended, ["uninstantiate 0", "uninstantiate 1"], "the refused one was never there");
}

#[test]
fn a_linker_may_choose_the_home() {
    let (_, cluster) = Listener::default().start(3);
    for node in 1..=3 {
        assert_eq!(cluster.nodes[0].dump(key(node, 5)).home, Some(id(node as u8)));
        block_on(cluster.nodes[1].grab(key(node, 5))).unwrap();
    }
    assert_eq!(cluster.nodes[0].dump(key(0, 5)).home, Some(id(1)), "0 is no node: the policy counts");
}

#[test]
fn changes_are_told_in_order() {
    let (listener, cluster) = Listener { notified: true, ..Listener::default() }.start(1);
    let node = &cluster.nodes[0];
    block_on(async {
        drop(node.grab(key(0, 1)).await.unwrap());
        node.remove(key(0, 1)).await.unwrap();
    });
    let mut heard = listener.heard();
    heard.retain(|what| what.contains("->"));
    let path: Vec<_> =
        heard.iter().filter_map(|change| change.strip_prefix("1 ")?.split_once(" -> ")).collect();
    assert_eq!(path.first().map(|first| first.0), Some("None"), "{heard:?}");
    assert_eq!(path.last().map(|last| last.1), Some("None"), "{heard:?}");
    assert!(path.windows(2).all(|pair| pair[0].1 == pair[1].0), "{heard:?}");
}

#[test]
fn a_linker_that_keeps_everything_leaves_no_memory() {
    let (_, cluster) = Listener { notified: true, keep: true, ..Listener::default() }.start(1);
    let failed = block_on(async {
        for object in 100.. {
            if let Err(error) = cluster.nodes[0].get(key(0, object)).await {
                return (object, error);
            }
        }
        unreachable!()
    });
    assert_eq!(failed.1, OpError::NoMemory);
    assert!(failed.0 > 200, "{failed:?}");
}
