//! The futures of operations.

use crate::{OpError, Options, inner::Inner, node::Guard, operations::Outcome};
use kddm_coherence::{Asked, OpId};
use kddm_object::{Hold, ObjectKey};
use std::{
    future::Future,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

/// A get or grab. A hit is ready at the first poll: it needs neither the engine nor memory.
pub(crate) struct Acquire<'a, G> {
    key: ObjectKey,
    asked: Asked,
    waiting: Waiting<'a>,
    guard: PhantomData<fn() -> G>,
}

impl<'a, G: Guard> Acquire<'a, G> {
    pub(crate) fn new(node: &'a Inner, key: ObjectKey, options: Options, try_only: bool) -> Acquire<'a, G> {
        let Options { first_touch, reserve } = options;
        let asked = Asked::Hold { hold: G::HOLD, first_touch, try_only, reserve };
        Acquire { key, asked, waiting: Waiting { node, op: None }, guard: PhantomData }
    }
}

impl<G: Guard> Future for Acquire<'_, G> {
    type Output = Result<G, OpError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<G, OpError>> {
        let (key, asked) = (self.key, self.asked);
        let node = self.waiting.node;
        if self.waiting.op.is_none()
            && let Some(guard) = G::hit(&node.arena, key)
        {
            node.hits.count();
            return Poll::Ready(Ok(guard));
        }
        let outcome = ready!(self.waiting.poll(key, asked, Some(G::HOLD), context.waker()));
        Poll::Ready(match outcome {
            Ok(Some(slot)) => Ok(G::adopt(&node.arena, slot)),
            Ok(None) => {
                tracing::error!(%key, "BUG: a hold was granted without a slot");
                Err(OpError::Lost)
            }
            Err(error) => Err(error),
        })
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
    op: Option<OpId>,
}

impl Waiting<'_> {
    fn poll(&mut self, key: ObjectKey, asked: Asked, hold: Option<Hold>, waker: &Waker) -> Poll<Outcome> {
        let node = self.node;
        let outcome = node.enter(|engine| {
            let op = match self.op {
                Some(op) => op,
                None => *self.op.insert(engine.begin(node, key, asked, hold)?),
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

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(op) = self.op
            && let Some((hold, slot)) = self.node.enter(|engine| engine.abandon(self.node, op))
        {
            self.node.put(hold, slot);
        }
    }
}
