//! A node and whoever decides on views: what it is told of them, and what it tells.

use crate::{Host, Node, inner::Inner};
use kddm_coherence::{Input, Loss, View};
use kddm_object::{NodeSet, ViewId};
use std::{
    future::{Future, poll_fn},
    sync::atomic::{AtomicU64, Ordering},
    task::Poll,
    time::Duration,
};

/// The door for whoever decides on views ([`crate::Loss::Agreed`]); docs/protocol.md says what that has to keep to. A node that deals
/// with losses alone ([`crate::Loss::Local`]) takes nothing through it.
pub struct Membership<'a>(&'a Inner);

/// Where a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Standing {
    /// The view that it has adopted: 0 before the first.
    pub view: ViewId,
    /// Every home of that view grants, as this node has heard.
    pub settled: bool,
    /// It leaves, and has nothing any more that others could miss: it may go.
    pub drained: bool,
    /// The cluster goes on without it. It has broken its connections, all that it is asked fails, and it has to start again.
    pub expelled: bool,
    /// Members of its view whose connections to it have broken since it adopted the view: another view has to follow.
    pub lost: NodeSet,
    /// Its lease has time, and hits count.
    pub leased: bool,
}

impl Node {
    /// The door for whoever decides on views.
    pub fn membership(&self) -> Membership<'_> {
        Membership(self.inner())
    }
}

impl Membership<'_> {
    /// The next view. It is adopted as soon as all its members are connected. A node that is not in it is expelled; one that leaves
    /// moves its copies away, which takes until their holds end.
    pub fn adopt(&self, view: View) {
        self.0.enter(|engine| engine.input(self.0, Input::View(view)));
    }

    /// Nobody outside this view uses anything any more.
    pub fn fenced(&self, view: ViewId) {
        self.0.enter(|engine| engine.input(self.0, Input::Fenced(view)));
    }

    /// The quorum lets this node use what it has until that time of [`Host::now`]. From then on, and before the first call, nothing is
    /// hit, granted or given out: who waits goes on waiting.
    pub fn lease(&self, until: Duration) {
        self.0.enter(|engine| engine.lease(self.0, until));
    }

    /// Where the node stands.
    pub fn standing(&self) -> Standing {
        self.0.enter(|engine| engine.standing(self.0))
    }

    /// Ends when the node stands elsewhere than `there`, and says where.
    pub fn changed(&self, there: Standing) -> impl Future<Output = Standing> + Send + '_ {
        poll_fn(move |context| {
            self.0.enter(|engine| match engine.standing(self.0) {
                now if now != there => Poll::Ready(now),
                _ => {
                    engine.watch_standing(self.0, context.waker().clone());
                    Poll::Pending
                }
            })
        })
    }
}

/// Until when the quorum lets this node use what it has, in nanoseconds of [`Host::now`].
pub(crate) struct Lease(AtomicU64);

impl Lease {
    const ENDLESS: u64 = u64::MAX;

    /// The lease that a node begins with.
    pub(crate) fn of(loss: Loss) -> Lease {
        Lease(AtomicU64::new(match loss {
            Loss::Local => Lease::ENDLESS,
            Loss::Agreed => 0,
        }))
    }

    pub(crate) fn set(&self, until: Duration) {
        let nanos = u64::try_from(until.as_nanos()).unwrap_or(Lease::ENDLESS);
        self.0.store(nanos.min(Lease::ENDLESS - 1), Ordering::Release);
    }

    #[inline(always)]
    pub(crate) fn has_time(&self, host: &dyn Host) -> bool {
        match self.0.load(Ordering::Acquire) {
            Lease::ENDLESS => true,
            until => is_before(host, until),
        }
    }
}

#[cold]
fn is_before(host: &dyn Host, until: u64) -> bool {
    host.now().as_nanos() < u128::from(until)
}
