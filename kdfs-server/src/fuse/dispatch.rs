//! From a request to its answer.
//!
//! The thread that read a request also begins the operation. What can be answered from this node's memory is answered
//! there and then; what has to wait goes to the host's workers, and the thread reads on.

use super::{
    answer::Answer,
    device::Device,
    figures,
    operations::{Operations, Who},
    pending::{Pending, is_dying},
    request::{Operation, Request},
};
use crate::counted::End;
use kddm_rdma::Host;
use nix::errno::Errno;
use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

/// How often it is looked whether an interrupted process is being killed.
const INTERRUPTED: Duration = Duration::from_millis(100);

/// A mount, as its requests see it.
pub struct Mounted {
    device: Device,
    operations: Arc<Operations>,
    host: Arc<dyn Host>,
    pending: Pending,
    closed: AtomicBool,
}

/// A request, once its operation has begun.
#[derive(Clone, Copy)]
struct Asked {
    unique: u64,
    /// The thread that waits for it.
    pid: u32,
    /// The place in [`figures::OPERATIONS`].
    operation: usize,
    at: Duration,
}

impl Mounted {
    pub fn new(device: Device, operations: Operations, host: Arc<dyn Host>) -> Mounted {
        let (pending, closed) = Default::default();
        Mounted { device, operations: Arc::new(operations), host, pending, closed }
    }

    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Requests that wait.
    pub fn waiting(&self) -> usize {
        self.pending.count()
    }

    /// From now on requests fail.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Closes what the mount had open: the kernel says nothing more about it.
    pub fn release_all(&self) {
        self.operations.release_all();
    }

    /// Answers `request`, now or later.
    pub fn serve(self: &Arc<Self>, request: Request<'_>) {
        let Request { header, operation } = request;
        let node = header.nodeid;
        let asked = Asked {
            unique: header.unique,
            pid: header.pid,
            operation: figures::number(&operation),
            at: self.host.now(),
        };
        let who = Who { uid: header.uid, gid: header.gid, pid: header.pid };
        let ops = self.operations.clone();
        if self.closed.load(Ordering::Relaxed)
            && !matches!(operation, Operation::Forget | Operation::Release(_) | Operation::Releasedir(_))
        {
            return self.answer(asked, Err(Errno::EIO));
        }
        match operation {
            Operation::Forget => {}
            Operation::Interrupt(args) => self.interrupt(header.unique, args.unique),
            Operation::Lookup { name } => {
                let name = name.to_vec();
                self.run(asked, async move { ops.lookup(who, node, &name).await });
            }
            Operation::Getattr => self.run(asked, async move { ops.getattr(node).await }),
            Operation::Setattr(args) => self.run(asked, async move { ops.setattr(who, node, args).await }),
            Operation::Readlink => self.run(asked, async move { ops.readlink(node).await }),
            Operation::Symlink { name, target } => {
                let (name, target) = (name.to_vec(), target.to_vec());
                self.run(asked, async move { ops.symlink(who, node, &name, &target).await });
            }
            Operation::Mknod { args, name } => {
                let name = name.to_vec();
                self.run(asked, async move { ops.mknod(who, node, &name, args.mode, args.rdev).await });
            }
            Operation::Mkdir { args, name } => {
                let name = name.to_vec();
                self.run(asked, async move { ops.mkdir(who, node, &name, args.mode).await });
            }
            Operation::Unlink { name } => {
                let name = name.to_vec();
                self.run(asked, async move { ops.unlink(who, node, &name).await });
            }
            Operation::Rmdir { name } => {
                let name = name.to_vec();
                self.run(asked, async move { ops.rmdir(who, node, &name).await });
            }
            Operation::Rename { newdir, flags, from, to } => {
                let (from, to) = (from.to_vec(), to.to_vec());
                self.run(asked, async move { ops.rename(who, (node, &from), (newdir, &to), flags).await });
            }
            Operation::Link { args, name } => {
                let name = name.to_vec();
                self.run(asked, async move { ops.link(who, args.oldnodeid, node, &name).await });
            }
            Operation::Open(args) => self.run(asked, async move { ops.open(who, node, args.flags).await }),
            Operation::Create { args, name } => {
                let name = name.to_vec();
                self.run(asked, async move { ops.create(who, node, &name, args.mode, args.flags).await });
            }
            Operation::Read(args) => self.run(asked, async move { ops.read(args).await }),
            Operation::Write { args, bytes } => {
                let bytes = bytes.to_vec();
                self.run(asked, async move { ops.write(who.uid, args, &bytes).await });
            }
            Operation::Release(args) | Operation::Releasedir(args) => {
                self.run(asked, async move { ops.release(args.fh) });
            }
            Operation::Fsync | Operation::Fsyncdir => self.run(asked, async move { ops.fsync(node).await }),
            Operation::Opendir => self.run(asked, async move { ops.opendir(who, node).await }),
            Operation::Readdir(args) => self.run(asked, async move { ops.readdir(node, args).await }),
            Operation::Readdirplus(args) => self.run(asked, async move { ops.readdirplus(node, args).await }),
            Operation::Statfs => self.run(asked, async move { ops.statfs().await }),
            Operation::Lock(args) => self.run(asked, async move { Operations::lock(args) }),
            Operation::Destroy => self.run(asked, async { Ok(Answer::Empty) }),
            // The kernel asks for what it does not know to be missing once, and does without from then on.
            Operation::Init(..) | Operation::Unknown => {
                self.answer(asked, Err(Errno::ENOSYS));
            }
        }
    }

    fn run(
        self: &Arc<Self>,
        asked: Asked,
        work: impl Future<Output = Result<Answer, Errno>> + Send + 'static,
    ) {
        let mut work = Box::pin(work);
        if let Poll::Ready(result) = work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return self.answer(asked, result);
        }
        self.pending.insert(asked.unique, asked.pid);
        let mounted = self.clone();
        self.host.spawn(Box::pin(async move {
            let result = work.await;
            if mounted.pending.take(asked.unique) {
                mounted.answer(asked, result);
            } else {
                mounted.count(asked, End::GivenUp);
                mounted.undo(result);
            }
        }));
    }

    fn answer(&self, asked: Asked, result: Result<Answer, Errno>) {
        // Before the answer: who has it finds it counted.
        self.count(asked, End::of(&result));
        let heard = match &result {
            Ok(answer) => self.device.answer(asked.unique, answer.parts().as_slice()),
            Err(errno) => self.device.fail(asked.unique, *errno),
        };
        if !heard {
            self.undo(result);
        }
    }

    fn count(&self, asked: Asked, end: End) {
        self.operations.figures().count(asked.operation, end, self.host.now().saturating_sub(asked.at));
    }

    /// Nobody has heard that a file was opened, so nobody will release it.
    fn undo(&self, result: Result<Answer, Errno>) {
        if let Ok(Answer::Opened { handle, .. }) = result {
            // It says only whether there was one.
            let _ = self.operations.release(handle);
        }
    }

    /// The thread that waits for request `unique` has a signal: if it is being killed now or later, it need not wait.
    fn interrupt(self: &Arc<Self>, interrupt: u64, unique: u64) {
        if self.pending.waits(unique).is_none() {
            // Answered already, or on its way to `pending`: the kernel knows which, and tells again of the latter.
            self.device.fail(interrupt, Errno::EAGAIN);
            return;
        }
        let mounted = self.clone();
        self.host.spawn(Box::pin(async move {
            while let Some(pid) = mounted.pending.waits(unique) {
                if is_dying(pid) && mounted.pending.take(unique) {
                    mounted.device.fail(unique, Errno::EINTR);
                    return;
                }
                mounted.host.sleep(INTERRUPTED).await;
            }
        }));
    }
}
