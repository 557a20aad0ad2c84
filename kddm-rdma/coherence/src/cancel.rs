//! Callers lose interest. What stands in line at its home is taken out of it; what the home has started goes on, and its end is not
//! used: whoever was named a successor takes the object, and serves its own.

use crate::copy::{Data, Outstanding, Purpose};
use crate::core::{Context, Core};
use crate::entry::Pending;
use crate::mutant::Mutant;
use crate::{Body, Nack, OpId, Store};
use kddm_object::{NodeId, ObjectKey, Rid};

impl Core {
    pub(crate) fn cancel<S: Store>(&mut self, key: ObjectKey, op: OpId, cx: &mut Context<'_, S>) {
        if self.planted(Mutant::CancelIgnored) {
            return;
        }
        let keeps_turn = self.planted(Mutant::CancelKeepsTurn);
        self.ends.cancel(op);
        let call = self.calls.iter().find(|(_, call)| call.op == Some(op)).map(|(rid, _)| *rid);
        if let Some(rid) = call {
            self.calls.remove(&rid);
            self.send_cancel(key, rid, cx);
        }
        let Some(copy) = self.copies.get_mut(&key) else { return };
        if copy.flush == Some(op) {
            copy.flush = None;
        }
        let of_op = |purpose| matches!(purpose, Purpose::Hold(it) | Purpose::Prefetch(it) if it == op);
        if let Some(request) = copy.request.as_mut().filter(|request| of_op(request.purpose)) {
            request.purpose = Purpose::Nobody;
        }
        let place = copy.waiters.iter().position(|waiter| of_op(waiter.purpose));
        if let Some(place) = place {
            copy.waiters.remove(place);
            if place < copy.turn && !keeps_turn {
                copy.turn -= 1;
            }
            self.take_back(key, cx);
        }
        self.pump(key, cx);
    }

    /// Takes the outstanding request back if nobody here waits for it any more. Until the home has answered it is outstanding: it may
    /// have been started.
    pub(crate) fn take_back<S: Store>(&mut self, key: ObjectKey, cx: &mut Context<'_, S>) {
        let Some(copy) = self.copies.get(&key).filter(|copy| copy.waiters.is_empty()) else { return };
        let Some(&Outstanding { rid, data: Data::Awaited, .. }) = copy.request.as_ref() else { return };
        self.send_cancel(key, rid, cx);
        if self.planted(Mutant::CancelForgets) {
            self.end_request(key, None, cx);
        }
    }

    fn send_cancel<S: Store>(&mut self, key: ObjectKey, rid: Rid, cx: &mut Context<'_, S>) {
        // What has not been asked yet in this view is taken back when it is.
        if let (true, Some((home, _))) = (self.views.may_ask(), self.home_of(key, cx.store)) {
            self.send(home, key, Body::Cancel { rid }, cx);
        }
    }

    /// CANCEL: nobody waits for that request any more, at least not by its place in the line.
    pub(crate) fn home_cancel<S: Store>(
        &mut self,
        from: NodeId,
        key: ObjectKey,
        rid: Rid,
        cx: &mut Context<'_, S>,
    ) {
        if !self.views.may_grant() && !self.planted(Mutant::CancelBeforeOpen) {
            // What that node has reported must stay as it is until we have decided about it; a request keeps it in its place.
            return;
        }
        let any = self.planted(Mutant::CancelTakesAny);
        let mut stood = self.planted(Mutant::CancelTakesStarted);
        self.directory.retain_in_line(key, |pending| {
            let it = matches!(pending, Pending::Request(by, request) if *by == from && (request.rid == rid || any));
            stood |= it;
            !it
        });
        if stood {
            self.send(from, key, Body::Nack { rid, why: Nack::Again }, cx);
            self.serve(key, cx);
        }
    }
}
