//! Holds that are on their way.

use super::{
    call::{Answer, Call},
    guard::Guard,
};
use crate::error::Result;
use kddm_ring::Tag;
use std::{
    future::Future,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

/// A hold that is on its way: wait for it, ask for it now and then, or await it, in any executor. Dropped, it is given up.
#[derive(Debug)]
#[must_use = "a hold that nobody waits for is given up"]
pub struct Pending<G> {
    call: Call,
    object: u32,
    guard: PhantomData<fn() -> G>,
}

impl<G: Guard> Pending<G> {
    pub(crate) fn new(call: Call, object: u32) -> Pending<G> {
        Pending { call, object, guard: PhantomData }
    }

    /// The object.
    pub fn object(&self) -> u32 {
        self.object
    }

    /// Waits for it.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub fn wait(self) -> Result<G> {
        let Pending { call, object, .. } = self;
        let requests = call.requests().clone();
        G::of(requests, object, call.wait()?)
    }

    /// Waits for it for so long; `None`: it is on its way still.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub fn wait_for(&mut self, time: Duration) -> Result<Option<G>> {
        let answer = self.call.wait_until(Instant::now().checked_add(time))?;
        answer.map(|answer| self.guard(answer)).transpose()
    }

    fn guard(&self, answer: Answer) -> Result<G> {
        G::of(self.call.requests().clone(), self.object, answer)
    }
}

impl<G: Guard> Future for Pending<G> {
    type Output = Result<G>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<G>> {
        let polled = Pin::new(&mut self.call).poll(context);
        polled.map(|answer| answer.and_then(|answer| self.guard(answer)))
    }
}

/// A [`Pending`] of either hold.
#[allow(private_bounds, reason = "there are these two")]
pub trait OnItsWay: Begun {}

impl<G: Guard> OnItsWay for Pending<G> {}

trait Begun {
    fn call(&self) -> &Call;
}

impl<G> Begun for Pending<G> {
    fn call(&self) -> &Call {
        &self.call
    }
}

/// Waits until one of the holds, which are of one attachment, has come or failed; which. `None`: there are none that are on their way.
///
/// # Errors
/// The attachment has ended.
pub fn wait_any<G: Guard>(pending: &[Pending<G>]) -> Result<Option<usize>> {
    let pending: Vec<&dyn OnItsWay> = pending.iter().map(|pending| pending as &dyn OnItsWay).collect();
    wait_any_for(&pending, Duration::MAX)
}

/// As [`wait_any`], for holds of both kinds, and for so long. `None`: the time is over, or there are none that are on their way.
///
/// # Errors
/// As there.
pub fn wait_any_for(pending: &[&dyn OnItsWay], time: Duration) -> Result<Option<usize>> {
    let tags: Vec<Tag> = pending.iter().filter_map(|pending| pending.call().tag()).collect();
    let Some(first) = pending.first().filter(|_| !tags.is_empty()) else { return Ok(None) };
    let deadline = Instant::now().checked_add(time);
    let ended = first.call().requests().first_ended(&tags, deadline)?;
    let ended = ended.and_then(|place| tags.get(place));
    Ok(ended.and_then(|tag| pending.iter().position(|pending| pending.call().tag() == Some(*tag))))
}
