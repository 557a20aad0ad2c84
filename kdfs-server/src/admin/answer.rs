//! What each request does.

use super::{top, trace};
use crate::Server;
use futures_lite::future::block_on;
use kddm_cluster::admin::{Dump, MAX_HOLDERS, Peer, Reply, Request, Status, Where};
use kddm_object::{FirstTouch, ObjectKey, SetId};
use kddm_rdma::Options;
use kdfs_format::{Inode, paths, sets};
use kdfs_fs::Errno;
use std::{
    collections::BTreeMap,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::Path,
    sync::Arc,
};

/// Does what `request` asks. Runs in the client's thread, and may take its time.
pub fn answer(server: &Arc<Server>, request: Request, descriptor: Option<OwnedFd>) -> Reply {
    match request {
        Request::Status => Reply::Status(status(server)),
        Request::Where { path } => or_failed(
            block_on(server.file_system().resolve(path.as_os_str().as_bytes()))
                .map(|found| at(found.file.inode, found.file.generation)),
            || format!("{}: is not in this file system", path.display()),
        ),
        Request::Inode { inode } => {
            or_failed(block_on(read_inode(server, inode)), || format!("there is no inode {inode}"))
        }
        Request::Dump { set, object } => Reply::Dump(dump(server, set, object)),
        Request::Named { name } => match block_on(server.node().open_set(&name)) {
            Ok(set) => Reply::Set(set.id.0),
            Err(error) => failed(format!("{name:?}: {error}"), Errno::ENOENT),
        },
        Request::Top => Reply::Top(top::top(server)),
        Request::Holders { objects } if objects.len() > MAX_HOLDERS => {
            failed(format!("{} objects are too many: ask about {MAX_HOLDERS}", objects.len()), Errno::E2BIG)
        }
        Request::Holders { objects } => Reply::Holders(top::holders(server, &objects)),
        Request::Trace { set, object, after } => {
            trace::answer(server, ObjectKey::new(SetId(set), object), after)
        }
        Request::Mount { point, .. } => match descriptor {
            Some(descriptor) => done(server.mount(descriptor, point)),
            None => failed("a mount needs its /dev/fuse descriptor beside the request".into(), Errno::EINVAL),
        },
        Request::Unmount { point } => done(server.unmount(&point)),
        Request::Sync => done(server.sync()),
        Request::Stop => done(server.stop_and_wait()),
    }
}

fn done(result: Result<(), (String, Errno)>) -> Reply {
    match result {
        Ok(()) => Reply::Done,
        Err((reason, errno)) => failed(reason, errno),
    }
}

fn or_failed(result: Result<Reply, Errno>, what: impl FnOnce() -> String) -> Reply {
    result.unwrap_or_else(|errno| failed(format!("{}: {}", what(), errno.desc()), errno))
}

pub(super) fn failed(reason: String, errno: Errno) -> Reply {
    Reply::Failed { reason, errno: Some(errno as i32) }
}

fn status(server: &Server) -> Status {
    let node = server.node().status();
    let cluster = server.cluster();
    let peers = node.peers.iter().filter_map(|peer| {
        let member = cluster.member(peer.node)?;
        let up = peer.up.is_some();
        Some(Peer {
            id: peer.node.get(),
            address: member.address,
            up,
            incarnation: peer.up.map(|incarnation| incarnation.0),
            reason: (!up).then(|| peer.reason.clone()),
        })
    });
    Status {
        id: node.me.get(),
        pid: std::process::id(),
        address: server.member().address,
        state: server.state(),
        view: server.view(),
        incarnation: node.incarnation.0,
        cluster: cluster.id.to_string(),
        fabric: cluster.fabric.to_string(),
        partition: server.partition_directory().map(Path::to_owned),
        root: Some(server.file_system().root().inode),
        metrics: server.metrics.at.get().copied(),
        mounts: server.mount_points(),
        peers: peers.collect(),
        programs: server.programs(),
        counters: counters(server),
    }
}

fn counters(server: &Server) -> BTreeMap<String, u64> {
    let node = server.node().status();
    let arena = server.arena().usage();
    let figures = [
        ("hits", node.counts.hits),
        ("misses", node.counts.misses),
        ("failed", node.counts.failed),
        ("linker_calls", node.counts.linker_calls),
        ("evictions", node.counts.evictions),
        ("speculations", node.counts.speculations),
        ("good_speculations", node.counts.good_speculations),
        ("read_ahead", node.counts.read_ahead),
        ("messages_sent", node.fabric.messages_sent),
        ("messages_received", node.fabric.messages_received),
        ("reads_issued", node.fabric.reads_issued),
        ("reads_failed", node.fabric.reads_failed),
        ("reads_served", node.fabric.reads_served),
        ("bytes_sent", node.fabric.bytes_sent),
        ("bytes_received", node.fabric.bytes_received),
        ("arena_bytes", arena.capacity as u64),
        ("requests_waiting", server.requests_waiting() as u64),
    ];
    figures.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

async fn read_inode(server: &Server, number: u32) -> Result<Reply, Errno> {
    let key = ObjectKey::new(SetId(sets::INODE_SET), number);
    let options = Options { first_touch: FirstTouch::Refuse, ..Options::default() };
    let object = server.node().get_with(key, options).await.map_err(|_| Errno::ENOENT)?;
    let inode = Inode::of(&object).map_err(|_| Errno::EIO)?;
    Ok(at(inode.inode.get(), inode.generation.get()))
}

fn at(inode: u32, generation: u32) -> Reply {
    let directory = paths::inode_directory(sets::local_of(inode)).into();
    Reply::Where(Where { inode, generation, node: sets::node_of(inode), directory })
}

fn dump(server: &Server, set: u64, object: u32) -> Dump {
    let dump = server.node().dump(ObjectKey::new(SetId(set), object));
    let mut fields = vec![
        (
            "home",
            dump.home.map_or_else(|| "no such set, or no such node".into(), |home| format!("node {home}")),
        ),
        ("word", dump.word.map_or_else(|| "no copy here".into(), |word| format!("{word:?}"))),
    ];
    fields.extend(dump.state.lines().map(|line| ("state", line.trim().to_owned())));
    let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Dump { node: server.node().me().get(), fields }
}
