//! A request that is under way.

use super::requests::Requests;
use crate::{Error, error::Result};
use kddm_ring::{Completion, Done, Piece, Tag};
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

/// A request that is under way, with the pieces that its server has meanwhile. Dropped before it has ended, what it was to get is given up.
#[derive(Debug)]
pub(crate) struct Call {
    requests: Arc<Requests>,
    /// `None`: it has ended.
    tag: Option<Tag>,
    pieces: [Option<Piece>; 2],
}

/// The end of a request that was done.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) done: Done,
    pub(crate) pieces: [Option<Piece>; 2],
}

impl Call {
    pub(crate) fn new(requests: Arc<Requests>, tag: Tag, pieces: [Option<Piece>; 2]) -> Call {
        Call { requests, tag: Some(tag), pieces }
    }

    pub(crate) fn tag(&self) -> Option<Tag> {
        self.tag
    }

    pub(crate) fn requests(&self) -> &Arc<Requests> {
        &self.requests
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) -> Result<Answer> {
        match self.wait_until(None)? {
            Some(answer) => Ok(answer),
            None => Err(Error::Answer("no end")),
        }
    }

    /// Waits for its end; `None`: the time is over, and it goes on.
    pub(crate) fn wait_until(&mut self, deadline: Option<Instant>) -> Result<Option<Answer>> {
        let tag = self.tag.ok_or(FETCHED)?;
        let completion = self.requests.completion(tag, deadline)?;
        completion.map(|completion| self.ended(&completion)).transpose()
    }

    fn ended(&mut self, completion: &Completion) -> Result<Answer> {
        self.tag = None;
        let pieces = std::mem::take(&mut self.pieces);
        Ok(Answer { done: completion.outcome()?, pieces })
    }
}

const FETCHED: Error = Error::Answer("its end was fetched already");

impl Future for Call {
    type Output = Result<Answer>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<Answer>> {
        let Some(tag) = self.tag else { return Poll::Ready(Err(FETCHED)) };
        match self.requests.poll(tag, context.waker()) {
            Err(error) => {
                self.tag = None;
                Poll::Ready(Err(error))
            }
            Ok(None) => Poll::Pending,
            Ok(Some(completion)) => Poll::Ready(self.ended(&completion)),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(tag) = self.tag {
            self.requests.abandon(tag, std::mem::take(&mut self.pieces));
        }
    }
}

impl Answer {
    /// The piece at that place, as long as what the server wrote.
    pub(crate) fn piece(&mut self, place: usize) -> Result<Piece> {
        let piece = self.pieces.get_mut(place).and_then(Option::take);
        let mut piece = piece.ok_or(Error::Answer("no bytes"))?;
        piece.truncate(self.done.length);
        Ok(piece)
    }
}
