//! One checkpoint of a running node: which objects to take, in which order, and when they are all there.
//!
//! Operations take all their holds, change everything, and put only then. So whatever shared holds are had at one
//! moment show each operation wholly or not at all, as far as they go; and they go far enough when nothing else is
//! dirty at that moment, because an operation that had changed something held here has made dirty, or has still
//! held, whatever else it changed.
//!
//! 1. *Ahead*: what is dirty goes to the device bit by bit, without caring for consistency: nothing of it counts yet.
//! 2. *Together*: what has become dirty meanwhile is held all at once, in the global order. An object that turns up
//!    out of order is only tried for; if that fails, everything is put, and this step begins anew.
//! 3. *Seal*, if nothing else is dirty now: everything is copied, and the holds are put.
//! 4. *Commit*; who asked is answered. What was committed goes to the native files later.

use super::blocking::blocking;
use super::device::{Device, Short};
use super::error::errno;
use super::key::{self, Kind};
use kddm_object::{FirstTouch, ObjectKey, SetId};
use kddm_rdma::{Node, OpError, Options, Shared};
use kdfs_format::sets::INODE_SET;
use kdfs_format::{FileType, Inode, PAGE_SIZE};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Objects held at a time while writing ahead.
const CHUNK: usize = 64;
/// So few dirty pages of files go into a durable checkpoint, which is then all that has to be made durable.
const TOGETHER: usize = 16;
/// So few dirty objects are not worth writing ahead.
const FEW: usize = 32;
/// Rounds of writing ahead.
const ROUNDS: usize = 3;
/// Attempts at holding everything together after which to leave the others some time.
const PATIENCE: u32 = 10;

type Held = BTreeMap<(Kind, SetId, u32), Shared>;

/// Makes checkpoints of the objects that are homed on a node.
pub(crate) struct Checkpointer {
    pub node: Node,
    pub device: Arc<Device>,
}

impl Checkpointer {
    /// Commits everything that was put before this call. False if there was nothing to do.
    pub async fn run(&self, durable: bool) -> Result<bool, i32> {
        let dirty = self.node.dirty().into_iter().any(|key| key::kind(key) != Kind::Other);
        if !dirty && self.device.is_committed(durable) {
            return Ok(false);
        }
        let mut short = self.write_ahead(durable).await?;
        short.extend(self.seal(durable).await?);
        let device = self.device.clone();
        let committed = self.blocking(move || device.commit(durable)).await;
        if committed == Err(nix::libc::ENOSPC) {
            // What has been committed may make the room.
            let device = self.device.clone();
            self.blocking(move || device.settle()).await?;
        }
        committed?;
        if short.is_empty() { Ok(true) } else { Err(nix::libc::ENOSPC) }
    }

    async fn write_ahead(&self, durable: bool) -> Result<Short, i32> {
        let mut short = Short::new();
        for _ in 0..ROUNDS {
            let pages = self.dirty(|kind| kind == Kind::File);
            short = self.write_pages(&pages, durable && pages.len() <= TOGETHER).await?;
            let metadata = self.dirty(Kind::is_metadata);
            if metadata.len() <= FEW {
                break;
            }
            for chunk in metadata.chunks(CHUNK) {
                self.write(chunk, |device, held| {
                    held.iter().try_for_each(|hold| device.sync(hold.key(), hold))
                })
                .await?;
            }
        }
        Ok(short)
    }

    /// Writes pages of files, neighbours at once; `together`: into the checkpoint. `pages` ascend. Those for which there is
    /// no room stay dirty.
    async fn write_pages(&self, pages: &[ObjectKey], together: bool) -> Result<Short, i32> {
        let mut short = Short::new();
        for chunk in pages.chunks(CHUNK) {
            let written = self.write(chunk, move |device, held| {
                let follows = |a: &Shared, b: &Shared| {
                    a.key().set == b.key().set && a.key().object.checked_add(1) == Some(b.key().object)
                };
                for run in held.chunk_by(follows) {
                    let mut bytes = Vec::with_capacity(run.len() * PAGE_SIZE);
                    run.iter().for_each(|page| bytes.extend_from_slice(page));
                    device.sync_pages(run[0].key(), &bytes, together)?;
                }
                Ok(())
            });
            match written.await {
                Err(nix::libc::ENOSPC | nix::libc::EDQUOT) => chunk.iter().for_each(|page| {
                    let first = short.entry(key::inode(*page)).or_insert(page.object);
                    *first = page.object.min(*first);
                }),
                result => result?,
            }
        }
        Ok(short)
    }

    /// Holds some objects, has `write` bring them to the device, and tells the node that it has.
    async fn write(
        &self,
        keys: &[ObjectKey],
        write: impl FnOnce(&Device, &[Shared]) -> io::Result<()> + Send + 'static,
    ) -> Result<(), i32> {
        let mut held = Vec::with_capacity(keys.len());
        for &key in keys {
            held.extend(self.get(key).await?);
        }
        let device = self.device.clone();
        let held = self.blocking(move || write(&device, &held).map(|()| held)).await?;
        held.iter().for_each(|hold| self.node.cleaned(hold));
        Ok(())
    }

    /// Holds everything that is dirty, and seals it together with what was written ahead; files for whose bytes there is no
    /// room as far as these go.
    async fn seal(&self, durable: bool) -> Result<Short, i32> {
        let mut attempts = 0;
        let mut left_out = LeftOut::default();
        let mut held = Held::new();
        loop {
            let Some(short) = self.hold_missing(&mut held, &mut left_out, durable).await? else {
                held.clear();
                attempts += 1;
                if attempts % PATIENCE == 0 {
                    tracing::debug!(attempts, "a checkpoint waits for a moment of rest");
                    self.node.host().sleep(Duration::from_millis(5)).await;
                }
                continue;
            };
            let sealed;
            (held, sealed) = self.try_seal(held, left_out.unreachable.clone(), short.clone()).await?;
            if sealed {
                held.values().for_each(|hold| self.node.cleaned(hold));
                return Ok(short);
            }
        }
    }

    /// Takes what is dirty and not held, and writes the pages of all files whose attributes will be committed, so that
    /// those never run ahead of the bytes. `None` if something would have to be waited for out of order.
    async fn hold_missing(
        &self,
        held: &mut Held,
        left_out: &mut LeftOut,
        durable: bool,
    ) -> Result<Option<Short>, i32> {
        for key in self.dirty(Kind::is_metadata) {
            let order = key::order(key);
            if held.contains_key(&order) || left_out.unreachable.contains(&key) {
                continue;
            }
            let options = left_out.options(key);
            let in_order = held.last_key_value().is_none_or(|(last, _)| *last < order);
            let result = match in_order {
                true => self.node.get_with(key, options).await,
                false => self.node.try_get(key, options).await,
            };
            match outcome(key, result)? {
                Outcome::Hold(hold) => drop(held.insert(order, hold)),
                Outcome::Absent => drop(left_out.absent.insert(key)),
                Outcome::Unreachable => drop(left_out.unreachable.insert(key)),
                Outcome::Busy => return Ok(None),
            }
        }
        let inodes: BTreeSet<u32> = held.values().map(|hold| key::inode(hold.key())).collect();
        let mut pages = self.dirty(|kind| kind == Kind::File);
        pages.retain(|key| inodes.contains(&key::inode(*key)) || self.device.has_taken(key::inode(*key)));
        let together = durable && pages.len() <= TOGETHER;
        let (targets, pages): (Vec<_>, Vec<_>) =
            pages.into_iter().partition(|key| self.is_of_symlink(*key, held));
        self.write_pages(&targets, true).await?;
        self.write_pages(&pages, together).await.map(Some)
    }

    /// Whether this is the target of a symbolic link that is to be committed.
    fn is_of_symlink(&self, page: ObjectKey, held: &Held) -> bool {
        let inode = ObjectKey::new(SetId(INODE_SET), key::inode(page));
        match held.get(&key::order(inode)).map(|hold| Inode::of(hold)) {
            Some(inode) => inode.is_ok_and(|inode| inode.file_type() == FileType::Symlink),
            // One that cannot be read is no reason to treat it as such: the commit will say what is wrong.
            None => self.device.has_taken_symlink(inode.object).unwrap_or(false),
        }
    }

    async fn try_seal(
        &self,
        held: Held,
        unreachable: BTreeSet<ObjectKey>,
        short: Short,
    ) -> Result<(Held, bool), i32> {
        let (device, node) = (self.device.clone(), self.node.clone());
        self.blocking(move || {
            let is_complete = || {
                let known =
                    |key: &ObjectKey| held.contains_key(&key::order(*key)) || unreachable.contains(key);
                node.dirty().iter().all(|key| !key::kind(*key).is_metadata() || known(key))
            };
            let objects = held.values().map(|hold| (hold.key(), &**hold));
            let sealed = device.seal(objects, &short, is_complete)?;
            Ok((held, sealed))
        })
        .await
    }

    /// A shared hold; `None` if the object is gone, or on a node that is.
    async fn get(&self, key: ObjectKey) -> Result<Option<Shared>, i32> {
        match outcome(key, self.node.get_with(key, OPTIONS).await)? {
            Outcome::Hold(hold) => Ok(Some(hold)),
            _ => Ok(None),
        }
    }

    /// The dirty objects of these kinds, in the global order.
    fn dirty(&self, wanted: impl Fn(Kind) -> bool) -> Vec<ObjectKey> {
        let mut keys = self.node.dirty();
        keys.retain(|key| wanted(key::kind(*key)));
        keys.sort_unstable_by_key(|key| key::order(*key));
        keys
    }

    async fn blocking<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, i32> {
        match blocking(self.node.host(), job).await {
            Some(result) => result.map_err(|error| errno(&error)),
            None => Err(nix::libc::EIO),
        }
    }
}

/// Nothing is made here, and the last slots may be used: what is written can then leave memory.
const OPTIONS: Options = Options { first_touch: FirstTouch::Refuse, reserve: true };

/// Dirty objects that a checkpoint does not hold.
#[derive(Default)]
struct LeftOut {
    /// They were dirty and then gone. What is dirty under the same key later is another object: it counts again.
    absent: BTreeSet<ObjectKey>,
    /// They are on a node that is gone.
    unreachable: BTreeSet<ObjectKey>,
}

impl LeftOut {
    /// An object that was absent and is dirty all the same is made, so that it can be held: zeros change nothing.
    fn options(&self, key: ObjectKey) -> Options {
        let first_touch = if self.absent.contains(&key) { FirstTouch::Make } else { OPTIONS.first_touch };
        Options { first_touch, ..OPTIONS }
    }
}

/// What came of an attempt to hold an object.
enum Outcome {
    Hold(Shared),
    Absent,
    Unreachable,
    Busy,
}

fn outcome(key: ObjectKey, result: Result<Shared, OpError>) -> Result<Outcome, i32> {
    match result {
        Ok(hold) => Ok(Outcome::Hold(hold)),
        Err(OpError::Absent) => Ok(Outcome::Absent),
        Err(OpError::WouldBlock) => Ok(Outcome::Busy),
        Err(error @ (OpError::PeerLost(_) | OpError::Lost)) => {
            tracing::debug!(set = %key.set, object = key.object, reason = %error, "a change of this object is not written: the node that has it is gone");
            Ok(Outcome::Unreachable)
        }
        Err(OpError::NoMemory) => Err(nix::libc::ENOMEM),
        Err(OpError::Device(errno)) => Err(errno),
        Err(error) => {
            tracing::error!(set = %key.set, object = key.object, reason = %error, "a checkpoint cannot hold this object");
            Err(nix::libc::EIO)
        }
    }
}
