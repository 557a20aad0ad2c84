//! The futures of operations.

use crate::{
    OpError, Options,
    figures::{self, Hits},
    inner::Inner,
    node::Guard,
    operations::Outcome,
};
use kddm_coherence::{Asked, OpId};
use kddm_object::{Hold, ObjectKey, SlotId};
use std::{
    future::Future,
    marker::PhantomData,
    num::NonZero,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

/// A get or grab. A hit is ready at the first poll: it needs neither the engine nor memory.
pub(crate) struct Acquire<'a, G> {
    waiting: Waiting<'a>,
    key: ObjectKey,
    options: Options,
    try_only: bool,
    guard: PhantomData<fn() -> G>,
}

impl<'a, G: Guard> Acquire<'a, G> {
    #[inline(always)]
    pub(crate) fn new(node: &'a Inner, key: ObjectKey, options: Options, try_only: bool) -> Acquire<'a, G> {
        Acquire { waiting: Waiting { node, op: None }, key, options, try_only, guard: PhantomData }
    }

    /// It has not ended in time, and ends so.
    pub(crate) fn time_is_over(&mut self) {
        if let Some(op) = self.waiting.op.take() {
            self.waiting.abandon(OpId(op.get()), figures::Outcome::TimedOut);
        }
    }

    /// Ends with the slot, not the guard: what is returned in registers lets the guard of a hit stay in them.
    #[cold]
    #[inline(never)]
    fn missed(&mut self, context: &mut Context<'_>) -> Poll<Result<SlotId, OpError>> {
        Hits::deal();
        let (key, try_only) = (self.key, self.try_only);
        let Options { first_touch, reserve } = self.options;
        let asked = Asked::Hold { hold: G::HOLD, first_touch, try_only, reserve };
        let outcome = ready!(self.waiting.poll(key, asked, Some(G::HOLD), context.waker()));
        Poll::Ready(outcome.and_then(|slot| {
            slot.ok_or_else(|| {
                tracing::error!(set = %key.set, object = key.object, "BUG: a hold was granted without a slot");
                OpError::Lost
            })
        }))
    }
}

impl<G: Guard> Future for Acquire<'_, G> {
    type Output = Result<G, OpError>;

    // The attributes here and on the way here leave guards in registers, which halves the time of a hit (tests/speed.rs).
    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<G, OpError>> {
        if self.waiting.op.is_none()
            && let Ok(guard) = G::hit(&self.waiting.node.arena, self.key)
            && self.waiting.node.lease.has_time(&*self.waiting.node.host)
        {
            if self.waiting.node.hits.count(G::HOLD) {
                self.waiting.node.hits.sample(G::HOLD, self.key.set);
            }
            return Poll::Ready(Ok(guard));
        }
        let node = self.waiting.node;
        self.missed(context).map_ok(|slot| G::adopt(&node.arena, slot))
    }
}

/// An operation that ends without a hold.
pub(crate) struct Operate<'a> {
    key: ObjectKey,
    asked: Asked,
    waiting: Waiting<'a>,
}

impl<'a> Operate<'a> {
    pub(crate) fn new(node: &'a Inner, key: ObjectKey, asked: Asked) -> Operate<'a> {
        Operate { key, asked, waiting: Waiting { node, op: None } }
    }
}

impl Future for Operate<'_> {
    type Output = Result<(), OpError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), OpError>> {
        let (key, asked) = (self.key, self.asked);
        self.waiting.poll(key, asked, None, context.waker()).map_ok(|_| ())
    }
}

/// An operation with the engine, from its begin to its outcome. Dropped in between, it is cancelled.
struct Waiting<'a> {
    node: &'a Inner,
    /// An [`OpId`]: none is 0.
    op: Option<NonZero<u64>>,
}

impl Waiting<'_> {
    fn poll(&mut self, key: ObjectKey, asked: Asked, hold: Option<Hold>, waker: &Waker) -> Poll<Outcome> {
        let node = self.node;
        let outcome = node.enter(|engine| {
            let op = match self.op {
                Some(op) => OpId(op.get()),
                None => {
                    let op = engine.begin(node, key, asked, hold)?;
                    self.op = NonZero::new(op.0);
                    op
                }
            };
            engine.poll_operation(op, waker).transpose()
        });
        match outcome.transpose() {
            None => Poll::Pending,
            Some(outcome) => {
                self.op = None;
                Poll::Ready(outcome)
            }
        }
    }
}

impl Waiting<'_> {
    #[cold]
    fn abandon(&self, op: OpId, how: figures::Outcome) {
        if let Some((hold, slot)) = self.node.enter(|engine| engine.abandon(self.node, op, how)) {
            #[cfg(feature = "interleave")]
            if kddm_memory::interleave::planted(kddm_memory::interleave::Fault::ForgottenHold) {
                return;
            }
            self.node.put(hold, slot);
        }
    }
}

impl Drop for Waiting<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(op) = self.op {
            self.abandon(OpId(op.get()), figures::Outcome::Cancelled);
        }
    }
}
